"""What became of runs by their scores alone: success, failure, or unfinished.

The score of a run is the mean over its last epochs (the paper: 20). Success and failure are found
from the scores of all runs together: Gaussian mixtures, of which components are put together until
the runs keep them apart (`embedding.clustering`). Where two groups or more are found, the lowest
are the failures and the highest the successes, and what lies between their bands is unfinished:

    a group's band reaches from its median by max(0.1 d, 2.24 s) towards the other's, at most d / 2

with d the distance of the two medians and s the group's spread, 1.4826 times the median absolute
deviation. 2.24 is the square root of the 97.5% quantile of chi-squared with one degree of freedom,
the usual cut of robust statistics (Rousseeuw and van Driessen, 1999); the tenth of d, as in a rise
time from 10% to 90%, keeps a group of almost equal scores from having almost no band. Groups
between the lowest and the highest are unfinished too.

A run that ended before the others of its approach and rate, or lacks a score among its last
epochs, has no final score: it is unfinished whatever it scored, and no rate counts it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from crar_diag.embedding.clustering import Groups, find_groups
from crar_diag.errors import InputError
from crar_diag.report.score_table import conditions
from crar_diag.report.statistics.curves import mean_of_last

LAST_EPOCHS: Final = 20
"""Over how many epochs at its end the score of a run is averaged (section 5.2.2)."""

OUTCOMES: Final = ("success", "failure", "unfinished", "undecided")
"""`undecided`: no two groups were found, so that nothing tells success from failure."""

_CUT: Final = 2.24
_RISE: Final = 0.1
_GAUSSIAN: Final = 1.4826


@dataclass(frozen=True)
class Bands:
    """Where failure ends and success begins.

    Attributes:
        failure: median score of the failures' group.
        failure_to: largest score of a failure.
        success_from: smallest score of a success.
        success: median score of the successes' group.
    """

    failure: float
    failure_to: float
    success_from: float
    success: float


@dataclass(frozen=True, eq=False)
class ScoreOutcomes:
    """The outcomes of M runs.

    Attributes:
        score: mean over the last epochs that the run has, NaN where it has too few, `[M]`.
        complete: whether it went as far as the others of its approach and rate, and has that score,
            bool `[M]`.
        outcome: one of `OUTCOMES`, `[M]`.
        why: why a run is not complete, or lies between the groups; else empty, `[M]`.
        scored: epochs with a score, `[M]`.
        expected: epochs that the runs of its approach and rate have, `[M]`.
        groups: what was found; None where no run is complete.
        bands: None where fewer than two groups were found.
        reason: in a sentence, why there are so many groups.
        last: over how many epochs scores are averaged.
    """

    score: np.ndarray
    complete: np.ndarray
    outcome: np.ndarray
    why: np.ndarray
    scored: np.ndarray
    expected: np.ndarray
    groups: Groups | None
    bands: Bands | None
    reason: str
    last: int


def judge_scores(history: xr.Dataset, last: int = LAST_EPOCHS) -> ScoreOutcomes:
    """Say of every run what became of it.

    Args:
        history: scores over epochs (`score_table.read_scores`).
        last: over how many epochs at its end a run's score is averaged.

    Raises:
        InputError: `last` is below 1.
    """
    if last < 1:
        raise InputError(f"expected at least 1 epoch, found {last}", arguments=["last"])
    runs = history.sizes["run"]
    score, complete = np.full(runs, np.nan), np.zeros(runs, bool)
    why = np.full(runs, "", object)
    scored, expected = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    for _, _, rows in conditions(history):
        own = history.score.values[rows]
        # Approaches may be trained for different lengths, or scored at other epochs.
        epochs = np.flatnonzero(history.recorded.values[rows].any(axis=0))
        curves = own[:, epochs]
        expected[rows], scored[rows] = len(epochs), np.isfinite(curves).sum(axis=1)
        score[rows] = mean_of_last(curves, last)
        complete[rows] = np.isfinite(mean_of_last(curves, last, finished=len(epochs)))
        labels = history.epoch.values[epochs]
        for row, curve in zip(rows, curves, strict=True):
            why[row] = _obstacle(curve, labels, last)
    groups, bands, reason = _find(score[complete])
    outcome = np.full(runs, "unfinished", object)
    outcome[complete] = _outcomes(score[complete], groups, bands)
    why[complete & (outcome == "unfinished")] = "between the groups"
    return ScoreOutcomes(
        score, complete, outcome, why, scored, expected, groups, bands, reason, last
    )


def _obstacle(curve: np.ndarray, epochs: np.ndarray, last: int) -> str:
    """Return why a run has no final score; empty where it has one."""
    there = np.flatnonzero(np.isfinite(curve))
    if not len(there):
        return "no score"
    end = there[-1]
    if end < len(curve) - 1:
        return f"no score after epoch {epochs[end]} of {epochs[-1]}"
    if len(curve) < last:
        return f"{len(curve)} epochs, {last} needed"
    missing = np.flatnonzero(~np.isfinite(curve[-last:]))
    if len(missing):
        first = epochs[len(curve) - last + missing[0]]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"no score at epoch {first}{more} of the last {last}"
    return ""


def _find(scores: np.ndarray) -> tuple[Groups | None, Bands | None, str]:
    """Return the groups of final scores, and the bands of the lowest and the highest."""
    if not len(scores):
        return None, None, "no run has a final score"
    groups = find_groups(scores[:, None])
    if len(scores) == 1:
        return groups, None, "one run alone: no groups can be found from it"
    if groups.groups < 2:
        return groups, None, f"one group: {groups.reason}; nothing tells success from failure"
    bands = find_bands(scores[groups.labels == 0], scores[groups.labels == groups.groups - 1])
    between = groups.groups - 2
    more = f"; what lies in the {between} between the outer ones is unfinished" if between else ""
    return groups, bands, groups.reason + more


def find_bands(low: np.ndarray, high: np.ndarray) -> Bands:
    """Return the bands of two groups.

    Args:
        low: scores of the lower one.
        high: scores of the higher one.
    """
    medians = np.median(low), np.median(high)
    distance = medians[1] - medians[0]
    reaches = [
        min(max(_RISE * distance, _CUT * _GAUSSIAN * np.median(np.abs(own - m))), distance / 2)
        for own, m in zip((low, high), medians, strict=True)
    ]
    return Bands(
        failure=float(medians[0]),
        failure_to=float(medians[0] + reaches[0]),
        success_from=float(medians[1] - reaches[1]),
        success=float(medians[1]),
    )


def _outcomes(scores: np.ndarray, groups: Groups | None, bands: Bands | None) -> np.ndarray:
    """Return the outcome of every complete run."""
    found = np.full(len(scores), "undecided", object)
    if groups is not None and bands is not None:
        found[:] = "unfinished"
        found[(groups.labels == 0) & (scores <= bands.failure_to)] = "failure"
        highest = groups.labels == groups.groups - 1
        found[highest & (scores >= bands.success_from)] = "success"
    return found
