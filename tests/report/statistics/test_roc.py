"""The area under the ROC curve by counting all pairs."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.roc import roc_area


def ends(interval):
    return interval.low, interval.high


def count_pairs(feature, success):
    """P(success above failure) + P(equal) / 2 by counting."""
    won = [f for f, s in zip(feature, success, strict=True) if s]
    lost = [f for f, s in zip(feature, success, strict=True) if not s]
    return sum((a > b) + 0.5 * (a == b) for a in won for b in lost) / (len(won) * len(lost))


@pytest.mark.parametrize("values", [3, 10, 1000])
def test_area_counts_all_pairs_with_ties_as_halves(values):
    generator = np.random.default_rng(values)
    feature, success = generator.integers(0, values, 40), generator.random(40) < 0.3
    found = roc_area(feature, success)
    assert found.area == pytest.approx(count_pairs(feature, success))
    assert (found.successes, found.failures) == (success.sum(), 40 - success.sum())


def test_area_is_mann_whitneys_u():
    feature, success = np.random.default_rng(1).normal(size=30), np.arange(30) < 11
    u = stats.mannwhitneyu(feature[success], feature[~success]).statistic
    assert roc_area(feature, success).area == pytest.approx(u / (11 * 19))


def test_perfect_useless_and_reversed_features():
    success = [0, 0, 1, 1]
    perfect = roc_area([1, 2, 3, 4], success)
    assert (perfect.area, *ends(perfect.interval)) == (1.0, 1.0, 1.0)
    # 2 / 2^4 of the resamples hold one outcome alone.
    assert perfect.interval.undefined == pytest.approx(10_000 / 8, abs=140)
    assert roc_area([4, 3, 2, 1], success).area == 0.0
    useless = roc_area([7, 7, 7, 7], success)
    assert (useless.area, *ends(useless.interval)) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("clustered", [False, True])
def test_interval_is_that_of_resamples_taken_one_by_one(clustered):
    generator = np.random.default_rng(2)
    bases = np.repeat(np.arange(6), 5)
    success = generator.random(30) < np.linspace(0.1, 0.9, 6)[bases]
    feature = success + generator.normal(size=30)
    found = roc_area(feature, success, bases if clustered else None, resamples=400, rng=9)
    groups = [np.flatnonzero(bases == b) for b in range(6)] if clustered else np.arange(30)[:, None]
    drawn = np.random.default_rng(9).integers(0, len(groups), (400, len(groups)))
    areas = [
        count_pairs(feature[runs], success[runs])
        for runs in (np.concatenate([groups[g] for g in row]) for row in drawn)
        if 0 < success[runs].sum() < len(runs)
    ]
    assert found.interval.undefined == 400 - len(areas)
    assert ends(found.interval) == pytest.approx(np.quantile(areas, (0.025, 0.975)))
    assert found.resampled == ("bases" if clustered else "runs")


def test_runs_of_a_base_that_move_together_widen_the_interval():
    generator = np.random.default_rng(3)
    bases = np.repeat(np.arange(8), 10)
    success = (bases % 2).astype(bool)
    feature = generator.normal(size=8)[bases] + success
    by_runs, by_bases = roc_area(feature, success), roc_area(feature, success, bases)
    assert by_runs.area == by_bases.area
    widths = [i.high - i.low for i in (by_runs.interval, by_bases.interval)]
    assert widths[1] > 2 * widths[0]


def test_interval_covers_the_area_of_two_normal_distributions():
    generator, held, trials = np.random.default_rng(4), 0, 200
    area = stats.norm.cdf(1 / np.sqrt(2))
    success = np.arange(60) < 30
    for trial in range(trials):
        found = roc_area(generator.normal(size=60) + success, success, resamples=300, rng=trial)
        held += found.interval.low <= area <= found.interval.high
    assert 0.88 <= held / trials <= 0.99


def test_monotone_changes_do_not_matter_and_turning_either_side_mirrors():
    generator = np.random.default_rng(5)
    feature, success = generator.normal(size=25), generator.random(25) < 0.5
    found = roc_area(feature, success)
    assert roc_area(np.exp(feature), success) == found
    assert roc_area(-feature, success).area == pytest.approx(1 - found.area)
    turned = roc_area(feature, ~success)
    assert ends(turned.interval) == pytest.approx((1 - found.interval.high, 1 - found.interval.low))


@pytest.mark.parametrize(
    ("success", "reason"), [([1, 1, 1], "all runs succeeded"), ([0, 0, 0], "all runs failed")]
)
def test_one_outcome_has_no_area(success, reason):
    found = roc_area([1.0, 2.0, 3.0], success)
    assert np.isnan([found.area, *ends(found.interval)]).all()
    assert found.interval.reason == reason


def test_one_base_has_an_area_but_no_interval():
    found = roc_area([1.0, 2.0, 3.0], [0, 1, 1], ["a", "a", "a"])
    assert found.area == 1.0
    assert np.isnan(ends(found.interval)).all()
    assert found.interval.reason == "there is one base only"


def test_bases_that_each_have_one_outcome_in_common_have_no_interval_on_one():
    # Resamples of one base alone have one outcome: 2 of 4.
    found = roc_area([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], ["a", "a", "b", "b"])
    assert found.interval.undefined == pytest.approx(5000, abs=200)


def test_seed_fixes_the_interval():
    feature, success = np.random.default_rng(6).normal(size=20), np.arange(20) % 2
    assert roc_area(feature, success, rng=1) == roc_area(feature, success, rng=1)
    assert roc_area(feature, success, rng=1) != roc_area(feature, success, rng=2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="found 1 for 2"):
        roc_area([1.0], [1, 0])
    with pytest.raises(InputError, match="feature must not hold NaN"):
        roc_area([np.nan, 1.0], [1, 0])
