"""Bezier curves between two points of parameter space, and the length along a curve.

The curve of degree n with control points c_0 = A, c_1, ..., c_n = B is

    c(t) = sum_k C(n, k) t^k (1 - t)^(n - k) c_k,    t from 0 to 1.

With one inner control point it is the quadratic curve with which Garipov, Izmailov, Podoprikhin,
Vetrov and Wilson (2018), "Loss surfaces, mode connectivity, and fast ensembling of DNNs", joined
minima. Its inner control points evenly spaced on the straight segment, it is that segment.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import comb
from torch import Tensor

from crar_diag.agent.checks import check_counts
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.problem import Parameters

# Points of a curve that are made together to measure its length.
_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Bezier(Grid):
    """Points of a Bezier curve; A and B themselves, bit for bit, at 0 and 1.

    Attributes:
        a: the parameters at t = 0.
        b: those at t = 1, of the same names and shapes.
        inner: the control points between them, `[K, ...]`.
        ts: coordinates, float64 `[G]`.
    """

    a: Parameters
    b: Parameters
    inner: Parameters
    ts: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, ...]:  # type: ignore[override]
        """The coordinates."""
        return (self.ts,)

    def points(self, start: int, stop: int) -> Parameters:
        """Return some of the points, `[n, ...]`, in the precision of A."""
        ts = np.asarray(self.ts[start:stop], np.float64)
        found = {}
        for name, a in self.a.items():
            control = torch.cat([a[None], self.inner[name].to(a), self.b[name][None].to(a)])
            weights = torch.from_numpy(bernstein(ts, len(control) - 1)).to(a.device)
            points = torch.tensordot(weights, control.double(), dims=1).to(a.dtype)
            # As on a straight line: a sign of zero, or what is not finite, stays where it is.
            points[torch.from_numpy(ts == 0)] = a
            points[torch.from_numpy(ts == 1)] = self.b[name].to(a)
            found[name] = points
        return found


def bernstein(ts: np.ndarray, degree: int) -> np.ndarray:
    """Return C(n, k) t^k (1 - t)^(n - k), the share of each control point, float64 `[G, n + 1]`."""
    t = np.asarray(ts, np.float64)[:, None]
    k = np.arange(degree + 1)
    found: np.ndarray = comb(degree, k) * t**k * (1 - t) ** (degree - k)
    return found


def evenly_spaced(a: Parameters, b: Parameters, count: int) -> Parameters:
    """Return points between A and B, `[count, ...]`, float64: a straight curve's control points.

    Raises:
        InputError: fewer than one.
    """
    check_counts(bends=count)
    found = {}
    for name, start in a.items():
        shares = torch.arange(1, count + 1, dtype=torch.float64, device=start.device) / (count + 1)
        shares = shares.reshape(-1, *[1] * start.dim())
        found[name] = (1 - shares) * start.double() + shares * b[name].to(start).double()
    return found


def evenly_along(control: Tensor, step: float, most: int) -> np.ndarray:
    """Return coordinates from 0 to 1 that are evenly spaced along a curve's length, `[n + 1]`.

    Args:
        control: all control points as vectors, both ends among them, `[K + 2, P]`.
        step: the distance between neighbours along the curve at most, as far as `most` allows.
        most: at most so many steps.
    """
    ts = np.linspace(0, 1, 8 * most + 1)
    shares = np.diff(bernstein(ts, len(control) - 1), axis=0)
    # A chord is a sum of control points: its length needs only their inner products.
    products = (control @ control.T).cpu().numpy()
    chords = np.sqrt(np.einsum("gi,ij,gj->g", shares, products, shares).clip(min=0))
    lengths = np.concatenate([[0.0], np.cumsum(chords)])
    count = int(min(most, max(1, np.ceil(lengths[-1] / step - 1e-9))))
    found: np.ndarray = np.interp(lengths[-1] * np.arange(count + 1) / count, lengths, ts)
    found[0], found[-1] = 0.0, 1.0
    return found


def arc_lengths(grid: Grid) -> np.ndarray:
    """Return the length of the polygon through a curve's points up to each of them, `[G]`."""
    lengths = [np.zeros(1)]
    last: Tensor | None = None
    for start in range(0, len(grid), _AT_ONCE):
        vectors = flatten_points(grid.points(start, min(start + _AT_ONCE, len(grid)))).double()
        joined = vectors if last is None else torch.cat([last, vectors])
        lengths.append(joined.diff(dim=0).norm(dim=1).cpu().numpy())
        last = vectors[-1:]
    return np.cumsum(np.concatenate(lengths))


def flatten_points(points: Parameters) -> Tensor:
    """Return points `[G, ...]` as vectors `[G, P]`, in the order of the names."""
    return torch.cat([p.reshape(len(p), -1) for p in points.values()], dim=1)
