"""Conditions of transfers compared two by two, on the base models that both have.

Success rates by their difference, bases drawn with both; scores by the probability that of two runs
of one base that of the one condition is higher. Intervals stand for themselves: among those of many
pairs, some leave out zero by chance.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.statistics.rates import rate_difference
from crar_diag.report.statistics.resampling import CONFIDENCE
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
            "condition": condition_names(parts),
            "other": labelled(["other"], list(parts), "condition that it is compared with"),
        },
    )


def condition_names(parts: Parts) -> Any:
    """Return the coordinate `condition` of what is said of conditions."""
    return labelled(["condition"], list(parts), "variant, rate and remedies of transfers")


def _bases(part: Part) -> np.ndarray:
    """Return each transfer's base as the digest of its file: names repeat between folders."""
    return part[0].base_sha256.values.astype(str)


def _in_both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found = np.intersect1d(one, other)
    return found[found != ""]  # from scratch there is no base to have in common


def _difference(one: Part, other: Part) -> np.ndarray:
    """Return the difference of the success rates and its interval, `[3]`."""
    (a, bases_a), (b, bases_b) = _on_both((one[1], _bases(one)), (other[1], _bases(other)))
    if not len(a) or one[0].unfrozen.values[0] != other[0].unfrozen.values[0]:
        return np.full(3, np.nan)
    found = rate_difference(a, bases_a, b, bases_b, rng=one[2])
    return np.array([found.difference, *found.interval.ends])


def _improvement(one: Part, other: Part) -> np.ndarray:
    """Return the probability of a higher score and its interval, `[3]`."""
    (a, bases_a), (b, bases_b) = _on_both(_scored(one), _scored(other))
    if not len(a):
        return np.full(3, np.nan)
    found = probability_of_improvement(a, b, bases_a, bases_b, rng=one[2])
    return np.array([found.value, *found.interval.ends])


def _scored(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores that there are, and their bases."""
    scores = part[0].score.values
    there = np.isfinite(scores)
    return scores[there], _bases(part)[there]


def _on_both(*sides: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return values and bases of either side, of the bases alone that both have."""
    both = _in_both(*(bases for _, bases in sides))
    found = []
    for values, bases in sides:
        own = np.isin(bases, both)
        found.append((values[own], bases[own]))
    return found
