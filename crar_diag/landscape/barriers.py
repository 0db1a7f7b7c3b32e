"""Barriers between two ends of a curve: how far a loss rises above them, and where."""

from dataclasses import dataclass

import numpy as np

from crar_diag.errors import InputError


@dataclass(frozen=True)
class Barrier:
    """The rise of a loss between two ends.

    Attributes:
        above_line: the largest rise above the straight line between the losses at the ends
            (Frankle et al., 2020: the error barrier); at least 0, its value at the ends.
        above_line_at: the coordinate where it is largest.
        above_ends: the largest loss between the ends minus the larger of those at the ends; at
            least 0.
        above_ends_at: the coordinate of that loss.
    """

    above_line: float
    above_line_at: float
    above_ends: float
    above_ends_at: float


def barrier(
    places: np.ndarray, losses: np.ndarray, start: float = 0.0, end: float = 1.0
) -> Barrier:
    """Return the barrier of a loss between two coordinates, at the resolution of the points.

    Args:
        places: coordinates along the curve, increasing, `[G]`.
        losses: at these, `[G]`.
        start: the coordinate of the first end, one of `places`.
        end: that of the second.

    Returns:
        NaN throughout where a loss between the ends is not finite; of equal heights, the first.

    Raises:
        InputError: an end is not among the places, or they do not increase.
    """
    places, losses = np.asarray(places, float), np.asarray(losses, float)
    if places.shape != losses.shape or not (np.diff(places) > 0).all():
        raise InputError("expected losses at increasing places along a curve")
    ends = [np.flatnonzero(places == end_) for end_ in (start, end)]
    if any(len(found) != 1 for found in ends) or start >= end:
        raise InputError(f"expected both ends {start} and {end} among the places of a curve")
    between = slice(int(ends[0][0]), int(ends[1][0]) + 1)
    at, loss = places[between], losses[between]
    if not np.isfinite(loss).all():
        return Barrier(np.nan, np.nan, np.nan, np.nan)
    share = (at - start) / (end - start)
    # Two-sided, so that the line meets the ends exactly.
    rise = loss - ((1 - share) * loss[0] + share * loss[-1])
    rise[[0, -1]] = 0.0
    highest, top = int(rise.argmax()), int(loss.argmax())
    return Barrier(
        above_line=float(rise[highest]),
        above_line_at=float(at[highest]),
        above_ends=float(loss[top] - max(loss[0], loss[-1])),
        above_ends_at=float(at[top]),
    )
