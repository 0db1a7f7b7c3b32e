"""Units of features in which one group of runs has about the width 1, whatever the others do."""

from typing import Final

import numpy as np

# The shortest half of a Gaussian sample is as long as its interquartile range, in units of sigma.
SHORTEST_HALF: Final = 1.349

# Least scale, relative to a feature's range: half of the runs may be equal.
LEAST_SCALE: Final = 1e-3


def standardise(features: np.ndarray) -> np.ndarray:
    """Return features minus their medians, in units of the shortest interval with half the runs.

    The interval is divided by 1.349, its length in a standard Gaussian. Quartiles and the median
    deviation measure the distance of two groups of equal size; the shortest half lies within one.

    Args:
        features: none of them constant, `[n, f]`.
    """
    ordered = np.sort(features, axis=0)
    half = len(features) // 2
    lengths = ordered[half - 1 :] - ordered[: len(features) - half + 1]
    scale = np.maximum(lengths.min(0) / SHORTEST_HALF, LEAST_SCALE * np.ptp(features, axis=0))
    return (features - np.median(features, axis=0)) / scale
