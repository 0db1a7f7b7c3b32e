"""Does the base decide whether a transfer succeeds? A test of the hypothesis that it does not.

The paper's two bases: 19 of 22 transfers of the first failed, 1 of 22 of the second (Fisher's exact
test, p = 3.9e-8).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from crar_diag.report.statistics.inputs import check_count, read_labels, read_outcomes
from crar_diag.report.statistics.resampling import RESAMPLES, Seed, make_generator

# Sums in another order differ in their last bits; what is equal but for these counts as equal.
TIE = 1e-12


@dataclass(frozen=True)
class BaseEffect:
    """Outcome of the test.

    Attributes:
        test: `fisher` for two bases, `permutation` for more, `undecidable` where neither can tell.
        statistic: the sample's odds ratio (`fisher`), or the variance of the success rates between
            bases (`permutation`); NaN where undecidable.
        p_value: two-sided; NaN where undecidable.
        permutations: how many were drawn; 0 but for `permutation`.
        reason: why it is undecidable; empty where it is not.
    """

    test: Literal["fisher", "permutation", "undecidable"]
    statistic: float
    p_value: float
    permutations: int
    reason: str = ""


def base_effect(
    success: ArrayLike,
    bases: ArrayLike,
    seeds: ArrayLike,
    *,
    permutations: int = RESAMPLES,
    rng: Seed = 0,
) -> BaseEffect:
    """Test whether success depends on the base.

    Two bases: Fisher's exact test, which does not look at the seeds. More: outcomes are permuted
    among the runs of each seed, which keeps what a seed does to every base. The statistic is

        sum_b n_b (r_b - e_b)^2 / sum_b n_b,

    where base b has n_b runs and the success rate r_b, and e_b is the rate that its runs would have
    if each succeeded as often as all runs of its seed. Where every base has every seed, e_b is the
    overall rate and the statistic the weighted variance of the rates; where a base lacks some, e_b
    allows for the seeds that it has. p = (1 + #{permuted >= observed}) / (1 + permutations).

    Args:
        success: outcome of each run, bool `[M]`.
        bases: base of each run, `[M]`.
        seeds: seed of each run, `[M]`; a seed may lack some bases, or have several runs of one.
        permutations: how many to draw.
        rng: seed or generator.

    Raises:
        InputError: if the arguments do not fit.
    """
    check_count("permutations", permutations)
    won = read_outcomes("success", success)
    base_names, base = read_labels("bases", bases, len(won))
    seed_names, seed = read_labels("seeds", seeds, len(won))
    if len(base_names) == 1:
        return _undecidable("there is one base only")
    if won.all() or not won.any():
        return _undecidable(f"all runs {'succeeded' if won.all() else 'failed'}")
    runs = np.zeros((len(seed_names), len(base_names)), dtype=np.int64)
    successes = np.zeros_like(runs)
    np.add.at(runs, (seed, base), 1)
    np.add.at(successes, (seed, base), won)
    if len(base_names) == 2:
        return _fisher(successes.sum(axis=0), runs.sum(axis=0))
    if ((runs > 0).sum(axis=1) < 2).all():
        return _undecidable("no seed was run on more than one base")
    return _permutation(successes, runs, permutations, make_generator(rng))


def _undecidable(reason: str) -> BaseEffect:
    return BaseEffect("undecidable", float("nan"), float("nan"), 0, reason)


def _fisher(successes: np.ndarray, runs: np.ndarray) -> BaseEffect:
    """Test two bases; both arguments are `[2]`."""
    result = stats.fisher_exact([successes, runs - successes])
    return BaseEffect("fisher", float(result.statistic), float(result.pvalue), 0)


def _permutation(
    successes: np.ndarray, runs: np.ndarray, permutations: int, generator: np.random.Generator
) -> BaseEffect:
    """Permute within seeds; successes and runs are `[seeds, bases]`."""
    expected = (runs * (successes.sum(axis=1) / runs.sum(axis=1))[:, None]).sum(axis=0)
    of_base = runs.sum(axis=0)

    def variance(won: np.ndarray) -> np.ndarray:
        return ((won - expected) ** 2 / of_base).sum(axis=-1) / of_base.sum()

    permuted = np.zeros((permutations, len(of_base)), dtype=np.int64)
    for of_seed, won_of_seed in zip(runs, successes.sum(axis=1), strict=True):
        # Permuting a seed's outcomes deals its successes to the bases without replacement.
        permuted += generator.multivariate_hypergeometric(of_seed, won_of_seed, permutations)
    observed = float(variance(successes.sum(axis=0)))
    at_least = int((variance(permuted) >= observed - TIE).sum())
    return BaseEffect("permutation", observed, (1 + at_least) / (1 + permutations), permutations)
