"""The fast exact losses against their definition, point by point."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent.architecture import (
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
    Dense,
    Flatten,
)
from crar_diag.agent.config import LOSSES
from crar_diag.agent.exact import losses_of_embedding, q_targets
from crar_diag.agent.loading import load_agent
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import encode
from crar_diag.landscape.agents import Q_TARGET, agent_problem
from crar_diag.landscape.directions import plane_through
from crar_diag.landscape.exact_grid import fits, losses_of_points
from crar_diag.landscape.grids import Plane
from crar_diag.landscape.points import Combination, beside
from crar_diag.landscape.problem import evaluate
from crar_diag.landscape.surface import frozen_surface
from tests.landscape.shipped import CORRECT, UNFINISHED, WRONG


@pytest.fixture(scope="module")
def agent():
    found = load_agent(CORRECT)
    doubles = {name: p.double() for name, p in found.parameters.items()}
    return replace(found, parameters=doubles)


def near(parameters, names, count=4, seed=0):
    """Points around a model, far enough for every loss to matter."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p + 0.3 * torch.randn((count, *p.shape), generator=generator, dtype=p.dtype)
        for name, p in parameters.items()
        if any(name.startswith(start) for start in names)
    }


MOVES = [
    ("encoder.",),
    ("",),
    ("transition.", "q."),
    ("encoder.3.",),
    ("encoder.", "reward.0.weight"),
]


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("settings", [LossSettings(), LossSettings(0.5, True, 3.0)])
def test_the_losses_are_those_of_each_point_by_itself(agent, moves, settings):
    moving = near(agent.parameters, moves)
    held = {name: p for name, p in agent.parameters.items() if name not in moving}
    pictures = agent_problem(agent, "inverse", dtype=torch.float64).batch
    found = losses_of_points(SIMPLE_MAZE, moving, held, pictures, settings)
    assert tuple(found) == LOSSES
    for g in range(4):
        one = held | {name: p[g] for name, p in moving.items()}
        expected = losses_of_embedding(
            SIMPLE_MAZE, one, encode(SIMPLE_MAZE, one, pictures), settings
        )
        for name in LOSSES:
            assert found[name][g].item() == pytest.approx(expected[name].item(), rel=1e-11), name
    assert found["transition"].max() > 0.01


@pytest.mark.parametrize("moves", [*MOVES, ("encoder.1.weight", "q.0.bias")])
def test_points_that_are_sums_of_models_have_the_losses_of_these_points(agent, moves):
    moving = near(agent.parameters, moves, count=3, seed=2)
    held = {name: p for name, p in agent.parameters.items() if name not in moving}
    pictures = agent_problem(agent, "inverse", dtype=torch.float64).batch
    coefficients = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0.2, -0.4, 1.2], [0, 1, 0]]).double()
    points = Combination(moving, coefficients, dict.fromkeys(moving, torch.float64))
    found = losses_of_points(SIMPLE_MAZE, points, held, pictures, LossSettings())
    expected = losses_of_points(SIMPLE_MAZE, points.made(), held, pictures, LossSettings())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)
    # A component of its own beside: as in the second half of a re-fit.
    if "reward.0.weight" not in moving:
        more = near(agent.parameters, ("reward.",), seed=3)
        less = {name: p for name, p in held.items() if name not in more}
        found = losses_of_points(SIMPLE_MAZE, beside(points, more), less, pictures, LossSettings())
        both = points.made() | more
        expected = losses_of_points(SIMPLE_MAZE, both, less, pictures, LossSettings())
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_point_that_is_not_finite_is_so_by_itself(agent, value):
    problem = agent_problem(agent, "inverse", dtype=torch.float64)
    moving = near(agent.parameters, ("encoder.",))
    moving["encoder.5.bias"][1, 0] = value
    held = {name: p for name, p in agent.parameters.items() if name not in moving}
    found = evaluate(problem, moving, held).losses
    plain = evaluate(replace(problem, many=None), moving, held).losses
    for name in LOSSES:
        torch.testing.assert_close(found[name], plain[name], rtol=1e-11, atol=0, equal_nan=True)
    assert not found["random_pairs"][1].isfinite()
    assert found["random_pairs"][0].isfinite()


