"""Standard errors of means whose terms are not independent of each other."""

import math

from torch import Tensor


def clustered_error(terms: Tensor, clusters: Tensor | None = None) -> Tensor:
    """Return the standard error of the mean of terms, as that of a mean of clusters.

    With r_c the sum of (term - mean) over cluster c, sqrt(C / (C - 1) sum_c r_c^2) / T for C
    clusters, computed in double precision; NaN for one cluster.

    Args:
        terms: `[T]`.
        clusters: int64 `[T]`, from 0 on, each number used; None for a cluster a term.
    """
    residuals = terms.double() - terms.double().mean()
    count = len(terms)
    if clusters is not None:
        count = int(clusters.max()) + 1
        residuals = residuals.new_zeros(count).index_add(0, clusters, residuals)
    if count == 1:
        return residuals.new_tensor(math.nan)
    return (residuals.square().sum() * count / (count - 1)).sqrt() / len(terms)
