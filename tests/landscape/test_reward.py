"""Reward surfaces against the score of each point's agent by itself."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent import probes
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC
from crar_diag.agent.assessment import Play, assess
from crar_diag.agent.loading import load_agent
from crar_diag.errors import InputError
from crar_diag.landscape.agents import ENCODER
from crar_diag.landscape.grids import Line, Plane
from crar_diag.landscape.problem import matching
from crar_diag.landscape.reward import reward_surface
from tests.agent.test_evaluation import random_agent
from tests.runs import BASES, HELD_OUT, labyrinth_config, save_agent

PLAY = {"depth": 1, "epsilon": 0.3, "steps": 24, "episode_cap": 15, "environments": 3}
CONFIG = labyrinth_config("0")


def saved(path, seed):
    """An agent whose actions depend on what it sees."""
    agent = {name: 2 * p for name, p in random_agent(LABYRINTH_SYMBOLIC, seed).items()}
    return load_agent(save_agent(path, CONFIG, parameters=agent))


@pytest.fixture
def agents(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
    first, second = (saved(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    return first, second


def line_between(agents) -> Line:
    ends = [matching(agent.parameters, ENCODER) for agent in agents]
    return Line(*ends, np.array([-0.25, 0.0, 0.5, 1.0]))


def plane_of(agents) -> Plane:
    a, b = (matching(agent.parameters, ENCODER) for agent in agents)
    u = {name: b[name].double() - p.double() for name, p in a.items()}
    v = {name: -p.double() for name, p in a.items()}
    return Plane(a, u, v, np.array([0.0, 1.0]), np.array([-0.5, 0.0, 2.0]))


@pytest.mark.parametrize("domain", ["normal", "inverse"])
@pytest.mark.parametrize("make", [line_between, plane_of])
def test_every_points_score_is_that_of_its_agent_alone(agents, tmp_path, make, domain):
    grid = make(agents)
    found = reward_surface(agents[0], grid, agents[0].parameters, domain, seed=4, **PLAY)
    assert found.scores.shape == (*grid.shape, 3)
    assert found.mean.shape == found.standard_error.shape == grid.shape
    for k in range(len(grid)):
        own = {name: p[0] for name, p in grid.points(k, k + 1).items()}
        path = save_agent(
            tmp_path / f"point{k}.safetensors", CONFIG, parameters=agents[0].parameters | own
        )
        (alone,) = assess([path], domain, Play(**PLAY), seed=4)
        assert found.mean.flat[k] == alone.score
        assert found.standard_error.flat[k] == alone.score_error
    assert len(np.unique(found.scores.reshape(-1, 3), axis=0)) >= 2


def test_mean_and_standard_error_are_those_of_the_environments(agents):
    found = reward_surface(agents[0], line_between(agents), agents[0].parameters, "normal", **PLAY)
    assert (found.standard_error > 0).any()
    for k in range(4):
        values = found.scores[k].tolist()
        mean = sum(values) / 3
        variance = sum((value - mean) ** 2 for value in values) / 2
        assert found.mean[k] == pytest.approx(mean, abs=1e-12)
        assert found.standard_error[k] == pytest.approx(math.sqrt(variance / 3), abs=1e-12)


def test_equal_points_meet_the_same_mazes(agents):
    same = matching(agents[0].parameters, ENCODER)
    grid = Line(same, same, np.array([0.0, 0.3, 1.0]))
    found = reward_surface(agents[0], grid, agents[0].parameters, "normal", **PLAY)
    np.testing.assert_array_equal(found.scores, np.tile(found.scores[0], (3, 1)))
    assert len(np.unique(found.scores[0])) > 1


def test_other_parameters_are_held(agents):
    """The second agent's planning is another, with the same encoders."""
    grid = line_between(agents)
    scores = [
        reward_surface(agents[0], grid, agent.parameters, "normal", **PLAY).scores
        for agent in agents
    ]
    assert not np.array_equal(*scores)
    encoders = {name: 7 * p for name, p in matching(agents[0].parameters, ENCODER).items()}
    held = agents[0].parameters | encoders
    again = reward_surface(agents[0], grid, held, "normal", **PLAY).scores
    np.testing.assert_array_equal(again, scores[0])


