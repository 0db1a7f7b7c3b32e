"""What is refused, and with which words."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.statistics.inputs import (
    check_settings,
    read_complete,
    read_labels,
    read_numbers,
    read_outcomes,
)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95, float("nan")])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(InputError, match="confidence must lie between 0 and 1"):
        check_settings(confidence)


def test_at_least_one_resample():
    with pytest.raises(InputError, match="resamples must be at least 1, found 0"):
        check_settings(0.95, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "at least one value"),
        ([[1.0]], r"found \(1, 1\)"),
        (1.0, r"found \(\)"),
        ([1.0, float("inf")], "infinite"),
        (["a"], "must be numbers"),
        ([[1.0], [1.0, 2.0]], "must be numbers"),
    ],
)
def test_numbers_are_finite_or_missing(values, words):
    with pytest.raises(InputError, match=words):
        read_numbers("scores", values)


def test_complete_numbers_have_no_nan():
    with pytest.raises(InputError, match="feature must not hold NaN, found 2"):
        read_complete("feature", [1.0, float("nan"), float("nan")])


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0], np.array([True, False])])
def test_outcomes_are_truth_values_or_1_and_0(values):
    assert read_outcomes("success", values).tolist() == [True, False]


@pytest.mark.parametrize("values", [[0.5, 1.0], [2, 0], [-1, 1]])
def test_other_outcomes_are_refused(values):
    with pytest.raises(InputError, match="success must be true or false"):
        read_outcomes("success", values)


def test_labels_are_sorted_and_coded():
    names, codes = read_labels("bases", ["b", "a", "b"], 3)
    assert names == ("a", "b")
    assert codes.tolist() == [1, 0, 1]
    assert read_labels("seeds", [7, 5], 2)[0] == (5, 7)


def test_one_label_a_run():
    with pytest.raises(InputError, match="bases must hold one label for each of 3 runs"):
        read_labels("bases", ["a", "b"], 3)
