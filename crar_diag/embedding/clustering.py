"""Groups of runs, found from numbers about their outcomes without saying how many there are.

Gaussian mixtures with 1, 2, ... components and diagonal covariances are fitted and chosen by BIC;
components that the runs do not keep apart (`separation`) are then put together again. Where one
group is left, that is the answer, and `Groups.reason` says why.
"""

import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from crar_diag.embedding.dip import dip, dip_p_value
from crar_diag.embedding.scaling import standardise, varies
from crar_diag.embedding.separation import Separation, bimodality_coefficient, separation
from crar_diag.errors import InputError

FEWEST_RUNS: Final = 8
"""With fewer runs no split is looked for; each further component wants as many runs again. Below
that, BIC gives single runs components of their own."""

INITS: Final = 10
SEED: Final = 0

# Least variance of a component in units of the features' scales: with less, a component narrows
# down on two runs that happen to be neighbours, where its likelihood has no bound.
VARIANCE_FLOOR: Final = 0.05


@dataclass(frozen=True)
class Groups:
    """The groups of n runs with f features.

    Attributes:
        groups: how many there are. They are numbered by their means of the first feature.
        bic_groups: how many components BIC chose.
        labels: group of every run, int `[n]`.
        responsibilities: probability of each group, `[n, groups]`.
        means: of each group, weighted by responsibilities, in the units of the features,
            `[groups, f]`.
        bics: of 1, 2, ... components, as far as they were tried, `[tried]`.
        separation: of the two least separate groups; with one group, of the last two components
            that were put together; None where BIC chose one.
        bimodality: Sarle's coefficient of the first feature.
        dip: Hartigan's dip of the first feature.
        dip_p: its p-value against the uniform distribution.
        reason: one sentence: why this many.
    """

    groups: int
    bic_groups: int
    labels: np.ndarray
    responsibilities: np.ndarray
    means: np.ndarray
    bics: np.ndarray
    separation: Separation | None
    bimodality: float
    dip: float
    dip_p: float
    reason: str


@dataclass(frozen=True)
class NamedGroups:
    """Groups in the order of how well their runs ended.

    Attributes:
        labels: 0 for the best group, int `[n]`.
        by: what the order is by.
        medians: of it in each group, rising; NaN (last) where a group has no finite value.
        sizes: runs in each group.
    """

    labels: np.ndarray
    by: Literal["distance", "transition"]
    medians: np.ndarray
    sizes: np.ndarray


