"""Bezier curves: their formula, their ends, and the length along them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.curve import Bezier, arc_lengths, bernstein, evenly_spaced
from crar_diag.landscape.grids import Line

SHAPES = {"weight": (3, 2), "bias": (3,), "scale": ()}


def point(seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return {n: torch.tensor(rng.normal(size=s)).to(dtype) for n, s in SHAPES.items()}


def inner(count, seed=9):
    rng = np.random.default_rng(seed)
    return {n: torch.tensor(rng.normal(size=(count, *s))) for n, s in SHAPES.items()}


def plane(*points):
    """Points of the plane, as the inner control points of a curve."""
    return {"p": torch.tensor(points, dtype=torch.float64)}


def end(x, y):
    return {"p": torch.tensor([x, y], dtype=torch.float64)}


def de_casteljau(control, t):
    """A curve's point by repeated interpolation."""
    control = list(control)
    while len(control) > 1:
        control = [(1 - t) * p + t * q for p, q in pairwise(control)]
    return control[0]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_curve_is_what_repeated_interpolation_gives(count):
    a, b, control = point(0), point(1), inner(count)
    ts = np.array([0.0, 0.1, 0.35, 0.5, 0.93, 1.0])
    points = Bezier(a, b, control, ts).points(0, 6)
    for name in SHAPES:
        for k, t in enumerate(ts):
            expected = de_casteljau([a[name], *control[name], b[name]], t)
            torch.testing.assert_close(points[name][k], expected, rtol=0, atol=1e-14)


def test_shares_of_control_points_by_hand():
    half = [[1 / 4, 2 / 4, 1 / 4], [1 / 8, 3 / 8, 3 / 8, 1 / 8]]
    for degree, expected in zip((2, 3), half, strict=True):
        assert bernstein(np.array([0.0]), degree)[0].tolist() == [1] + [0] * degree
        assert bernstein(np.array([0.5]), degree)[0].tolist() == expected
        assert bernstein(np.array([1.0]), degree)[0].tolist() == [0] * degree + [1]
    ts = np.linspace(0, 1, 50)
    np.testing.assert_allclose(bernstein(ts, 9).sum(1), 1, rtol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_stay_bit_for_bit(dtype):
    a, b = point(0, dtype), point(1, dtype)
    a["bias"][0], b["bias"][0], b["bias"][1] = -0.0, -0.0, float("inf")
    points = Bezier(a, b, inner(3), np.array([0.0, 0.5, 1.0])).points(0, 3)
    for name in SHAPES:
        assert points[name].dtype == dtype
        for k, expected in ((0, a), (2, b)):
            assert points[name][k].numpy().tobytes() == expected[name].numpy().tobytes()


@pytest.mark.parametrize("count", [1, 4])
def test_evenly_spaced_control_points_make_the_straight_segment(count):
    a, b, ts = point(0), point(1), np.linspace(0, 1, 9)
    control = evenly_spaced(a, b, count)
    straight, curve = Line(a, b, ts).points(0, 9), Bezier(a, b, control, ts).points(0, 9)
    for name in SHAPES:
        assert control[name].shape == (count, *SHAPES[name])
        torch.testing.assert_close(curve[name], straight[name], rtol=0, atol=1e-14)


def test_some_of_the_points_are_those_of_all():
    curve = Bezier(point(0), point(1), inner(2), np.linspace(0, 1, 11))
    assert curve.shape == (11,)
    whole, part = curve.points(0, 11), curve.points(4, 8)
    for name in SHAPES:
        torch.testing.assert_close(part[name], whole[name][4:8], rtol=0, atol=1e-15)


def test_the_order_of_names_does_not_matter():
    a, b, control = point(0), point(1), inner(2)
    turned = [dict(reversed(one.items())) for one in (b, control)]
    ts = np.linspace(0, 1, 3)
    one, other = Bezier(a, b, control, ts), Bezier(a, turned[0], turned[1], ts)
    for name in SHAPES:
        assert torch.equal(one.points(0, 3)[name], other.points(0, 3)[name])


def test_the_length_of_a_straight_segment_is_the_distance():
    a, b = point(0), point(1)
    distance = math.sqrt(sum(((a[n] - b[n]) ** 2).sum().item() for n in SHAPES))
    lengths = arc_lengths(Line(a, b, np.linspace(0, 1, 5)))
    np.testing.assert_allclose(lengths, distance * np.linspace(0, 1, 5), rtol=1e-14)


def test_the_length_of_a_parabola():
    """y = x^2 from 0 to 1 has the length (2 sqrt 5 + arsinh 2) / 4."""
    curve = Bezier(end(0, 0), end(1, 1), plane([0.5, 0.0]), np.linspace(0, 1, 400))
    points = curve.points(0, 400)["p"]
    torch.testing.assert_close(points[:, 1], points[:, 0] ** 2)
    lengths = arc_lengths(curve)  # of more points than are made at once
    assert lengths.shape == (400,)
    assert lengths[0] == 0
    assert lengths[-1] == pytest.approx((2 * math.sqrt(5) + math.asinh(2)) / 4, rel=1e-6)
    assert (np.diff(lengths) > 0).all()


def test_a_curve_bends():
    with pytest.raises(InputError, match="bends must be at least 1, found 0"):
        evenly_spaced(point(0), point(1), 0)