def test_the_same_seed_gives_the_same_data_and_another_other_mazes(agents):
    grid, held = line_between(agents), agents[0].parameters
    first, second, other = (
        reward_surface(agents[0], grid, held, "normal", seed=seed, **PLAY).scores
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_pieces_change_nothing_and_progress_counts_points(agents, at_once):
    grid, held = line_between(agents), agents[0].parameters
    whole = reward_surface(agents[0], grid, held, "normal", **PLAY)
    told = []
    found = reward_surface(
        agents[0],
        grid,
        held,
        "normal",
        at_once=at_once,
        progress=lambda done, total: told.append((done, total)),
        **PLAY,
    )
    np.testing.assert_array_equal(found.scores, whole.scores)
    ends = {1: [0, 1, 2, 3, 4], 3: [0, 3, 4], 100: [0, 4]}[at_once]
    assert told == [(done, 4) for done in ends]


def test_an_interrupted_surface_goes_on_where_it_was(agents, monkeypatch):
    grid, held = line_between(agents), agents[0].parameters
    whole = reward_surface(agents[0], grid, held, "normal", **PLAY)
    kept = []

    def save(values, done):
        kept.append(({name: array.copy() for name, array in values.items()}, done))

    reward_surface(agents[0], grid, held, "normal", at_once=1, save=save, **PLAY)
    assert [done for _, done in kept] == [1, 2, 3, 4]
    before, done = kept[2]
    assert np.isnan(before["score"][done:]).all()
    told = []
    found = reward_surface(
        agents[0],
        grid,
        held,
        "normal",
        before=before,
        progress=lambda done, total: told.append(done),
        **PLAY,
    )
    assert told == [3, 4]
    np.testing.assert_array_equal(found.scores, whole.scores)
    with pytest.raises(InputError, match=r"of 4 points in 2 environments, found 4 x 3$"):
        reward_surface(
            agents[0], grid, held, "normal", before=before, **(PLAY | {"environments": 2})
        )


def test_an_agent_in_double_precision_plays_in_it(tmp_path):
    config = labyrinth_config("0", 9, "precision=float64")
    agent = load_agent(save_agent(tmp_path / "double.safetensors", config))
    own = matching(agent.parameters, ENCODER)
    assert all(p.dtype == torch.float64 for p in own.values())
    grid = Line(own, own, np.array([0.0, 1.0]))
    found = reward_surface(agent, grid, agent.parameters, "normal", **PLAY)
    assert np.isfinite(found.scores).all()


# What is refused


def test_the_simple_maze_has_no_reward():
    agent = load_agent(BASES / "base-seed0.safetensors")
    own = matching(agent.parameters, ENCODER)
    grid = Line(own, own, np.array([0.0, 1.0]))
    sentence = r"^checkpoint '.*base-seed0.safetensors' is of the task simple-maze, .* no reward"
    with pytest.raises(InputError, match=sentence):
        reward_surface(agent, grid, agent.parameters, "normal")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"environments": 1}, r"at least 2 environments, .* found 1$"),
        ({"depth": 7}, r"depth must be from 0 to 6, found 7$"),
        ({"epsilon": 1.5}, r"epsilon must be from 0 to 1, found 1\.5$"),
        ({"steps": 0}, r"steps must be at least 1, found 0"),
        ({"episode_cap": 0}, r"episode_cap must be at least 1, found 0"),
    ],
)
def test_numbers_out_of_range_are_refused(agents, change, sentence):
    with pytest.raises(InputError, match=sentence):
        reward_surface(
            agents[0], line_between(agents), agents[0].parameters, "normal", **(PLAY | change)
        )


def test_an_unknown_domain_is_refused(agents):
    with pytest.raises(InputError, match=r"unknown domain 'invers' \(did you mean 'inverse'\?\)"):
        reward_surface(agents[0], line_between(agents), agents[0].parameters, "invers", **PLAY)
