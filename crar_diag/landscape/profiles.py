"""The losses along a curve from end to end, how far they rise above its ends, and where.

A curve is looked at more finely than it is drawn: between the points that are kept, and then ever
more closely around the highest point of each loss and around its highest rise above the straight
line between the ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from crar_diag.agent.checks import check_counts
from crar_diag.errors import InputError
from crar_diag.landscape.barriers import Barrier, barrier
from crar_diag.landscape.curve import arc_lengths
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.problem import Parameters, Problem
from crar_diag.landscape.surface import frozen_surface

Course = Callable[[np.ndarray], Grid]
"""Coordinates, increasing, `[G]` -> the points of a curve there."""

_CLOSER = 3
"""How often the surroundings of a summit are looked at more closely, each time 4 times."""
_PARTS = 4


@dataclass(frozen=True, eq=False)
class Profile:
    """The losses along a curve.

    Attributes:
        places: coordinates, both ends among them, `[G]`.
        losses: each by name, and their weighted sum as `sum`, float64 `[G]`.
        errors: their standard errors, `[G]`, where losses are means over a sample; else empty.
        lengths: of the curve up to each place, Euclidean in the parameters that move, `[G]`.
        barriers: of each loss, from the finer search.
        highest: each loss's highest value, from the same.
    """

    places: np.ndarray
    losses: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    lengths: np.ndarray
    barriers: dict[str, Barrier]
    highest: dict[str, float]


def profile(
    problem: Problem,
    course: Course,
    held: Parameters,
    *,
    points: int = 61,
    end: float = 1.0,
    subdivisions: int = 8,
    workers: int = 1,
) -> Profile:
    """Evaluate the losses along a curve, and search it for its highest points.

    Args:
        problem: what is evaluated.
        course: the curve.
        held: the parameters that it does not move.
        points: that are kept, evenly spaced.
        end: the coordinate of the curve's end; its beginning is at 0.
        subdivisions: into how many parts each interval between these is divided before summits
            are looked at more closely. 1 trusts that no summit lies between two points.
        workers: pieces that are computed side by side, each on one thread.

    Raises:
        InputError: fewer than 2 points.
    """
    if points < 2:
        raise InputError(
            f"a path needs at least 2 points, its ends, found {points}", arguments=["points"]
        )
    check_counts(subdivisions=subdivisions)
    intervals = (points - 1) * subdivisions
    fine = end * np.arange(intervals + 1) / intervals
    fine[-1] = end
    kept = slice(None, None, subdivisions)
    surface = partial(frozen_surface, problem, held=held, workers=workers)
    found = surface(course(fine))
    places, seen = fine, found.losses
    for _ in range(_CLOSER):
        added = np.setdiff1d(_around(places, seen), places)
        if not len(added):
            break
        more = surface(course(added)).losses
        order = np.argsort(np.concatenate([places, added]))
        places = np.concatenate([places, added])[order]
        seen = {name: np.concatenate([seen[name], more[name]])[order] for name in seen}
    return Profile(
        places=fine[kept],
        losses={name: values[kept] for name, values in found.losses.items()},
        errors={name: values[kept] for name, values in found.errors.items()},
        lengths=arc_lengths(course(fine[kept])),
        barriers={name: barrier(places, values, 0.0, end) for name, values in seen.items()},
        highest={name: float(values.max()) for name, values in seen.items()},
    )


def _around(places: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
    """Return places within the intervals beside the summits of each loss."""
    share = places / places[-1]
    summits = set()
    for values in seen.values():
        if np.isfinite(values).all():
            rise = values - ((1 - share) * values[0] + share * values[-1])
            summits |= {int(values.argmax()), int(rise.argmax())}
    intervals = sorted({k for s in summits for k in (s - 1, s) if 0 <= k < len(places) - 1})
    parts = np.arange(1, _PARTS) / _PARTS
    found = [places[k] + parts * (places[k + 1] - places[k]) for k in intervals]
    return np.concatenate([places[:0], *found])
