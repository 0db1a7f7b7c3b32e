"""Bootstrap intervals: which runs or bases are drawn again, and what interval the draws give.

Every interval is a percentile interval (Efron, 1979). `scipy.stats.bootstrap` draws one level of
independent samples; here bases hold runs, a base may hold one run only, and some resamples have no
value (a correlation of equal numbers). Where both apply they agree draw by draw.
"""

from dataclasses import dataclass

import numpy as np

from crar_diag.errors import InputError

RESAMPLES = 10_000
CONFIDENCE = 0.95

Seed = int | np.random.Generator
"""A seed, with which a call always gives the same numbers, or a generator that moves on."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end, NaN where there is none.
        high: upper end, NaN where there is none.
        confidence: 0.95 for a 95% interval.
        reason: why there is no interval; empty where there is one.
        undefined: resamples that were left out because the statistic has no value on them.
    """

    low: float
    high: float
    confidence: float
    reason: str = ""
    undefined: int = 0

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and the upper one."""
        return self.low, self.high


def no_interval(reason: str, confidence: float, undefined: int = 0) -> Interval:
    """Return the interval (NaN, NaN) with its reason."""
    return Interval(float("nan"), float("nan"), confidence, reason, undefined)


def make_generator(rng: Seed) -> np.random.Generator:
    """Return the generator of a seed, or the generator itself.

    Raises:
        InputError: if a seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng < 0:
        raise InputError(f"rng must be a seed of at least 0 or a numpy Generator, found {rng}")
    return np.random.default_rng(rng)


def percentile_interval(estimates: np.ndarray, confidence: float) -> Interval:
    """Return the interval between the quantiles (1 - c) / 2 and (1 + c) / 2 of the estimates.

    Args:
        estimates: the statistic on every resample, NaN where it has no value, `[resamples]`.
        confidence: c.
    """
    defined = estimates[~np.isnan(estimates)]
    undefined = len(estimates) - len(defined)
    if len(defined) == 0:
        return no_interval("the statistic has no value on any resample", confidence, undefined)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Interval(float(low), float(high), confidence, undefined=undefined)


def draw(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` of `count` with replacement, `[resamples, count]`."""
    return generator.integers(0, count, (resamples, count))


def draw_within(strata: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw with replacement within each stratum, so that each keeps its size.

    Args:
        strata: the stratum 0, 1, ... of each run, none of them empty, `[M]`.
        resamples: how many.
        generator: what is drawn from.

    Returns:
        Places of runs, stratum after stratum, `[resamples, M]`.
    """
    ordered = np.argsort(strata, kind="stable")
    sizes = np.bincount(strata)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = generator.integers(0, np.repeat(sizes, sizes), (resamples, len(strata)))
    return ordered[first + place]


def count_draws(drawn: np.ndarray, count: int) -> np.ndarray:
    """Return how often each of `count` was drawn in each resample, float64 `[resamples, count]`."""
    resamples = len(drawn)
    cells = drawn + count * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * count)
    return counts.reshape(resamples, count).astype(np.float64)