def test_networks_with_a_single_layer_are_evaluated_too(agent):
    shallow = replace(
        SIMPLE_MAZE,
        encoder=(Flatten(), Dense(64, 2, tanh=False)),
        reward=(Dense(6, 1, tanh=False),),
        q=(Dense(2, 4, tanh=False),),
    )
    generator = torch.Generator().manual_seed(4)
    population = {
        name: torch.randn((3, *shape), generator=generator).double()
        for name, shape in shallow.shapes().items()
    }
    pictures = agent_problem(agent, "inverse", dtype=torch.float64).batch
    found = losses_of_points(shallow, population, {}, pictures, LossSettings())
    for g in range(3):
        one = {name: p[g] for name, p in population.items()}
        expected = losses_of_embedding(shallow, one, encode(shallow, one, pictures), LossSettings())
        for name in LOSSES:
            assert found[name][g].item() == pytest.approx(expected[name].item(), rel=1e-11), name


def test_a_target_of_q_that_is_held_is_each_points_own(agent):
    problem = agent_problem(agent, "inverse", dtype=torch.float64)
    moving = near(agent.parameters, ("encoder.", "q."))
    held = {name: p for name, p in agent.parameters.items() if name not in moving}
    targets = torch.randn((4, 124), generator=torch.Generator().manual_seed(1)).double()
    found = evaluate(problem, moving | {Q_TARGET: targets}, held).losses["q"]
    plain = evaluate(replace(problem, many=None), moving | {Q_TARGET: targets}, held).losses["q"]
    own = evaluate(problem, moving, held).losses["q"]
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=0)
    assert (found != own).all()
    one = held | {name: p[2] for name, p in moving.items()}
    embedding = encode(SIMPLE_MAZE, one, problem.batch)
    targets[2] = q_targets(SIMPLE_MAZE, one, embedding)
    again = evaluate(problem, moving | {Q_TARGET: targets}, held).losses["q"]
    torch.testing.assert_close(again[2], own[2], rtol=1e-11, atol=0)


def test_the_points_stay_as_they_are(agent):
    problem = agent_problem(agent, "inverse", dtype=torch.float64)
    moving = near(agent.parameters, ("encoder.",))
    before = {name: p.clone() for name, p in moving.items()}
    pictures = problem.batch.clone()
    held = {name: p for name, p in agent.parameters.items() if name not in moving}
    evaluate(problem, moving, held)
    assert all(torch.equal(p, before[name]) for name, p in moving.items())
    assert torch.equal(problem.batch, pictures)


def test_dense_agents_of_flat_states_are_evaluated_so():
    assert fits(SIMPLE_MAZE)
    assert not fits(SIMPLE_MAZE_PIXELS)
    assert not fits(LABYRINTH_SYMBOLIC)


def test_a_plane_through_three_agents_has_their_losses_where_they_are():
    agents = [load_agent(path) for path in (CORRECT, WRONG, UNFINISHED)]
    problem = agent_problem(agents[0], "inverse")
    (u, v), places = plane_through(*(problem.moving(one.parameters) for one in agents))
    xs, ys = (np.array(sorted({place[axis] for place in places.values()})) for axis in (0, 1))
    plane = Plane(problem.moving(agents[0].parameters), u, v, xs, ys)
    found = frozen_surface(problem, plane, agents[0].parameters)
    for one, (x, y) in zip(agents, places.values(), strict=True):
        at = tuple(np.searchsorted(axis, place) for axis, place in ((xs, x), (ys, y)))
        for name in LOSSES:
            stored = problem.values(one.parameters)[name].item()
            assert found.losses[name][at] == pytest.approx(stored, rel=1e-4, abs=1e-6)
