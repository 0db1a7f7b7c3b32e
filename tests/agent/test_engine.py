import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH, SIMPLE_MAZE, SIMPLE_MAZE_PIXELS
from crar_diag.agent.config import COMPONENTS, LOSSES, MODES
from crar_diag.agent.engine import LossTotals, ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.losses import LOSS_FUNCTIONS, Forward, all_losses
from crar_diag.agent.networks import component_of
from crar_diag.agent.population import MemberRule
from crar_diag.agent.replay import Replay
from tests.agent.populations import MIXED, make, rewarding_maze, same, weights

ENGINES = [ReferenceEngine(), FusedEngine(threads=2)]


def plain_training(population, replay, member, updates):
    """One agent's training written out plainly: a loop, autograd, NumPy's RMSprop.

    Independent of the engines but for the losses, which have tests of their own.
    """
    rule, own = population.rule, population.members[member]
    agent = {n: p[member].numpy().copy() for n, p in population.agents().items()}
    target = {n: p.copy() for n, p in agent.items()}
    slots = {}
    sums = np.zeros(len(LOSSES))

    def forward(parameters, batch):
        leaves = {n: torch.tensor(p, requires_grad=True) for n, p in parameters.items()}
        constants = {n: torch.tensor(p) for n, p in target.items()}
        return leaves, Forward(population.architecture, leaves, batch, rule.settings, constants)

    def descend(optimizer, gradients, rate):
        moving = {
            n: g.numpy()
            for n, g in gradients.items()
            if g is not None and component_of(n) in own.trainable
        }
        total = np.sqrt(sum((g**2).sum() for g in moving.values()))
        for name, g in moving.items():
            norm = total if rule.clip_scope == "global" else np.sqrt((g**2).sum())
            g = g * rule.clip_norm / max(norm, rule.clip_norm)
            v = slots.get((optimizer, name), 0.0)
            v = rule.rho * v + (1 - rule.rho) * g**2
            slots[optimizer, name] = v
            agent[name] = agent[name] - rate * g / (np.sqrt(v) + rule.epsilon)

    for update in range(updates):
        rows = torch.from_numpy(replay.draws(member, update, 1)[0])
        batch = replay.members[member].batch(rows)
        epoch = update // rule.updates_per_epoch
        rate = own.learning_rate * own.learning_rate_decay**epoch
        point = {n: p.copy() for n, p in agent.items()}
        for k, loss in enumerate(LOSSES):
            if loss == "q" and update % rule.target_period == 0:
                source = agent if rule.mode == "sequential" else point
                target.update({n: p.copy() for n, p in source.items()})
            at = agent if rule.mode == "sequential" else point
            leaves, run = forward(at, batch)
            value = LOSS_FUNCTIONS[loss](run)
            sums[k] += float(value.detach())
            weight = own.weight_at(loss, epoch)
            if rule.mode != "joint" and weight > 0:
                found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
                shared = "reward_discount" if loss in ("reward", "discount") else loss
                descend(shared, dict(zip(leaves, found, strict=True)), rate * weight)
        if rule.mode == "joint":
            leaves, run = forward(point, batch)
            total = sum(
                own.weight_at(loss, epoch) * value for loss, value in all_losses(run).items()
            )
            found = torch.autograd.grad(
                total, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            descend("joint", dict(zip(leaves, found, strict=True)), rate)
    return agent, target, sums / updates


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("clip_scope", ["tensor", "global"])
@pytest.mark.parametrize("mode", MODES)
def test_every_member_ends_where_a_plain_loop_ends(mode, clip_scope, double_q):
    population, replay = make(mode=mode, clip_scope=clip_scope, double_q=double_q)
    expected = [plain_training(population, replay, m, 6) for m in range(len(population))]
    means = ReferenceEngine().advance(population, replay, 6).means()
    for m, (agent, target, losses) in enumerate(expected):
        np.testing.assert_allclose(means[m], losses, rtol=1e-9)
        for name, p in agent.items():
            np.testing.assert_allclose(population.agents()[name][m], p, rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(
                population.targets()[name][m], target[name], rtol=1e-8, atol=1e-9
            )


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "fused"])
@pytest.mark.parametrize("mode", MODES)
def test_a_member_of_a_mixed_population_ends_where_it_ends_alone(mode, engine):
    together, replay = make(mode=mode)
    totals = engine.advance(together, replay, 10)
    for m, member in enumerate(MIXED):
        alone, own = make([member], mode=mode, seeds=[m])
        losses = engine.advance(alone, own, 10)
        torch.testing.assert_close(together.parameters[m], alone.parameters[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(totals.sums[m], losses.sums[0], rtol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH], ids=lambda a: a.name)
@pytest.mark.parametrize("mode", MODES)
def test_a_population_on_cuda_ends_where_it_ends_on_the_cpu(mode, architecture):
    here, replay = make(mode=mode, architecture=architecture, double_q=True)
    ReferenceEngine().advance(here, replay, 10)
    there, _ = make(mode=mode, architecture=architecture, double_q=True)
    environment = "simple-maze" if architecture is SIMPLE_MAZE else "labyrinth"
    data = Replay(
        [rewarding_maze(seed, 400, environment) for seed in range(len(there))],
        [one.observer for one in replay.members],
        range(len(there)),
        replay.batch_size,
        torch.float64,
        "cuda",
    )
    ReferenceEngine().advance(there.to("cuda"), data, 10)
    same(here, there.to("cpu"), tolerance=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_convolutions_batched_over_members_end_where_the_loop_ends(mode, monkeypatch):
    given = {"mode": mode, "architecture": LABYRINTH, "double_q": True, "batch_size": 2}
    here, replay = make(MIXED[:2], **given)
    there, other = make(MIXED[:2], **given)
    ReferenceEngine().advance(here, replay, 2)
    monkeypatch.setattr("crar_diag.agent.lifting.lifted", lambda architecture, device: True)
    ReferenceEngine().advance(there, other, 2)  # as on an accelerator
    same(here, there, tolerance=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_convolutional_member_ends_where_it_ends_alone(mode):
    members = MIXED[:2]
    together, replay = make(members, mode=mode, architecture=SIMPLE_MAZE_PIXELS)
    ReferenceEngine().advance(together, replay, 2)
    for m, member in enumerate(members):
        alone, own = make([member], mode=mode, seeds=[m], architecture=SIMPLE_MAZE_PIXELS)
        ReferenceEngine().advance(alone, own, 2)
        torch.testing.assert_close(together.parameters[m], alone.parameters[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "fused"])
@pytest.mark.parametrize("mode", MODES)
def test_pauses_do_not_change_a_bit(mode, engine):
    one, replay = make(mode=mode, dtype=torch.float32)
    whole = engine.advance(one, replay, 13)
    other, replay = make(mode=mode, dtype=torch.float32)
    parts = LossTotals.zeros(len(other))
    for updates in (1, 4, 2, 6):
        engine.advance(other, replay, updates, parts)
    same(one, other, tolerance=0)
    assert np.array_equal(whole.sums, parts.sums)
    assert one.updates == other.updates == 13


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "fused"])
@pytest.mark.parametrize("mode", MODES)
def test_frozen_components_stay_bit_for_bit(mode, engine):
    population, replay = make(mode=mode)
    before = {n: p.clone() for n, p in population.agents().items()}
    engine.advance(population, replay, 5)
    for name, p in population.agents().items():
        for m, member in enumerate(population.members):
            component = component_of(name)
            # Member 1 has no reward loss, and nothing else moves its reward model.
            frozen = component not in member.trainable or (m, component) == (1, "reward")
            assert torch.equal(p[m], before[name][m]) == frozen, (name, m)


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "fused"])
def test_a_loss_of_weight_zero_leaves_its_optimizer_untouched_until_it_returns(engine):
    late = MemberRule(1e-3, 1.0, weights(volume=0.0, random_pairs=((0, 0.0), (1, 1.0))))
    population, replay = make([late])
    engine.advance(population, replay, 4)
    assert not any(v.any() for v in population.running_squares("random_pairs").values())
    engine.advance(population, replay, 1)
    assert all(v.any() for v in population.running_squares("random_pairs").values())
    assert not any(v.any() for v in population.running_squares("volume").values())


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "fused"])
@pytest.mark.parametrize("mode", MODES)
def test_a_diverging_member_is_stopped_and_the_others_go_on_untouched(mode, engine):
    sound = [MIXED[0], MIXED[1]]
    population, replay = make([sound[0], MemberRule(1e160), sound[1]], mode=mode, seeds=(0, 5, 1))
    totals = engine.advance(population, replay, 12)
    died = int(population.diverged_at[1])
    # The first step carries the states beyond the range whose squares are finite.
    assert died == 1
    assert population.diverged_at.tolist() == [-1, died, -1]
    assert totals.updates.tolist() == [12, died, 12]
    assert np.isfinite(totals.means()).all()
    assert population.parameters.isfinite().all()
    others, replay = make(sound, mode=mode, seeds=(0, 1))
    engine.advance(others, replay, 12)
    torch.testing.assert_close(population.parameters[[0, 2]], others.parameters, rtol=0, atol=1e-9)
    kept = population.parameters[1].clone()
    engine.advance(*make_again(population), 3)
    assert torch.equal(population.parameters[1], kept)


def make_again(population):
    """Return the population with data for its members, to go on with."""
    return population, make([MIXED[0]] * 3, seeds=(0, 5, 1))[1]


def test_training_a_network_of_one_update_moves_it_towards_smaller_losses():
    population, replay = make([MemberRule(1e-3)])
    first = ReferenceEngine().advance(population, replay, 4).means()[0]
    FusedEngine().advance(population, replay, 200)
    last = ReferenceEngine().advance(population, replay, 4).means()[0]
    assert last[LOSSES.index("discount")] < first[LOSSES.index("discount")]
    assert last[LOSSES.index("random_pairs")] < first[LOSSES.index("random_pairs")]


def test_components_named_by_the_parameters_are_the_five():
    population, _ = make()
    assert {component_of(name) for name in population.agents()} == set(COMPONENTS)
    member = networks.member(population.agents(), 2)
    assert all(torch.equal(p, population.agents()[n][2]) for n, p in member.items())
