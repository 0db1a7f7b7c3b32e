"""Verdicts on quadratics whose minima and saddles are known."""

import math

import numpy as np
import pytest
import torch

from crar_diag.landscape.lanczos import lanczos
from crar_diag.landscape.spectrum import FLOOR
from crar_diag.landscape.stationarity import (
    STATIONARY,
    count_negative,
    count_positive,
    decrement,
    is_stationary,
    krylov_decrement,
    verdict,
)
from tests.landscape.test_lanczos import start, symmetric


def test_the_decrement_of_a_convex_quadratic_is_what_its_minimum_lies_below():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.5, 3, 12)
    h = symmetric(values).numpy()
    x, best = rng.normal(size=12), rng.normal(size=12)
    gradient = h @ (x - best)
    eigenvalues, vectors = np.linalg.eigh(h)
    promised = decrement(eigenvalues, vectors.T @ gradient, floor=1e-12)
    assert promised == pytest.approx((x - best) @ h @ (x - best) / 2)


def test_negative_curvature_counts_by_its_size_and_flat_ones_as_the_floor():
    values, components = np.array([-2.0, 1e-9, 4.0]), np.array([3.0, 1e-3, 1.0])
    expected = (9 / 2 + 1e-6 / 1e-4 + 1 / 4) / 2
    assert decrement(values, components, floor=1e-4) == pytest.approx(expected)


def test_without_curvature_a_gradient_promises_everything_and_none_nothing():
    assert decrement(np.zeros(3), np.array([0.0, 1.0, 0.0]), floor=0.0) == math.inf
    assert decrement(np.zeros(3), np.zeros(3), floor=0.0) == 0


def test_lanczos_from_the_gradient_knows_the_decrement_and_approaches_it_from_below():
    values = np.linspace(0.1, 9, 30)
    h, gradient = symmetric(values), start(30)
    true = (gradient @ torch.linalg.solve(h, gradient)).item() / 2
    found = [
        krylov_decrement(lanczos(h.mv, gradient, steps), gradient.norm().item(), 1e-9)
        for steps in (1, 3, 6, 12, 30)
    ]
    assert found == sorted(found)
    assert found[0] < 0.9 * true
    assert found[-1] == pytest.approx(true)


def test_eigenvalues_within_the_floor_count_neither_way():
    largest = 2e3
    flat = 0.9 * FLOOR * largest
    values = np.array([-50.0, -2.5 * flat, -flat, 0.0, flat, 2.5 * flat, largest])
    assert count_negative(values) == 2
    assert count_positive(values) == 2
    assert count_negative(-values) == 2
    assert count_negative(np.zeros(4)) == count_positive(np.zeros(4)) == 0


def test_scaling_parameters_or_losses_changes_no_verdict():
    """The gradient's norm changes, the decrement's share of the loss does not."""
    values, components, loss = np.array([1.0, 3.0]), np.array([0.01, 0.02]), 2.0
    promised = decrement(values, components, 0)
    for scale in (1e-3, 1e3):  # theta = scale * u
        rescaled = decrement(values * scale**2, components * scale, 0)
        assert rescaled == pytest.approx(promised)
        heavier = decrement(values * scale, components * scale, 0)
        assert heavier / (loss * scale) == pytest.approx(promised / loss)


def test_a_point_is_stationary_by_the_decrements_share_of_the_loss():
    assert is_stationary(0.5, 0.99 * STATIONARY * 0.5)
    assert not is_stationary(0.5, 1.01 * STATIONARY * 0.5)
    assert is_stationary(-0.5, 0.99 * STATIONARY * 0.5)
    # What is fitted to rounding is as good as fitted.
    assert is_stationary(1e-25, 1e-25)
    assert is_stationary(0.0, 0.0)
    assert not is_stationary(0.0, 1e-3)
    assert not is_stationary(1.0, math.inf)


def words(**changes):
    given = {"loss": 1.0, "gradient_norm": 0.0123, "decrement": 0.0, "negative": 0}
    return verdict(**given | changes)


def test_the_verdict_in_words():
    assert words() == "local minimum"
    assert words(negative=1) == "saddle (1 negative direction found)"
    assert words(negative=12) == "saddle (12 negative directions found)"
    assert words(decrement=0.1) == "not stationary (gradient norm 0.012)"
    assert words(decrement=0.1, negative=3) == "not stationary (gradient norm 0.012)"
