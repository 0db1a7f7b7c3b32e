"""Losses away from training against plain loops over pairs, rows and mazes."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent import lifting, networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE, SIMPLE_MAZE_PIXELS
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loss_evaluation import exact_evaluation, held_out_labyrinth, sampled_losses
from crar_diag.agent.losses import Forward, LossSettings, all_losses
from crar_diag.agent.streams import stream
from crar_diag.envs.data import TransitionData, gather
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError
from tests.agent.test_evaluation import random_agent
from tests.agent.test_losses import maze_cells, maze_move, maze_picture

MAZE = Observer("simple-maze", "symbolic")
SYMBOLIC = Observer("labyrinth", "symbolic")

# Exact evaluation of the simple maze


def twin_forward(agent, component, x):
    """A component of the simple maze's agent on a list of numbers, in plain Python."""
    position = 1 if component == "encoder" else 0
    while f"{component}.{position}.weight" in agent:
        weight, bias = (
            agent[f"{component}.{position}.weight"],
            agent[f"{component}.{position}.bias"],
        )
        x = [
            sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(weight, bias, strict=True)
        ]
        position += 1
        if f"{component}.{position}.weight" in agent:
            x = [math.tanh(v) for v in x]
    return x


def twin_losses(agent, sign, double_q):
    """The simple maze's losses, one pair after another; pictures multiplied by `sign`."""
    cells = maze_cells()
    x = {
        cell: twin_forward(agent, "encoder", [sign * v for row in maze_picture(cell) for v in row])
        for cell in cells
    }
    q = {cell: twin_forward(agent, "q", x[cell]) for cell in cells}

    def repulsion(a, b):
        square = sum((u - v) ** 2 for u, v in zip(a, b, strict=True))
        return math.exp(-5 * math.sqrt(min(max(square, 1e-6), 10.0)))

    totals = dict.fromkeys(LOSSES, 0.0)
    for cell in cells:
        for action in range(4):
            after = maze_move(cell, action)
            joined = [*x[cell], *(float(action == a) for a in range(4))]
            step = twin_forward(agent, "transition", joined)
            totals["transition"] += (
                sum((a + d - b) ** 2 for a, d, b in zip(x[cell], step, x[after], strict=True)) / 2
            )
            totals["reward"] += twin_forward(agent, "reward", joined)[0] ** 2
            totals["discount"] += (0.9 - twin_forward(agent, "discount", joined)[0]) ** 2
            totals["volume"] += min(max(max(v * v for v in x[cell]) - 1, 0), 100)
            totals["consecutive_pairs"] += repulsion(x[cell], x[after])
            # With the agent as its own target, double DQN and the plain maximum agree.
            totals["q"] += (0.9 * max(q[after]) - q[cell][action]) ** 2 / 4
    losses = {name: total / 124 for name, total in totals.items()}
    losses["random_pairs"] = sum(repulsion(x[a], x[b]) for a in cells for b in cells) / 31**2
    return losses, [x[cell] for cell in cells]


@pytest.mark.parametrize("domain", ["normal", "inverse"])
def test_exact_losses_equal_a_loop_over_all_pairs(domain):
    agents = [random_agent(SIMPLE_MAZE, seed, torch.float64) for seed in range(2)]
    # Large enough states for the volume loss.
    agents[1]["encoder.5.weight"] *= 8
    observer = Observer("simple-maze", "symbolic", domain)
    for double_q in (False, True):
        result = exact_evaluation(
            SIMPLE_MAZE, networks.stack(agents), observer, LossSettings(double_q=double_q)
        )
        assert tuple(result.losses) == LOSSES
        assert result.embedding.shape == (2, 31, 2)
        assert result.embedding.dtype == np.float64
        for index, agent in enumerate(agents):
            plain = {name: p.tolist() for name, p in agent.items()}
            sign = 1 if domain == "normal" else -1
            losses, embedding = twin_losses(plain, sign, double_q)
            np.testing.assert_allclose(result.embedding[index], embedding, atol=1e-12)
            for name in LOSSES:
                assert result.losses[name][index] == pytest.approx(losses[name], abs=1e-12), name
    assert result.losses["volume"][1] > 0.1


def test_exact_evaluation_keeps_the_parameters_precision():
    agent = random_agent(SIMPLE_MAZE, 5, torch.float64)
    single = networks.stack([{name: p.float() for name, p in agent.items()}])
    rounded = exact_evaluation(SIMPLE_MAZE, single, MAZE, LossSettings())
    exact = exact_evaluation(SIMPLE_MAZE, networks.stack([agent]), MAZE, LossSettings())
    assert rounded.embedding.dtype == rounded.losses["q"].dtype == np.float32
    for name in LOSSES:
        assert rounded.losses[name][0] == pytest.approx(exact.losses[name][0], rel=1e-4)


