"""Random directions filter by filter, and planes through points, against hand-worked values."""

import math

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.directions import (
    filter_normalised,
    gaussian,
    plane_through,
    random_direction,
    without,
)
from crar_diag.landscape.grids import Plane
from crar_diag.landscape.vectors import added, difference, dot, doubled, flatten, norm, scaled
from tests.landscape.shipped import CORRECT, UNFINISHED, WRONG, between

SHAPES = {
    "0.weight": (6, 1, 2, 2),
    "0.bias": (6,),
    "1.weight": (5, 24),
    "1.bias": (5,),
    "scale": (),
}


def model(seed: int, dtype: torch.dtype = torch.float64):
    rng = np.random.default_rng(seed)
    return {
        n: torch.from_numpy(np.asarray(rng.normal(size=s))).to(dtype) for n, s in SHAPES.items()
    }


def filter_norms(p: torch.Tensor) -> list[float]:
    return [float(np.linalg.norm(row.double().numpy().ravel())) for row in p]


# Filters


def test_filters_are_scaled_to_the_models_by_hand():
    direction = {
        "w": torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]], dtype=torch.float64),
        "b": torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64),
    }
    theta = {"w": torch.tensor([[0.0, 10.0], [1.0, 1.0], [0.0, 0.0]]), "b": torch.ones(3)}
    found = filter_normalised(direction, theta)
    # 5 -> 10; what is zero in the direction stays so; the length 2 -> 0.
    assert found["w"].tolist() == [[6.0, 8.0], [0.0, 0.0], [0.0, 0.0]]
    assert found["b"].tolist() == [0.0, 0.0, 0.0]
    assert found["w"].dtype == torch.float64


def test_a_kernel_is_a_filter_over_all_its_inputs_and_pixels():
    kernel = torch.zeros(2, 2, 2, 2)
    kernel[0, 0], kernel[0, 1] = 1.0, 1.0  # eight ones
    kernel[1, 1, 0, 0] = -7.0
    theta = {"k": torch.stack([torch.full((2, 2, 2), 2.0), torch.full((2, 2, 2), 0.5)])}
    found = filter_normalised({"k": kernel}, theta)["k"]
    assert torch.allclose(found[0], torch.full((2, 2, 2), 2.0, dtype=torch.float64))
    assert found[1, 1, 0, 0].item() == pytest.approx(-math.sqrt(8) / 2)
    assert found[1].abs().sum().item() == pytest.approx(math.sqrt(8) / 2)


def test_every_filter_of_a_random_direction_is_as_long_as_the_models():
    theta = model(0, torch.float32)
    found = random_direction(theta, seed=3)
    for name in ("0.weight", "1.weight"):
        np.testing.assert_allclose(filter_norms(found[name]), filter_norms(theta[name]), rtol=1e-12)
        # Each points where the Gaussian one does.
        for row, drawn in zip(found[name], gaussian(theta, 3)[name], strict=True):
            cosine = (row * drawn).sum() / (row.norm() * drawn.norm())
            assert cosine.item() == pytest.approx(1, abs=1e-14)
    for name in ("0.bias", "1.bias", "scale"):
        assert not found[name].any()


# Draws


def test_a_seed_is_a_direction_whatever_the_order_of_the_names():
    theta = model(1)
    first = random_direction(theta, seed=5, orthogonal_to=model(2))
    for seed in range(5):
        names = np.random.default_rng(seed).permutation(list(theta))
        again = random_direction({n: theta[n] for n in names}, 5, orthogonal_to=model(2))
        assert list(again) == list(names)
        assert all(torch.equal(p, first[name]) for name, p in again.items())
    assert abs(dot(first, random_direction(theta, seed=6))) < 0.7 * dot(first, first)


def test_entries_are_standard_normal():
    drawn = gaussian({"w": torch.zeros(400, 500)}, seed=0)["w"]
    assert drawn.mean().item() == pytest.approx(0, abs=5 / math.sqrt(200_000))
    assert drawn.square().mean().item() == pytest.approx(1, abs=5 * math.sqrt(2 / 200_000))
    beyond = (drawn.abs() > 1.959964).double().mean().item()
    assert beyond == pytest.approx(0.05, abs=5 * math.sqrt(0.05 * 0.95 / 200_000))


# Orthogonality


@pytest.mark.parametrize("seed", range(5))
def test_a_random_direction_is_orthogonal_to_another_and_leaves_biases_alone(seed):
    theta, other = model(seed), scaled(model(seed + 50), 1e3)
    found = random_direction(theta, seed, orthogonal_to=other)
    assert abs(dot(found, other)) <= 1e-12 * norm(found) * norm(other)
    assert not any(found[name].any() for name in ("0.bias", "1.bias", "scale"))
    # Of the filter-normalised direction only what lies along the other's weights is missing.
    missing = difference(random_direction(theta, seed), found)
    along = {n: p if p.dim() > 1 else torch.zeros_like(p) for n, p in other.items()}
    cosine = dot(missing, along) / (norm(missing) * norm(along))
    assert abs(cosine) == pytest.approx(1, abs=1e-12)


