"""Hartigan's dip: how far a sample is from having one mode.

    dip = min over unimodal G of sup_x |F_n(x) - G(x)|

where G is convex up to its mode and concave beyond it, and F_n is the sample's distribution
function. It is 1/(2n) for equally spaced points and at most 1/4 (Hartigan and Hartigan, Annals of
Statistics 1985, section 4). F_n is here a step function whose steps are counts, so that tied values
are exact as well.
"""

from functools import cache
from typing import Final

import numpy as np

from crar_diag.errors import InputError

SAMPLES: Final = 2000
"""Uniform samples behind a p-value: the smallest p is 1/2001, and 0.05 has an error of 0.005."""


def dip(values: np.ndarray) -> float:
    """Return the dip of a sample, in [1/(2n), 1/4].

    Args:
        values: `[n]`, finite, in any order.

    Raises:
        InputError: the sample is empty, has more than one axis, or is not finite.
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise InputError(f"expected a sample [n] of finite numbers, got shape {sample.shape}")
    points, counts = np.unique(sample, return_counts=True)
    return _dip(points.tolist(), np.cumsum(counts).tolist())


def dip_p_value(value: float, n: int, *, samples: int = SAMPLES, seed: int = 0) -> float:
    """Return the chance that n uniform draws have at least this dip, by simulation.

    The uniform distribution is the unimodal one with the largest dips, asymptotically.

    Args:
        value: the dip observed.
        n: size of the sample.
        samples: how many are simulated.
        seed: of the simulation.

    Returns:
        (1 + how many reach `value`) / (1 + `samples`).
    """
    reached = int((_uniform_dips(n, samples, seed) >= value).sum())
    return (1 + reached) / (1 + samples)


@cache
def _uniform_dips(n: int, samples: int, seed: int) -> np.ndarray:
    draws = np.sort(np.random.default_rng(seed).random((samples, n)), axis=1)
    counts = list(range(1, n + 1))
    return np.array([_dip(row.tolist(), counts) for row in draws])


def _dip(points: list[float], above: list[int]) -> float:
    """Return the dip of sorted distinct points; `above` is n F_n at each of them.

    The modal interval [low, high] shrinks from the whole sample. Left of it G follows the greatest
    convex minorant of F_n, right of it the least concave majorant; `gap` is the largest distance
    that F_n has from them there, times n. Inside the interval the two curves are up to `reach`
    apart; once that is no more than the gap, a G of one piece passes between them. Half the gap is
    the distance, because G may run midway.
    """
    below = [0, *above[:-1]]
    low, high, gap = 0, len(points) - 1, 1.0
    while low < high:
        minorant = _hull(points, below, low, high, 1)
        majorant = _hull(points, above, low, high, -1)
        inside = points[low : high + 1]
        under = np.interp(inside, [points[i] for i in minorant], [below[i] for i in minorant])
        over = np.interp(inside, [points[i] for i in majorant], [above[i] for i in majorant])
        apart = (over - under).tolist()
        # The distance of a concave from a convex curve is largest at a corner of one of them.
        widest = max({*minorant, *majorant}, key=lambda i: apart[i - low])
        if apart[widest - low] <= gap:
            break
        left = max(i for i in minorant if i <= widest)
        right = min(i for i in majorant if i >= widest)
        # The step at an end of the new interval counts once the interval has left it behind: where
        # everything closes on one point, G has a step there too.
        gap = max(
            [gap]
            + [above[i] - under[i - low] for i in range(low, left)]
            + [over[i - low] - below[i] for i in range(right + 1, high + 1)]
        )
        low, high = left, right
    return float(gap / (2 * above[-1]))


def _hull(points: list[float], heights: list[int], low: int, high: int, sign: int) -> list[int]:
    """Return the corners of the convex minorant (`sign` 1) or the concave majorant (-1)."""
    corners: list[int] = []
    for i in range(low, high + 1):
        while len(corners) > 1:
            a, b = corners[-2:]
            turn = (points[b] - points[a]) * (heights[i] - heights[a]) - (
                heights[b] - heights[a]
            ) * (points[i] - points[a])
            if sign * turn > 0:
                break
            corners.pop()
        corners.append(i)
    return corners
