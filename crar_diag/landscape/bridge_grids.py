"""The line and the random plane of loss-landscapes, labelled with the points that it evaluates.

The library (release 3.0.6) returns values without coordinates, and they are not where its
documentation puts them: see `docs/loss-landscapes.md`. So its functions run here as they are, and
the metric notes where in parameter space each call finds the model. A later release that samples
other points is labelled with those.

The model that the library leads about is in double precision, since it walks by repeated additions:
in single precision the last of 2,600 steps would be off the plane by the rounding of all of them.
Each point is rounded to the model's own precision before it is evaluated.
"""

import math
from typing import NamedTuple

import loss_landscapes
import numpy as np
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.bridge import AgentModule
from crar_diag.landscape.bridge_walk import Walk, walked
from crar_diag.landscape.problem import Parameters, Problem
from crar_diag.landscape.surface import Progress, Surface
from crar_diag.landscape.vectors import difference, norm, scaled


class LibraryLine(NamedTuple):
    """A line between two models as the library evaluates it.

    Attributes:
        alphas: where it does, float64 `[steps]`; the points are (1 - alpha) A + alpha B.
        surface: the losses there, `[steps]`.
    """

    alphas: np.ndarray
    surface: Surface


class LibraryPlane(NamedTuple):
    """A plane of two random directions as the library evaluates it.

    Attributes:
        coordinates: of each value, float64 `[steps, steps, 2]`; its point is model + x u + y v.
            They form no rectangular grid.
        u: the first direction, float64, as long as the model; it leads from row to row.
        v: the second one, as long; it leads along a row. The two need not be orthogonal.
        surface: the losses, `[steps, steps]`.
    """

    coordinates: np.ndarray
    u: Parameters
    v: Parameters
    surface: Surface


def library_line(
    problem: Problem,
    a: Parameters,
    b: Parameters,
    steps: int,
    held: Parameters | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> LibraryLine:
    """Run `loss_landscapes.linear_interpolation` from one model to another.

    Release 3.0.6 evaluates alpha = 1 / steps, 2 / steps, ..., 1, and never A.

    Args:
        problem: what is evaluated.
        a: the model at alpha = 0.
        b: the one at alpha = 1.
        steps: how many points.
        held: the parameters that do not move; A's by default.
        progress: told how far it is.

    Raises:
        InputError: no step, the two models are equal, or a parameter is not finite.
    """
    if steps < 1:
        raise InputError(f"a line needs at least 1 step, found {steps}", arguments=["steps"])
    start, end = problem.moving(a), problem.moving(b)
    _check_finite(start)
    _check_finite(end)
    way = difference(walked(end), walked(start))
    length = norm(way)
    if length == 0:
        raise InputError("expected two different models as the ends of a line, found them equal")
    walk = Walk(problem, start, held if held is not None else a, lambda n: progress(n, steps))
    walk.basis.append(scaled(way, 1 / length))
    order = loss_landscapes.linear_interpolation(
        walk.module(), AgentModule(problem, walked(end)), walk, steps=steps
    )
    return LibraryLine(walk.places()[order, 0] / length, walk.surface(order))


def library_random_plane(
    problem: Problem,
    model: Parameters,
    held: Parameters,
    steps: int,
    distance: float = 1.0,
    seed: int = 0,
    *,
    progress: Progress = lambda done, total: None,
) -> LibraryPlane:
    """Run `loss_landscapes.random_plane` around a model, with filter normalisation.

    PyTorch's random state is what it was before. Release 3.0.6 spans 1 / distance times the model's
    length along each direction, in `steps` steps; rows of odd number lie one step lower along v.

    Args:
        problem: what is evaluated.
        model: the parameters around which the plane lies; those that move do.
        held: all others.
        steps: points along each direction, at least 3.
        distance: as the library understands it: 2 spans half of what 1 does.
        seed: of PyTorch's generator, from which the library draws the directions.
        progress: told how far it is.

    Raises:
        InputError: fewer than 3 steps, a distance that is not positive, or parameters that the
            library's filter normalisation divides by zero: a bias that is zero throughout.
    """
    if steps < 3:
        raise InputError(
            f"the library's plane needs at least 3 steps, found {steps}", arguments=["steps"]
        )
    if not (math.isfinite(distance) and distance > 0):
        raise InputError(f"distance must be positive, found {distance}", arguments=["distance"])
    origin = problem.moving(model)
    _check_finite(origin)
    _check_filters(origin)
    walk = Walk(problem, origin, held, lambda n: progress(n, steps**2))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the processor's alone
        order = loss_landscapes.random_plane(walk.module(), walk, distance=distance, steps=steps)
    u, v = walk.axes(order)
    along = np.stack([walk.in_basis(u), walk.in_basis(v)], axis=1)
    coordinates = np.linalg.solve(along, walk.places().T).T
    return LibraryPlane(coordinates[order], u, v, walk.surface(order))


def _check_finite(parameters: Parameters) -> None:
    for name, p in parameters.items():
        if not torch.isfinite(p).all():
            raise InputError(f"parameter '{name}' must be finite, found NaN or infinity")


def _check_filters(parameters: Parameters) -> None:
    """Refuse what the library's filter normalisation fails on."""
    for name, p in parameters.items():
        if p.dim() == 0:
            raise InputError(
                f"parameter '{name}' is a scalar: the library's filter normalisation needs axes"
            )
        if p.dim() == 1 and not p.any():
            raise InputError(
                f"parameter '{name}' is zero throughout: the library's filter normalisation would "
                "divide by its length"
            )
