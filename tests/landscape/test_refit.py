"""Re-fits against closed forms, and what they hold."""

import numpy as np
import pytest
import torch

from crar_diag.agent.loading import load_agent
from crar_diag.landscape.agents import Q_TARGET, agent_problem
from crar_diag.landscape.problem import SUM, Problem, evaluate
from crar_diag.landscape.refit import RefitSettings, refit
from tests.agent.test_losses import maze_cells, maze_move
from tests.landscape import toys
from tests.landscape.shipped import between
from tests.runs import labyrinth_config, save_agent

TIGHT = RefitSettings(iterations=5000, tolerance=1e-12)
FOUR = RefitSettings(iterations=4)
POINTS = [toys.model(seed) for seed in range(9)]
MOVING = toys.population([toys.hidden(m) for m in POINTS])
START = toys.readout(toys.model(20))


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("looped", [False, True])
def test_a_refit_finds_the_closed_form_at_every_point(features, looped):
    found = refit(toys.problem(features, looped=looped), MOVING, {}, START, TIGHT)
    assert found.converged.all()
    assert found.constants == {}
    for k, model in enumerate(POINTS):
        best = toys.best_readout(model)
        np.testing.assert_allclose(found.parameters["readout.weight"][k], best, atol=1e-6)
        begin = toys.losses_by_hand(model, START["readout.weight"].numpy())[SUM]
        assert found.before[k].item() == pytest.approx(begin, rel=1e-12)
        assert found.after[k].item() == pytest.approx(toys.losses_by_hand(model, best)[SUM])


def test_a_batch_may_be_anything_that_the_losses_understand():
    class Batch:
        """Neither a tensor nor made of such."""

        x, y = toys.data()

    def losses(parameters, batch):
        x = toys.units(parameters, [batch.x])
        return toys.of_units(x, parameters, batch.y)

    weights = {"ridge": toys.RIDGE}
    problem = Problem(losses, Batch(), ("hidden.*",), ("readout.*",), weights)
    found = refit(problem, MOVING, {}, START, TIGHT)
    expected = refit(toys.problem(), MOVING, {}, START, TIGHT)
    assert torch.equal(found.after, expected.after)


def test_a_refit_leaves_the_callers_tensors_and_their_gradients_alone():
    tensors = [*MOVING.values(), *START.values()]
    before = [p.clone() for p in tensors]
    moving = {name: p.clone().requires_grad_() for name, p in MOVING.items()}
    start = {name: p.clone().requires_grad_() for name, p in START.items()}
    found = refit(toys.problem(), moving, {}, start, RefitSettings(iterations=30))
    assert all(map(torch.equal, tensors, before))
    assert torch.equal(start["readout.weight"], START["readout.weight"])
    assert not any(p.requires_grad for p in [*found.parameters.values(), found.after])
    assert all(p.grad is None for p in [*moving.values(), *start.values()])


def test_the_q_target_is_held_as_it_was_at_the_start():
    agents = between()
    problem, held = agents.problem, agents.held
    a, b = agents.pair()
    moving = {name: torch.stack([p, b[name]]) for name, p in a.items()}
    start = problem.refitted(held)
    found = refit(problem, moving, {}, start, RefitSettings(iterations=15))
    after = evaluate(problem, moving | found.parameters | found.constants, {}, at_once=1)
    own = evaluate(problem, moving | found.parameters, {}, at_once=1)
    for k, encoder in enumerate((a, b)):
        # By hand: the maze has no reward, so that the target is 0.9 max_a Q(x', a) at the start.
        seen = problem.seen(encoder)
        states, following, actions = pairs()

        def q(agent, x):
            for layer in range(4):
                x = x @ agent[f"q.{layer}.weight"].T + agent[f"q.{layer}.bias"]
                x = torch.tanh(x) if layer < 3 else x
            return x

        target = 0.9 * q(start, seen[following]).amax(1)
        torch.testing.assert_close(found.constants[Q_TARGET][k], target, rtol=1e-4, atol=1e-6)
        mine = {name: p[k] for name, p in found.parameters.items()}
        gap = q(mine, seen[states]).gather(1, actions[:, None])[:, 0] - target
        loss = (gap * gap).mean().item() / 4
        assert after.losses["q"][k].item() == pytest.approx(loss, rel=1e-3, abs=1e-8)
        assert own.losses["q"][k] != after.losses["q"][k]


def pairs():
    """State, next state and action of all 124 pairs, from the maze's own rules."""
    cells = list(maze_cells())
    rows = [
        (s, cells.index(maze_move(cell, action)), action)
        for s, cell in enumerate(cells)
        for action in range(4)
    ]
    return torch.tensor(rows).T


def test_a_labyrinths_agent_is_re_fitted_point_by_point(tmp_path):
    config = labyrinth_config("0:2")
    agents = [load_agent(save_agent(tmp_path / f"{k}.safetensors", config, k)) for k in range(2)]
    problem = agent_problem(agents[0], "normal", transitions=10)
    assert problem.looped
    encoders = toys.population([problem.moving(agent.parameters) for agent in agents])
    start = problem.refitted(agents[0].parameters)
    found = refit(problem, encoders, {}, start, FOUR)
    frozen = evaluate(problem, encoders, start, at_once=1)
    own = encoders | found.parameters | found.constants
    free = evaluate(problem, own, {}, at_once=1)
    for when, losses in (("before", frozen.losses), ("after", free.losses)):
        torch.testing.assert_close(getattr(found, when), losses[SUM], rtol=1e-6, atol=0)
    assert (found.after < found.before).all()
    for name in ("volume", "random_pairs", "consecutive_pairs"):
        assert torch.equal(free.losses[name], frozen.losses[name])
        assert torch.equal(free.errors[name], frozen.errors[name])
    for k in range(2):
        alone = refit(problem, {n: p[k : k + 1] for n, p in encoders.items()}, {}, start, FOUR)
        assert torch.equal(alone.after[0], found.after[k])
        target = problem.anchored(start | {n: p[k] for n, p in encoders.items()})[Q_TARGET]
        assert torch.equal(found.constants[Q_TARGET][k], target)
