"""Surfaces point by point; frozen against unfrozen; interrupted and resumed; on several workers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent.assessment import assess
from crar_diag.agent.config import LOSSES
from crar_diag.landscape.barriers import barrier
from crar_diag.landscape.grids import Line, Plane, line_alphas
from crar_diag.landscape.problem import SUM
from crar_diag.landscape.refit import RefitSettings
from crar_diag.landscape.surface import frozen_surface, unfrozen_surface
from crar_diag.landscape.views import line, random_plane
from tests.landscape import toys
from tests.landscape.shipped import CORRECT, STRUCTURE, UNFINISHED, WRONG, between

A, B, C = (toys.model(k) for k in range(3))
HELD = toys.readout(A)
LINE = Line(toys.hidden(A), toys.hidden(B), line_alphas(13))
PLANE = Plane(toys.hidden(A), B, C, np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0]))
SHORT = RefitSettings(iterations=8)


def unfrozen(grid=PLANE, problem=None, **settings):
    settings = {"at_once": 4, "evaluated_at_once": 4} | settings
    return unfrozen_surface(problem or toys.problem(), grid, HELD, SHORT, **settings)


def frozen(grid=PLANE, problem=None, **settings):
    return frozen_surface(problem or toys.problem(), grid, HELD, **{"at_once": 4} | settings)


def with_errors():
    """The toy's losses by row, so that they come with standard errors."""

    def losses(parameters, batch):
        gap = toys.units(parameters, batch) @ parameters["readout.weight"] - batch[1]
        return {"fit": gap * gap, "size": toys.units(parameters, batch).square().mean(1)}

    return with_losses(losses)


def with_losses(losses, **changes):
    return replace(toys.problem(weights={}), losses=losses, **changes)


# What a surface is


@pytest.mark.parametrize("grid", [LINE, PLANE], ids=["line", "plane"])
def test_a_frozen_surface_has_the_losses_of_each_point(grid):
    found = frozen(grid)
    assert found.converged is found.iterations is None
    assert list(found.losses) == ["fit", "ridge", "size", SUM]
    points = grid.points(0, len(grid))
    for name, values in found.losses.items():
        assert values.shape == grid.shape
        assert values.dtype == np.float64
        for k, value in enumerate(values.flat):
            point = {n: p[k] for n, p in points.items()} | HELD
            assert value == pytest.approx(toys.losses_by_hand(point)[name], rel=1e-12)


def test_an_unfrozen_surface_is_the_least_over_what_is_re_fitted():
    tight = RefitSettings(iterations=2000, tolerance=1e-12)
    found = unfrozen_surface(toys.problem(), PLANE, HELD, tight, at_once=5)
    assert found.converged.all()
    assert found.converged.shape == found.iterations.shape == PLANE.shape
    points = PLANE.points(0, len(PLANE))
    for k in range(len(PLANE)):
        point = {n: p[k] for n, p in points.items()}
        expected = toys.losses_by_hand(HELD | point, toys.best_readout(point))
        for name, values in found.losses.items():
            assert values.flat[k] == pytest.approx(expected[name], rel=1e-5)


def test_errors_are_those_of_each_point():
    problem, points = with_errors(), PLANE.points(0, len(PLANE))
    for found in (frozen(problem=problem), unfrozen(problem=problem, at_once=12)):
        assert list(found.errors) == ["fit", "size", SUM]
        for k in range(len(PLANE)):
            x = toys.units_by_hand({n: p[k] for n, p in points.items()})
            error = (x**2).mean(1).std(ddof=1) / np.sqrt(12)
            assert found.errors["size"].flat[k] == pytest.approx(error, rel=1e-12)
    assert (unfrozen(problem=problem).errors["fit"] != frozen(problem=problem).errors["fit"]).all()


# Frozen against unfrozen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("looped", [False, True])
def test_the_unfrozen_sum_is_nowhere_above_the_frozen_one(dtype, looped):
    problem = toys.problem(dtype=dtype, looped=looped)
    a, b, held = ({n: p.to(dtype) for n, p in m.items()} for m in (A, B, HELD))
    grid = Line(toys.hidden(a), toys.hidden(b), line_alphas(13))
    for iterations in (1, 2, 50):
        settings = RefitSettings(iterations=iterations)
        free = unfrozen_surface(problem, grid, held, settings, at_once=5, evaluated_at_once=1)
        fixed = frozen_surface(problem, grid, held, at_once=1)
        assert (free.losses[SUM] <= fixed.losses[SUM]).all()
        assert (free.losses[SUM] < fixed.losses[SUM]).mean() > 0.9
        np.testing.assert_array_equal(free.losses["size"], fixed.losses["size"])


