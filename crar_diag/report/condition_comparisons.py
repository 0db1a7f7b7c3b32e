"""Conditions of transfers compared two by two, on the base models that both have.

Success rates by their difference, bases drawn with both; scores by the probability that of two runs
of one base that of the one condition is higher. Intervals stand for themselves: among those of many
pairs, some leave out zero by chance.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.statistics.rates import rate_difference
from crar_diag.report.statistics.resampling import CONFIDENCE, Interval
from crar_diag.report.statistics.scores import probability_of_improvement

Part = tuple[xr.Dataset, np.ndarray, int]
"""Of one condition: how its transfers ended, which succeeded, the seed of resampling."""
Parts = Mapping[str, Part]


@dataclass(frozen=True)
class Pair:
    """Two conditions.

    Attributes:
        condition: the one.
        than: the other.
        bases: base models that both have.
        difference: success rate of the one less that of the other, mean over these bases; NaN where
            the dynamics of one alone moved, whose successes are found in another way.
        difference_interval: its ends, bootstrapped over bases; NaN of one base.
        improvement: probability of a higher score within a base, mean over bases; NaN without
            scores.
        improvement_interval: its ends, runs drawn within bases.
    """

    condition: str
    than: str
    bases: int
    difference: float
    difference_interval: tuple[float, float]
    improvement: float
    improvement_interval: tuple[float, float]


def pairs(comparisons: xr.Dataset) -> Iterator[Pair]:
    """Yield each two conditions of which something can be said, once.

    Args:
        comparisons: see `compare_conditions`.
    """
    names = list(map(str, comparisons.condition.values))
    for a, b in itertools.combinations(range(len(names)), 2):
        own = comparisons.isel(condition=b, other=a)
        if np.isfinite([own.difference, own.improvement]).any():
            yield Pair(
                names[b],
                names[a],
                int(own.bases),
                float(own.difference),
                (float(own.difference_low), float(own.difference_high)),
                float(own.improvement),
                (float(own.improvement_low), float(own.improvement_high)),
            )


def compare_conditions(parts: Parts) -> xr.Dataset:
    """Compare every condition with every other one, as the group `/statistics/comparisons`.

    Args:
        parts: the conditions, by name.

    Returns:
        `bases`, `difference` and `improvement` with their ends, `[condition, other]`; see `Pair`.
    """
    shape = (len(parts), len(parts))
    bases = np.zeros(shape, np.int64)
    difference, improvement = np.full((*shape, 3), np.nan), np.full((*shape, 3), np.nan)
    for (a, one), (b, other) in itertools.combinations(enumerate(parts.values()), 2):
        bases[a, b] = bases[b, a] = len(_in_both(_bases(one), _bases(other)))
        difference[a, b], improvement[a, b] = _difference(one, other), _improvement(one, other)
        difference[b, a] = 0.0 - difference[a, b][[0, 2, 1]]  # and not -0.0
        improvement[b, a] = 1.0 - improvement[a, b][[0, 2, 1]]
    dims = ("condition", "other")
    interval = f"end of its {CONFIDENCE:.0%} interval"
    columns = {
        "difference": (difference, "success rate less the other's, mean over these bases", "over"),
        "improvement": (
            improvement,
            "probability that of two runs of a base this one's scores higher, mean over bases",
            "within",
        ),
    }
    data = {"bases": labelled(dims, bases, "base models that both conditions have")}
    for name, (values, long_name, drawn) in columns.items():
        data[name] = labelled(dims, values[..., 0], long_name)
        for k, (key, words) in enumerate((("low", "lower"), ("high", "upper")), 1):
            about = f"{words} {interval}, {drawn} bases"
            data[f"{name}_{key}"] = labelled(dims, values[..., k], about)
    return xr.Dataset(
        data,
        coords={
            "condition": labelled(["condition"], list(parts), "variant, rate and remedies"),
            "other": labelled(["other"], list(parts), "condition that it is compared with"),
        },
    )


def _bases(part: Part) -> np.ndarray:
    """Return each transfer's base as the digest of its file: names repeat between folders."""
    return part[0].base_sha256.values.astype(str)


def _in_both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found = np.intersect1d(one, other)
    return found[found != ""]  # from scratch there is no base to have in common


def _difference(one: Part, other: Part) -> np.ndarray:
    """Return the difference of the success rates and its interval, `[3]`."""
    both = _in_both(_bases(one), _bases(other))
    if not len(both) or one[0].unfrozen.values[0] != other[0].unfrozen.values[0]:
        return np.full(3, np.nan)
    sides = []
    for part in (one, other):
        own = np.isin(_bases(part), both)
        sides += [part[1][own], _bases(part)[own]]
    found = rate_difference(*sides, rng=one[2])
    return _with_ends(found.difference, found.interval)


def _improvement(one: Part, other: Part) -> np.ndarray:
    """Return the probability of a higher score and its interval, `[3]`."""
    scored = []
    for part in (one, other):
        scores = part[0].score.values
        there = np.isfinite(scores)
        scored.append((scores[there], _bases(part)[there]))
    both = _in_both(scored[0][1], scored[1][1])
    if not len(both):
        return np.full(3, np.nan)
    (a, bases_a), (b, bases_b) = (
        (scores[np.isin(bases, both)], bases[np.isin(bases, both)]) for scores, bases in scored
    )
    found = probability_of_improvement(a, b, bases_a, bases_b, rng=one[2])
    return _with_ends(found.value, found.interval)


def _with_ends(value: float, interval: Interval) -> np.ndarray:
    return np.array([value, interval.low, interval.high])
