"""Does a feature of a run tell success from failure? The area under its ROC curve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    check_settings,
    read_complete,
    read_labels,
    read_outcomes,
)
from crar_diag.report.statistics.resampling import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Seed,
    count_draws,
    draw,
    make_generator,
    no_interval,
    percentile_interval,
)
from crar_diag.report.statistics.scores import compare_pairs


@dataclass(frozen=True)
class RocArea:
    """How well a feature tells successful runs from failed ones.

    Attributes:
        area: P(feature of a success > that of a failure) + P(equal) / 2; NaN without one of them.
        successes: how many runs.
        failures: how many runs.
        interval: percentile interval.
        resampled: what the bootstrap drew: `runs` or `bases`.
    """

    area: float
    successes: int
    failures: int
    interval: Interval
    resampled: str


def roc_area(
    feature: ArrayLike,
    success: ArrayLike,
    bases: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> RocArea:
    """Return the area under the ROC curve of a feature for the success of runs.

    (R - n (n + 1) / 2) / (n m), where R is the sum of the ranks of the n successes among all n + m
    runs and equal values share their mean rank. Resamples without a success or without a failure
    have no area and are left out.

    Args:
        feature: of each run, `[M]`.
        success: outcome of each run, bool `[M]`.
        bases: base of each run, `[M]`; if given, bases are drawn with all their runs.
        confidence: of the interval.
        resamples: how many.
        rng: seed or generator.

    Raises:
        InputError: if the arguments do not fit or a feature is NaN.
    """
    check_settings(confidence, resamples)
    numbers, won = read_complete("feature", feature), read_outcomes("success", success)
    if len(numbers) != len(won):
        raise InputError(f"expected one feature a run, found {len(numbers)} for {len(won)}")
    names, cluster = read_labels("bases", np.arange(len(won)) if bases is None else bases, len(won))
    n, m = int(won.sum()), int((~won).sum())
    resampled = "runs" if bases is None else "bases"
    if n == 0 or m == 0:
        why = f"all runs {'succeeded' if n else 'failed'}"
        return RocArea(float("nan"), n, m, no_interval(why, confidence), resampled)
    area = (stats.rankdata(numbers)[won].sum() - n * (n + 1) / 2) / (n * m)
    if len(names) == 1:
        interval = no_interval("there is one base only", confidence)
    else:
        drawn = draw(len(names), resamples, make_generator(rng))
        again = _areas(numbers, won, cluster, count_draws(drawn, len(names)))
        interval = percentile_interval(again, confidence)
    return RocArea(float(area), n, m, interval, resampled)


def _areas(
    numbers: np.ndarray, won: np.ndarray, cluster: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Return the area on each resample, NaN where it has no pair.

    Args:
        numbers: feature of each run, `[M]`.
        won: outcome of each run, `[M]`.
        cluster: which of C clusters each run belongs to, `[M]`.
        times: how often each cluster was drawn, `[resamples, C]`.
    """
    member = (cluster[:, None] == np.arange(times.shape[1])).astype(np.float64)
    first, second = member[won], member[~won]
    wins = first.T @ compare_pairs(numbers[won], numbers[~won]) @ second
    won_pairs = ((times @ wins) * times).sum(axis=1)
    pairs = (times @ first.sum(axis=0)) * (times @ second.sum(axis=0))
    return np.divide(won_pairs, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)
