"""Learning curves of runs that end at different epochs, worked by hand."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.statistics.curves import learning_curve, mean_of_last

NAN = float("nan")


CURVES = [
    [0.0, 1.0, 2.0, 3.0, 5.0],
    [0.0, 1.0, 7.0, NAN, NAN],  # ended after three epochs
    [4.0, NAN, NAN, NAN, NAN],  # after one
    [0.0, NAN, 2.0, 3.0, 4.0],  # a gap, before the last two
    [0.0, 1.0, 2.0, NAN, 4.0],  # a gap among the last two
    [NAN, NAN, NAN, NAN, NAN],
]


def test_last_epochs_of_each_run_wherever_it_ended():
    np.testing.assert_array_equal(mean_of_last(CURVES, 2), [4.0, 4.0, NAN, 3.5, NAN, NAN])
    np.testing.assert_array_equal(mean_of_last(CURVES, 1), [5.0, 7.0, 4.0, 4.0, 4.0, NAN])
    np.testing.assert_array_equal(mean_of_last(CURVES, 5), [2.2, NAN, NAN, NAN, NAN, NAN])


def test_unfinished_runs_can_be_left_out():
    means = mean_of_last(CURVES, 2, finished=5)
    np.testing.assert_array_equal(means, [4.0, NAN, NAN, 3.5, NAN, NAN])


def test_more_epochs_than_there_are_give_nan():
    assert np.isnan(mean_of_last([[1.0, 2.0]], 3)).all()


def test_shifting_scores_shifts_their_mean():
    curves = np.random.default_rng(0).normal(size=(4, 30))
    np.testing.assert_allclose(mean_of_last(curves + 2, 20), mean_of_last(curves, 20) + 2)
    np.testing.assert_allclose(mean_of_last(curves, 20), curves[:, 10:].mean(axis=1))


def test_curve_of_unequal_runs():
    curve = learning_curve([[1.0, 2.0, 3.0], [3.0, NAN, 5.0], [5.0, NAN, NAN]])
    assert curve.runs.tolist() == [3, 1, 2]
    assert curve.mean.tolist() == [3.0, 2.0, 4.0]
    # Standard deviations 2 and sqrt(2) over sqrt(3) and sqrt(2); one run has none.
    np.testing.assert_allclose(curve.standard_error, [2 / np.sqrt(3), NAN, 1.0])


def test_standard_error_is_scipys():
    curves = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(learning_curve(curves).standard_error, stats.sem(curves, axis=0))


def test_epochs_that_no_run_reached_have_no_mean():
    curve = learning_curve([[1.0, NAN], [2.0, NAN]])
    assert np.isnan([curve.mean[1], curve.standard_error[1]]).all()
    assert curve.runs.tolist() == [2, 0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="curves must have 2 axes"):
        learning_curve([1.0, 2.0])
    with pytest.raises(InputError, match="epochs must be at least 1"):
        mean_of_last([[1.0]], 0)
