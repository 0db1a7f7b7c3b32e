"""What products with a Hessian tell of its eigenvalues: the extreme ones, their sum, their density.

Only Gaussian and Rademacher (+1 or -1) vectors from a seed are random here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from crar_diag.agent.checks import check_counts
from crar_diag.errors import InputError
from crar_diag.landscape.lanczos import Krylov, Product, lanczos

FLOOR = 1e-8
"""Share of the largest |eigenvalue| below which an eigenvalue counts as 0 (flat), and which a
residual may have where an eigenvalue counts as converged. Products in double precision are exact to
about 1e-12 of it; what a gradient of the size where a polish stops still bends is about 1e-9."""

CONFIDENCE = 0.95

# Ghorbani, Krishnan and Xiao smooth by 1e-5 of the range, as a variance.
_WIDTH = 3e-3
_MARGIN = 5.0  # widths beyond the outermost eigenvalue
_POINTS = 2048


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Some eigenvalues of H at one end of its spectrum, the outermost first.

    Attributes:
        values: lambda, `[k]`.
        residuals: ||H v - lambda v|| of their directions v of length 1, as computed, `[k]`: an
            eigenvalue of H lies within that distance.
        converged: whether the residual is at most `FLOOR` times the largest |eigenvalue|, `[k]`.
        directions: v, `[k, P]`.
    """

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    directions: Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes with its interval of 95 % confidence; `low` = `high` if exact."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Density:
    """The density of the eigenvalues, (1 / P) sum_k delta(lambda - lambda_k), smoothed.

    Attributes:
        grid: eigenvalues, `[n]`, evenly spaced.
        values: the density there, `[n]`; its integral is 1.
        width: standard deviation of the Gaussian that stands for each delta.
        nodes: the quadrature's points, `[m]`.
        weights: their weights, `[m]`, of sum 1.
    """

    grid: np.ndarray
    values: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray


def floor_of(values: np.ndarray) -> float:
    """Return the size below which an eigenvalue counts as 0, given some that reach the largest."""
    return FLOOR * float(np.abs(values).max())


def eigenpairs(krylov: Krylov, product: Product, count: int, *, smallest: bool) -> Eigenpairs:
    """Return the outermost Ritz pairs at one end, with the residuals that they really have.

    Args:
        krylov: from a random start, so that no direction is missing.
        product: v -> H v.
        count: k; fewer where the space has fewer dimensions.
        smallest: the end: the algebraically smallest, or the largest.
    """
    order = range(len(krylov.values))
    chosen = list(order if smallest else reversed(order))[:count]
    values = krylov.values[chosen].numpy()
    directions = torch.stack([krylov.ritz_vector(k) for k in chosen])
    pairs = zip(directions, values, strict=True)
    residuals = np.array([(product(v) - value * v).norm().item() for v, value in pairs])
    converged = residuals <= floor_of(krylov.values.numpy())
    return Eigenpairs(values, residuals, converged, directions)


def hutchinson(product: Product, size: int, *, probes: int, seed: int) -> Estimate:
    """Estimate the trace of H: the mean of z^T H z over Rademacher vectors z (Hutchinson, 1989).

    The interval is Student's: mean +- t(probes - 1) s / sqrt(probes).

    Args:
        product: v -> H v.
        size: P.
        probes: how many vectors; at least 2, for an interval.
        seed: of the vectors.

    Raises:
        InputError: fewer than 2 probes.
    """
    if probes < 2:
        raise InputError(f"probes must be at least 2, found {probes}", arguments=["probes"])
    found = np.array(
        [torch.dot(z, product(z)).item() for z in rademacher(size, probes=probes, seed=seed)]
    )
    error = found.std(ddof=1) / math.sqrt(probes)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, probes - 1) * error)
    mean = float(found.mean())
    return Estimate(mean, mean - reach, mean + reach)


def spectral_density(product: Product, size: int, *, steps: int, probes: int, seed: int) -> Density:
    """Estimate the density of H's eigenvalues by stochastic Lanczos quadrature.

    The Ritz values of Lanczos from a random vector, weighted by the squared first components of
    T's eigenvectors, are Gauss' quadrature of that vector's spectral measure, whose mean over
    vectors is the density (Ghorbani, Krishnan and Xiao, 2019, "An investigation into neural net
    optimization via Hessian eigenvalue density"). Each node becomes a Gaussian.

    Args:
        product: v -> H v.
        size: P.
        steps: of Lanczos, for each vector: the number of nodes.
        probes: how many Rademacher vectors.
        seed: of the vectors.

    Raises:
        InputError: fewer than one step or probe.
    """
    check_counts(steps=steps, probes=probes)
    runs = [lanczos(product, z, steps) for z in rademacher(size, probes=probes, seed=seed)]
    nodes = np.concatenate([run.values.numpy() for run in runs])
    weights = np.concatenate([run.weights().numpy() for run in runs]) / probes
    return smoothed(nodes, weights)


def smoothed(nodes: np.ndarray, weights: np.ndarray) -> Density:
    """Return the density sum_k weight_k N(lambda; node_k, width^2).

    Args:
        nodes: eigenvalues, `[m]`.
        weights: of sum 1, `[m]`.
    """
    width = _WIDTH * (float(np.abs(nodes).max()) or 1.0)
    grid = np.linspace(nodes.min() - _MARGIN * width, nodes.max() + _MARGIN * width, _POINTS)
    values = np.zeros_like(grid)
    for node, weight in zip(nodes, weights, strict=True):  # one by one, for memory's sake
        values += weight * np.exp(-(((grid - node) / width) ** 2) / 2)
    values /= width * math.sqrt(2 * math.pi)
    return Density(grid, values, width, nodes, weights)


def rademacher(size: int, *, probes: int, seed: int) -> Iterator[Tensor]:
    """Yield vectors of +1 and -1, `[P]`, float64."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(probes):
        yield 2.0 * torch.randint(2, (size,), generator=generator).double() - 1.0


def gaussian_start(size: int, *, seed: int) -> Tensor:
    """Return a vector of standard normal entries, `[P]`, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)