def test_a_direction_of_biases_alone_is_orthogonal_already():
    theta = model(0)
    biases = {n: p if p.dim() <= 1 else torch.zeros_like(p) for n, p in model(1).items()}
    found, free = (random_direction(theta, 2, other) for other in (biases, None))
    assert all(torch.equal(found[name], p) for name, p in free.items())


def test_nearly_parallel_directions_are_told_apart():
    unit = {"w": torch.tensor([0.6, 0.8], dtype=torch.float64)}
    nearly = added(unit, {"w": torch.tensor([-0.8, 0.6], dtype=torch.float64)}, 1e-9)
    rest = without(nearly, unit)
    assert abs(dot(rest, unit)) <= 1e-15 * norm(rest)
    assert norm(rest) == pytest.approx(1e-9, rel=1e-6)


# Planes through points


def test_a_plane_by_hand():
    a, b, c = ({"p": torch.tensor(p)} for p in ([1.0, 1.0, 1.0], [1.0, 4.0, 1.0], [3.0, 2.0, 1.0]))
    (u, v), places = plane_through(a, b, c)
    assert u["p"].tolist() == [0.0, 1.0, 0.0]
    assert v["p"].tolist() == [1.0, 0.0, 0.0]
    assert places == {"a": (0.0, 0.0), "b": (3.0, 0.0), "c": (1.0, 2.0)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_plane_passes_through_its_three_points(dtype):
    points = [model(seed, dtype) for seed in (10, 11, 12)]
    (u, v), places = plane_through(*points)
    for one, other, product in ((u, u, 1), (v, v, 1), (u, v, 0)):
        assert dot(one, other) == pytest.approx(product, abs=1e-14)
    x, y = np.array(list(places.values())).T
    found = Plane(points[0], u, v, x, y).at(x, y)
    for k, point in enumerate(points):
        for name, p in point.items():
            torch.testing.assert_close(found[name][k], p, rtol=0, atol=1e-6)


def test_a_plane_passes_through_three_shipped_encoders():
    agents = between(CORRECT, WRONG, UNFINISHED)
    points = [agents.moving(k) for k in range(3)]
    (u, v), places = plane_through(*points)
    x, y = np.array(list(places.values())).T
    found = Plane(points[0], u, v, x, y).at(x, y)
    flat = [flatten(p).double().numpy() for p in points]
    for k, point in enumerate(points):
        for name, p in point.items():
            assert p.dtype == torch.float32
            torch.testing.assert_close(found[name][k], p, rtol=0, atol=1e-6)
        # Coordinates are distances, whatever the directions are.
        for j in range(3):
            apart = np.linalg.norm(flat[k] - flat[j])
            assert math.dist((x[k], y[k]), (x[j], y[j])) == pytest.approx(apart, rel=1e-9)
    assert x[1] == norm(difference(doubled(points[1]), doubled(points[0]))) > 1
    assert y.tolist()[:2] == [0.0, 0.0]
    assert y[2] > 0


def test_three_points_that_span_no_plane_are_refused():
    a, b = model(0), model(1)
    with pytest.raises(InputError, match="three different points of a plane, found the first two"):
        plane_through(a, a, b)
    for c in (a, b, added(a, difference(b, a), 0.3), added(a, difference(b, a), -2.0)):
        with pytest.raises(InputError, match="three points of a plane, found them on one line"):
            plane_through(a, b, c)


def test_the_middle_of_two_models_spans_no_plane_with_them_in_single_precision():
    a, b = model(0, torch.float32), model(1, torch.float32)
    close = {n: (p.double() + 1e-3 * b[n].double()).float() for n, p in a.items()}
    for end in (b, close):
        middle = {n: ((p.double() + end[n].double()) / 2).float() for n, p in a.items()}
        with pytest.raises(InputError, match="found them on one line"):
            plane_through(a, end, middle)
    # What is off the line by more than rounding does.
    aside = {n: p + 1e-4 * torch.sign(p) for n, p in a.items()}
    assert plane_through(a, b, aside)[1]["c"][1] > 1e-4


def test_directions_of_parameters_with_gradients_have_none():
    a, b, c = ({n: p.requires_grad_() for n, p in model(k).items()} for k in range(3))
    (u, v), _ = plane_through(a, b, c)
    for found in (u, v, random_direction(a, 0, orthogonal_to=u)):
        assert not any(p.requires_grad for p in found.values())
