"""Lanczos' method: the part of a symmetric matrix that products with it reveal.

From a start v_1 of length 1 it builds an orthonormal basis V of v, H v, ..., H^(m-1) v in which H
is tridiagonal, T = V^T H V. Every new direction is made orthogonal to all before it, not only to
the last two: rounding else brings back copies of eigenvalues that were found already (Paige, 1971).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""v -> H v, `[P]`, of a symmetric matrix H."""

# A direction that is this much shorter than the matrix is rounding: the space is exhausted.
_EXHAUSTED = 1e-12


@dataclass(frozen=True, eq=False)
class Krylov:
    """What m steps found.

    Attributes:
        values: eigenvalues of T (Ritz values), ascending, `[m]`. By Cauchy's interlacing H has at
            least as many eigenvalues below (above) a number as T, converged or not. Of eigenvalues
            that are equal but for rounding one is found.
        vectors: eigenvectors of T, in columns, `[m, m]`.
        basis: V, in rows, `[m, P]`.
        rest: length of what the last step left over; 0 if the space is exhausted.
    """

    values: Tensor
    vectors: Tensor
    basis: Tensor
    rest: float

    def ritz_vector(self, k: int) -> Tensor:
        """Return the direction of the k-th Ritz value, `[P]`, of length 1."""
        return self.vectors[:, k] @ self.basis

    def weights(self) -> Tensor:
        """Return the squared first components of T's eigenvectors, `[m]`; they sum to 1.

        They are the weights of Gauss' quadrature: v_1^T f(H) v_1 is about sum_k weight_k f(value_k)
        (Golub and Welsch, 1969), exactly so for polynomials f of degree up to 2 m - 1.
        """
        return self.vectors[0].square()

    def residuals(self) -> Tensor:
        """Return ||H y - value y|| of each Ritz pair, `[m]`, as exact arithmetic would have it."""
        return self.rest * self.vectors[-1].abs()


def lanczos(product: Product, start: Tensor, steps: int) -> Krylov:
    """Run Lanczos' method with full reorthogonalisation.

    Args:
        product: v -> H v.
        start: of any length but 0, `[P]`, float64.
        steps: m at most; fewer where the space of H^k v ends earlier.
    """
    steps = min(steps, len(start))
    basis = start.new_zeros(steps, len(start))
    diagonal: list[float] = []
    beside: list[float] = []
    v, largest = start / start.norm(), 0.0
    for m in range(steps):
        basis[m] = v
        v = product(v)
        diagonal.append(torch.dot(basis[m], v).item())
        # First what exact arithmetic leaves, then what rounding does: once is then enough.
        v = v - diagonal[-1] * basis[m] - (beside[-1] * basis[m - 1] if m else 0.0)
        v = v - (basis[: m + 1] @ v) @ basis[: m + 1]
        rest = v.norm().item()
        largest = max(largest, abs(diagonal[-1]), rest)
        if rest <= _EXHAUSTED * largest:
            rest = 0.0
            break
        beside.append(rest)
        v = v / rest
    return _krylov(diagonal, beside, basis[: len(diagonal)], rest)


def _krylov(diagonal: list[float], beside: list[float], basis: Tensor, rest: float) -> Krylov:
    m = len(diagonal)
    t = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    side = torch.diag(torch.tensor(beside[: m - 1], dtype=torch.float64), 1)
    values, vectors = torch.linalg.eigh(t + side + side.T)
    return Krylov(values, vectors.to(basis.device), basis, rest)
