"""Rank correlations against scipy, all permutations, and hand-worked corrections."""

import itertools

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.association import (
    Correlation,
    holm,
    kendall,
    rank_correlation,
    spearman,
    verdict,
)
from crar_diag.report.statistics.resampling import Interval

PREDICTOR = [0.3, 1.2, 0.8, 2.0, 1.7, 0.1]
RATES = [0.2, 0.5, 0.5, 0.9, 0.6, 0.4]


def ends(interval):
    return interval.low, interval.high


def test_vectorised_correlations_are_scipys_with_and_without_ties():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 6, (2, 40, 9))
    assert spearman(x, y) == pytest.approx(
        [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)], abs=1e-14
    )
    assert kendall(x, y) == pytest.approx(
        [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)], abs=1e-14
    )
    x = generator.normal(size=9)
    assert float(spearman(x, y[0])) == pytest.approx(stats.spearmanr(x, y[0]).statistic)
    assert float(kendall(x, y[0])) == pytest.approx(stats.kendalltau(x, y[0]).statistic)


def test_rho_and_tau_by_hand():
    # Ranks 1 2 3 4 against 2 1 4 3: rho = 1 - 6 * 4 / (4 * 15), tau = (4 - 2) / 6.
    found = rank_correlation([1, 2, 3, 4], [0.2, 0.1, 0.9, 0.7])
    assert found.rho.value == pytest.approx(0.6)
    assert found.tau.value == pytest.approx(1 / 3)
    assert found.bases == 4


@pytest.mark.parametrize("reference", [stats.spearmanr, stats.kendalltau])
def test_p_is_that_of_all_permutations(reference):
    found = rank_correlation(PREDICTOR, RATES)
    correlation = found.rho if reference is stats.spearmanr else found.tau
    values = [reference(order, RATES).statistic for order in itertools.permutations(PREDICTOR)]
    upper = np.mean(np.array(values) >= correlation.value - 1e-12)
    lower = np.mean(np.array(values) <= correlation.value + 1e-12)
    assert correlation.p_value == pytest.approx(2 * min(upper, lower))


def test_drawn_permutations_come_near_scipys_exact_p():
    generator = np.random.default_rng(1)
    x = generator.normal(size=12)
    y = x + 1.5 * generator.normal(size=12)
    found = rank_correlation(x, y)
    exact = stats.kendalltau(x, y, method="exact").pvalue
    assert 0.001 < exact < 0.5
    assert found.tau.p_value == pytest.approx(exact, abs=4 * np.sqrt(2 * exact / 10_000))


def test_intervals_are_those_of_pairs_drawn_together():
    generator = np.random.default_rng(6)
    x = generator.normal(size=15)
    y = x + generator.normal(size=15)
    found = rank_correlation(x, y, resamples=4000)
    for own, reference in ((found.rho, stats.spearmanr), (found.tau, stats.kendalltau)):
        other = stats.bootstrap(
            (x, y),
            lambda a, b, of=reference: of(a, b).statistic,
            n_resamples=1000,
            paired=True,
            vectorized=False,
            method="percentile",
            rng=1,
        ).confidence_interval
        assert ends(own.interval) == pytest.approx((other.low, other.high), abs=0.07)


def test_perfect_order_has_no_spread_but_a_p_that_knows_how_many_bases():
    found = rank_correlation([1, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert (found.rho.value, *ends(found.rho.interval)) == (1.0, 1.0, 1.0)
    assert found.tau.p_value == pytest.approx(2 / 120)
    # Resamples of one base alone, 5 of 5^5, have no correlation.
    assert found.rho.interval.undefined == pytest.approx(10_000 / 625, abs=16)


def test_monotone_changes_of_the_predictor_do_not_matter_and_a_sign_turns_it():
    found = rank_correlation(PREDICTOR, RATES)
    bent = rank_correlation(np.exp(np.array(PREDICTOR)) + 3, RATES)
    assert bent == found
    turned = rank_correlation(-np.array(PREDICTOR), RATES)
    assert turned.rho.value == -found.rho.value
    assert ends(turned.tau.interval) == pytest.approx(
        (-found.tau.interval.high, -found.tau.interval.low), abs=0.01
    )


def test_order_of_bases_does_not_matter():
    order = [3, 1, 5, 0, 2, 4]
    found = rank_correlation(PREDICTOR, RATES)
    moved = rank_correlation(np.array(PREDICTOR)[order], np.array(RATES)[order])
    assert (moved.rho.value, moved.rho.p_value) == (found.rho.value, found.rho.p_value)
    assert moved.rho.interval.low == pytest.approx(found.rho.interval.low, abs=0.1)


@pytest.mark.parametrize(
    ("predictor", "rates", "reason"),
    [
        ([1.0], [0.5], "one base only"),
        ([2.0] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "the same for all bases"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], "the same for all bases"),
    ],
)
def test_no_correlation_of_one_base_or_equal_numbers(predictor, rates, reason):
    found = rank_correlation(predictor, rates)
    for correlation in (found.rho, found.tau):
        assert np.isnan([correlation.value, correlation.p_value]).all()
        assert reason in correlation.interval.reason
        assert verdict(correlation) == "weak"


def test_below_five_bases_there_is_no_interval():
    found = rank_correlation([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
    assert found.rho.value == 1.0
    assert found.rho.p_value == pytest.approx(2 / 24)
    assert "at least 5 bases, found 4" in found.rho.interval.reason
    assert verdict(found.rho) == "weak"


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.8, 0.3, 0.9, "informative"),
        (-0.8, -0.9, -0.3, "informative"),
        (0.5, 0.1, 0.9, "informative"),
        (0.49, 0.1, 0.9, "weak"),
        (0.8, -0.1, 0.9, "weak"),
        (0.8, 0.0, 0.9, "weak"),
        (0.9, float("nan"), float("nan"), "weak"),
    ],
)
def test_verdict(value, low, high, expected):
    assert verdict(Correlation(value, Interval(low, high, 0.95), 0.01)) == expected


def test_seed_fixes_the_correlation():
    assert rank_correlation(PREDICTOR, RATES, rng=2) == rank_correlation(PREDICTOR, RATES, rng=2)
    one, other = (rank_correlation(PREDICTOR, RATES, rng=rng, resamples=50) for rng in (2, 3))
    assert one.rho.interval != other.rho.interval


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="found 1 for 2"):
        rank_correlation([1.0, 2.0], [0.5])
    with pytest.raises(InputError, match="predictor must not hold NaN"):
        rank_correlation([1.0, np.nan], [0.5, 0.6])


# Holm


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_one_many_and_missing():
    assert holm([0.03]).tolist() == [0.03]
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(holm([np.nan, 0.02, 0.5]), [np.nan, 0.04, 0.5])
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([1.2])


def test_holm_rejects_what_the_step_down_procedure_rejects():
    generator = np.random.default_rng(7)
    for _ in range(50):
        p = generator.random(6) ** 3
        rejected = set()
        for step, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (6 - step):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(holm(p) <= 0.05).tolist()) == rejected
