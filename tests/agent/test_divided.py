import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE
from crar_diag.agent.divided import DividedEngine, IdleEngine
from crar_diag.agent.engine import LossTotals, ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.paired import PairedEngine
from crar_diag.agent.population import MemberRule
from crar_diag.agent.streams import stream
from crar_diag.envs.observer import Observer
from tests.agent.populations import MIXED, make, same

RULES = (*MIXED, MemberRule(1e-3, 0.5), MemberRule(1e-3))


def teacher():
    agent = networks.initialise(SIMPLE_MAZE, stream(9, "initialisation"), torch.float64)
    return networks.stack([agent])


def engines():
    return (
        (slice(0, 2), FusedEngine(1)),
        (slice(2, 4), ReferenceEngine()),
        (slice(4, 5), PairedEngine(teacher(), Observer("simple-maze", "symbolic"))),
        (slice(5, 6), IdleEngine()),
    )


def divided(rules=RULES):
    population, replay = make(rules)
    return population, replay, DividedEngine(population, replay, engines())


def test_a_part_shares_the_memory_of_the_whole():
    population, replay = make()
    part, data = population.part(slice(1, 3)), replay.part(slice(1, 3))
    assert len(part) == 2
    assert part.members == MIXED[1:3]
    assert data.seeds == (1, 2)
    for name in ("parameters", "target", "squares", "diverged_at"):
        whole, own = getattr(population, name), getattr(part, name)
        own[1] = 7
        assert (whole[2] == 7).all()
        assert not (whole[[0, 1, 3]] == 7).all(dim=-1).any()
    whole = population.running_squares("volume")
    for name, squares in part.running_squares("volume").items():
        squares[0] = 3.0
        assert (whole[name][1] == 3.0).all()
    for member in (0, 1):
        assert data.members[member] is replay.members[member + 1]
        for first in (0, 995):  # within a block of draws and across two
            np.testing.assert_array_equal(
                data.draws(member, first, 10), replay.draws(member + 1, first, 10)
            )


def test_a_part_counts_its_own_updates():
    population, replay = make()
    part = population.part(slice(0, 1))
    FusedEngine(1).advance(part, replay.part(slice(0, 1)), 3)
    assert (part.updates, population.updates) == (3, 0)


def test_every_part_ends_where_its_engine_takes_it_alone():
    population, replay, engine = divided()
    start = population.parameters.clone()
    totals = engine.advance(population, replay, 11)  # epochs of 4 updates
    assert population.updates == 11
    assert totals.updates.tolist() == [11] * 6
    for members, own in engines():
        positions = range(6)[members]
        alone, data = make([RULES[m] for m in positions], seeds=positions)
        expected = own.advance(alone, data, 11)
        for name in ("parameters", "target", "squares"):
            assert torch.equal(getattr(population, name)[members], getattr(alone, name))
        np.testing.assert_array_equal(totals.sums[members], expected.sums)
    moved = (population.parameters != start).any(dim=1)
    assert moved.tolist() == [True] * 5 + [False]
    assert np.isfinite(totals.sums[:4]).all()
    assert np.isnan(totals.means()[4:]).all()


def test_a_member_ends_where_it_ends_alone():
    population, replay, engine = divided()
    engine.advance(population, replay, 5)
    for m, (_, own) in zip((1, 2, 4), engines()[:3], strict=True):
        alone, data = make([RULES[m]], seeds=[m])
        own.advance(alone, data, 5)
        torch.testing.assert_close(
            population.parameters[m], alone.parameters[0], rtol=0, atol=1e-12
        )


def test_pauses_change_no_bit():
    one, replay, engine = divided()
    whole = engine.advance(one, replay, 9)
    other, replay, engine = divided()
    parts = LossTotals.zeros(6)
    for updates in (1, 4, 2, 2):
        engine.advance(other, replay, updates, parts)
    same(one, other, tolerance=0)
    np.testing.assert_array_equal(whole.sums, parts.sums)


def test_a_restored_population_is_trained_from_what_was_saved():
    one, replay, engine = divided()
    engine.advance(one, replay, 3)
    state = {name: tensor.clone() for name, tensor in one.state().items()}
    engine.advance(one, replay, 4)
    other, replay, engine = divided()
    other.restore(state)
    engine.advance(other, replay, 4)
    same(one, other, tolerance=0)


@pytest.mark.parametrize("diverging", [1, 2, 4])
def test_a_member_that_diverges_is_known_to_the_whole_and_disturbs_no_part(diverging):
    rules = [MemberRule(1e200) if m == diverging else rule for m, rule in enumerate(RULES)]
    population, replay, engine = divided(rules)
    totals = engine.advance(population, replay, 6)
    well, other, engine = divided()
    expected = engine.advance(well, other, 6)
    at = int(population.diverged_at[diverging])
    assert 0 <= at < 6
    assert totals.updates.tolist() == [at if m == diverging else 6 for m in range(6)]
    others = [m for m in range(6) if m != diverging]
    assert (population.diverged_at[others] == -1).all()
    assert population.parameters.isfinite().all()
    torch.testing.assert_close(
        population.parameters[others], well.parameters[others], rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(totals.sums[others], expected.sums[others], rtol=1e-9)
