"""The bootstrap against scipy's, where scipy has it, and against its definition."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.resampling import (
    count_draws,
    draw,
    draw_within,
    make_generator,
    percentile_interval,
)


def test_one_level_agrees_with_scipy_draw_by_draw():
    sample = np.random.default_rng(1).normal(size=17)
    drawn = draw(17, 500, make_generator(3))
    own = percentile_interval(sample[drawn].mean(axis=1), 0.9)
    other = stats.bootstrap(
        (sample,), np.mean, n_resamples=500, confidence_level=0.9, method="percentile", rng=3
    ).confidence_interval
    assert (own.low, own.high) == pytest.approx((other.low, other.high), rel=1e-14)


def test_percentiles_of_a_known_distribution():
    interval = percentile_interval(np.arange(101.0), 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert (interval.reason, interval.undefined) == ("", 0)


def test_undefined_resamples_are_left_out_and_counted():
    interval = percentile_interval(np.array([np.nan, 1.0, 2.0, np.nan, 3.0]), 0.5)
    assert (interval.low, interval.high, interval.undefined) == (1.5, 2.5, 2)


def test_without_a_defined_resample_there_is_no_interval():
    interval = percentile_interval(np.full(4, np.nan), 0.95)
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.undefined == 4
    assert "no value" in interval.reason


def test_strata_keep_their_sizes_and_their_runs():
    strata = np.array([2, 0, 1, 0, 2, 2])
    drawn = draw_within(strata, 2000, make_generator(0))
    assert (strata[drawn] == [0, 0, 1, 2, 2, 2]).all()
    # Every run of a stratum is as likely in each of its places: 2,000 draws, 4 standard errors.
    for place, runs in enumerate([[1, 3], [1, 3], [2], [0, 4, 5], [0, 4, 5], [0, 4, 5]]):
        for run in runs:
            share, expected = (drawn[:, place] == run).mean(), 1 / len(runs)
            assert abs(share - expected) <= 4 * (expected * (1 - expected) / 2000) ** 0.5


def test_counts_of_draws():
    drawn = np.array([[0, 0, 2], [1, 2, 1]])
    assert count_draws(drawn, 4).tolist() == [[2, 0, 1, 0], [0, 2, 1, 0]]


def test_a_seed_starts_anew_and_a_generator_moves_on():
    assert (draw(5, 3, make_generator(7)) == draw(5, 3, make_generator(7))).all()
    generator = np.random.default_rng(7)
    assert make_generator(generator) is generator


def test_negative_seeds_are_refused():
    with pytest.raises(InputError, match="found -1"):
        make_generator(-1)
