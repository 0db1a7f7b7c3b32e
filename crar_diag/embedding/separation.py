"""How separate two groups of runs are, and whether they count as two.

A mixture chosen by BIC splits one skewed or short-tailed group as readily as it finds two, and
Ashman's D, read off that mixture, exceeds 2 for most samples of an exponential distribution. A
split is therefore believed only where the runs themselves show a gap (`Separation.holds`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from crar_diag.embedding.dip import dip, dip_p_value
from crar_diag.embedding.scaling import varies
from crar_diag.errors import InputError

CLEAR: Final = 2.0
"""Ashman's D above which two Gaussians of equal width and weight have two modes (Ashman, Bird and
Zepf, Astronomical Journal 1994, section 2)."""

SIGNIFICANT: Final = 0.05
"""p of the dip up to which one mode is rejected."""

WIDE: Final = 1.5
"""Gap, in extents of the wider group, from which a few runs away from the others are a group: the
dip cannot see fewer than about a fifth of the runs. With a dip at 5%, it splits 1 in 60 samples of
22 exponential values (9 with 1.0), and finds one run in 22 that lies 12 standard deviations away.
"""

FEWEST: Final = 4
"""Runs from which a group has an extent: two that happen to be neighbours make any gap wide."""

# Least variance where directions are weighed by 1 / variance, in units of the features' scales.
_LEAST_VARIANCE: Final = 0.05


@dataclass(frozen=True)
class Separation:
    """Two groups on the line that joins their means, each feature in units of the groups' width.

    Attributes:
        ashman_d: distance of the means in widths, sqrt(2) |m_1 - m_2| / sqrt(v_1 + v_2).
        dip_p: p-value of the dip of both groups together.
        gap: between the groups' nearest runs, in extents of the wider group; negative where they
            overlap, NaN where both have fewer than `FEWEST` runs.
    """

    ashman_d: float
    dip_p: float
    gap: float

    @property
    def holds(self) -> bool:
        """Whether these are two groups: D is clear, and the dip or the gap shows it."""
        return self.ashman_d > CLEAR and (self.dip_p <= SIGNIFICANT or self.gap >= WIDE)


def separation(
    features: np.ndarray, responsibilities: np.ndarray, pair: tuple[int, int]
) -> Separation:
    """Return how separate two of the groups of a mixture are.

    Means and variances weigh every run by its responsibility: those of runs cut at a boundary
    would show two groups where there is one. Dip and gap look at the runs that belong to the two.

    Args:
        features: of every run, in comparable units, `[n, f]`.
        responsibilities: probability of each group, `[n, groups]`.
        pair: which two groups.

    Returns:
        A separation that does not hold, with NaN, where no run belongs to one of the groups.
    """
    weights = responsibilities[:, pair]
    weights = weights / np.maximum(weights.sum(0), np.finfo(float).tiny)
    means = weights.T @ features
    variances = np.stack([weights[:, g] @ (features - means[g]) ** 2 for g in range(2)])
    direction = (means[1] - means[0]) / (variances.mean(0) + _LEAST_VARIANCE)
    line = features @ direction
    labels = responsibilities.argmax(1)
    first, second = line[labels == pair[0]], line[labels == pair[1]]
    if not len(first) or not len(second):
        return Separation(float("nan"), float("nan"), float("nan"))
    centres = weights.T @ line
    widths = np.array([weights[:, g] @ (line - centres[g]) ** 2 for g in range(2)])
    both = np.concatenate([first, second])
    return Separation(
        ashman_d=ashman_d(centres, widths),
        dip_p=dip_p_value(dip(both), len(both)),
        gap=_gap(first, second),
    )


def _gap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the distance of the nearest members of two samples, in extents of the wider one."""
    if max(len(first), len(second)) < FEWEST:
        return float("nan")
    gap = max(second.min() - first.max(), first.min() - second.max())
    extent = max(np.ptp(first), np.ptp(second))
    return float(gap / extent) if extent > 0 else float(np.copysign(np.inf, gap))


def ashman_d(means: np.ndarray, variances: np.ndarray) -> float:
    """Return D = sqrt(2) |m_1 - m_2| / sqrt(v_1 + v_2), the distance of two groups in their widths.

    Args:
        means: of the two groups, `[2]`.
        variances: of the two groups, `[2]`.

    Returns:
        0 where the means coincide, infinity where they do not and there is no width.

    Raises:
        InputError: there are not two means and two variances.
    """
    if np.shape(means) != (2,) or np.shape(variances) != (2,):
        raise InputError(
            f"expected two means and two variances, got shapes {np.shape(means)} and "
            f"{np.shape(variances)}"
        )
    distance, width = abs(float(means[1] - means[0])), float(variances[0] + variances[1]) ** 0.5
    if distance == 0:
        return 0.0
    return 2**0.5 * distance / width if width > 0 else float("inf")


def bimodality_coefficient(values: np.ndarray) -> float:
    """Return Sarle's b = (g^2 + 1) / (k + 3 (n-1)^2 / ((n-2)(n-3))).

    g is the skewness and k the excess kurtosis, both corrected for the sample's size. In large
    samples a uniform distribution has 5/9 = 0.56, a Gaussian 1/3, two points of equal weight 1; a
    skewed one exceeds 5/9 with one mode as well (SAS/STAT User's Guide, procedure CLUSTER).

    Args:
        values: `[n]`.

    Returns:
        NaN where n < 4 or all values are equal.
    """
    sample = np.asarray(values, np.float64)
    n = len(sample)
    if n < 4 or not varies(sample[:, None])[0]:
        return float("nan")
    skewness = float(stats.skew(sample, bias=False))
    kurtosis = float(stats.kurtosis(sample, bias=False))
    return (skewness**2 + 1) / (kurtosis + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))
