"""Rates against Wilson's formula, exact coverage, and enumeration of all resamples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.rates import (
    rate_difference,
    rate_over_bases,
    rates_by_base,
    success_rate,
)


def runs_of(counts):
    """Runs with the given (successes, runs) of each base, as (success, bases)."""
    success = [i < won for won, of in counts.values() for i in range(of)]
    return success, [base for base, (_, of) in counts.items() for _ in range(of)]


def ends(interval):
    return interval.low, interval.high


# One base


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(3, 22), (21, 22), (0, 6), (6, 6), (1, 1), (150, 300)])
def test_interval_is_wilsons_formula(k, n, confidence):
    rate = success_rate(k, n, confidence=confidence)
    p, z = k / n, stats.norm.ppf((1 + confidence) / 2)
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    assert rate.rate == p
    assert (rate.successes, rate.runs, rate.confidence) == (k, n, confidence)
    assert rate.low == pytest.approx((centre - half) / scale, abs=1e-12)
    assert rate.high == pytest.approx((centre + half) / scale, abs=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.86])
def test_wilson_intervals_hold_the_true_rate_as_often_as_they_say(p):
    held = 0.0
    for k in range(23):
        rate = success_rate(k, 22)
        if rate.low <= p <= rate.high:
            held += stats.binom.pmf(k, 22, p)
    assert 0.93 <= held <= 0.99


def test_success_and_failure_swap_the_ends():
    won, lost = success_rate(3, 22), success_rate(19, 22)
    assert won.low == pytest.approx(1 - lost.high, abs=1e-15)
    assert won.high == pytest.approx(1 - lost.low, abs=1e-15)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(InputError, match=f"found {k} of {n}"):
        success_rate(k, n)


def test_rates_by_base_are_those_of_their_counts():
    rates = rates_by_base(*runs_of({"two": (21, 22), "one": (3, 22)}))
    assert list(rates) == ["one", "two"]
    assert rates == {"one": success_rate(3, 22), "two": success_rate(21, 22)}


# Over bases


def test_mean_weighs_bases_alike_whatever_their_runs():
    mean = rate_over_bases(*runs_of({"a": (1, 2), "b": (0, 10), "c": (4, 4)}))
    assert mean.rate == pytest.approx(0.5)
    assert (mean.bases, mean.runs, mean.resampled) == (3, 16, "bases")


def test_interval_is_that_of_all_resamples_of_three_bases():
    rates = np.array([0.0, 0.25, 1.0])
    means = [np.mean(c) for c in itertools.product(rates, repeat=3)]
    mean = rate_over_bases(
        *runs_of({"a": (0, 4), "b": (1, 4), "c": (4, 4)}), confidence=0.8, resamples=40_000
    )
    # Both quantiles of the 27 equally likely means lie well inside a step.
    assert ends(mean.interval) == pytest.approx(
        np.quantile(means, (0.1, 0.9), method="inverted_cdf")
    )


def test_one_stage_is_scipys_bootstrap_of_the_rates():
    counts = {"a": (1, 5), "b": (5, 6), "c": (3, 4), "d": (0, 3)}
    mean = rate_over_bases(*runs_of(counts), resamples=999, rng=4)
    rates = [won / of for won, of in counts.values()]
    other = stats.bootstrap((rates,), np.mean, n_resamples=999, method="percentile", rng=4)
    assert ends(mean.interval) == pytest.approx(tuple(other.confidence_interval), rel=1e-14)


def test_second_stage_adds_the_binomial_variance_of_the_runs():
    # Equal rates: the first stage alone sees no spread, the second all of it.
    data = runs_of(dict.fromkeys(range(4), (3, 10)))
    assert ends(rate_over_bases(*data).interval) == pytest.approx((0.3, 0.3))
    mean = rate_over_bases(*data, resample_runs=True, resamples=40_000)
    assert mean.resampled == "bases, then their runs"
    # The mean of four binomials of 10 is a binomial of 40 over 40, whose quantiles are sharp here.
    exact = stats.binom.ppf((0.025, 0.975), 40, 0.3) / 40
    assert ends(mean.interval) == pytest.approx(exact)


def test_interval_over_bases_covers_the_mean_of_all_bases():
    generator, held, trials = np.random.default_rng(0), 0, 300
    bases = np.repeat(np.arange(20), 6)
    for trial in range(trials):
        rates = generator.beta(0.5, 0.5, 20)
        success = generator.random(120) < rates[bases]
        interval = rate_over_bases(success, bases, resamples=400, rng=trial).interval
        held += interval.low <= 0.5 <= interval.high
    # Wilson's interval of 120 runs taken as independent would hold it in about half the trials.
    assert 0.88 <= held / trials <= 0.98


def test_runs_taken_as_independent_would_give_a_far_narrower_interval():
    data = runs_of({base: (6 * (base % 2), 6) for base in range(6)})
    over, pooled = rate_over_bases(*data).interval, success_rate(18, 36)
    assert over.high - over.low > 1.5 * (pooled.high - pooled.low)


def test_one_base_has_a_rate_but_no_interval():
    mean = rate_over_bases([True, False, True, True], ["a"] * 4, resample_runs=True)
    assert mean.rate == 0.75
    assert np.isnan(ends(mean.interval)).all()
    assert "one base" in mean.interval.reason


@pytest.mark.parametrize("resample_runs", [False, True])
def test_names_and_order_of_runs_do_not_matter(resample_runs):
    success, bases = map(np.array, runs_of({"a": (1, 5), "b": (4, 6), "c": (2, 3)}))
    renamed = np.array([{"a": 10, "b": 20, "c": 30}[base] for base in bases])
    order = np.random.default_rng(0).permutation(len(bases))
    first = rate_over_bases(success, bases, resample_runs=resample_runs, resamples=200)
    second = rate_over_bases(
        success[order], renamed[order], resample_runs=resample_runs, resamples=200
    )
    assert first == second


def test_seed_fixes_the_interval_and_another_one_moves_it():
    data = runs_of({base: (base, 13) for base in range(13)})
    assert rate_over_bases(*data, rng=5) == rate_over_bases(*data, rng=5)
    one = rate_over_bases(*data, rng=5, resamples=100)
    assert one.interval != rate_over_bases(*data, rng=6, resamples=100).interval
    assert one == rate_over_bases(*data, rng=np.random.default_rng(5), resamples=100)


# Differences


def test_difference_pairs_the_bases():
    # Bases differ by far, the conditions by 0.5 on each: paired, the difference is certain.
    a = runs_of({"x": (2, 4), "y": (4, 4)})
    b = runs_of({"x": (0, 2), "y": (1, 2)})
    difference = rate_difference(*a, *b)
    assert difference.difference == pytest.approx(0.5)
    assert ends(difference.interval) == pytest.approx((0.5, 0.5))
    assert difference.bases == 2


def test_difference_is_scipys_bootstrap_of_the_paired_differences():
    a = {"a": (1, 5), "b": (5, 6), "c": (3, 4), "d": (0, 3)}
    b = {"a": (2, 4), "b": (1, 6), "c": (2, 4), "d": (1, 2)}
    found = rate_difference(*runs_of(a), *runs_of(b), resamples=999, rng=2)
    paired = [a[base][0] / a[base][1] - b[base][0] / b[base][1] for base in a]
    other = stats.bootstrap((paired,), np.mean, n_resamples=999, method="percentile", rng=2)
    assert found.difference == pytest.approx(np.mean(paired))
    assert ends(found.interval) == pytest.approx(tuple(other.confidence_interval), rel=1e-12)


def test_swapping_the_conditions_changes_the_sign():
    a, b = runs_of({0: (1, 5), 1: (4, 5), 2: (2, 5)}), runs_of({0: (0, 3), 1: (1, 3), 2: (3, 3)})
    forth, back = rate_difference(*a, *b), rate_difference(*b, *a)
    assert forth.difference == pytest.approx(-back.difference)
    assert ends(forth.interval) == pytest.approx((-back.interval.high, -back.interval.low))


def test_second_stage_of_a_difference_adds_both_conditions_variances():
    a = runs_of(dict.fromkeys(range(4), (5, 10)))
    b = runs_of(dict.fromkeys(range(4), (2, 10)))
    found = rate_difference(*a, *b, resample_runs=True, resamples=40_000)
    error = math.sqrt(0.5 * 0.5 / 40 + 0.2 * 0.8 / 40)
    # The normal approximation, to the step of 1 / 40.
    assert ends(found.interval) == pytest.approx(
        (0.3 - 1.96 * error, 0.3 + 1.96 * error), abs=0.026
    )


def test_difference_on_one_base_has_no_interval():
    found = rate_difference([1, 0], ["x", "x"], [0, 0], ["x", "x"])
    assert found.difference == 0.5
    assert np.isnan(ends(found.interval)).all()
    assert "one base" in found.interval.reason


def test_bases_of_one_condition_only_are_named():
    with pytest.raises(InputError, match="found only once: y, z"):
        rate_difference([1, 0], ["x", "y"], [1, 0], ["x", "z"])
