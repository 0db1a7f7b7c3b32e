"""Losses along curves: barriers by hand, and summits between the points that are kept."""

import math

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.grids import Line
from crar_diag.landscape.problem import Problem
from crar_diag.landscape.profiles import profile

A = {"x": torch.tensor(0.0, dtype=torch.float64)}
B = {"x": torch.tensor(1.0, dtype=torch.float64)}


def straight(ts):
    return Line(A, B, ts)


def along(losses, **settings):
    """Of losses that are functions of the place on the way from 0 to 1."""
    problem = Problem(lambda p, _: losses(p["x"]), None, **settings.pop("problem", {}))
    return profile(problem, straight, {}, **settings)


def tilted(x):
    """A parabola whose top is at 3/8, 1 + 9/64, and the rest a slope from 1 to 3/4."""
    return {"hill": 1 + 0.75 * x - x * x, "flat": 0 * x + 0.5}


def test_barriers_are_those_by_hand():
    found = along(tilted, points=5)
    np.testing.assert_allclose(found.places, [0, 0.25, 0.5, 0.75, 1], rtol=0)
    np.testing.assert_allclose(found.losses["hill"], [1, 1.125, 1.125, 1, 0.75], rtol=1e-15)
    hill = found.barriers["hill"]
    # The top lies between two points; over the line 1 - x / 4 the rise is x - x^2.
    assert found.highest["hill"] == pytest.approx(1 + 9 / 64, rel=1e-9)
    assert hill.above_ends == pytest.approx(9 / 64, rel=1e-8)
    assert hill.above_ends_at == pytest.approx(3 / 8, abs=1e-3)
    assert hill.above_line == pytest.approx(1 / 4, rel=1e-9)
    assert hill.above_line_at == pytest.approx(1 / 2, abs=1e-3)
    flat = found.barriers["flat"]
    assert (flat.above_ends, flat.above_line) == (0, 0)


def test_a_narrow_summit_between_the_points_is_found():
    def needle(x):
        return {"needle": torch.exp(-(((x - 0.61803) / 0.02) ** 2))}

    found = along(needle, points=5)
    assert found.losses["needle"].max() < 1e-9
    assert found.highest["needle"] == pytest.approx(1, abs=1e-4)
    assert found.barriers["needle"].above_ends_at == pytest.approx(0.61803, abs=1e-3)
    blind = along(needle, points=5, subdivisions=1)
    assert blind.highest["needle"] <= found.highest["needle"]


def test_of_a_curve_without_a_barrier_the_highest_point_is_an_end():
    found = along(lambda x: {"slope": 3 - x * (2 - x)}, points=7)
    one = found.barriers["slope"]
    assert (one.above_ends, one.above_ends_at, one.above_line) == (0, 0, 0)
    assert found.highest["slope"] == found.losses["slope"][0] == 3


def test_the_sum_is_weighted_and_searched_too():
    found = along(tilted, points=3, problem={"weights": {"hill": 2.0, "flat": 4.0}})
    np.testing.assert_allclose(found.losses["sum"], 2 * found.losses["hill"] + 2, rtol=1e-15)
    assert found.highest["sum"] == pytest.approx(2 * (1 + 9 / 64) + 2, rel=1e-8)


def test_lengths_and_places_of_another_end():
    degrees = profile(
        Problem(lambda p, _: {"x": p["x"]}, None),
        lambda ts: Line({"x": A["x"]}, {"x": B["x"]}, ts / 90),
        {},
        points=4,
        end=90.0,
    )
    assert degrees.places.tolist() == [0, 30, 60, 90]
    np.testing.assert_allclose(degrees.lengths, [0, 1 / 3, 2 / 3, 1], rtol=1e-14)
    assert degrees.barriers["x"].above_ends == 0


def test_losses_with_terms_have_standard_errors_at_the_points_that_are_kept():
    def terms(x):
        return {"two": torch.stack([x, 3 * x])}

    found = along(terms, points=3)
    np.testing.assert_allclose(found.losses["two"], [0, 1, 2], rtol=1e-15)
    # sqrt(n / (n - 1)) of the deviations' root mean square over sqrt(n): x for two terms.
    np.testing.assert_allclose(found.errors["two"], [0, 0.5, 1], rtol=1e-12)
    assert set(found.errors) == {"two", "sum"}


def test_losses_that_are_not_finite_have_unknown_barriers():
    found = along(lambda x: {"log": torch.log(x), "x": x}, points=3)
    assert math.isnan(found.barriers["log"].above_ends)
    assert math.isnan(found.barriers["sum"].above_line)
    assert found.barriers["x"].above_ends == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(workers):
    found = along(tilted, points=100, workers=workers)
    np.testing.assert_array_equal(found.losses["hill"], along(tilted, points=100).losses["hill"])


def test_a_path_has_two_ends():
    with pytest.raises(InputError, match="a path needs at least 2 points, its ends, found 1"):
        along(tilted, points=1)
    with pytest.raises(InputError, match="subdivisions must be at least 1, found 0"):
        along(tilted, subdivisions=0)
