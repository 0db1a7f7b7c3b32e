"""Extreme eigenvalues, trace and density against the dense matrix."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.landscape.lanczos import lanczos
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.spectrum import (
    FLOOR,
    eigenpairs,
    gaussian_start,
    hutchinson,
    rademacher,
    smoothed,
    spectral_density,
)
from tests.landscape import toys
from tests.landscape.test_lanczos import SPREAD, symmetric
from tests.landscape.test_operator import TOY


@pytest.fixture(scope="module")
def tiny():
    """The Hessian of a tiny network, and its dense twin's eigenvalues."""
    hessian = Hessian(TOY, toys.model(0))
    return hessian, torch.linalg.eigvalsh(hessian.dense()).numpy()


# Extreme ones


def test_the_ends_of_a_tiny_networks_spectrum(tiny):
    hessian, true = tiny
    krylov = lanczos(hessian.product, gaussian_start(hessian.size, seed=0), 50)
    for smallest, expected in ((True, true[:3]), (False, true[::-1][:3])):
        found = eigenpairs(krylov, hessian.product, 3, smallest=smallest)
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
        assert found.converged.all()
        assert (found.residuals <= FLOOR * np.abs(true).max()).all()
        for v, value in zip(found.directions, found.values, strict=True):
            assert torch.dot(v, hessian.product(v)).item() == pytest.approx(value)
            assert v.norm().item() == pytest.approx(1)


def test_eigenvalues_that_have_not_converged_say_so():
    h = symmetric(SPREAD)
    krylov = lanczos(h.mv, gaussian_start(40, seed=0), 8)
    found = eigenpairs(krylov, h.mv, 20, smallest=True)
    assert len(found.values) == 8
    assert not found.converged.all()
    true = SPREAD.numpy()
    for value, residual, v in zip(found.values, found.residuals, found.directions, strict=True):
        assert (h @ v - value * v).norm().item() == pytest.approx(residual)
        assert np.abs(true - value).min() <= residual


# Trace


def test_the_trace_of_a_diagonal_matrix_is_exact_with_rademacher_vectors():
    diagonal = torch.linspace(-2, 7, 25).double()
    found = hutchinson(lambda v: diagonal * v, 25, probes=3, seed=0)
    for end in (found.value, found.low, found.high):
        assert end == pytest.approx(diagonal.sum().item(), rel=1e-14)


def test_the_interval_covers_the_trace_about_as_often_as_it_says(tiny):
    hessian, true = tiny
    dense = hessian.dense()
    found = [hutchinson(dense.mv, hessian.size, probes=12, seed=s) for s in range(200)]
    covered = sum(one.low <= true.sum() <= one.high for one in found)
    # 95 % of 200, within three standard deviations of a binomial.
    assert 190 - 9.3 <= covered <= 190 + 9.3
    assert np.mean([one.value for one in found]) == pytest.approx(true.sum(), rel=0.05)


def test_the_trace_and_its_interval_are_those_of_the_probes():
    h = symmetric(SPREAD)
    values = [torch.dot(z, h @ z).item() for z in rademacher(40, probes=7, seed=5)]
    found = hutchinson(h.mv, 40, probes=7, seed=5)
    low, high = stats.t.interval(0.95, 6, np.mean(values), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert hutchinson(h.mv, 40, probes=7, seed=5) == found
    assert hutchinson(h.mv, 40, probes=7, seed=6) != found


def test_one_probe_has_no_interval():
    with pytest.raises(InputError, match="probes must be at least 2, found 1"):
        hutchinson(lambda v: v, 5, probes=1, seed=0)


def test_rademacher_vectors_are_signs_that_the_seed_gives():
    first, second = (list(rademacher(500, probes=2, seed=s)) for s in (0, 1))
    for z in first + second:
        assert set(z.tolist()) == {-1.0, 1.0}
        assert abs(z.mean()) < 0.2
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], list(rademacher(500, probes=2, seed=0))[1])


# Density


def integral(density, power=0):
    return np.trapezoid(density.values * density.grid**power, density.grid)


def test_the_density_of_a_diagonal_matrix_has_its_moments():
    """Rademacher vectors weigh the eigenvectors of a diagonal matrix alike."""
    diagonal = torch.linspace(-1, 2, 20).double() ** 3
    found = spectral_density(lambda v: diagonal * v, 20, steps=20, probes=1, seed=0)
    for d in range(6):
        moment = (found.weights * found.nodes**d).sum()
        assert moment == pytest.approx((diagonal**d).mean().item(), rel=1e-9)
    assert integral(found) == pytest.approx(1, abs=1e-5)
    assert integral(found, 1) == pytest.approx(diagonal.mean().item(), rel=1e-5)
    square = (diagonal**2).mean().item() + found.width**2
    assert integral(found, 2) == pytest.approx(square, rel=1e-4)


def test_the_density_of_a_tiny_network_is_that_of_its_eigenvalues(tiny):
    hessian, true = tiny
    found = spectral_density(hessian.product, hessian.size, steps=30, probes=200, seed=0)
    assert found.weights.sum() == pytest.approx(1)
    assert integral(found) == pytest.approx(1, abs=1e-5)
    for d in (1, 2, 3):
        spread = np.abs(true).max() ** d
        assert (found.weights * found.nodes**d).sum() == pytest.approx(
            (true**d).mean(), abs=0.03 * spread
        )
    # The share of eigenvalues below each gap: the distribution function.
    for gap in (true[:-1] + true[1:])[np.diff(true) > 1e-3] / 2:
        below = found.weights[found.nodes < gap].sum()
        assert below == pytest.approx((true < gap).mean(), abs=0.05)


def test_few_steps_keep_the_first_moments(tiny):
    """Gauss' quadrature of three nodes is exact for polynomials of degree five."""
    hessian, _ = tiny
    short, long = (
        spectral_density(hessian.product, hessian.size, steps=steps, probes=4, seed=0)
        for steps in (3, 16)
    )
    for d in range(6):
        moments = [(one.weights * one.nodes**d).sum() for one in (short, long)]
        assert moments[0] == pytest.approx(moments[1], rel=1e-9)


def test_smoothing_is_a_sum_of_gaussians():
    found = smoothed(np.array([-1.0, 2.0]), np.array([0.25, 0.75]))
    expected = 0.25 * stats.norm.pdf(found.grid, -1, found.width)
    expected += 0.75 * stats.norm.pdf(found.grid, 2, found.width)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12, atol=1e-100)
    assert found.grid[0] < -1 - 4 * found.width
    assert found.grid[-1] > 2 + 4 * found.width


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-9])
def test_a_single_eigenvalue_is_one_peak(value):
    found = spectral_density(lambda v: value * v, 8, steps=5, probes=2, seed=0)
    assert integral(found) == pytest.approx(1, abs=1e-5)
    assert found.grid[found.values.argmax()] == pytest.approx(value, abs=found.width)
    assert found.values.max() == pytest.approx(1 / (found.width * math.sqrt(2 * math.pi)), rel=1e-3)


def test_the_density_needs_a_step_and_a_probe():
    for counts in ({"steps": 0, "probes": 1}, {"steps": 1, "probes": 0}):
        with pytest.raises(InputError, match="must be at least 1, found 0"):
            spectral_density(lambda v: v, 5, seed=0, **counts)
