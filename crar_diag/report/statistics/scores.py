"""Scores of many runs: summaries, the probability of improvement, and learning curves.

The interquartile mean and the stratified bootstrap follow Agarwal et al., "Deep Reinforcement
Learning at the Edge of the Statistical Precipice" (2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    check_settings,
    read_complete,
    read_labels,
    read_numbers,
)
from crar_diag.report.statistics.resampling import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Seed,
    count_draws,
    draw,
    draw_within,
    make_generator,
    no_interval,
    percentile_interval,
)

ONE_RUN = "one run, or one a base: there is nothing to draw"


@dataclass(frozen=True)
class Estimate:
    """A statistic and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class ScoreSummary:
    """Summary of one condition's scores.

    Attributes:
        runs: with a score.
        missing: without one (NaN), left out.
        mean: arithmetic mean.
        median: median.
        interquartile_mean: see `interquartile_mean`.
        resampled: what the bootstrap drew: `runs`, or `runs within bases`.
    """

    runs: int
    missing: int
    mean: Estimate
    median: Estimate
    interquartile_mean: Estimate
    resampled: str


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half along the last axis.

    Of n scores the floor(n / 4) lowest and the floor(n / 4) highest are left out; fewer than four
    are all kept, and the result is their mean.

    Args:
        scores: `[..., n]`.
    """
    return stats.trim_mean(scores, 0.25, axis=-1)


_STATISTICS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda scores: scores.mean(axis=-1),
    lambda scores: np.median(scores, axis=-1),
    interquartile_mean,
)


def summarise_scores(
    scores: ArrayLike,
    bases: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> ScoreSummary:
    """Return mean, median and interquartile mean, all from the same resamples.

    Args:
        scores: of each run, NaN where it has none, `[M]`.
        bases: base of each run, `[M]`. If given, runs are drawn within each base: the interval is
            one for these bases and says nothing about others, and a base's only run is fixed.
        confidence: of the intervals.
        resamples: how many.
        rng: seed or generator.

    Raises:
        InputError: if the arguments do not fit.
    """
    check_settings(confidence, resamples)
    numbers = read_numbers("scores", scores)
    present = ~np.isnan(numbers)
    strata = _strata("bases", bases, numbers, present)
    numbers = numbers[present]
    reason = _obstacle(strata)
    values = [float("nan")] * 3
    intervals = [no_interval(reason, confidence)] * 3
    if len(numbers):
        values = [float(statistic(numbers)) for statistic in _STATISTICS]
    if not reason:
        again = numbers[_draw_runs(strata, bases is not None, resamples, make_generator(rng))]
        intervals = [percentile_interval(each(again), confidence) for each in _STATISTICS]
    mean, median, middle = (
        Estimate(value, interval) for value, interval in zip(values, intervals, strict=True)
    )
    resampled = "runs" if bases is None else "runs within bases"
    missing = int((~present).sum())
    return ScoreSummary(len(numbers), missing, mean, median, middle, resampled)


def compare_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return 1 where a_i > b_j, 1/2 where they are equal, else 0, `[n, m]`.

    Args:
        a: `[n]`.
        b: `[m]`.
    """
    return (np.sign(a[:, None] - b) + 1) / 2


def probability_of_improvement(
    a: ArrayLike,
    b: ArrayLike,
    bases_a: ArrayLike | None = None,
    bases_b: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> Estimate:
    """Return P(A > B) + P(A = B) / 2 for a run of A and one of B: Mann and Whitney's U / (n m).

    With bases it is that of two runs of one base, mean over bases: how many runs each has changes
    nothing.

    Args:
        a: scores under A, `[n]`.
        b: scores under B, `[m]`.
        bases_a: base of each run of A, `[n]`; if given, runs are drawn within bases.
        bases_b: base of each run of B, `[m]`, likewise.
        confidence: of the interval.
        resamples: how many.
        rng: seed or generator.

    Raises:
        InputError: if the arguments do not fit, a score is NaN, one side alone has bases, or a base
            has runs on one side alone.
    """
    check_settings(confidence, resamples)
    if (bases_a is None) != (bases_b is None):
        raise InputError("expected bases_a and bases_b, or neither, found one of them")
    first, second = read_complete("a", a), read_complete("b", b)
    strata = [
        _strata(name, bases, numbers, np.ones(len(numbers), dtype=bool))
        for name, bases, numbers in (("bases_a", bases_a, first), ("bases_b", bases_b, second))
    ]
    wins = compare_pairs(first, second) * _weights(bases_a, bases_b, strata)
    value = float(wins.sum())
    reasons = [_obstacle(each) for each in strata]
    if all(reasons):
        return Estimate(value, no_interval(reasons[0], confidence))
    generator = make_generator(rng)
    times_a, times_b = (
        count_draws(_draw_runs(each, bases_a is not None, resamples, generator), len(each))
        for each in strata
    )
    again = ((times_a @ wins) * times_b).sum(axis=1)
    return Estimate(value, percentile_interval(again, confidence))


def _weights(
    bases_a: ArrayLike | None, bases_b: ArrayLike | None, strata: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the weight of each pair of runs, `[n, m]`, 1 together: 0 for those of two bases."""
    if bases_a is not None and {*np.asarray(bases_a)} != {*np.asarray(bases_b)}:
        raise InputError("expected runs of the same bases in bases_a and bases_b")
    first, second = strata
    same = first[:, None] == second
    pairs = np.bincount(first)[first][:, None] * np.bincount(second)[second]
    return same / (pairs * (first.max() + 1))


def _strata(
    name: str, bases: ArrayLike | None, numbers: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Return the stratum of each run that has a score, without empty strata, `[runs]`."""
    if bases is None:
        return np.zeros(int(present.sum()), dtype=np.int64)
    _, codes = read_labels(name, bases, len(numbers))
    return np.unique(codes[present], return_inverse=True)[1]


def _obstacle(strata: np.ndarray) -> str:
    """Return why nothing can be drawn, or an empty string."""
    if len(strata) == 0:
        return "no run has a score"
    return ONE_RUN if np.bincount(strata).max() == 1 else ""


def _draw_runs(
    strata: np.ndarray, stratified: bool, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw runs, within strata or from all, `[resamples, M]`."""
    if stratified:
        return draw_within(strata, resamples, generator)
    return draw(len(strata), resamples, generator)
