"""Points of lines and planes, against the formulas point by point."""

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.grids import Line, Plane, check_odd, line_alphas, plane_axis

SHAPES = {"w": (3, 2), "b": (3,), "s": ()}
DTYPES = [torch.float32, torch.float64]


def model(seed: int, dtype: torch.dtype = torch.float64):
    rng = np.random.default_rng(seed)
    return {
        n: torch.from_numpy(np.asarray(rng.normal(size=s))).to(dtype) for n, s in SHAPES.items()
    }


def bits(p: torch.Tensor) -> bytes:
    return p.contiguous().numpy().tobytes()


# Lines


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_a_line_are_both_models_bit_for_bit(dtype):
    largest, least = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    odd = [-0.0, 0.0, largest, -largest, least / 4, 0.1, float("inf"), float("nan"), 1 + 1e-7]
    for turn in range(len(odd)):
        a = {"p": torch.tensor(odd, dtype=dtype), "s": torch.tensor(-0.0, dtype=dtype)}
        b = {"p": a["p"].roll(turn), "s": torch.tensor(0.0, dtype=dtype)}
        points = Line(a, b, line_alphas(13)).points(0, 13)
        for name in a:
            assert points[name].dtype == dtype
            assert bits(points[name][2]) == bits(a[name])
            assert bits(points[name][10]) == bits(b[name])


@pytest.mark.parametrize("dtype", DTYPES)
def test_points_between_and_beyond_are_rounded_once(dtype):
    a, b = model(0, dtype), model(1, dtype)
    line = Line(a, b, line_alphas(19))
    points = line.points(0, 19)
    for k, alpha in enumerate(line.alphas):
        for name in a:
            exact = (1 - alpha) * a[name].double() + alpha * b[name].double()
            rounding = 4 * torch.finfo(dtype).eps
            torch.testing.assert_close(
                points[name][k], exact.to(dtype), rtol=rounding, atol=rounding
            )


def test_a_line_from_a_huge_model_to_its_negative_does_not_overflow_between():
    a = {"p": torch.tensor([1.7e308, -1.7e308], dtype=torch.float64)}
    line = Line(a, {"p": -a["p"]}, np.linspace(0, 1, 5))
    assert line.points(0, 5)["p"][:, 0].tolist() == pytest.approx(
        [1.7e308, 8.5e307, 0, -8.5e307, -1.7e308]
    )


@pytest.mark.parametrize("count", range(7, 102))
def test_both_ends_are_among_the_places_of_a_line_exactly_once(count):
    alphas = line_alphas(count)
    assert alphas.shape == (count,)
    assert np.count_nonzero(alphas == 0.0) == np.count_nonzero(alphas == 1.0) == 1
    between = np.count_nonzero((alphas > 0) & (alphas < 1)) + 1
    np.testing.assert_allclose(np.diff(alphas), 1 / between, rtol=1e-12)
    # About a sixth of all intervals on either side.
    below = np.count_nonzero(alphas < 0)
    assert below == np.count_nonzero(alphas > 1)
    assert abs(below - (count - 1) / 6) <= 0.5


def test_sixty_one_places_lead_a_quarter_beyond_both_ends():
    np.testing.assert_allclose(line_alphas(61), np.linspace(-0.25, 1.25, 61), atol=1e-15)
    assert line_alphas(7).tolist() == [-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25]


# Planes


@pytest.mark.parametrize("dtype", DTYPES)
def test_points_of_a_plane_are_the_formula_with_the_last_axis_fastest(dtype):
    origin, u, v = model(0, dtype), model(1), model(2)
    xs, ys = np.array([-1.0, 0.0, 2.5]), np.array([-0.5, 0.0, 0.5, 1.0, 3.0])
    plane = Plane(origin, u, v, xs, ys)
    assert plane.shape == (3, 5)
    assert len(plane) == 15
    points = plane.points(0, 15)
    for k in range(15):
        x, y = xs[k // 5], ys[k % 5]
        for name, p in origin.items():
            exact = p.double() + x * u[name] + y * v[name]
            eps = 4 * torch.finfo(dtype).eps
            torch.testing.assert_close(points[name][k], exact.to(dtype), rtol=eps, atol=eps)


def test_directions_may_move_some_parameters_each():
    origin, u, v = model(0), model(1), model(2)
    plane = Plane(origin, {"w": u["w"]}, {"b": v["b"]}, np.array([0.0, 2.0]), np.array([0.0, 3.0]))
    last = {name: p[3] for name, p in plane.points(0, 4).items()}
    assert torch.equal(last["w"], origin["w"] + 2 * u["w"])
    assert torch.equal(last["b"], origin["b"] + 3 * v["b"])
    assert torch.equal(last["s"], origin["s"])


# Both


@pytest.mark.parametrize("kind", ["line", "plane"])
def test_pieces_are_those_of_the_whole(kind):
    a, b, c = (model(k, torch.float32) for k in range(3))
    xs, ys = np.linspace(-1, 1, 5), np.linspace(0, 1, 3)
    grid = Line(a, b, line_alphas(15)) if kind == "line" else Plane(a, b, c, xs, ys)
    whole = grid.points(0, len(grid))
    for size in (1, 4, 7, 100):
        for start in range(0, 15, size):
            part = grid.points(start, start + size)  # the last one may be shorter
            for name, p in part.items():
                assert bits(p) == bits(whole[name][start : start + size])


@pytest.mark.parametrize("kind", ["line", "plane"])
def test_making_points_changes_no_model_and_keeps_no_gradient(kind):
    models = [{n: p.requires_grad_() for n, p in model(k).items()} for k in range(3)]
    before = [bits(p.detach()) for m in models for p in m.values()]
    axis = plane_axis(-1, 1, 3)
    grid = Line(*models[:2], line_alphas(7)) if kind == "line" else Plane(*models, axis, axis)
    points = grid.points(0, 7)
    assert not any(p.requires_grad for p in points.values())
    assert [bits(p.detach()) for m in models for p in m.values()] == before


def test_points_lie_where_their_model_does():
    a, b, c = ({n: p.to("meta") for n, p in model(k).items()} for k in range(3))
    for grid in (Line(a, b, line_alphas(7)), Plane(a, b, c, *[plane_axis(0, 1, 3)] * 2)):
        assert all(p.device.type == "meta" for p in grid.points(0, 7).values())


# What is refused


@pytest.mark.parametrize("count", [-1, 0, 1, 6])
def test_a_line_of_few_points_is_refused(count):
    with pytest.raises(
        InputError, match=rf"a line needs at least 7 points, found {count}$"
    ) as error:
        line_alphas(count)
    assert error.value.arguments == ("points",)


@pytest.mark.parametrize(
    ("count", "least", "instead"),
    [(1, 3, 3), (4, 3, 5), (-2, 3, 3), (50, 3, 51), (5, 7, 7), (6, 7, 7)],
)
def test_a_plane_without_a_middle_is_refused(count, least, instead):
    sentence = (
        rf"odd number of points along each axis, {least} at least, found {count}: take {instead}$"
    )
    with pytest.raises(InputError, match=sentence) as error:
        check_odd(count, least)
    assert error.value.arguments == ("points",)


def test_an_axis_of_a_plane_has_its_ends_and_its_middle():
    assert plane_axis(-1.5, 1.5, 5).tolist() == [-1.5, -0.75, 0.0, 0.75, 1.5]
    with pytest.raises(InputError, match="odd number of points"):
        plane_axis(0, 1, 4)
