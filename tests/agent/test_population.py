import pytest
import torch

from crar_diag.agent.config import LOSSES
from crar_diag.agent.networks import initialise, stack
from crar_diag.agent.population import OPTIMIZER_OF, MemberRule, Population, UpdateRule
from crar_diag.agent.streams import stream
from crar_diag.errors import InputError
from tests.agent.populations import MIXED, make, weights


def test_the_flat_array_holds_each_agent_in_the_order_of_its_shapes():
    population, _ = make()
    for m in range(len(population)):
        agent = initialise(population.architecture, stream(m, "initialisation"), torch.float64)
        flat = torch.cat([agent[name].flatten() for name in population.architecture.shapes()])
        assert torch.equal(population.parameters[m], flat)
        for name, p in population.agents().items():
            assert torch.equal(p[m], agent[name])


def test_named_parameters_are_views_so_that_writing_one_writes_the_array():
    population, _ = make()
    population.agents()["q.0.bias"][2].fill_(7.0)
    assert int((population.parameters == 7.0).sum()) == 20
    population.running_squares("volume")["encoder.1.bias"][1].fill_(3.0)
    assert int((population.squares == 3.0).sum()) == 200


def test_running_squares_of_different_optimizers_do_not_overlap():
    population, _ = make()
    for number, optimizer in enumerate(population.slots):
        for v in population.running_squares(optimizer).values():
            v.fill_(number + 1)
    assert (population.squares > 0).all()
    for number, optimizer in enumerate(population.slots):
        for v in population.running_squares(optimizer).values():
            assert (v == number + 1).all()


def test_reward_and_discount_share_one_optimizer_and_the_others_have_their_own():
    assert OPTIMIZER_OF["reward"] == OPTIMIZER_OF["discount"]
    assert len(set(OPTIMIZER_OF.values())) == len(LOSSES) - 1


def test_state_and_restore_are_an_exact_copy():
    one, _ = make()
    one.parameters.mul_(1.5)
    one.squares.fill_(2.0)
    one.diverged_at[1] = 9
    one.updates = 17
    saved = {name: t.clone() for name, t in one.state().items()}
    other, _ = make()
    other.restore(saved)
    assert other.updates == 17
    assert other.alive().tolist() == [True, False, True, True]
    for name, t in other.state().items():
        assert torch.equal(t, saved[name])


def test_a_state_of_another_population_is_refused():
    state = make(MIXED[:2])[0].state()
    with pytest.raises(InputError, match="parameters"):
        make(MIXED)[0].restore(state)
    with pytest.raises(InputError, match="parameters"):
        make(MIXED[:2], dtype=torch.float32)[0].restore(state)


def test_rates_and_weights_follow_epochs():
    member = MemberRule(1e-3, 0.9, weights(volume=((0, 0.0), (15, 2.0))))
    assert [member.rate_at(e) for e in (0, 1, 2)] == pytest.approx([1e-3, 9e-4, 8.1e-4])
    assert [member.weight_at("volume", e) for e in (0, 14, 15, 99)] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("change", "hint"),
    [({"mode": "sequental"}, "sequential"), ({"clip_scope": "Global"}, "global")],
)
def test_unknown_words_in_a_rule_are_refused_with_a_hint(change, hint):
    with pytest.raises(InputError, match=f"did you mean '{hint}'"):
        UpdateRule(**change)


def test_parameters_that_do_not_fit_are_refused():
    population, _ = make()
    agents = stack([{n: p[0] for n, p in population.agents().items()}])
    with pytest.raises(InputError, match="2 members"):
        Population(population.architecture, agents, UpdateRule(), [MIXED[0]] * 2)
    del agents["q.0.bias"]
    with pytest.raises(InputError, match="do not fit"):
        Population(population.architecture, agents, UpdateRule(), [MIXED[0]])
