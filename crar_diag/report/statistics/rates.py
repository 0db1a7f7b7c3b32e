"""Success rates: of one base, over bases, and their difference between two conditions.

Runs of one base are not independent: they share the dynamics to which they are frozen. An interval
that shall hold for other bases therefore draws bases, not runs.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    Label,
    check_settings,
    read_labels,
    read_outcomes,
)
from crar_diag.report.statistics.resampling import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Seed,
    draw,
    make_generator,
    no_interval,
    percentile_interval,
)

RESAMPLED = {False: "bases", True: "bases, then their runs"}
ONE_BASE = "one base says nothing about how bases differ"


@dataclass(frozen=True)
class Rate:
    """The success rate of independent runs with its Wilson interval.

    Attributes:
        successes: successful runs.
        runs: all runs.
        rate: successes / runs.
        low, high: ends of the interval.
        confidence: of the interval.
    """

    successes: int
    runs: int
    rate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class MeanRate:
    """The mean of the bases' success rates, each base weighted alike.

    Attributes:
        rate: the mean.
        bases: how many.
        runs: of all bases.
        interval: percentile interval.
        resampled: what the bootstrap drew: `bases`, or `bases, then their runs`.
    """

    rate: float
    bases: int
    runs: int
    interval: Interval
    resampled: str


@dataclass(frozen=True)
class RateDifference:
    """The mean over bases of rate A - rate B.

    Attributes:
        difference: the mean.
        bases: how many, each run under both conditions.
        interval: percentile interval; bases are drawn with both their rates.
        resampled: what the bootstrap drew: `bases`, or `bases, then their runs`.
    """

    difference: float
    bases: int
    interval: Interval
    resampled: str


def success_rate(successes: int, runs: int, *, confidence: float = CONFIDENCE) -> Rate:
    """Return the rate of one base's runs with the interval of Wilson (1927).

    With z the normal quantile and p = successes / runs its ends are
    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        successes: successful runs.
        runs: n, all runs.
        confidence: of the interval.

    Raises:
        InputError: if there are no runs or successes are not among them.
    """
    check_settings(confidence)
    if runs < 1 or not 0 <= successes <= runs:
        raise InputError(
            f"expected at least one run and 0 to {runs} successes, found {successes} of {runs}"
        )
    low, high = _wilson(int(successes), int(runs), float(confidence))
    return Rate(int(successes), int(runs), successes / runs, low, high, float(confidence))


def rates_by_base(
    success: ArrayLike, bases: ArrayLike, *, confidence: float = CONFIDENCE
) -> dict[Label, Rate]:
    """Return each base's rate, in the order of their names.

    Args:
        success: outcome of each run, bool `[M]`.
        bases: base of each run, `[M]`.
        confidence: of the intervals.

    Raises:
        InputError: if the arguments do not fit.
    """
    names, successes, runs = _count(success, bases)
    pairs = zip(successes.tolist(), runs.tolist(), strict=True)
    rates = [success_rate(won, of, confidence=confidence) for won, of in pairs]
    return dict(zip(names, rates, strict=True))


def rate_over_bases(
    success: ArrayLike,
    bases: ArrayLike,
    *,
    resample_runs: bool = False,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> MeanRate:
    """Return the mean of the bases' rates, its interval bootstrapped over bases.

    Each resample draws as many bases as there are and averages their rates. These carry the noise
    of their runs, so that one stage covers it; a second one, which draws each base's runs again,
    counts it twice. Of n bases the bootstrap sees (n - 1) / n of the variance: with 5 or 6 bases of
    6 runs, 95% intervals held the mean in 87 to 88% of simulations, in 91 to 92% with two stages.

    Args:
        success: outcome of each run, bool `[M]`.
        bases: base of each run, `[M]`.
        resample_runs: draw the runs of each drawn base as well.
        confidence: of the interval.
        resamples: how many.
        rng: seed or generator.

    Returns:
        The mean; with one base the interval is NaN.

    Raises:
        InputError: if the arguments do not fit.
    """
    check_settings(confidence, resamples)
    _, successes, runs = _count(success, bases)
    rates, n = successes / runs, len(runs)
    interval = no_interval(ONE_BASE, confidence)
    if n > 1:
        generator = make_generator(rng)
        drawn = draw(n, resamples, generator)
        again = _rates_again(rates, runs, drawn, resample_runs, generator)
        interval = percentile_interval(again.mean(axis=1), confidence)
    return MeanRate(float(rates.mean()), n, int(runs.sum()), interval, RESAMPLED[resample_runs])


def rate_difference(
    success_a: ArrayLike,
    bases_a: ArrayLike,
    success_b: ArrayLike,
    bases_b: ArrayLike,
    *,
    resample_runs: bool = False,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> RateDifference:
    """Return how much higher the rate is under condition A than under B on the same bases.

    Args:
        success_a: outcome of each run under A, bool `[M]`.
        bases_a: base of each of them, `[M]`.
        success_b: outcome of each run under B, bool `[N]`.
        bases_b: base of each of them, `[N]`.
        resample_runs: draw the runs of each drawn base as well; see `rate_over_bases`.
        confidence: of the interval.
        resamples: how many.
        rng: seed or generator.

    Returns:
        The difference; with one base the interval is NaN.

    Raises:
        InputError: if the arguments do not fit or a base was run under one condition only.
    """
    check_settings(confidence, resamples)
    names_a, successes_a, runs_a = _count(success_a, bases_a)
    names_b, successes_b, runs_b = _count(success_b, bases_b)
    if names_a != names_b:
        lone = sorted(map(str, set(names_a) ^ set(names_b)))
        raise InputError(
            f"expected the same bases under both conditions, found only once: {', '.join(lone)}"
        )
    rates_a, rates_b, n = successes_a / runs_a, successes_b / runs_b, len(names_a)
    interval = no_interval(ONE_BASE, confidence)
    if n > 1:
        generator = make_generator(rng)
        drawn = draw(n, resamples, generator)
        again_a = _rates_again(rates_a, runs_a, drawn, resample_runs, generator)
        again_b = _rates_again(rates_b, runs_b, drawn, resample_runs, generator)
        interval = percentile_interval((again_a - again_b).mean(axis=1), confidence)
    return RateDifference(float((rates_a - rates_b).mean()), n, interval, RESAMPLED[resample_runs])


# Shares over time ask for the same few counts again and again.
@lru_cache(maxsize=4096)
def _wilson(successes: int, runs: int, confidence: float) -> tuple[float, float]:
    ends = stats.binomtest(successes, runs).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)


def _count(
    success: ArrayLike, bases: ArrayLike
) -> tuple[tuple[Label, ...], np.ndarray, np.ndarray]:
    """Return the bases' names, their successes and their runs, `[bases]` each."""
    won = read_outcomes("success", success)
    names, codes = read_labels("bases", bases, len(won))
    return names, np.bincount(codes[won], minlength=len(names)), np.bincount(codes)


def _rates_again(
    rates: np.ndarray,
    runs: np.ndarray,
    drawn: np.ndarray,
    resample_runs: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the rates of the drawn bases, `[resamples, bases]`."""
    if not resample_runs:
        return rates[drawn]
    # To draw n runs of a base with replacement is to draw a binomial number of successes.
    return generator.binomial(runs[drawn], rates[drawn]) / runs[drawn]
