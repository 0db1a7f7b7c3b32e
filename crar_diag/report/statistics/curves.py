"""Learning curves: scores over the epochs of runs that need not end at the same one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crar_diag.report.statistics.inputs import check_count, read_numbers


@dataclass(frozen=True)
class LearningCurve:
    """Mean over runs at every epoch.

    Attributes:
        mean: NaN where no run has a score, `[E]`.
        standard_error: of the mean, from the runs' standard deviation (n - 1 in its denominator),
            NaN where fewer than two runs have a score, `[E]`.
        runs: with a score, `[E]`.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    runs: np.ndarray


def mean_of_last(curves: ArrayLike, epochs: int, *, finished: int | None = None) -> np.ndarray:
    """Return the mean of each run's last scores, `[M]`.

    A run ends at its last score; NaN after it are epochs that it did not reach. The result is NaN
    for a run with fewer than `epochs` epochs, and for one with a gap among its last.

    Args:
        curves: scores, NaN where there are none, `[M, E]`.
        epochs: how many to average (the paper: 20).
        finished: the epochs that a finished run has; shorter runs give NaN. By default every run is
            averaged over its own last epochs, wherever it ended.

    Raises:
        InputError: if the arguments do not fit.
    """
    check_count("epochs", epochs)
    scores = read_numbers("curves", curves, dimensions=2)
    length = scores.shape[1] - np.argmax(~np.isnan(scores[:, ::-1]), axis=1)
    length[np.isnan(scores).all(axis=1)] = 0
    places = length[:, None] - epochs + np.arange(epochs)
    last = np.take_along_axis(scores, np.maximum(places, 0), axis=1)
    means = last.mean(axis=1)
    means[length < max(epochs, finished or 0)] = np.nan
    return means


def learning_curve(curves: ArrayLike) -> LearningCurve:
    """Return mean and standard error over runs at every epoch, as in the paper's figure 8.

    Runs that have ended are left out of later epochs: the mean is then one over other runs, which
    `runs` tells.

    Args:
        curves: scores, NaN where there are none, `[M, E]`.

    Raises:
        InputError: if they are not an array of two axes.
    """
    scores = read_numbers("curves", curves, dimensions=2)
    present = ~np.isnan(scores)
    runs = present.sum(axis=0)
    mean = _divide(np.where(present, scores, 0.0).sum(axis=0), runs)
    squares = np.where(present, (scores - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(_divide(_divide(squares, runs - 1), runs))
    return LearningCurve(mean, error, runs)


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the quotients, NaN where nothing was counted."""
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