def find_groups(features: np.ndarray, *, max_components: int = 4) -> Groups:
    """Return the groups of runs.

    Args:
        features: of every run's outcome (its distance to the base, losses, ...), `[n, f]`. The
            first one is also looked at alone. Constant ones take no part.
        max_components: the most that are tried; with n runs at most 1 + n // 8.

    Returns:
        The same groups whatever the order of the runs, and whatever the units of the features.

    Raises:
        InputError: there is no run, no feature, or a value that is not finite.
    """
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"expected features [runs, features], got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(
            "expected finite features, got others: runs that diverged are left out before"
        )
    if max_components < 1:
        raise InputError(f"expected at least 1 component, got {max_components}")
    n = len(values)
    varying = values[:, varies(values)]
    one = np.ones((n, 1))
    if n < FEWEST_RUNS:
        reason = f"{n} runs are too few to be split: at least {FEWEST_RUNS} are needed"
        return _describe(values, one, np.empty(0), 1, None, reason)
    if not varying.shape[1]:
        return _describe(values, one, np.empty(0), 1, None, "all runs have the same features")
    scaled = standardise(varying)
    # The initial guesses depend on the order of the rows; the answer must not.
    order = np.lexsort(scaled.T)
    tried = min(max_components, 1 + n // FEWEST_RUNS, len(np.unique(scaled, axis=0)))
    # Threads that wait for each other take ten times as long as so few runs need.
    with threadpool_limits(1):
        mixtures = [_mixture(scaled[order], components) for components in range(1, tried + 1)]
    bics = np.array([mixture.bic(scaled[order]) for mixture in mixtures])
    chosen = int(bics.argmin()) + 1
    merged, apart = _merge(scaled, mixtures[chosen - 1].predict_proba(scaled))
    return _describe(values, merged, bics, chosen, apart, _reason(chosen, merged.shape[1], apart))


def name_groups(
    labels: np.ndarray,
    distance: np.ndarray,
    transition_loss: np.ndarray,
    *,
    frozen_dynamics: bool = True,
) -> NamedGroups:
    """Return the groups numbered from the best to the worst.

    Args:
        labels: group of every run, any integers, `[n]`.
        distance: of every run's embedding to the base's, `[n]`.
        transition_loss: of every run, `[n]`.
        frozen_dynamics: whether the order is by the median distance. Dynamics that train along may
            serve an embedding far from the base's just as well, so without them frozen it is by
            the median transition loss.

    Raises:
        InputError: the lengths differ, or there is no run.
    """
    groups, sizes = np.unique(labels, return_counts=True)
    measure = np.asarray(distance if frozen_dynamics else transition_loss, np.float64)
    shapes = [np.shape(each) for each in (labels, distance, transition_loss)]
    if not len(groups) or shapes != [(len(measure),)] * 3:
        raise InputError(f"expected three numbers for every run, got shapes {shapes}")
    of_group = [measure[(labels == group) & np.isfinite(measure)] for group in groups]
    medians = np.array([np.median(own) if len(own) else np.nan for own in of_group])
    order = np.argsort(medians, kind="stable")  # NaN comes last
    rank = np.argsort(order)
    return NamedGroups(
        labels=rank[np.searchsorted(groups, labels)],
        by="distance" if frozen_dynamics else "transition",
        medians=medians[order],
        sizes=sizes[order],
    )


def _mixture(features: np.ndarray, components: int) -> GaussianMixture:
    mixture = GaussianMixture(
        components,
        covariance_type="diag",
        reg_covar=VARIANCE_FLOOR,
        n_init=INITS,
        max_iter=300,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        # An unfinished fit has too low a likelihood, which favours fewer components.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(features)


def _merge(
    features: np.ndarray, responsibilities: np.ndarray
) -> tuple[np.ndarray, Separation | None]:
    """Put together the least separate components until all are separate.

    Returns:
        The responsibilities, and the separation of the least separate two (of the last two that
        were put together where one group is left).
    """
    least = None
    while (groups := responsibilities.shape[1]) > 1:
        found = {
            pair: separation(features, responsibilities, pair)
            for pair in combinations(range(groups), 2)
        }
        # A component without runs has no D and goes first.
        i, j = min(found, key=lambda pair: (found[pair].holds, np.nan_to_num(found[pair].ashman_d)))
        least = found[i, j]
        if least.holds:
            break
        responsibilities = responsibilities.copy()
        responsibilities[:, i] += responsibilities[:, j]
        responsibilities = np.delete(responsibilities, j, axis=1)
    return responsibilities, least


def _reason(chosen: int, groups: int, least: Separation | None) -> str:
    if least is None:
        return "BIC chooses one component"
    numbers = f"Ashman's D {least.ashman_d:.3g}, dip p {least.dip_p:.2g}, gap {least.gap:.2g}"
    if groups == 1:
        return f"BIC chooses {chosen} components, which the runs do not keep apart ({numbers})"
    some = "all" if groups == chosen else f"{groups} groups"
    return f"BIC chooses {chosen} components, {some} of them apart ({numbers})"


def _describe(
    features: np.ndarray,
    responsibilities: np.ndarray,
    bics: np.ndarray,
    chosen: int,
    apart: Separation | None,
    reason: str,
) -> Groups:
    """Return the groups, numbered by their means of the first feature."""
    means = (responsibilities.T @ features) / responsibilities.sum(0)[:, None]
    order = np.argsort(means[:, 0], kind="stable")
    responsibilities = responsibilities[:, order]
    first = features[:, 0]
    found = dip(first)
    return Groups(
        groups=len(order),
        bic_groups=chosen,
        labels=responsibilities.argmax(1),
        responsibilities=responsibilities,
        means=means[order],
        bics=bics,
        separation=apart,
        bimodality=bimodality_coefficient(first),
        dip=found,
        dip_p=dip_p_value(found, len(first)),
        reason=reason,
    )
