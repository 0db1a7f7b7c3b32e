"""Score summaries against hand-worked values, scipy's bootstrap and all pairs."""

import itertools

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.scores import (
    compare_pairs,
    interquartile_mean,
    probability_of_improvement,
    summarise_scores,
)

SCORES = [0.9, 0.8, -2.3, 0.5, 1.0, -4.7, -4.8, 0.2, -0.3]


def ends(interval):
    return interval.low, interval.high


# Summaries


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([5.0], 5.0),
        ([1.0, 2.0, 9.0], 4.0),  # floor(3 / 4) = 0 are left out
        ([100.0, 1.0, 3.0, -50.0], 2.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 60.0], 3.0),  # floor(7 / 4) = 1 of either end
        ([9.0, 8.0, 7.0, 6.0, 4.0, 3.0, 2.0, 1.0], 5.0),
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert float(interquartile_mean(np.array(scores))) == pytest.approx(expected)
    assert summarise_scores(scores, resamples=10).interquartile_mean.value == pytest.approx(
        expected
    )


def test_mean_and_median():
    summary = summarise_scores(SCORES)
    assert summary.mean.value == pytest.approx(sum(SCORES) / 9)
    assert summary.median.value == 0.2
    assert (summary.runs, summary.missing, summary.resampled) == (9, 0, "runs")


def test_intervals_are_scipys():
    summary = summarise_scores(SCORES, resamples=777, rng=6)
    found = {
        np.mean: summary.mean,
        np.median: summary.median,
        lambda sample, axis: stats.trim_mean(sample, 0.25, axis=axis): summary.interquartile_mean,
    }
    for statistic, estimate in found.items():
        other = stats.bootstrap((SCORES,), statistic, n_resamples=777, method="percentile", rng=6)
        assert ends(estimate.interval) == pytest.approx(tuple(other.confidence_interval), rel=1e-12)


def test_strata_by_enumerating_all_resamples():
    # Base a: 0 and 4; base b: 10 and 12. Means of a are 0, 2, 2, 4, of b 10, 11, 11, 12.
    scores, bases = [10.0, 0.0, 12.0, 4.0], ["b", "a", "b", "a"]
    draws = [
        np.mean([*first, *second])
        for first in itertools.product([0, 4], repeat=2)
        for second in itertools.product([10, 12], repeat=2)
    ]
    summary = summarise_scores(scores, bases, confidence=0.7, resamples=20_000)
    assert summary.resampled == "runs within bases"
    assert ends(summary.mean.interval) == pytest.approx(
        np.quantile(draws, (0.15, 0.85), method="inverted_cdf")
    )
    # Runs drawn regardless of their bases would range from 0 to 12.
    plain = summarise_scores(scores, confidence=0.999, resamples=20_000).mean.interval
    assert plain.high - plain.low > 8


def test_a_bases_only_run_is_fixed():
    summary = summarise_scores([3.0, 0.0, 1.0], ["alone", "pair", "pair"], resamples=2000)
    assert ends(summary.mean.interval) == pytest.approx((1.0, 5 / 3))


def test_missing_scores_are_left_out_and_counted():
    with_gaps = summarise_scores([*SCORES, np.nan, np.nan])
    assert (with_gaps.runs, with_gaps.missing) == (9, 2)
    assert with_gaps.mean == summarise_scores(SCORES).mean
    bases = ["a"] * 5 + ["b"] * 4
    gone = summarise_scores([*SCORES, np.nan], [*bases, "c"])
    assert gone.median == summarise_scores(SCORES, bases).median


def test_shift_and_scale_move_everything_along():
    first = summarise_scores(SCORES, rng=1)
    second = summarise_scores(2 * np.array(SCORES) + 5, rng=1)
    for a, b in (
        (first.mean, second.mean),
        (first.median, second.median),
        (first.interquartile_mean, second.interquartile_mean),
    ):
        expected = [2 * v + 5 for v in (a.value, *ends(a.interval))]
        assert [b.value, *ends(b.interval)] == pytest.approx(expected)


def test_equal_scores_are_certain():
    summary = summarise_scores([0.5] * 6)
    for estimate in (summary.mean, summary.median, summary.interquartile_mean):
        assert (estimate.value, *ends(estimate.interval)) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "bases", "reason"),
    [
        ([1.0], None, "one run"),
        ([1.0, 2.0], ["a", "b"], "one a base"),
        ([np.nan, np.nan], None, "no run has a score"),
        ([np.nan, 1.0], None, "one run"),
    ],
)
def test_without_anything_to_draw_there_is_no_interval(scores, bases, reason):
    summary = summarise_scores(scores, bases)
    for estimate in (summary.mean, summary.median, summary.interquartile_mean):
        assert np.isnan(ends(estimate.interval)).all()
        assert reason in estimate.interval.reason


def test_one_score_is_its_own_summary_and_none_has_none():
    one = summarise_scores([0.7])
    assert (one.mean.value, one.median.value, one.interquartile_mean.value) == (0.7, 0.7, 0.7)
    none = summarise_scores([np.nan])
    assert np.isnan([none.mean.value, none.median.value, none.interquartile_mean.value]).all()
    assert (none.runs, none.missing) == (0, 1)


