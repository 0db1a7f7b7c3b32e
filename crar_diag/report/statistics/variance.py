"""How much of an outcome's variance lies between bases, how much between seeds.

The model is y_bs = mu + base_b + seed_s + residual_bs, all three random and independent, one run a
cell. The residual holds the interaction of base and seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    check_settings,
    read_labels,
    read_numbers,
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

# With two bases every resample that has a value holds both once: there is nothing to draw.
FEWEST = 3
# Estimates below this part of the whole are rounding errors around zero, not negative.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Component:
    """One source of variance.

    Attributes:
        estimate: the moment estimate, which chance can make negative.
        variance: the estimate, clipped to 0.
        share: of the sum of the three variances, NaN if that is 0.
        clipped: whether the estimate was negative.
        variance_interval: percentile interval of `variance`.
        share_interval: percentile interval of `share`.
    """

    estimate: float
    variance: float
    share: float
    clipped: bool
    variance_interval: Interval
    share_interval: Interval


@dataclass(frozen=True)
class VarianceComponents:
    """The decomposition.

    Attributes:
        base: between bases.
        seed: between seeds.
        residual: what is left, the interaction of both included.
        total: the sum of the three variances.
        bases: how many have a value.
        seeds: how many have a value.
        missing: cells of the table bases x seeds without a value.
        reason: why there are no estimates; empty where there are.
    """

    base: Component
    seed: Component
    residual: Component
    total: float
    bases: int
    seeds: int
    missing: int
    reason: str = ""


def variance_components(
    values: ArrayLike,
    bases: ArrayLike,
    seeds: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: Seed = 0,
) -> VarianceComponents:
    """Decompose the variance of an outcome into base, seed and residual.

    The estimator is that of symmetric differences (Koch, 1968). Half the mean squared difference of
    two runs is, in expectation,

        seed + residual           for two seeds of one base (D_b),
        base + residual           for two bases with one seed (D_s),
        base + seed + residual    where both differ (D),

    so that base = D - D_b, seed = D - D_s, residual = D_b + D_s - D. On a complete table these are
    the moment estimates of the analysis of variance, (MS_base - MS_residual) / seeds and so on;
    with missing cells they stay unbiased and drop no run.

    The intervals draw bases and seeds with replacement, independently (Owen's pigeonhole bootstrap,
    2007). Copies of one base or seed are not compared with each other, else the copies' common
    residual would raise the base component. The intervals are wide for the residual, and too narrow
    for the component of few bases where it dominates: with 5 to 8 normal bases and 5/6 of the
    variance between them, 95% intervals held that variance in 80 to 84% of simulations and its
    share in about 90%.

    Args:
        values: score, distance or success (0 or 1) of each run, NaN where it has none, `[M]`.
        bases: base of each run, `[M]`.
        seeds: seed of each run, `[M]`.
        confidence: of the intervals.
        resamples: how many.
        rng: seed or generator.

    Returns:
        The components; NaN with a reason where the design cannot tell them apart, and intervals
        with a reason below three bases or seeds.

    Raises:
        InputError: if the arguments do not fit or a base has two runs of one seed.
    """
    check_settings(confidence, resamples)
    table = _tabulate(values, bases, seeds)
    shape, missing = table.shape, int(np.isnan(table).sum())
    point = _estimate(table, np.ones((1, shape[0])), np.ones((1, shape[1])))[0]
    reason = "" if not np.isnan(point).any() else _explain(shape)
    variances, shares = _share(point[None])
    if reason or min(shape) < FEWEST:
        why = reason or f"expected at least {FEWEST} bases and {FEWEST} seeds, found {shape}"
        intervals = [(no_interval(why, confidence),) * 2] * 3
    else:
        generator = make_generator(rng)
        drawn = [count_draws(draw(n, resamples, generator), n) for n in shape]
        again = np.stack(_share(_estimate(table, *drawn)), axis=1)
        intervals = [
            (
                percentile_interval(again[:, 0, component], confidence),
                percentile_interval(again[:, 1, component], confidence),
            )
            for component in range(3)
        ]
    base, seed, residual = (
        Component(
            float(point[i]),
            float(variances[0, i]),
            float(shares[0, i]),
            bool(point[i] < 0),
            *intervals[i],
        )
        for i in range(3)
    )
    total = float(variances.sum())
    return VarianceComponents(base, seed, residual, total, shape[0], shape[1], missing, reason)


def _tabulate(values: ArrayLike, bases: ArrayLike, seeds: ArrayLike) -> np.ndarray:
    """Return the table `[bases, seeds]`, NaN where a cell has no run."""
    numbers = read_numbers("values", values)
    _, base = read_labels("bases", bases, len(numbers))
    _, seed = read_labels("seeds", seeds, len(numbers))
    cells = np.stack([base, seed], axis=1)
    if len(np.unique(cells, axis=0)) < len(cells):
        raise InputError("expected one run of each seed on each base, found several")
    table = np.full((base.max() + 1, seed.max() + 1), np.nan)
    table[base, seed] = numbers
    known = ~np.isnan(table)
    return table[known.any(axis=1)][:, known.any(axis=0)]


def _estimate(table: np.ndarray, base: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Return base, seed and residual component on every resample.

    Args:
        table: `[bases, seeds]`, NaN where a cell has no run.
        base: how often each base was drawn, `[resamples, bases]`.
        seed: how often each seed was drawn, `[resamples, seeds]`.

    Returns:
        `[resamples, 3]`, NaN where a resample has no pair of some kind.
    """
    known = ~np.isnan(table)
    mask = known.astype(np.float64)
    # The median of equal values is that value, so that their differences are exactly 0.
    y = np.where(known, table - np.median(table[known]) if known.any() else 0.0, 0.0)
    # Sums over pairs i, j of w_i w_j (y_i - y_j)^2 / 2 are (sum w)(sum w y^2) - (sum w y)^2.
    of_base = [seed @ power.T for power in (mask, y, y * y)]
    of_seed = [base @ power for power in (mask, y, y * y)]
    total = [(base * each).sum(axis=1) for each in of_base]
    pairs_base = of_base[0] * of_base[2] - of_base[1] ** 2
    pairs_seed = of_seed[0] * of_seed[2] - of_seed[1] ** 2
    one_base = (base * pairs_base).sum(axis=1)
    one_seed = (seed * pairs_seed).sum(axis=1)
    neither = (
        total[0] * total[2]
        - total[1] ** 2
        - (base**2 * pairs_base).sum(axis=1)
        - (seed**2 * pairs_seed).sum(axis=1)
    )
    # The same sums of w_i w_j: the numbers of pairs, a run with itself left out.
    weight_base = (base * (of_base[0] ** 2 - seed**2 @ mask.T)).sum(axis=1)
    weight_seed = (seed * (of_seed[0] ** 2 - base**2 @ mask)).sum(axis=1)
    weight = (
        total[0] ** 2
        - (base**2 * of_base[0] ** 2).sum(axis=1)
        - (seed**2 * of_seed[0] ** 2).sum(axis=1)
        + (base**2 * (seed**2 @ mask.T)).sum(axis=1)
    )
    d_b, d_s = _divide(one_base, weight_base), _divide(one_seed, weight_seed)
    d = _divide(neither, weight)
    components = np.stack([d - d_b, d - d_s, d_b + d_s - d], axis=1)
    components[np.isnan(components).any(axis=1)] = np.nan
    negligible = np.abs(components) <= ROUNDING * np.stack([d, d_b, d_s]).max(axis=0)[:, None]
    return np.where(negligible, 0.0, components)


def _divide(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the quotients, NaN where there is no pair."""
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0.5)


def _share(components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances (clipped to 0) and their shares of the sum, `[resamples, 3]` each."""
    variances = np.maximum(components, 0.0)
    total = variances.sum(axis=1, keepdims=True)
    shares = np.divide(variances, total, out=np.full_like(variances, np.nan), where=total > 0)
    return variances, shares


def _explain(shape: tuple[int, ...]) -> str:
    if min(shape, default=0) < 2:
        return f"expected at least 2 bases and 2 seeds with values, found {shape[0]} and {shape[1]}"
    return "too few bases share a seed, or too few seeds a base"
