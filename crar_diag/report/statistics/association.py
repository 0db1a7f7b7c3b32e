"""Does a number known of each base before a transfer go with its success rate?

Rank correlation, one point a base; `roc` asks the same between runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    check_settings,
    read_complete,
    read_numbers,
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

# Below, not even a perfect order has p < 0.05: 2 of 4! = 24 orders are perfect.
FEWEST_BASES = 5
WEAK_BELOW = 0.5


@dataclass(frozen=True)
class Correlation:
    """A rank correlation over bases.

    Attributes:
        value: NaN where either side is constant or there is one base.
        interval: percentile interval over bases, NaN below five bases.
        p_value: two-sided, by permutation; exact where all orders fit among the permutations.
    """

    value: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class RankCorrelation:
    """How one predictor goes with the success rate.

    Attributes:
        rho: Spearman's.
        tau: Kendall's, tau-b.
        bases: how many points.
    """

    rho: Correlation
    tau: Correlation
    bases: int


def rank_correlation(
    predictor: ArrayLike,
    rates: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> RankCorrelation:
    """Return Spearman's rho and Kendall's tau-b between a predictor and the success rate.

    A perfect order has the interval [1, 1] however few the bases: read the p-value beside it.

    Args:
        predictor: one number a base, `[B]`.
        rates: success rate of each base, `[B]`.
        confidence: of the intervals.
        resamples: of the bootstrap and of the permutation test each.
        rng: seed or generator.

    Raises:
        InputError: if the arguments do not fit or one is NaN.
    """
    check_settings(confidence, resamples)
    x, y = read_complete("predictor", predictor), read_complete("rates", rates)
    if len(x) != len(y):
        raise InputError(f"expected one rate a predictor, found {len(y)} for {len(x)}")
    generator = make_generator(rng)
    drawn = draw(len(x), resamples, generator)

    def correlate(statistic: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Correlation:
        value = float(statistic(x, y))
        if np.isnan(value):
            why = "there is one base only" if len(x) == 1 else "one side is the same for all bases"
            return Correlation(value, no_interval(why, confidence), value)
        test = stats.permutation_test(
            (x,),
            lambda permuted, axis: statistic(permuted, y),
            permutation_type="pairings",
            vectorized=True,
            n_resamples=resamples,
            rng=generator,
        )
        if len(x) < FEWEST_BASES:
            why = f"expected at least {FEWEST_BASES} bases, found {len(x)}"
            interval = no_interval(why, confidence)
        else:
            interval = percentile_interval(statistic(x[drawn], y[drawn]), confidence)
        return Correlation(value, interval, float(test.pvalue))

    return RankCorrelation(correlate(spearman), correlate(kendall), len(x))


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return rho along the last axis, NaN where a side is constant, `[...]`.

    `scipy.stats.spearmanr` computes one at a time.

    Args:
        x: `[..., n]`.
        y: `[..., n]`.
    """
    first, second = (stats.rankdata(side, axis=-1) for side in (x, y))
    # Twice a rank is whole, so that the sums below are exact and +-1 is reached exactly.
    first, second = (2 * ranks - (ranks.shape[-1] + 1) for ranks in (first, second))
    product = (first * second).sum(axis=-1)
    return _normalise(product, (first**2).sum(axis=-1), (second**2).sum(axis=-1))


def kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return tau-b along the last axis, NaN where a side is constant, `[...]`.

    `scipy.stats.kendalltau` computes one at a time.

    Args:
        x: `[..., n]`.
        y: `[..., n]`.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)[:-1]
    product, untied_x, untied_y = np.zeros((3, *shape))
    for i in range(x.shape[-1] - 1):
        sign_x, sign_y = (np.sign(side[..., i, None] - side[..., i + 1 :]) for side in (x, y))
        product = product + (sign_x * sign_y).sum(axis=-1)
        untied_x = untied_x + np.abs(sign_x).sum(axis=-1)
        untied_y = untied_y + np.abs(sign_y).sum(axis=-1)
    return _normalise(product, untied_x, untied_y)


def verdict(correlation: Correlation) -> Literal["weak", "informative"]:
    """Return whether a predictor says anything about the success rate.

    `weak` if |value| < 0.5, if the interval includes 0, or if there is none.

    Args:
        correlation: rho (or tau) of the predictor.
    """
    interval = correlation.interval
    apart = interval.low > 0 or interval.high < 0
    return "informative" if apart and abs(correlation.value) >= WEAK_BELOW else "weak"


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p-values adjusted for their number (Holm, 1979), `[P]`.

    The k-th smallest of P is multiplied by P - k + 1; none is then less than a smaller one's, nor
    more than 1. Predictors without a p-value (NaN) do not count and stay NaN.

    Args:
        p_values: one a predictor, `[P]`.

    Raises:
        InputError: if one lies outside [0, 1].
    """
    p = read_numbers("p_values", p_values)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise InputError("p_values must lie between 0 and 1")
    order = np.flatnonzero(known)[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _normalise(product: np.ndarray, square_x: np.ndarray, square_y: np.ndarray) -> np.ndarray:
    """Return product / sqrt(square_x square_y), NaN where a square is 0."""
    norm = np.sqrt(np.asarray(square_x, dtype=np.float64) * square_y)
    return np.divide(product, norm, out=np.full(norm.shape, np.nan), where=norm > 0)
