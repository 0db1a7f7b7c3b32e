"""The test of the base effect against the paper's p-value and full enumeration."""

import itertools
import math

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.statistics.base_effect import base_effect


def enumerate_within_seeds(success, bases, seeds):
    """p of all permutations of outcomes within seeds, by the definition of the statistic."""
    success, bases, seeds = np.array(success, dtype=float), np.array(bases), np.array(seeds)
    mean_of_seed = {s: success[seeds == s].mean() for s in set(seeds.tolist())}
    expected = np.array([mean_of_seed[s] for s in seeds.tolist()])

    def statistic(outcomes):
        groups = [bases == b for b in sorted(set(bases.tolist()))]
        squares = [g.sum() * (outcomes[g].mean() - expected[g].mean()) ** 2 for g in groups]
        return sum(squares) / len(outcomes)

    places = [np.flatnonzero(seeds == s) for s in sorted(set(seeds.tolist()))]
    at_least = total = 0
    observed = statistic(success)
    for orders in itertools.product(*(itertools.permutations(p) for p in places)):
        permuted = success.copy()
        for place, order in zip(places, orders, strict=True):
            permuted[place] = success[list(order)]
        at_least += statistic(permuted) >= observed - 1e-12
        total += 1
    return observed, at_least / total


def test_the_papers_two_bases():
    success = [i >= 19 for i in range(22)] + [i >= 1 for i in range(22)]
    effect = base_effect(success, [1] * 22 + [2] * 22, list(range(22)) * 2)
    assert effect.test == "fisher"
    assert effect.p_value == pytest.approx(3.9e-8, rel=0.01)
    assert effect.statistic == pytest.approx((3 / 19) / (21 / 1))
    assert effect.permutations == 0


def test_fisher_by_adding_up_the_hypergeometric_probabilities():
    # 2 of 7 and 5 of 6: every table with the same margins that is no likelier.
    success = [1] * 2 + [0] * 5 + [1] * 5 + [0]
    effect = base_effect(success, ["a"] * 7 + ["b"] * 6, list(range(7)) + list(range(6)))

    def probability(k):
        return math.comb(7, k) * math.comb(6, 7 - k) / math.comb(13, 7)

    likely = [probability(k) for k in range(1, 8)]
    expected = sum(p for p in likely if p <= probability(2) * (1 + 1e-9))
    assert effect.p_value == pytest.approx(expected, rel=1e-12)


COMPLETE = (
    [1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0],
    ["a", "a", "a", "a", "b", "b", "b", "b", "c", "c", "c", "c"],
    [0, 1, 2, 3] * 3,
)
# Base c lacks seed 2, base a seed 3; seed 4 ran on one base only, and twice.
UNEQUAL = (
    [1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1],
    ["a", "a", "a", "b", "b", "b", "b", "c", "c", "c", "c", "c"],
    [0, 1, 2, 0, 1, 2, 3, 0, 1, 3, 4, 4],
)
# Two runs of a base with one seed (two learning rates, say).
REPEATED = ([1, 1, 0, 0, 0, 1, 1, 0, 0], list("aabbcabca"), [0, 0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("data", [COMPLETE, UNEQUAL, REPEATED])
def test_permutation_agrees_with_the_enumeration_of_all_permutations(data):
    statistic, p = enumerate_within_seeds(*data)
    effect = base_effect(*data, permutations=40_000, rng=1)
    assert effect.test == "permutation"
    assert effect.permutations == 40_000
    assert effect.statistic == pytest.approx(statistic, rel=1e-12)
    assert 0.02 < p < 0.98
    assert abs(effect.p_value - p) <= 4 * math.sqrt(p * (1 - p) / 40_000) + 1 / 40_001


def test_statistic_of_a_complete_design_is_the_variance_of_the_rates():
    effect = base_effect(*COMPLETE)
    assert effect.statistic == pytest.approx(np.var([3 / 4, 1 / 4, 2 / 4]))


def test_no_permutation_as_extreme_gives_the_smallest_p():
    # Each of 30 seeds succeeds on base a alone: one of 3^30 arrangements.
    success = [base == "a" for base in "abc" for _ in range(30)]
    effect = base_effect(success, list("a" * 30 + "b" * 30 + "c" * 30), list(range(30)) * 3)
    assert effect.p_value == pytest.approx(1 / 10_001, rel=1e-12)


def test_outcomes_that_the_seed_decides_show_no_base_effect():
    success = [seed % 2 for _ in "abc" for seed in range(6)]
    effect = base_effect(success, list("a" * 6 + "b" * 6 + "c" * 6), list(range(6)) * 3)
    assert effect.statistic == pytest.approx(0.0, abs=1e-15)
    assert effect.p_value == 1.0


def test_seeds_that_a_base_lacks_are_allowed_for():
    # Seeds 4 to 7 fail everywhere and base c has them alone besides: its low rate is theirs.
    success = [1, 1, 1, 1] * 3 + [0] * 4 + [0, 0]
    bases = list("aaaabbbbcccc") + list("cccc") + ["a", "b"]
    seeds = [0, 1, 2, 3] * 3 + [4, 5, 6, 7] + [4, 5]
    effect = base_effect(success, bases, seeds)
    assert effect.statistic == pytest.approx(0.0, abs=1e-15)
    assert effect.p_value == 1.0


def test_false_alarms_are_as_rare_as_the_level_says():
    generator, alarms, trials = np.random.default_rng(3), 0, 400
    bases, seeds = np.repeat(np.arange(5), 6), np.tile(np.arange(6), 5)
    for trial in range(trials):
        chance = generator.random(6)[seeds]
        effect = base_effect(
            generator.random(30) < chance, bases, seeds, permutations=199, rng=trial
        )
        alarms += effect.p_value <= 0.05
    assert alarms / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert alarms > 0


def test_names_of_bases_and_seeds_do_not_matter():
    success, bases, seeds = UNEQUAL
    first = base_effect(success, bases, seeds)
    renamed = [{"a": "z", "b": "y", "c": "x"}[b] for b in bases]
    second = base_effect(success, renamed, [9 - s for s in seeds])
    assert second.statistic == pytest.approx(first.statistic, rel=1e-12)
    assert second.p_value == pytest.approx(first.p_value, abs=0.02)


def test_success_and_failure_are_alike():
    success, bases, seeds = COMPLETE
    other = base_effect([1 - s for s in success], bases, seeds)
    assert other.statistic == pytest.approx(base_effect(*COMPLETE).statistic)


def test_seed_fixes_p():
    assert base_effect(*UNEQUAL, rng=8) == base_effect(*UNEQUAL, rng=8)
    assert base_effect(*UNEQUAL, rng=8).p_value != base_effect(*UNEQUAL, rng=9).p_value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (([1, 0], ["a", "a"], [0, 1]), "one base only"),
        (([1], ["a"], [0]), "one base only"),
        (([1, 1, 1], ["a", "b", "c"], [0, 0, 0]), "all runs succeeded"),
        (([0, 0], ["a", "b"], [0, 0]), "all runs failed"),
        (([1, 0, 1], ["a", "b", "c"], [0, 1, 2]), "no seed was run on more than one base"),
    ],
)
def test_undecidable_designs_say_why(data, reason):
    effect = base_effect(*data)
    assert effect.test == "undecidable"
    assert reason in effect.reason
    assert np.isnan([effect.statistic, effect.p_value]).all()
    assert effect.permutations == 0


def test_no_permutations_are_refused():
    with pytest.raises(InputError, match="permutations must be at least 1"):
        base_effect(*COMPLETE, permutations=0)
