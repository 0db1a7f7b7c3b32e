from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
    MaxPool,
)
from crar_diag.agent.config import COMPONENTS, LOSSES, MODES
from crar_diag.agent.engine import ReferenceEngine
from crar_diag.agent.fused.arithmetic import tanh
from crar_diag.agent.fused.engine import FusedEngine, supports
from crar_diag.agent.population import MemberRule
from crar_diag.errors import InputError
from tests.agent.populations import MIXED, make, same, weights

MASKS = [frozenset(c) for n in range(1, 6) for c in combinations(COMPONENTS, n)]


def members_of_every_mask() -> list[MemberRule]:
    """One member for each of the 31 component masks, each with loss weights of its own."""
    rng = np.random.default_rng(0)
    members = []
    for mask in MASKS:
        drawn = rng.choice([0.0, 0.2, 1.0, 1.7], size=len(LOSSES))
        chosen = weights(**dict(zip(LOSSES, map(float, drawn), strict=True)))
        members.append(MemberRule(float(10 ** rng.uniform(-4, -2.5)), 0.9, chosen, mask))
    return members


@pytest.mark.parametrize("clip_scope", ["tensor", "global"])
@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_fused_update_equals_the_reference_for_every_mask(mode, double_q, clip_scope):
    members = members_of_every_mask()
    how = {"mode": mode, "double_q": double_q, "clip_scope": clip_scope}
    one, replay = make(members, **how)
    other, _ = make(members, **how)
    # Two epochs and two copies of the target; rounding grows tenfold with every few updates.
    reference = ReferenceEngine().advance(one, replay, 5)
    fused = FusedEngine(threads=2).advance(other, replay, 5)
    same(one, other, tolerance=1e-6)
    np.testing.assert_allclose(fused.sums, reference.sums, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", MODES)
def test_each_loss_alone_equals_the_reference(mode, loss):
    alone = weights(**{name: float(name == loss) for name in LOSSES})
    members = [MemberRule(1e-3, 1.0, alone)]
    one, replay = make(members, mode=mode)
    other, _ = make(members, mode=mode)
    ReferenceEngine().advance(one, replay, 2)
    FusedEngine().advance(other, replay, 2)
    same(one, other, tolerance=1e-10)


@pytest.mark.parametrize("domain", ["swapped", "permuted", "noise"])
def test_every_kind_of_picture_equals_the_reference(domain):
    # Many inputs that are not zero, other tied pixels, no tied pixels.
    one, replay = make(MIXED[:2], domains=[domain] * 2)
    other, _ = make(MIXED[:2], domains=[domain] * 2)
    ReferenceEngine().advance(one, replay, 4)
    FusedEngine().advance(other, replay, 4)
    same(one, other, tolerance=1e-9)


def test_running_squares_that_differ_between_equal_pixels_are_kept_apart():
    # They do so where another engine's rounding made them.
    one, replay = make(MIXED[:2])
    other, _ = make(MIXED[:2])
    one.squares += torch.rand(one.squares.shape, generator=torch.manual_seed(0)).double() * 1e-3
    other.squares.copy_(one.squares)
    ReferenceEngine().advance(one, replay, 4)
    FusedEngine().advance(other, replay, 4)
    same(one, other, tolerance=1e-9)


def test_pauses_do_not_change_a_bit():
    one, replay = make(dtype=torch.float32)
    other, _ = make(dtype=torch.float32)
    whole, pieces = FusedEngine(threads=2), FusedEngine(threads=2)
    totals = whole.advance(one, replay, 9)
    sums = None
    for updates in (1, 3, 5):
        sums = pieces.advance(other, replay, updates, sums)
    same(one, other, tolerance=0)
    np.testing.assert_array_equal(sums.sums, totals.sums)


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_labyrinth_equals_the_reference_for_every_mask(mode, double_q):
    members = members_of_every_mask()
    how = {"mode": mode, "double_q": double_q, "architecture": LABYRINTH, "batch_size": 3}
    one, replay = make(members, transitions=60, **how)
    other, _ = make(members, transitions=60, **how)
    reference = ReferenceEngine().advance(one, replay, 2)
    fused = FusedEngine(threads=2).advance(other, replay, 2)
    same(one, other, tolerance=1e-10)
    np.testing.assert_allclose(fused.sums, reference.sums, rtol=1e-10)


@pytest.mark.parametrize("domain", ["noise", "permuted", "rotated", "swapped"])
@pytest.mark.parametrize("architecture", [LABYRINTH, LABYRINTH_SYMBOLIC, SIMPLE_MAZE_PIXELS])
def test_every_architecture_and_domain_equals_the_reference(architecture, domain):
    rules = [MemberRule(1e-3), MemberRule(5e-4, trainable=frozenset({"encoder"}))]
    how = {"architecture": architecture, "batch_size": 3, "transitions": 60}
    one, replay = make(rules, domains=[domain, "inverse"], **how)
    other, _ = make(rules, domains=[domain, "inverse"], **how)
    ReferenceEngine().advance(one, replay, 4)
    FusedEngine(threads=2).advance(other, replay, 4)
    same(one, other, tolerance=1e-9)


def test_pictures_made_for_each_call_equal_those_of_a_table(monkeypatch):
    how = {"architecture": LABYRINTH, "batch_size": 3, "transitions": 60, "domains": ["noise"]}
    one, replay = make(MIXED[:1], **how)
    monkeypatch.setattr("crar_diag.agent.replay.TABLE_LIMIT", 1)
    other, without_table = make(MIXED[:1], **how)
    assert without_table.members[0].table is None
    FusedEngine().advance(one, replay, 4)
    FusedEngine().advance(other, without_table, 4)
    same(one, other, tolerance=0)


def test_dense_agents_with_too_many_pictures_for_a_table_equal_the_reference(monkeypatch):
    monkeypatch.setattr("crar_diag.agent.replay.TABLE_LIMIT", 1)
    one, replay = make()
    other, _ = make()
    ReferenceEngine().advance(one, replay, 4)
    FusedEngine().advance(other, replay, 4)
    same(one, other, tolerance=1e-9)


def test_single_precision_follows_double_precision_for_a_few_updates():
    exact, replay = make(dtype=torch.float64)
    single, single_replay = make(dtype=torch.float32)
    FusedEngine().advance(exact, replay, 3)
    FusedEngine().advance(single, single_replay, 3)
    torch.testing.assert_close(single.parameters.double(), exact.parameters, rtol=0, atol=5e-4)


def test_the_number_of_threads_does_not_change_a_bit():
    one, replay = make(dtype=torch.float32)
    other, _ = make(dtype=torch.float32)
    FusedEngine(threads=1).advance(one, replay, 7)
    FusedEngine(threads=3).advance(other, replay, 7)
    same(one, other, tolerance=0)


def test_outcome_statistics_of_both_engines_agree():
    # Rounding grows to different trajectories, so after 150 updates only the statistics can agree:
    # the mean losses of eight agents, within their spread between seeds.
    members = [MemberRule(5e-4)] * 8
    means = []
    for engine in (ReferenceEngine(), FusedEngine()):
        population, replay = make(members, dtype=torch.float32)
        engine.advance(population, replay, 100)
        means.append(engine.advance(population, replay, 50).means())
    spread = np.sqrt(sum(m.var(axis=0, ddof=1) for m in means) / len(members))
    assert (np.abs(means[0].mean(axis=0) - means[1].mean(axis=0)) <= 3 * spread + 1e-6).all()


def test_tanh_in_single_precision_is_within_3e_7_and_never_beyond_one():
    x = np.concatenate([np.linspace(-12, 12, 100_001), 10.0 ** -np.arange(1, 30), [np.inf]])
    y = x.astype(np.float32)
    tanh(y)
    with np.errstate(invalid="ignore"):
        error = np.abs(y - np.tanh(x.astype(np.float32).astype(np.float64)))
    assert error.max() < 3e-7
    assert np.abs(y).max() <= 1
    lost = np.array([np.nan], np.float32)
    tanh(lost)
    assert np.isnan(lost[0])


@pytest.mark.parametrize(
    "other",
    [
        replace(SIMPLE_MAZE, actions=5),
        replace(SIMPLE_MAZE, observation_shape=(1, 4, 16)),
        replace(LABYRINTH, encoder=(MaxPool(5), *LABYRINTH.encoder)),
        replace(LABYRINTH, encoder=(*LABYRINTH.encoder, MaxPool(2))),
    ],
)
def test_what_the_kernel_does_not_know_is_not_supported(other):
    _, replay = make(MIXED[:1])
    assert supports(SIMPLE_MAZE, replay)
    assert not supports(other, replay)


def test_an_agent_that_is_not_supported_is_refused(monkeypatch):
    population, replay = make(MIXED[:1])
    monkeypatch.setattr(population, "architecture", replace(SIMPLE_MAZE, name="new", actions=5))
    with pytest.raises(InputError, match="does not train 'new'"):
        FusedEngine().advance(population, replay, 1)
