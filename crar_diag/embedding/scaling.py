"""Units of features in which a group of runs has a width near 1, whatever the others do."""

from typing import Final

import numpy as np

# The shortest half of a Gaussian sample is as long as its interquartile range, in units of sigma.
SHORTEST_HALF: Final = 1.349

# Least scale, relative to a feature's range: half of the runs may be equal.
LEAST_SCALE: Final = 1e-3

# What varies by no more, relative to the largest value, is constant but for rounding.
ROUNDING: Final = 1e-9


def varies(features: np.ndarray) -> np.ndarray:
    """Return which features differ between runs by more than rounding, bool `[f]`.

    Args:
        features: `[n, f]` with n of at least 1.
    """
    return np.ptp(features, axis=0) > ROUNDING * np.abs(features).max(0)


def standardise(features: np.ndarray) -> np.ndarray:
    """Return features minus their medians, in units of the shortest interval with half the runs.

    The interval is divided by 1.349, its length in a standard Gaussian. Quartiles and the median
    deviation measure the distance of two groups of equal size; the shortest half lies within one
    (and is then as long as all of it: a Gaussian group of 11 runs has the width 0.4).

    Args:
        features: none of them constant, `[n, f]` with n of at least 2.
    """
    ordered = np.sort(features, axis=0)
    half = len(features) // 2
    lengths = ordered[half - 1 :] - ordered[: len(features) - half + 1]
    scale = np.maximum(lengths.min(0) / SHORTEST_HALF, LEAST_SCALE * np.ptp(features, axis=0))
    return (features - np.median(features, axis=0)) / scale