def test_intervals_cover_the_mean():
    generator, held, trials = np.random.default_rng(0), 0, 300
    for trial in range(trials):
        interval = summarise_scores(
            generator.normal(size=30), resamples=300, rng=trial
        ).mean.interval
        held += interval.low <= 0 <= interval.high
    assert 0.89 <= held / trials <= 0.98


def test_seed_fixes_the_summary():
    assert summarise_scores(SCORES, rng=3) == summarise_scores(SCORES, rng=3)
    assert summarise_scores(SCORES, rng=3) != summarise_scores(SCORES, rng=4)


# Probability of improvement


def test_pairs_are_compared_with_ties_as_halves():
    assert compare_pairs(np.array([1.0, 2.0]), np.array([1.0, 3.0, 0.0])).tolist() == [
        [0.5, 0.0, 1.0],
        [1.0, 0.0, 1.0],
    ]


def test_improvement_is_mann_whitneys_u_and_the_count_of_all_pairs():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 8, 13), generator.integers(0, 6, 17)
    found = probability_of_improvement(a, b)
    wins = sum((x > y) + 0.5 * (x == y) for x in a for y in b)
    assert found.value == pytest.approx(wins / (13 * 17))
    assert found.value == pytest.approx(stats.mannwhitneyu(a, b).statistic / (13 * 17))


def test_improvement_interval_is_scipys_bootstrap_of_two_samples():
    generator = np.random.default_rng(2)
    a, b = generator.normal(0.5, 1, 12), generator.normal(0, 1, 9)

    def statistic(x, y, axis):
        return (x[..., :, None] > y[..., None, :]).mean(axis=(-2, -1))

    other = stats.bootstrap(
        (a, b), statistic, n_resamples=999, vectorized=True, method="percentile", rng=5
    )
    found = probability_of_improvement(a, b, resamples=999, rng=5)
    assert ends(found.interval) == pytest.approx(tuple(other.confidence_interval), abs=0.03)


def test_improvement_stratified_by_base():
    # Within a base all of A's runs score alike, so that drawing within bases changes nothing.
    a, b = [1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0]
    bases = ["x", "x", "y", "y"]
    found = probability_of_improvement(a, b, bases, bases)
    assert (found.value, *ends(found.interval)) == (1.0, 1.0, 1.0)
    plain = probability_of_improvement(a, b)
    assert plain.value == 0.75  # a run on x scores less than one on y
    assert plain.interval.high - plain.interval.low > 0.4


def test_improvement_within_bases_does_not_hang_on_the_number_of_runs():
    # The same on each base; A has more runs on the one where all score higher.
    a, b = [10.0] * 9 + [0.0], [10.0] + [0.0] * 9
    found = probability_of_improvement(a, b, ["x"] * 9 + ["y"], ["x"] + ["y"] * 9)
    assert found.value == pytest.approx(0.5)
    # 3 of 4 pairs on x, 1 of 2 on y.
    a, b = [1.0, 3.0, 5.0], [0.0, 2.0, 4.0, 6.0]
    found = probability_of_improvement(a, b, [*"xxy"], [*"xxyy"])
    assert found.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    with pytest.raises(InputError, match="runs of the same bases"):
        probability_of_improvement(a, b, [*"xxy"], [*"xxxx"])


def test_improvement_of_certain_and_equal_conditions():
    certain = probability_of_improvement([2.0, 3.0], [0.0, 1.0])
    assert (certain.value, *ends(certain.interval)) == (1.0, 1.0, 1.0)
    equal = probability_of_improvement([1.0] * 3, [1.0] * 4)
    assert (equal.value, *ends(equal.interval)) == (0.5, 0.5, 0.5)


def test_swapped_conditions_and_monotone_scales():
    a, b = [0.1, 0.7, 0.9, 0.4], [0.2, 0.3, 0.8]
    forth, back = probability_of_improvement(a, b), probability_of_improvement(b, a)
    assert forth.value == pytest.approx(1 - back.value)
    bent = probability_of_improvement(np.exp(a), np.exp(b))
    assert bent == forth


def test_improvement_of_single_runs_has_no_interval():
    found = probability_of_improvement([1.0], [0.0])
    assert found.value == 1.0
    assert "one run" in found.interval.reason
    # With one run of A alone, B's are still drawn.
    one_sided = probability_of_improvement([1.0], [0.0, 2.0])
    assert ends(one_sided.interval) == (0.0, 1.0)


def test_seed_fixes_the_improvement():
    a, b = np.random.default_rng(4).normal(size=(2, 15))
    one = probability_of_improvement(a, b, rng=3, resamples=200)
    assert one == probability_of_improvement(a, b, rng=3, resamples=200)
    assert one != probability_of_improvement(a, b, rng=4, resamples=200)


def test_bases_of_one_side_and_missing_scores_are_refused():
    with pytest.raises(InputError, match="bases_a and bases_b"):
        probability_of_improvement([1.0], [2.0], bases_a=["x"])
    with pytest.raises(InputError, match="b must not hold NaN"):
        probability_of_improvement([1.0], [np.nan])
