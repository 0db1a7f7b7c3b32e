"""Parameters as vectors, against flat NumPy arrays."""

import numpy as np
import pytest
import torch

from crar_diag.landscape.vectors import (
    added,
    difference,
    dot,
    doubled,
    flatten,
    norm,
    scaled,
    unflatten,
)

SHAPES = {"b": (3, 2), "a": (4,), "scalar": ()}


def direction(seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return {
        n: torch.from_numpy(np.asarray(rng.normal(size=s))).to(dtype) for n, s in SHAPES.items()
    }


def flat(u):
    return np.concatenate([p.double().numpy().ravel() for p in u.values()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_and_lengths_are_those_of_flat_vectors(dtype):
    u, v = direction(0, dtype), direction(1, dtype)
    assert dot(u, v) == pytest.approx(flat(u) @ flat(v), rel=1e-14)
    assert norm(u) == pytest.approx(np.linalg.norm(flat(u)), rel=1e-14)


def test_sums_are_in_double_precision():
    u = {"w": torch.tensor([1e4, 1e-2])}  # squares whose sum has no place in single precision
    small = float(np.float32(1e-2)) ** 2
    assert dot(u, u) == pytest.approx(1e8 + small, rel=1e-15)
    assert dot(u, u) != 1e8


def test_the_order_of_names_does_not_change_a_bit():
    rng = np.random.default_rng(2)
    scales = 10.0 ** rng.uniform(-8, 8, 30)
    u = {f"p{k}": s * torch.from_numpy(rng.normal(size=5)) for k, s in enumerate(scales)}
    for seed in range(20):
        names = np.random.default_rng(seed).permutation(list(u))
        assert dot({name: u[name] for name in names}, u) == dot(u, u)


def test_combinations_are_those_of_flat_vectors():
    u, v = direction(0), direction(1)
    np.testing.assert_array_equal(flat(scaled(u, -3.0)), -3.0 * flat(u))
    np.testing.assert_array_equal(flat(added(u, v, 0.5)), flat(u) + 0.5 * flat(v))
    np.testing.assert_array_equal(flat(added(u, v)), flat(u) + flat(v))
    np.testing.assert_array_equal(flat(difference(u, v)), flat(u) - flat(v))
    partly = added(u, {"a": v["a"]}, 2.0)
    assert list(partly) == list(SHAPES)
    assert torch.equal(partly["b"], u["b"])
    assert torch.equal(partly["a"], u["a"] + 2 * v["a"])


def test_a_flat_vector_has_all_entries_in_the_order_of_the_names():
    u = direction(3)
    np.testing.assert_array_equal(flatten(u).numpy(), flat(u))
    back = unflatten(flatten(u), u)
    assert list(back) == list(SHAPES)
    assert all(torch.equal(back[name], p) for name, p in u.items())


def test_many_flat_vectors_become_many_directions():
    each = [[direction(2 * k + j) for j in range(2)] for k in range(3)]
    rows = torch.stack([torch.stack([flatten(u) for u in row]) for row in each])
    found = unflatten(rows, each[0][0])
    for k in range(3):
        for j in range(2):
            assert all(torch.equal(found[n][k, j], p) for n, p in each[k][j].items())


def test_doubled_is_exact_and_without_gradients():
    u = {name: p.requires_grad_() for name, p in direction(4, torch.float32).items()}
    found = doubled(u)
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in found.values())
    assert all(torch.equal(p.float(), u[name]) for name, p in found.items())
