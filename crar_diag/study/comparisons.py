"""Comparing approaches by their runs: worth of each run, and what holds in resamples of them."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import xarray as xr

from crar_diag.study.findings import Verdict

RESAMPLES: Final = 10_000
Means = Mapping[str, np.ndarray]
"""The mean worth of each approach in each resample, `[RESAMPLES]`."""


def worth(ended: xr.Dataset) -> tuple[np.ndarray, str]:
    """Return what each run is worth, `[T]`, and what that is: its score, else its success."""
    scores = ended.score.values
    if np.isfinite(scores).all():
        return scores, "mean final score"
    return ended.success.values.astype(float), "success rate"


def resample(
    values: Mapping[str, Mapping[str, np.ndarray]], seed: int = 0
) -> dict[str, np.ndarray]:
    """Draw the runs of each approach and base again, and return each approach's mean over bases.

    Args:
        values: approach -> base -> worth of its runs, `[n]`.
        seed: of the draws.

    Returns:
        Approach -> mean over bases of the mean over runs, `[RESAMPLES]`.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for name, bases in values.items():
        means = [rng.choice(runs, (RESAMPLES, len(runs))).mean(axis=1) for runs in bases.values()]
        found[name] = np.mean(means, axis=0)
    return found


def mean_of(bases: Mapping[str, np.ndarray]) -> float:
    """Return the mean over bases of the mean over runs."""
    return float(np.mean([runs.mean() for runs in bases.values()]))


def beats(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each resample 1 where a is above b, 0 where below, 0.5 where they are equal.

    Success rates are equal often: all of a few runs succeed, or none.
    """
    return np.where(a > b, 1.0, np.where(a == b, 0.5, 0.0))


def holds(means: Means, claim: Callable[[Means], np.ndarray]) -> tuple[float, Verdict]:
    """Return in which share of the resamples a claim holds, and what that says of it.

    Args:
        means: see `resample`.
        claim: 1 where it holds in a resample, 0 where not, 0.5 where that hangs on a tie,
            `[RESAMPLES]`.
    """
    share = float(np.mean(claim(means)))
    return share, "agrees" if share >= 0.95 else "differs" if share <= 0.05 else "undecided"


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile interval of draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)
