"""The fast exact losses against their definition, point by point."""

from dataclasses import replace

import pytest
import torch

from crar_diag.agent.architecture import (
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
)
from crar_diag.agent.config import LOSSES
from crar_diag.agent.exact import losses_of_embedding, q_targets
from crar_diag.agent.loading import load_agent
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import encode
from crar_diag.landscape.agents import Q_TARGET, agent_problem
from crar_diag.landscape.exact_grid import fits, losses_of_points
from crar_diag.landscape.problem import evaluate
from tests.landscape.shipped import CORRECT


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
