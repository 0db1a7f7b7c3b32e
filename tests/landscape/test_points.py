"""Points as sums of models against the same points side by side."""

import pytest
import torch

from crar_diag.landscape.points import Combination, beside, count, made, pieces


def combination(points=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    models = {
        "w": torch.randn((3, 4, 2), generator=generator, dtype=torch.float64),
        "s": torch.randn((3,), generator=generator, dtype=torch.float64),
    }
    coefficients = torch.randn((points, 3), generator=generator, dtype=torch.float64)
    return Combination(models, coefficients, {"w": dtype, "s": torch.float64})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_are_the_sums_of_the_models(dtype):
    points = combination(dtype=dtype)
    found = made(points)
    assert count(points) == count(found) == 5
    assert (found["w"].dtype, found["s"].dtype) == (dtype, torch.float64)
    for g in range(5):
        a, b, c = points.coefficients[g].tolist()
        for name, (first, second, third) in points.models.items():
            expected = (a * first + b * second + c * third).to(found[name].dtype)
            torch.testing.assert_close(found[name][g], expected, rtol=2e-7, atol=1e-15)


def test_what_else_differs_stands_beside():
    more = {"q": torch.arange(5.0)}
    for points in (combination(), made(combination())):
        found = made(beside(points, more))
        assert torch.equal(found.pop("q"), more["q"])
        own = made(points)
        assert found.keys() == own.keys()
        assert all(torch.equal(p, own[name]) for name, p in found.items())
        again = made(beside(beside(points, more), {"q": -more["q"]}))
        assert torch.equal(again["q"], -more["q"])


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_pieces_are_the_whole(size):
    for points in (combination(), made(combination())):
        points = beside(points, {"q": torch.arange(5.0)})
        parts = list(pieces(points, size))
        assert [count(part) for part in parts] == [min(size, 5 - k) for k in range(0, 5, size)]
        joined = {n: torch.cat([made(part)[n] for part in parts]) for n in ("w", "s", "q")}
        torch.testing.assert_close(joined, made(points), rtol=2e-7, atol=0)
