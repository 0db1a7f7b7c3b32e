"""Lanczos against dense eigenvalues."""

import pytest
import torch

from crar_diag.landscape.lanczos import lanczos


def symmetric(values, seed=0):
    """A matrix of given eigenvalues in random directions."""
    generator = torch.Generator().manual_seed(seed)
    size = len(values)
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return q @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ q.T


def start(size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


SPREAD = torch.linspace(-3, 5, 40).double() ** 3


def test_all_steps_give_all_eigenvalues():
    h = symmetric(SPREAD)
    found = lanczos(h.mv, start(40), 100)
    expected = torch.linalg.eigvalsh(h)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10 * expected[-1].item())


def test_the_basis_is_orthonormal_and_makes_the_matrix_tridiagonal():
    h = symmetric(SPREAD)
    found = lanczos(h.mv, start(40), 25)
    v = found.basis
    torch.testing.assert_close(v @ v.T, torch.eye(25).double(), rtol=0, atol=1e-12)
    t = v @ h @ v.T
    outside = torch.triu(t, 2)
    assert outside.abs().max() <= 1e-11 * SPREAD.abs().max()
    torch.testing.assert_close(torch.linalg.eigvalsh(t), found.values, rtol=0, atol=1e-9)


def test_orthogonality_survives_converged_eigenvalues():
    """Without reorthogonalisation, copies of the outliers would appear long before 150 steps."""
    values = torch.cat([torch.linspace(0, 1, 290).double(), torch.tensor([50.0, 90.0, 100.0])])
    h = torch.diag(values.double())
    found = lanczos(h.mv, start(293), 150)
    gram = found.basis @ found.basis.T
    torch.testing.assert_close(gram, torch.eye(150).double(), rtol=0, atol=1e-11)
    assert int((found.values > 2).sum()) == 3


def test_residuals_are_what_they_say_and_bound_the_error():
    h = symmetric(SPREAD)
    found = lanczos(h.mv, start(40), 15)
    true = torch.linalg.eigvalsh(h)
    for k, (value, residual) in enumerate(zip(found.values, found.residuals(), strict=True)):
        y = found.ritz_vector(k)
        assert y.norm().item() == pytest.approx(1)
        assert (h @ y - value * y).norm().item() == pytest.approx(residual.item(), rel=1e-6)
        assert (true - value).abs().min() <= residual * (1 + 1e-9)
    assert found.rest > 0


def test_ritz_values_interlace_so_that_negative_ones_prove_negative_eigenvalues():
    h = symmetric(SPREAD)
    negative = int((SPREAD < 0).sum())
    for steps in range(1, 41):
        found = lanczos(h.mv, start(40), steps)
        assert int((found.values < -1e-9).sum()) <= negative
        assert found.values[0] >= SPREAD[0] - 1e-9
        assert found.values[-1] <= SPREAD[-1] + 1e-9


def test_a_space_that_is_exhausted_ends_early():
    values = torch.tensor([2.0] * 10 + [-1.0] * 10 + [0.0] * 10)
    h = symmetric(values)
    found = lanczos(h.mv, start(30), 20)
    torch.testing.assert_close(found.values, torch.tensor([-1.0, 0, 2]).double())
    assert found.basis.shape == (3, 30)
    assert found.rest == 0
    assert found.residuals().tolist() == [0, 0, 0]


def test_a_matrix_of_zeros_has_the_eigenvalue_zero():
    found = lanczos(lambda v: torch.zeros_like(v), start(5), 4)
    assert found.values.tolist() == [0]
    assert found.weights().tolist() == [1]


def test_the_quadrature_is_exact_for_polynomials_of_degree_up_to_twice_the_steps_less_one():
    h = symmetric(torch.linspace(-1, 1, 30))
    v = start(30)
    v = v / v.norm()
    found = lanczos(h.mv, v, 4)
    assert found.weights().sum().item() == pytest.approx(1)
    powers = [(found.weights() * found.values**d).sum().item() for d in range(9)]
    expected = [torch.dot(v, torch.linalg.matrix_power(h, d) @ v).item() for d in range(9)]
    assert powers[:8] == pytest.approx(expected[:8], abs=1e-12)
    assert powers[8] != pytest.approx(expected[8], abs=1e-6)
