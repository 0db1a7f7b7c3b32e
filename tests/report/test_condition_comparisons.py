"""Conditions compared two by two, with numbers worked out by hand."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from crar_diag.report.condition_comparisons import pairs
from crar_diag.report.transfer_statistics import statistics_of
from tests.embedding.ended import ended, won


def compared(variants, bases, success, seed=0, **columns):
    finals = ended(variant=variants, base=bases, **columns)
    return statistics_of(finals, np.array(success), seed)["comparisons"]


ORIGINAL, RESET = "original, lr 8e-05", "reset-encoder, lr 8e-05"


def test_success_rates_are_compared_on_the_bases_that_both_have():
    found = compared(
        ["original"] * 7 + ["reset-encoder"] * 6,
        [*"aaaabbc", *"aabbdd"],
        won(1, 4) + won(1, 2) + [False] + won(2, 2) + won(2, 2) + won(0, 2),
    )
    # a: 1 - 1/4; b: 1 - 1/2. c and d are in one condition alone.
    assert found.bases.values.tolist() == [[0, 2], [2, 0]]
    (pair,) = pairs(found)
    assert (pair.condition, pair.than, pair.bases) == (RESET, ORIGINAL, 2)
    assert pair.difference == pytest.approx((0.75 + 0.5) / 2)
    assert pair.difference_interval == (0.5, 0.75)
    theirs = found.isel(condition=0, other=1)
    assert theirs.difference.item() == -pair.difference
    assert (theirs.difference_low.item(), theirs.difference_high.item()) == (-0.75, -0.5)
    assert np.isnan(np.diag(found.difference)).all()
    assert np.isnan(found.improvement).all()  # the simple maze has no scores


def test_equal_rates_differ_by_nothing_without_a_sign():
    found = compared(["original"] * 4 + ["reset-encoder"] * 4, [*"aabb"] * 2, [True, False] * 4)
    for value in (*found.difference.values[[0, 1], [1, 0]], found.difference_low.values[1, 0]):
        assert f"{value:+.2f}" == "+0.00"


def test_a_higher_score_is_counted_within_bases():
    score = np.array([1.0, 3.0, 5.0, 9.0, 0.0, 2.0, 4.0, 6.0])
    variants = ["original"] * 4 + ["finetune"] * 4
    found = compared(variants, [*"aabc", *"aabb"], score > 0, score=score, environment="labyrinth")
    # 3 of 4 pairs on a, 1 of 2 on b; c is in one condition alone.
    assert found.improvement.values[0, 1] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.improvement.values[1, 0] == pytest.approx((1 / 4 + 1 / 2) / 2)
    low, high = found.improvement_low.values, found.improvement_high.values
    assert low[0, 1] < found.improvement.values[0, 1] < high[0, 1]
    assert (low[1, 0], high[1, 0]) == pytest.approx((1 - high[0, 1], 1 - low[0, 1]))
    alone = compared(
        ["original"] * 4 + ["finetune"] * 4, "a", score > 0, score=score, environment="labyrinth"
    )
    u = stats.mannwhitneyu(score[:4], score[4:]).statistic
    assert alone.improvement.values[0, 1] == pytest.approx(u / 16)


def test_successes_that_were_found_in_other_ways_are_not_subtracted():
    """Where the dynamics train along, the distance to the base says nothing."""
    found = compared(["original", "finetune"], "a", [False, True])
    assert (found.bases.values == [[0, 1], [1, 0]]).all()
    assert np.isnan(found.difference).all()
    assert list(pairs(found)) == []
    scored = compared(
        ["original", "finetune"], "a", [False, True], score=[0.0, 1.0], environment="labyrinth"
    )
    (pair,) = pairs(scored)
    assert np.isnan(pair.difference)
    assert pair.improvement == 1.0


def test_what_has_no_base_in_common_is_not_compared():
    """From scratch there is no base; the same name is another base where the file is another."""
    scratch = compared(["original", "scratch"], ["", ""], [True, False])
    files = {"base_sha256": ["1", "2"]}
    other = compared(["original", "reset-encoder"], "a", [True, False], **files)
    for found in (scratch, other):
        assert (found.bases.values == 0).all()
        assert np.isnan(found.difference).all()
        assert list(pairs(found)) == []


def test_a_base_with_scores_on_one_side_only_is_left_out():
    found = compared(
        ["original", "original", "reset-encoder", "reset-encoder"],
        [*"abab"],
        [True] * 4,
        score=[1.0, 2.0, 3.0, np.nan],
        environment="labyrinth",
    )
    assert found.improvement.values.tolist()[0][1] == 0.0  # of a alone
    assert found.difference.values[0, 1] == 0


def test_one_condition_has_none_to_be_compared_with():
    found = compared("original", [*"ab"], [True, False])
    assert found.difference.shape == (1, 1)
    assert list(pairs(found)) == []


def test_the_seed_decides_what_is_drawn():
    rng = np.random.default_rng(0)
    bases = [*np.repeat([*"abcdefg"], [3, 4, 5, 6, 7, 8, 9])]
    score, success = rng.normal(size=84), rng.random(84) < 0.5
    given = ["original"] * 42 + ["reset-encoder"] * 42, bases * 2, success
    first, again, *others = (
        compared(*given, seed, score=score, environment="labyrinth") for seed in (0, 0, 1, 2, 3)
    )
    xr.testing.assert_identical(first, again)
    for name in ("difference_low", "improvement_low"):
        assert any(not other[name].equals(first[name]) for other in others), name
