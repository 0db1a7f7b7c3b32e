"""The plane of encoders and dynamics: its slices, its corners and where agents lie."""

import numpy as np
import pytest
import torch

from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.agent.networks import of_component
from crar_diag.landscape.problem import SUM, evaluate
from crar_diag.landscape.surface import frozen_surface
from crar_diag.landscape.vectors import difference, dot, doubled, norm
from crar_diag.landscape.views import dynamics_plane, line
from tests.landscape.shipped import CORRECT, STRUCTURE, WRONG, between, nearest
from tests.runs import BASES

BASE, OTHER_BASE, THIRD_BASE = (BASES / f"base-seed{seed}.safetensors" for seed in (0, 1, 2))


def test_the_slice_without_a_move_of_the_dynamics_is_the_frozen_line():
    agents = between(CORRECT, WRONG)
    view, along = dynamics_plane(agents, 9, seed=2), line(agents, 9)
    assert view.coarse is None
    found = frozen_surface(view.problem, view.grid, view.held)
    frozen = frozen_surface(along.problem, along.grid, along.held, at_once=1)
    (middle,) = np.flatnonzero(view.grid.ys == 0)
    for name in (*LOSSES, SUM):
        expected = frozen.losses[name]
        np.testing.assert_allclose(found.losses[name][:, middle], expected, rtol=1e-4, atol=1e-6)
        if name in STRUCTURE:  # of the encoder alone
            np.testing.assert_allclose(found.losses[name].T, [expected] * 9, rtol=1e-4, atol=1e-6)
    assert found.losses["transition"][:, 0].min() > 10 * frozen.losses["transition"].min()
    # The dynamics are the same: a direction as long as they are, filter by filter.
    start, v = agents.held, view.grid.v
    assert v.keys() == start.keys()
    assert view.about["random_seed"] == 2
    assert view.about["dynamics_direction_norm"] == norm(v)
    for name, p in start.items():
        expected = (
            p.flatten(1).norm(dim=1).double() if p.dim() > 1 else torch.zeros(len(p)).double()
        )
        torch.testing.assert_close(
            v[name].reshape(len(p), -1).norm(dim=1), expected, rtol=1e-5, atol=0
        )
    assert view.marks == {"A": (0.0, 0.0, 0.0), "B": (1.0, 0.0, 0.0)}


def test_with_two_base_models_the_dynamics_lead_from_ones_to_the_others():
    agents = between(BASE, OTHER_BASE)
    view = dynamics_plane(agents, 9, seed=0)
    assert view.marks == {"A": (0.0, 0.0, 0.0), "B": (1.0, 1.0, 0.0)}
    assert view.axes[1][0] == "dynamics, A's at 0 and those of 'base-seed1' at 1"
    assert "random_seed" not in view.about
    for k, name in enumerate("AB"):
        place, point = nearest(view.grid, *view.marks[name][:2])
        assert place == view.marks[name][:2]
        parameters = agents.ends.agents[k].parameters
        assert point.keys() == parameters.keys()
        for n, p in parameters.items():
            torch.testing.assert_close(point[n], p, rtol=0, atol=3e-7)
        losses = evaluate(view.problem, {n: p[None] for n, p in point.items()}, {}).losses
        for loss in LOSSES:
            stored = agents.ends.agents[k].metadata.losses[loss]
            assert losses[loss].item() == pytest.approx(stored, rel=1e-2, abs=1e-6)
    corner = nearest(view.grid, 1, 0)[1]
    for n, p in of_component(agents.ends.agents[0].parameters, "transition", "q").items():
        torch.testing.assert_close(corner[n], p, rtol=0, atol=0)


def test_marks_say_how_far_agents_are_from_the_plane_of_dynamics():
    agents = between(BASE, OTHER_BASE, THIRD_BASE)
    view = dynamics_plane(agents, 9, seed=0)
    assert "'base-seed2' at 1" in view.axes[1][0]
    assert view.marks["A"] == (0.0, 0.0, 0.0)
    models = [doubled(agent.parameters) for agent in agents.ends.agents]
    for k, name in ((1, "B"), (2, "C")):
        x, y, off = view.marks[name]
        at = {n: p[0].double() for n, p in view.grid.at(np.array([x]), np.array([y])).items()}
        rest = difference(models[k], at)
        assert norm(rest) == pytest.approx(off, rel=1e-5)
        assert off > 1
        for direction in (view.grid.u, view.grid.v):  # orthogonal: there is no nearer point
            assert abs(dot(direction, rest)) < 1e-5 * norm(direction) * off
    assert view.marks["B"][0] == 1.0
    assert view.marks["C"][1] == 1.0


def test_dynamics_of_another_file_are_those_at_zero():
    agents = between(BASE, OTHER_BASE, dynamics=THIRD_BASE)
    view = dynamics_plane(agents, 9, seed=0)
    assert view.axes[1][0] == "dynamics, those of 'base-seed2' at 0 and those of 'base-seed1' at 1"
    held = load_agent(THIRD_BASE).parameters
    point = nearest(view.grid, 0, 0)[1]
    for n, p in point.items():
        expected = agents.moving(0)[n] if n.startswith("encoder") else held[n]
        assert torch.equal(p, expected)
    assert view.marks["A"][2] > 1
    assert view.marks["B"] == pytest.approx((1.0, 1.0, 0.0), abs=1e-12)
    along = line(agents, 9)
    assert all(torch.equal(p, held[n]) for n, p in along.held.items())
