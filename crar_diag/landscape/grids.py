"""The points of a landscape: lines between two models, and planes; made piece by piece.

A grid knows its exact coordinates and makes any run of its points on demand, so that the memory
that a landscape takes is that of a piece, not of the grid.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.points import Combination, Points
from crar_diag.landscape.problem import Parameters

LEAST_POINTS = 7
"""Of a line: with fewer, none would lie beyond its ends."""


class Grid(ABC):
    """Points in the space of the moving parameters.

    Attributes:
        axes: coordinates along each axis, float64.
    """

    axes: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        """Return the number of points."""
        return int(np.prod(self.shape))

    @abstractmethod
    def points(self, start: int, stop: int) -> Parameters:
        """Return the points from `start` to `stop`, `[n, ...]`, the last axis running fastest."""

    def part(self, start: int, stop: int) -> Points:
        """Return the same points, yet to be made where that leaves work undone."""
        return self.points(start, stop)


@dataclass(frozen=True, eq=False)
class Line(Grid):
    """(1 - alpha) A + alpha B; A and B themselves, bit for bit, at 0 and 1.

    Attributes:
        a: the parameters at 0.
        b: those at 1, of the same names and shapes.
        alphas: coordinates, float64 `[G]`.
    """

    a: Parameters
    b: Parameters
    alphas: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, ...]:  # type: ignore[override]
        """The coordinates."""
        return (self.alphas,)

    def points(self, start: int, stop: int) -> Parameters:
        """Return some of the points, `[n, ...]`, in the precision of A."""
        alphas = torch.from_numpy(np.asarray(self.alphas[start:stop], np.float64))
        found = {}
        for name in self.a:
            a, b = self.a[name].detach(), self.b[name].detach()
            alpha = alphas.reshape(-1, *[1] * a.dim()).to(a.device)
            points = ((1 - alpha) * a.double() + alpha * b.double()).to(a.dtype)
            # 0 x (-0.0) + (-0.0) keeps its sign so, and what is not finite stays where it is.
            points[alphas == 0], points[alphas == 1] = a, b
            found[name] = points
        return found


@dataclass(frozen=True, eq=False)
class Plane(Grid):
    """origin + x u + y v.

    Attributes:
        origin: the parameters at (0, 0).
        u: the first direction; parameters that it lacks do not move along x.
        v: the second one.
        xs: coordinates along u, float64.
        ys: coordinates along v, float64; the grid's shape is `[len(xs), len(ys)]`.
    """

    origin: Parameters
    u: Parameters
    v: Parameters
    xs: np.ndarray
    ys: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, ...]:  # type: ignore[override]
        """The coordinates along both directions."""
        return (self.xs, self.ys)

    def points(self, start: int, stop: int) -> Parameters:
        """Return some of the points, `[n, ...]`, in the precision of the origin."""
        return self.part(start, stop).made()

    def part(self, start: int, stop: int) -> Combination:
        """Return the same points as sums of origin and directions."""
        rows, columns = np.divmod(np.arange(start, min(stop, len(self))), len(self.ys))
        return self._sums(self.xs[rows], self.ys[columns])

    def at(self, x: np.ndarray, y: np.ndarray) -> Parameters:
        """Return the points of given coordinates, `[n]` each; computed in double precision."""
        return self._sums(x, y).made()

    @cached_property
    def _models(self) -> Parameters:
        """Origin and directions, float64 `[3, ...]`."""
        found = {}
        for name, p in self.origin.items():
            origin = p.detach().double()
            steps = [d[name] if name in d else torch.zeros_like(origin) for d in (self.u, self.v)]
            found[name] = torch.stack([origin, *(step.detach().double() for step in steps)])
        return found

    def _sums(self, x: np.ndarray, y: np.ndarray) -> Combination:
        coefficients = np.stack([np.ones(len(x)), x, y], axis=1).astype(np.float64)
        dtypes = {name: p.dtype for name, p in self.origin.items()}
        return Combination(self._models, torch.from_numpy(coefficients), dtypes)


def line_alphas(points: int) -> np.ndarray:
    """Return evenly spaced coordinates among which 0 and 1 are, exactly.

    A sixth of the intervals, to the nearest whole one, lies beyond either end: 61 points lead from
    -0.25 to 1.25.

    Args:
        points: `LEAST_POINTS` or more.

    Raises:
        InputError: fewer.
    """
    if points < LEAST_POINTS:
        raise InputError(
            f"a line needs at least {LEAST_POINTS} points, found {points}", arguments=["points"]
        )
    beyond = round((points - 1) / 6)
    between = points - 1 - 2 * beyond
    # From integers, so that 0 and 1 come out exactly.
    found: np.ndarray = (np.arange(points) - beyond) / between
    return found


def plane_axis(low: float, high: float, points: int) -> np.ndarray:
    """Return evenly spaced coordinates of an axis of a plane.

    Raises:
        InputError: see `check_odd`.
    """
    check_odd(points)
    return np.linspace(low, high, points)


def check_odd(points: int, least: int = 3) -> None:
    """Refuse numbers of points along a plane's axis that have no middle, or are tiny.

    Args:
        points: along the axis.
        least: an odd number.

    Raises:
        InputError: an even number, or one below the least.
    """
    if points < least or points % 2 == 0:
        raise InputError(
            f"a plane needs an odd number of points along each axis, {least} at least, found "
            f"{points}: take {max(least, points + 1 - points % 2)}",
            arguments=["points"],
        )
