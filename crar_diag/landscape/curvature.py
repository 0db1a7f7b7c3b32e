"""The curvature of a loss at a point: extreme eigenvalues of the Hessian, trace, density, verdict.

`krylov_curvature` sees the Hessian by products alone and is for models of any size;
`exact_curvature` has all eigenvalues, and is for few hundred variables, such as an embedding's.
"""

from dataclasses import dataclass

import numpy as np
import torch

from crar_diag.agent.checks import check_counts
from crar_diag.errors import InputError
from crar_diag.landscape.lanczos import lanczos
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.problem import SUM, Parameters, Problem
from crar_diag.landscape.spectrum import (
    Density,
    Eigenpairs,
    Estimate,
    eigenpairs,
    floor_of,
    gaussian_start,
    hutchinson,
    smoothed,
    spectral_density,
)
from crar_diag.landscape.stationarity import (
    count_negative,
    count_positive,
    decrement,
    krylov_decrement,
    verdict,
)


@dataclass(frozen=True)
class CurvatureSettings:
    """How much is computed.

    Attributes:
        eigenvalues: how many at each end.
        steps: of Lanczos, each a Hessian product: once from a random start for the eigenvalues,
            once from the gradient for the decrement, and once a probe for the density.
        probes: random vectors for the trace, each a product; at least 2.
        density_probes: those for the density, each `steps` products; 0 for no density.
        seed: of all that is random.
    """

    eigenvalues: int = 6
    steps: int = 100
    probes: int = 100
    density_probes: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: naming the number.
        """
        check_counts(eigenvalues=self.eigenvalues, steps=self.steps)
        for name, count, least in (
            ("probes", self.probes, 2),
            ("density_probes", self.density_probes, 0),
        ):
            if count < least:
                raise InputError(
                    f"{name} must be at least {least}, found {count}", arguments=[name]
                )


@dataclass(frozen=True, eq=False)
class Curvature:
    """The weighted sum of losses at a point, to second order.

    Attributes:
        size: P, the number of variables.
        losses: each, and the weighted sum as `sum`.
        gradient_norms: of each and of the sum.
        smallest: the algebraically smallest eigenvalues, ascending.
        largest: the largest ones, descending.
        negative: how many negative eigenvalues were found, flat ones not counted.
        positive: the same of positive ones.
        trace: of the Hessian.
        density: of its eigenvalues, or None.
        decrement: what a Newton step promises to lower the sum by (`stationarity.decrement`).
        verdict: `local minimum`, `saddle (...)` or `not stationary (...)`.
        eigenvalues: all of them, ascending, where they are known, `[P]`.
    """

    size: int
    losses: dict[str, float]
    gradient_norms: dict[str, float]
    smallest: Eigenpairs
    largest: Eigenpairs
    negative: int
    positive: int
    trace: Estimate
    density: Density | None
    decrement: float
    verdict: str
    eigenvalues: np.ndarray | None = None


def krylov_curvature(
    problem: Problem, parameters: Parameters, settings: CurvatureSettings | None = None
) -> Curvature:
    """Return the curvature of the weighted sum by the moving parameters, from Hessian products.

    Args:
        problem: its `moves` say which parameters move.
        parameters: the point: all of the model's, and what is held constant (`Problem.anchored`).
        settings: how much is computed.

    Raises:
        InputError: no parameter moves, or a loss or gradient is not finite there.
    """
    settings = settings or CurvatureSettings()
    hessian = Hessian(problem, parameters)
    product, size, seed = hessian.product, hessian.size, settings.seed
    random = lanczos(product, gaussian_start(size, seed=seed), settings.steps)
    values, floor = random.values.numpy(), floor_of(random.values.numpy())
    norms = hessian.gradient_norms()
    promised = 0.0
    if norms[SUM] > 0:
        along = lanczos(product, hessian.gradient, settings.steps)
        promised = krylov_decrement(along, norms[SUM], floor)
    density = None
    if settings.density_probes:
        density = spectral_density(
            product, size, steps=settings.steps, probes=settings.density_probes, seed=seed
        )
    return _curvature(
        hessian,
        norms,
        values,
        promised,
        smallest=eigenpairs(random, product, settings.eigenvalues, smallest=True),
        largest=eigenpairs(random, product, settings.eigenvalues, smallest=False),
        trace=hutchinson(product, size, probes=settings.probes, seed=seed),
        density=density,
    )


def exact_curvature(
    problem: Problem, parameters: Parameters, settings: CurvatureSettings | None = None
) -> Curvature:
    """Return the same from the dense Hessian: all eigenvalues, and no estimate.

    Args:
        problem: its `moves` say which parameters move; P^2 numbers have to fit into memory.
        parameters: the point.
        settings: of which only `eigenvalues` counts, and whether `density_probes` is 0.

    Raises:
        InputError: no parameter moves, or a loss or gradient is not finite there.
    """
    settings = settings or CurvatureSettings()
    hessian = Hessian(problem, parameters)
    eigenvalues, vectors = torch.linalg.eigh(hessian.dense())
    values = eigenvalues.numpy()
    components = (vectors.T @ hessian.gradient).numpy()
    every = np.arange(hessian.size)[: settings.eigenvalues]

    def pairs(chosen: np.ndarray) -> Eigenpairs:
        directions = vectors.T[torch.from_numpy(chosen)]
        own = eigenvalues[torch.from_numpy(chosen)]
        products = torch.stack([hessian.product(v) for v in directions])
        residuals = (products - own[:, None] * directions).norm(dim=1).numpy()
        return Eigenpairs(values[chosen], residuals, residuals <= floor_of(values), directions)

    trace = float(values.sum())
    uniform = np.full(len(values), 1 / len(values))
    return _curvature(
        hessian,
        hessian.gradient_norms(),
        values,
        decrement(values, components, floor_of(values)),
        smallest=pairs(every),
        largest=pairs(hessian.size - 1 - every),
        trace=Estimate(trace, trace, trace),
        density=smoothed(values, uniform) if settings.density_probes else None,
        eigenvalues=values,
    )


def _curvature(
    hessian: Hessian,
    norms: dict[str, float],
    values: np.ndarray,
    promised: float,
    *,
    smallest: Eigenpairs,
    largest: Eigenpairs,
    trace: Estimate,
    density: Density | None,
    eigenvalues: np.ndarray | None = None,
) -> Curvature:
    """Return what was found, with counts and verdict."""
    negative = count_negative(values)
    return Curvature(
        size=hessian.size,
        losses=hessian.losses,
        gradient_norms=norms,
        smallest=smallest,
        largest=largest,
        negative=negative,
        positive=count_positive(values),
        trace=trace,
        density=density,
        decrement=promised,
        verdict=verdict(
            loss=hessian.losses[SUM],
            gradient_norm=norms[SUM],
            decrement=promised,
            negative=negative,
        ),
        eigenvalues=eigenvalues,
    )