def test_exact_evaluation_of_many_members_is_that_of_each():
    # More than are computed together at once.
    agents = [random_agent(SIMPLE_MAZE, seed, torch.float64) for seed in range(66)]
    result = exact_evaluation(SIMPLE_MAZE, networks.stack(agents), MAZE, LossSettings())
    for index in (0, 63, 64, 65):
        alone = exact_evaluation(SIMPLE_MAZE, networks.stack([agents[index]]), MAZE, LossSettings())
        np.testing.assert_allclose(result.embedding[index], alone.embedding[0], atol=1e-12)
        for name in LOSSES:
            assert result.losses[name][index] == pytest.approx(alone.losses[name][0], abs=1e-12)


def test_exact_evaluation_of_the_rendered_maze_embeds_its_31_pictures():
    agent = random_agent(SIMPLE_MAZE_PIXELS, 6, torch.float64)
    observer = Observer("simple-maze", "pixels")
    result = exact_evaluation(SIMPLE_MAZE_PIXELS, networks.stack([agent]), observer, LossSettings())
    tiles = np.array(
        [
            [
                [
                    PLAYER if (r, c) == cell else PATH if (r, c) in maze_cells() else WALL
                    for c in range(8)
                ]
                for r in range(8)
            ]
            for cell in maze_cells()
        ],
        dtype=np.uint8,
    )
    pictures = torch.from_numpy(observer(tiles)).double()
    with torch.no_grad():
        expected = networks.encode(SIMPLE_MAZE_PIXELS, agent, pictures)
    np.testing.assert_allclose(result.embedding[0], expected.numpy(), atol=1e-12)


# Held-out losses of the labyrinth


def test_held_out_transitions_are_those_of_mazes_that_training_never_saw():
    data = held_out_labyrinth(60, seed=3)
    assert data.environment == "labyrinth"
    assert len(data) == 60

    def mazes(tiles):
        return {bytes(row) for row in np.packbits((tiles == WALL).reshape(len(tiles), -1), axis=1)}

    held_out = mazes(data.tiles)
    assert len(held_out) >= 15
    training = gather("labyrinth", 20_000, stream(3, "data"))
    assert not held_out & mazes(training.tiles)
    again, other = held_out_labyrinth(60, seed=3), held_out_labyrinth(60, seed=4)
    assert np.array_equal(data.tiles, again.tiles)
    assert np.array_equal(data.actions, again.actions)
    assert not held_out & mazes(other.tiles)


def test_held_out_transitions_follow_the_rules():
    data = held_out_labyrinth(100, seed=1)
    for before, after, action, reward, terminal in zip(
        data.tiles, data.next_tiles, data.actions, data.rewards, data.terminals, strict=True
    ):
        (row, column), (r, c) = np.argwhere(before == PLAYER)[0], np.argwhere(after == PLAYER)[0]
        rows, columns = [(1, 0), (0, 1), (-1, 0), (0, -1)][action]
        target = (row + rows, column + columns)
        wall = before[target] == WALL
        assert (r, c) == ((row, column) if wall else target)
        assert reward == np.float32(1.0 if before[target] == KEY else -0.1)
        assert terminal == (not (after == KEY).any())


def small_sample(seed):
    """Forty transitions from few mazes, in random order."""
    rng = np.random.default_rng(seed)
    walk = gather("labyrinth", 400, rng, steps_per_gathering=80)
    rows = rng.permutation(400)[:40]
    return TransitionData(
        "labyrinth",
        walk.tiles[rows],
        walk.next_tiles[rows],
        walk.actions[rows],
        walk.rewards[rows],
        walk.terminals[rows],
    )


def as_batch(data, observer, rows):
    return {
        "observation": torch.from_numpy(observer(data.tiles[rows])).double(),
        "next_observation": torch.from_numpy(observer(data.next_tiles[rows])).double(),
        "action": torch.from_numpy(data.actions[rows].astype(np.int64)),
        "reward": torch.from_numpy(data.rewards[rows]).double(),
        "terminal": torch.from_numpy(data.terminals[rows]).double(),
    }