def test_where_a_refit_gains_nothing_the_losses_are_the_frozen_ones():
    held = {"readout.weight": torch.full((4,), float("nan"), dtype=torch.float64)}
    for found in (
        frozen_surface(toys.problem(), LINE, held),
        unfrozen_surface(toys.problem(), LINE, held, SHORT),
    ):
        assert np.isnan(found.losses[SUM]).all()
        assert np.isfinite(found.losses["size"]).all()
    assert not found.converged.any()
    assert not found.iterations.any()


def test_what_is_held_of_the_start_is_held_in_the_result():
    def losses(parameters, batch):
        target = parameters.get("target", 2 * parameters["readout.weight"].detach())
        return {"gap": ((parameters["readout.weight"] - target) ** 2).sum()}

    def constants(parameters, batch):
        return {"target": 2 * parameters["readout.weight"].detach()}

    problem = with_losses(losses, constants=constants)
    own = (HELD["readout.weight"] ** 2).sum().item()
    np.testing.assert_allclose(frozen(problem=problem).losses["gap"], own, rtol=1e-12)
    np.testing.assert_allclose(unfrozen(problem=problem).losses["gap"], 0.0, atol=1e-12)


def test_a_point_whose_sum_is_above_the_frozen_one_after_all_keeps_the_frozen_losses():
    def losses(parameters, batch):
        fit = (parameters["readout.weight"] ** 2).sum()
        return {"fit": fit + parameters.get("rounding", torch.zeros(())), "other": fit}

    problem = with_losses(losses, constants=lambda p, seen: {"rounding": torch.tensor(1e3)})
    for name, values in unfrozen(problem=problem).losses.items():
        np.testing.assert_array_equal(values, frozen(problem=problem).losses[name])


def test_the_ends_of_a_shipped_line_are_what_evaluate_prints():
    agents = between(CORRECT, WRONG)
    view = line(agents, 13)
    found = frozen_surface(view.problem, view.grid, view.held, at_once=1)
    for one, alpha in zip(assess([CORRECT, WRONG]), (0.0, 1.0), strict=True):
        (place,) = np.flatnonzero(view.grid.alphas == alpha)
        for name in LOSSES:
            assert found.losses[name][place] == one.losses[name]


@pytest.mark.parametrize("pair", [(CORRECT, WRONG), (CORRECT, UNFINISHED)])
def test_on_a_shipped_line_re_fitting_lowers_the_sum_and_leaves_the_structure_losses(pair):
    agents = between(*pair)
    view = line(agents, 7)
    fixed = frozen_surface(view.problem, view.grid, view.held, at_once=1)
    free = unfrozen_surface(
        view.problem,
        view.coarse,
        view.held,
        RefitSettings(iterations=12),
        at_once=4,
        evaluated_at_once=1,
    )
    assert (free.losses[SUM] <= fixed.losses[SUM]).all()
    assert (free.losses[SUM] < fixed.losses[SUM]).sum() >= 6
    for name in STRUCTURE:
        np.testing.assert_array_equal(free.losses[name], fixed.losses[name])
    for found in (fixed, free):
        total = sum(view.problem.weights[name] * found.losses[name] for name in LOSSES)
        np.testing.assert_allclose(found.losses[SUM], total, rtol=1e-6)
        assert barrier(view.grid.alphas, found.losses[SUM]).above_line > 0


def test_on_a_plane_the_two_compare_to_the_last_bit_in_pieces_of_any_size():
    view = random_plane(between(CORRECT, WRONG), 7, 7, seed=1)
    fixed = frozen_surface(view.problem, view.grid, view.held, at_once=49)
    free = unfrozen_surface(
        *(view.problem, view.coarse, view.held, RefitSettings(iterations=3)),
        at_once=16,
        evaluated_at_once=128,
    )
    assert (free.losses[SUM] <= fixed.losses[SUM]).all()
    for at_once in (2, 7, 16, 48):  # 48 leaves one point alone
        pieces = frozen_surface(view.problem, view.grid, view.held, at_once=at_once)
        for name, values in fixed.losses.items():
            np.testing.assert_array_equal(pieces.losses[name], values)
    for name in STRUCTURE:
        np.testing.assert_array_equal(free.losses[name], fixed.losses[name])
