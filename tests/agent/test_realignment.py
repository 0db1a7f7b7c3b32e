"""Maps of the embedding, their losses and what is proposed, against folding them one by one."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import networks, realignment
from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
    Conv,
    Dense,
    Flatten,
)
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import Forward, LossSettings, transition_terms
from crar_diag.agent.realignment import candidate_maps, fold, map_losses, propose, start_maps
from crar_diag.agent.replay import Transitions
from crar_diag.envs.data import exact_transitions, gather
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.agent.test_evaluation import random_agent

BASES = Path(__file__).parents[2] / "examples" / "checkpoints" / "simple-maze"
MAZE = Observer("simple-maze", "symbolic")
SETTINGS = LossSettings()
CPU = torch.device("cpu")


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


def mirror(degrees):
    """Across the line at that angle."""
    c, s = math.cos(math.radians(2 * degrees)), math.sin(math.radians(2 * degrees))
    return np.array([[c, s], [s, -c]])


def apply_map(matrix, states):
    """R x of one state after another, of the channels at each position."""
    mapped = [np.tensordot(matrix, state, axes=1) for state in states.numpy()]
    return torch.from_numpy(np.stack(mapped))


def pictures(architecture, count, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(count, *architecture.observation_shape)))


def maze_data(observer=MAZE, dtype=torch.float64, transitions=5000, last=True):
    data = gather("simple-maze", transitions, np.random.default_rng(0), mark_last_terminal=last)
    return Transitions.of(data, observer, dtype, CPU)


def labyrinth_data(transitions=60):
    data = gather("labyrinth", transitions, np.random.default_rng(0))
    observer = Observer("labyrinth", "symbolic")
    return Transitions.of(data, observer, torch.float64, CPU)


def batch_loss(architecture, parameters, data, rows=None):
    """L_p as training computes it."""
    rows = torch.arange(len(data)) if rows is None else rows
    with torch.no_grad():
        forward = Forward(architecture, parameters, data.batch(rows), SETTINGS)
        return transition_terms(forward).mean().item()


def exact_loss(parameters):
    evaluation = exact_evaluation(SIMPLE_MAZE, networks.stack([parameters]), MAZE, SETTINGS)
    return evaluation.losses["transition"][0]


def base(seed):
    agent = load_agent(BASES / f"base-seed{seed}.safetensors")
    return {name: p.double() for name, p in agent.parameters.items()}


def random_orthogonal(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


# The candidates


@pytest.mark.parametrize(
    ("architecture", "options", "count"),
    [
        (SIMPLE_MAZE, {}, 128),
        (SIMPLE_MAZE, {"angles": 7}, 14),
        (SIMPLE_MAZE, {"angles": 1}, 2),
        (replace(SIMPLE_MAZE, state_shape=(1,)), {}, 2),
        (replace(SIMPLE_MAZE, state_shape=(3,)), {}, 48),
        (LABYRINTH, {}, 48),
        (replace(LABYRINTH, state_shape=(2, 8, 8)), {}, 8),
    ],
)
def test_candidates_are_a_group_of_orthogonal_maps_that_begins_with_the_identity(
    architecture, options, count
):
    maps = candidate_maps(architecture, **options)
    size = architecture.state_shape[0]
    assert maps.shape == (count, size, size)
    assert maps.dtype == np.float64
    np.testing.assert_array_equal(maps[0], np.eye(size))
    np.testing.assert_allclose(
        maps @ maps.transpose(0, 2, 1), np.tile(np.eye(size), (count, 1, 1)), atol=1e-15
    )
    assert (np.linalg.det(maps) > 0).sum() == count // 2

    def places(some):
        return np.abs(some[:, None] - maps[None]).max((-2, -1)) < 1e-12

    # Different ones, among them every product.
    np.testing.assert_array_equal(places(maps), np.eye(count, dtype=bool))
    for matrix in maps[:: max(1, count // 8)]:
        assert (places(matrix @ maps).sum(axis=1) == 1).all()


def test_maps_of_the_plane_are_rotations_then_reflections_in_steps():
    maps = candidate_maps(SIMPLE_MAZE, angles=8)
    for k in range(8):
        np.testing.assert_allclose(maps[k], turn(45 * k), atol=1e-15)
        np.testing.assert_allclose(maps[8 + k], mirror(22.5 * k), atol=1e-15)
    # A change of signs leaves no rounding behind.
    assert maps[4].tolist() == [[-1, 0], [0, -1]]
    assert maps[2].tolist() == [[0, -1], [1, 0]]
    assert maps[12].tolist() == [[-1, 0], [0, 1]]
    assert not np.signbit(maps[maps == 0]).any()


def test_signed_permutations_have_one_entry_a_row_and_column():
    maps = candidate_maps(LABYRINTH)
    assert set(np.unique(maps)) == {-1, 0, 1}
    assert (np.abs(maps).sum(1) == 1).all()
    assert (np.abs(maps).sum(2) == 1).all()


# Folding


@pytest.mark.parametrize(
    "architecture", [SIMPLE_MAZE, SIMPLE_MAZE_PIXELS, LABYRINTH, LABYRINTH_SYMBOLIC]
)
def test_a_folded_map_is_the_map_of_the_states(architecture):
    agent = random_agent(architecture, 0, torch.float64)
    untouched = {name: p.clone() for name, p in agent.items()}
    matrix = random_orthogonal(architecture.state_shape[0], 1)
    folded = fold(architecture, agent, matrix)
    seen = pictures(architecture, 4)
    with torch.no_grad():
        before = networks.encode(architecture, agent, seen)
        after = networks.encode(architecture, folded, seen)
    torch.testing.assert_close(after, apply_map(matrix, before), atol=1e-12, rtol=0)
    assert (after - before).abs().max() > 0.01

    last = f"encoder.{len(architecture.encoder) - 1}."
    assert folded.keys() == agent.keys()
    for name, p in agent.items():
        assert torch.equal(p, untouched[name])
        assert folded[name].data_ptr() != p.data_ptr()
        assert folded[name].is_contiguous()
        assert torch.equal(folded[name], p) == (not name.startswith(last)), name


def test_a_map_and_its_inverse_fold_away():
    agent = random_agent(LABYRINTH_SYMBOLIC, 1, torch.float64)
    for matrix in candidate_maps(LABYRINTH_SYMBOLIC):
        there = fold(LABYRINTH_SYMBOLIC, agent, matrix)
        back = fold(LABYRINTH_SYMBOLIC, there, matrix.T)
        assert all(torch.equal(back[name], p) for name, p in agent.items())


def test_folding_keeps_the_precision():
    agent = random_agent(SIMPLE_MAZE, 2)
    folded = fold(SIMPLE_MAZE, agent, turn(10))
    assert {p.dtype for p in folded.values()} == {torch.float32}


# Losses of maps


@pytest.mark.parametrize("numbers_at_once", [2**22, 3000])
def test_losses_of_maps_are_those_of_the_folded_agents_in_the_maze(monkeypatch, numbers_at_once):
    monkeypatch.setattr(realignment, "_NUMBERS_AT_ONCE", numbers_at_once)
    agent, maps = random_agent(SIMPLE_MAZE, 3, torch.float64), candidate_maps(SIMPLE_MAZE, 5)
    data = Transitions.of(exact_transitions(), MAZE, torch.float64, CPU)
    with torch.no_grad():
        states = networks.encode(SIMPLE_MAZE, agent, data.observe(data.first))
        following = networks.encode(SIMPLE_MAZE, agent, data.observe(data.second))
    found = map_losses(
        SIMPLE_MAZE, agent, states, following, data.actions, 1 - data.terminals, maps
    )
    assert found.shape == (10,)
    assert found.dtype == np.float64
    for matrix, loss in zip(maps, found, strict=True):
        assert loss == pytest.approx(exact_loss(fold(SIMPLE_MAZE, agent, matrix)), abs=1e-12)
    assert np.ptp(found) > 0.01


@pytest.mark.parametrize("numbers_at_once", [2**22, 30_000])
def test_losses_of_maps_leave_terminal_transitions_out(monkeypatch, numbers_at_once):
    monkeypatch.setattr(realignment, "_NUMBERS_AT_ONCE", numbers_at_once)
    architecture, data = LABYRINTH_SYMBOLIC, labyrinth_data()
    data = replace(data, terminals=(torch.arange(60) % 3 == 0).double())
    agent, maps = random_agent(architecture, 4, torch.float64), candidate_maps(architecture)[::7]
    with torch.no_grad():
        states = networks.encode(architecture, agent, data.observe(data.first))
        following = networks.encode(architecture, agent, data.observe(data.second))
    found = map_losses(
        architecture, agent, states, following, data.actions, 1 - data.terminals, maps
    )
    for matrix, loss in zip(maps, found, strict=True):
        expected = batch_loss(architecture, fold(architecture, agent, matrix), data)
        assert loss == pytest.approx(expected, abs=1e-12)


# What is proposed


@pytest.mark.parametrize("seed", range(6))
def test_a_good_base_is_left_alone(seed):
    maps = candidate_maps(SIMPLE_MAZE)
    assert propose(SIMPLE_MAZE, base(seed), maze_data(), maps) is None
    # The identity is no proposal, whatever counts as clear.
    assert propose(SIMPLE_MAZE, base(seed), maze_data(), maps[[0, 32]], factor=1.0) is None


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("matrix", [-np.eye(2), turn(90), mirror(0), mirror(90), mirror(45)])
def test_a_turned_or_mirrored_base_is_brought_back(seed, matrix):
    agent, data, maps = base(seed), maze_data(), candidate_maps(SIMPLE_MAZE)
    moved = fold(SIMPLE_MAZE, agent, matrix)
    found = propose(SIMPLE_MAZE, moved, data, maps)
    np.testing.assert_allclose(found.map, matrix.T, atol=1e-15)
    np.testing.assert_array_equal(found.map, maps[found.candidate])
    assert found.loss_before == pytest.approx(batch_loss(SIMPLE_MAZE, moved, data), rel=1e-10)
    assert found.loss_after == pytest.approx(batch_loss(SIMPLE_MAZE, agent, data), rel=1e-10)
    assert found.loss_after < 0.01 * found.loss_before

    repaired = fold(SIMPLE_MAZE, moved, found.map)
    for name, p in agent.items():
        torch.testing.assert_close(repaired[name], p, atol=1e-15, rtol=0)
    assert propose(SIMPLE_MAZE, repaired, data, maps) is None


def test_half_a_turn_is_undone_exactly():
    agent = base(0)
    moved = fold(SIMPLE_MAZE, agent, -np.eye(2))
    found = propose(SIMPLE_MAZE, moved, maze_data(), candidate_maps(SIMPLE_MAZE))
    repaired = fold(SIMPLE_MAZE, moved, found.map)
    assert all(torch.equal(repaired[name], p) for name, p in agent.items())


@pytest.mark.parametrize("matrix", [turn(101), turn(-133.3), mirror(71.2)])
def test_between_the_maps_of_the_grid_the_nearest_is_taken(matrix):
    agent, data = base(1), maze_data()
    found = propose(
        SIMPLE_MAZE, fold(SIMPLE_MAZE, agent, matrix), data, candidate_maps(SIMPLE_MAZE)
    )
    left = found.map @ matrix
    angle = math.degrees(math.atan2(left[1, 0], left[0, 0]))
    assert np.linalg.det(left) == pytest.approx(1)
    # A step of the grid is 5.6 degrees; what a base predicts is not best at exactly 0.
    assert abs(angle) < 5.625
    left_over = fold(SIMPLE_MAZE, agent, turn(angle))
    assert found.loss_after == pytest.approx(batch_loss(SIMPLE_MAZE, left_over, data), rel=1e-10)
    assert found.loss_after < 5 * batch_loss(SIMPLE_MAZE, agent, data)


def test_single_precision_proposes_the_same():
    agent = load_agent(BASES / "base-seed2.safetensors").parameters
    moved = fold(SIMPLE_MAZE, agent, mirror(90))
    data = maze_data(dtype=torch.float32)
    found = propose(SIMPLE_MAZE, moved, data, candidate_maps(SIMPLE_MAZE))
    np.testing.assert_array_equal(found.map, mirror(90).round())
    assert found.loss_before == pytest.approx(batch_loss(SIMPLE_MAZE, moved, data), rel=1e-4)
    # Doubles among the data or the parameters do no harm.
    again = propose(SIMPLE_MAZE, moved, maze_data(), candidate_maps(SIMPLE_MAZE))
    assert again.candidate == found.candidate


@pytest.mark.parametrize("seed", range(2))
def test_in_the_labyrinth_the_best_of_all_maps_is_proposed(seed):
    architecture, data = LABYRINTH_SYMBOLIC, labyrinth_data(15)
    agent, maps = random_agent(architecture, seed, torch.float64), candidate_maps(architecture)
    losses = [batch_loss(architecture, fold(architecture, agent, m), data) for m in maps]
    best = int(np.argmin(losses))
    assert best > 0
    assert losses[best] < 0.95 * losses[0]
    found = propose(architecture, agent, data, maps, factor=0.95)
    assert found.candidate == best
    assert (found.loss_before, found.loss_after) == pytest.approx((losses[0], losses[best]))
    # Just clear enough, and just not.
    fall = losses[best] / losses[0]
    assert propose(architecture, agent, data, maps, factor=fall * 1.0001) is not None
    assert propose(architecture, agent, data, maps, factor=fall * 0.9999) is None


def test_the_loss_is_that_of_the_rows_asked_for():
    data, maps = maze_data(), candidate_maps(SIMPLE_MAZE)
    moved = fold(SIMPLE_MAZE, base(0), -np.eye(2))
    # Repeated rows count as often as they are given; row 4,999 is terminal.
    rows = torch.tensor([3, 4999, 3, 3, 17, 2500])
    found = propose(SIMPLE_MAZE, moved, data, maps, rows=rows)
    assert data.terminals[rows].sum() == 1
    assert found.loss_before == pytest.approx(batch_loss(SIMPLE_MAZE, moved, data, rows), rel=1e-10)


def test_without_a_table_a_fixed_sample_is_measured_on(monkeypatch):
    monkeypatch.setattr(realignment, "SAMPLE_LIMIT", 200)
    maps, moved = candidate_maps(SIMPLE_MAZE), fold(SIMPLE_MAZE, base(0), -np.eye(2))
    data = maze_data(transitions=999, last=False)
    bare = replace(data, table=None)
    rows = torch.from_numpy(np.random.default_rng(1).permutation(999)[:300])
    for some, given, measured in (
        (data, None, torch.arange(999)),
        (data, rows, rows),
        (bare, None, torch.arange(200) * 999 // 200),
        (bare, rows, rows[:200]),
        (bare, rows[:5], rows[:5]),
    ):
        found = propose(SIMPLE_MAZE, moved, some, maps, rows=given)
        expected = batch_loss(SIMPLE_MAZE, moved, data, measured)
        assert found.loss_before == pytest.approx(expected, rel=1e-10)


def test_spatial_states_are_measured_on_a_sample_even_with_a_table(monkeypatch):
    monkeypatch.setattr(realignment, "SAMPLE_LIMIT", 20)
    architecture, data = LABYRINTH_SYMBOLIC, labyrinth_data()
    agent = random_agent(architecture, 0, torch.float64)
    assert data.table is not None
    found = propose(architecture, agent, data, candidate_maps(architecture), factor=1.0)
    expected = batch_loss(architecture, agent, data, torch.arange(20) * 3)
    assert found.loss_before == pytest.approx(expected)


def test_an_agent_that_diverged_is_left_alone():
    agent = base(0)
    agent["encoder.5.bias"][0] = math.inf
    assert propose(SIMPLE_MAZE, agent, maze_data(), candidate_maps(SIMPLE_MAZE)) is None


# What is refused


def test_wrong_input_is_refused_in_one_sentence():
    agent, data, maps = base(0), maze_data(transitions=50), candidate_maps(SIMPLE_MAZE)
    with pytest.raises(InputError, match="at most 3 dimensions to realign, found 4"):
        candidate_maps(replace(SIMPLE_MAZE, state_shape=(4,)))
    with pytest.raises(InputError, match="at most 5 channels to realign, found 6"):
        candidate_maps(replace(LABYRINTH, state_shape=(6, 8, 8)))
    with pytest.raises(InputError, match="angles must be at least 1, found 0"):
        candidate_maps(SIMPLE_MAZE, angles=0)

    for encoder in (
        (Flatten(), Dense(64, 2)),
        (Conv(1, 2, 8), Flatten()),
        (Conv(1, 2, 1, tanh=True),),
        (),
    ):
        bad = replace(SIMPLE_MAZE, encoder=encoder)
        with pytest.raises(InputError, match="to end in a linear layer"):
            fold(bad, agent, np.eye(2))
    with pytest.raises(InputError, match=r"a map of shape \(2, 2\).*found \(3, 3\)"):
        fold(SIMPLE_MAZE, agent, np.eye(3))

    for factor in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(InputError, match="factor must be above 0 and at most 1"):
            propose(SIMPLE_MAZE, agent, data, maps, factor=factor)
    for wrong in (maps[1:], maps[:0], candidate_maps(LABYRINTH)):
        with pytest.raises(InputError, match="the identity as the first of the maps"):
            propose(SIMPLE_MAZE, agent, data, wrong)
    with pytest.raises(InputError, match="at least 1 transition, found none"):
        propose(SIMPLE_MAZE, agent, data, maps, rows=torch.tensor([], dtype=torch.int64))


# Starts


def test_starts_are_different_and_orthogonal_the_identity_and_its_negative_first():
    maps = start_maps(SIMPLE_MAZE, 64)
    np.testing.assert_array_equal(maps[0], np.eye(2))
    np.testing.assert_array_equal(maps[1], -np.eye(2))
    np.testing.assert_allclose(maps @ maps.transpose(0, 2, 1), [np.eye(2)] * 64, atol=1e-12)
    apart = np.abs(maps[:, None] - maps[None]).max(axis=(2, 3)) + np.eye(64)
    assert apart.min() > 0.05
    # The symmetries of a square first, then all of an octagon's.
    np.testing.assert_array_equal(np.abs(maps[:8]).sum(axis=(1, 2)), 2)
    assert len(start_maps(SIMPLE_MAZE, 8)) == 8
    np.testing.assert_array_equal(start_maps(SIMPLE_MAZE, 3), maps[:3])
    for count, angles in ((8, 4), (16, 8), (32, 16)):
        known = candidate_maps(SIMPLE_MAZE, angles)
        gaps = np.abs(maps[:count, None] - known[None]).max(axis=(2, 3)).min(axis=0)
        assert gaps.max() < 1e-12


def test_starts_of_images_are_signed_permutations_of_their_channels():
    maps = start_maps(LABYRINTH, 50)
    np.testing.assert_array_equal(maps[0], np.eye(3))
    np.testing.assert_array_equal(maps[1], -np.eye(3))
    assert len({m.tobytes() for m in maps + 0.0}) == 48
    np.testing.assert_array_equal(maps[48:], maps[:2])


def test_no_start_at_all_is_refused():
    with pytest.raises(InputError, match="count"):
        start_maps(SIMPLE_MAZE, 0)