@pytest.mark.parametrize("at_once", [32, 7])
def test_sampled_losses_are_those_of_the_sample_as_one_batch(monkeypatch, at_once):
    monkeypatch.setattr(lifting, "PICTURES_IN_CACHE", at_once)
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed, torch.float64) for seed in range(2)]
    settings, data = LossSettings(double_q=True), small_sample(0)
    result = sampled_losses(LABYRINTH_SYMBOLIC, networks.stack(agents), SYMBOLIC, data, settings)
    batch = as_batch(data, SYMBOLIC, np.arange(40))
    assert tuple(result.mean) == tuple(result.standard_error) == LOSSES
    for index, agent in enumerate(agents):
        with torch.no_grad():
            losses = all_losses(Forward(LABYRINTH_SYMBOLIC, agent, batch, settings))
        for name in LOSSES:
            assert result.mean[name][index] == pytest.approx(losses[name].item(), abs=1e-12), name


def test_standard_errors_of_sampled_losses_are_clustered_by_maze():
    agent = random_agent(LABYRINTH_SYMBOLIC, 2, torch.float64)
    settings, data = LossSettings(double_q=True), small_sample(1)
    result = sampled_losses(LABYRINTH_SYMBOLIC, networks.stack([agent]), SYMBOLIC, data, settings)
    keys = [bytes((tiles == WALL).tobytes()) for tiles in data.tiles]
    assert result.mazes == len(set(keys)) > 2
    for name in ("transition", "reward", "discount", "volume", "consecutive_pairs", "q"):
        values = []
        for row in range(40):
            with torch.no_grad():
                batch = as_batch(data, SYMBOLIC, [row])
                losses = all_losses(Forward(LABYRINTH_SYMBOLIC, agent, batch, settings))
            values.append(losses[name].item())
        mean = sum(values) / 40
        sums = dict.fromkeys(keys, 0.0)
        for key, value in zip(keys, values, strict=True):
            sums[key] += value - mean
        count = len(sums)
        expected = math.sqrt(count / (count - 1) * sum(s * s for s in sums.values())) / 40
        assert result.standard_error[name][0] == pytest.approx(expected, abs=1e-13), name


def test_standard_error_without_clusters_is_the_ordinary_one():
    # One transition a maze.
    rng = np.random.default_rng(5)
    walk = gather("labyrinth", 30, rng, steps_per_gathering=1)
    agent = random_agent(LABYRINTH_SYMBOLIC, 3, torch.float64)
    result = sampled_losses(
        LABYRINTH_SYMBOLIC, networks.stack([agent]), SYMBOLIC, walk, LossSettings()
    )
    assert result.mazes == 30
    batch = as_batch(walk, SYMBOLIC, np.arange(30))
    with torch.no_grad():
        forward = Forward(LABYRINTH_SYMBOLIC, agent, batch, LossSettings())
        predicted = networks.predict_reward(
            LABYRINTH_SYMBOLIC, agent, forward.states, batch["action"]
        )
    squares = ((batch["reward"] - predicted) ** 2).numpy()
    expected = squares.std(ddof=1) / math.sqrt(30)
    assert result.standard_error["reward"][0] == pytest.approx(expected, rel=1e-12)


def test_members_batched_as_on_an_accelerator_have_the_same_losses(monkeypatch):
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed, torch.float64) for seed in range(3)]
    population, data = networks.stack(agents), small_sample(2)
    settings = LossSettings(double_q=True)
    looped = sampled_losses(LABYRINTH_SYMBOLIC, population, SYMBOLIC, data, settings)
    monkeypatch.setattr(lifting, "lifted", lambda architecture, device: True)
    lifted = sampled_losses(LABYRINTH_SYMBOLIC, population, SYMBOLIC, data, settings)
    for name in LOSSES:
        np.testing.assert_allclose(looped.mean[name], lifted.mean[name], atol=1e-12)
        np.testing.assert_allclose(
            looped.standard_error[name], lifted.standard_error[name], atol=1e-12
        )


# What is refused


def test_wrong_input_is_refused_in_one_sentence():
    population = networks.stack([random_agent(LABYRINTH_SYMBOLIC, 0)])
    with pytest.raises(InputError, match="observer of 'simple-maze'"):
        exact_evaluation(LABYRINTH_SYMBOLIC, population, SYMBOLIC, LossSettings())
    with pytest.raises(InputError, match="at least 2 transitions, found 1"):
        sampled_losses(
            LABYRINTH_SYMBOLIC,
            population,
            SYMBOLIC,
            gather("labyrinth", 1, np.random.default_rng(0)),
            LossSettings(),
        )
    with pytest.raises(InputError, match="transitions must be at least 1"):
        held_out_labyrinth(0)
