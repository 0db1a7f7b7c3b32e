from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE
from crar_diag.agent.config import MODES
from crar_diag.agent.networks import component_of
from crar_diag.agent.paired import PairedEngine
from crar_diag.agent.population import MemberRule
from crar_diag.agent.streams import stream
from crar_diag.envs.observer import Observer
from tests.agent import by_hand
from tests.agent.populations import make
from tests.agent.test_optimizer import rmsprop_twin

ENCODER = frozenset({"encoder"})
SOURCE = Observer("simple-maze", "symbolic", "normal")


def teachers(count, architecture=SIMPLE_MAZE, dtype=torch.float64):
    return networks.stack(
        [
            networks.initialise(architecture, stream(100 + m, "initialisation"), dtype)
            for m in range(count)
        ]
    )


ONE = (MemberRule(1e-3, trainable=ENCODER),)


def setup(rules=ONE, **options):
    """A population in the inverse domain, whose rule the caller may change, and its teachers."""
    options = {"domains": ["inverse"] * len(rules), **options}
    population, replay = make(rules, **options)
    found = teachers(len(rules), population.architecture, options.get("dtype", torch.float64))
    return population, replay, found


def rows_of_pictures(data):
    """Which of the 31 cells each picture of a data set shows; both know them by the player."""
    seen = data.observe(torch.arange(len(data.tiles))).flatten(1).double().numpy()
    gaps = np.abs(seen[:, None] - by_hand.maze_pictures("inverse")[None]).max(-1)
    assert (gaps.min(1) == 0).all()
    return gaps.argmin(1)


def twin(population, replay, teacher, member, updates):
    """The member's training in NumPy: backpropagation, clipping and RMSprop, batch by batch."""
    rule, own = population.rule, population.members[member]
    agent = {n: p[member].numpy().copy() for n, p in population.agents().items()}
    squares = dict.fromkeys(agent, 0.0)
    cells = rows_of_pictures(replay.members[member])
    first = replay.members[member].first.numpy()
    base = {n: p[member].numpy() for n, p in teacher.items()}
    losses = []
    for update in range(updates):
        shown = cells[first[replay.draws(member, update, 1)[0]]]
        wanted = by_hand.encode(base, by_hand.maze_pictures()[shown])
        loss, gradients = by_hand.distance_and_gradient(
            agent, by_hand.maze_pictures("inverse")[shown], wanted
        )
        losses.append(loss)
        rate = own.learning_rate * own.learning_rate_decay ** (update // rule.updates_per_epoch)
        for name, g in gradients.items():
            agent[name], squares[name] = rmsprop_twin(
                agent[name], squares[name], g, rate, rule.clip_norm, rule.rho, rule.epsilon
            )
    return agent, losses


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epsilon", [1e-4, 10.0])  # with the large one, steps grow with gradients
def test_every_step_is_rmsprops_on_the_mean_squared_distance(epsilon, mode):
    rules = (
        MemberRule(1e-3, 0.5, trainable=ENCODER),
        MemberRule(1e-2, 1.0, trainable=ENCODER),
    )
    population, replay, found = setup(rules, mode=mode)
    population.rule = replace(population.rule, epsilon=epsilon)
    expected = [twin(population, replay, found, m, 6) for m in range(2)]  # epochs of 4
    totals = PairedEngine(found, SOURCE).advance(population, replay, 6)
    for m, (agent, _) in enumerate(expected):
        for name, p in population.agents().items():
            np.testing.assert_allclose(p[m], agent[name], rtol=0, atol=1e-12, err_msg=name)
    assert np.isnan(totals.sums).all()  # the seven losses are another matter


def test_the_distance_to_the_base_falls():
    population, replay, found = setup(batch_size=32)
    base = {n: p[0] for n, p in found.items()}
    wanted = by_hand.encode(base, by_hand.maze_pictures())

    def distance():
        agent = networks.member(population.agents(), 0)
        gap = by_hand.encode(agent, by_hand.maze_pictures("inverse")) - wanted
        return float(np.sqrt((gap**2).sum(1)).mean())

    before = distance()
    PairedEngine(found, SOURCE).advance(population, replay, 300)
    assert distance() < before / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_but_the_encoder_moves(dtype):
    population, replay, found = setup(dtype=dtype)
    before = {n: p.clone() for n, p in population.agents().items()}
    target, teacher = population.target.clone(), {n: p.clone() for n, p in found.items()}
    PairedEngine(found, SOURCE).advance(population, replay, 5)
    for name, p in population.agents().items():
        assert torch.equal(p, before[name]) == (component_of(name) != "encoder"), name
    assert torch.equal(population.target, target)
    assert all(torch.equal(p, teacher[n]) for n, p in found.items())


def test_a_member_ends_where_it_ends_alone():
    rules = [MemberRule(rate, trainable=ENCODER) for rate in (1e-3, 1e-2, 5e-3)]
    together, replay, found = setup(rules)
    PairedEngine(found, SOURCE).advance(together, replay, 10)
    for m, rule in enumerate(rules):
        alone, own, _ = setup([rule], seeds=[m])
        one = {n: p[m : m + 1] for n, p in found.items()}
        PairedEngine(one, SOURCE).advance(alone, own, 10)
        torch.testing.assert_close(together.parameters[m], alone.parameters[0], rtol=0, atol=1e-12)


def test_a_member_that_diverges_keeps_its_last_finite_encoder_and_disturbs_no_other():
    well = (MemberRule(1e-3, trainable=ENCODER), MemberRule(1e-3, trainable=ENCODER))
    ill = (MemberRule(1e308, trainable=ENCODER), well[1])
    population, replay, found = setup(ill)
    totals = PairedEngine(found, SOURCE).advance(population, replay, 6)
    at = int(population.diverged_at[0])
    assert 0 <= at < 6
    assert totals.updates.tolist() == [at, 6]
    assert population.parameters.isfinite().all()
    at_the_end = population.parameters[0].clone()
    PairedEngine(found, SOURCE).advance(population, replay, 1)
    assert torch.equal(population.parameters[0], at_the_end)
    other, replay, found = setup(well)
    PairedEngine(found, SOURCE).advance(other, replay, 7)
    assert torch.equal(population.parameters[1], other.parameters[1])
    assert int(population.diverged_at[1]) == -1


def test_spatial_states_are_fitted_as_whole_pictures():
    population, replay, found = setup(
        [MemberRule(1e-3, trainable=ENCODER)], architecture=LABYRINTH_SYMBOLIC, transitions=40
    )
    source = Observer("labyrinth", "symbolic", "normal")
    data = replay.members[0]
    everything = data.tiles[data.first]

    def distance():
        with torch.no_grad():
            agent, base = (networks.member(p, 0) for p in (population.agents(), found))
            here = Observer("labyrinth", "symbolic", "inverse")(everything).double()
            there = source(everything).double()
            gap = networks.encode(LABYRINTH_SYMBOLIC, agent, here) - networks.encode(
                LABYRINTH_SYMBOLIC, base, there
            )
        return float((gap**2).sum((1, 2, 3)).mean())

    before = distance()
    PairedEngine(found, source).advance(population, replay, 25)
    assert distance() < 0.7 * before
