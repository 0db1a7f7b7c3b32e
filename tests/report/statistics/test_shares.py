"""Shares and transitions counted by hand."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.statistics.rates import success_rate
from crar_diag.report.statistics.shares import (
    kind_shares,
    shares_by_base,
    transitions,
)

KINDS = [
    ["swapped", "swapped", "good", "good"],
    ["swapped", "good", "swapped", "swapped"],
    ["good", "good", "good", "good"],
    ["other", "swapped", "good", "swapped"],
]
TIMES = [0, 10, 20, 40]


def test_shares_of_each_time_with_wilson_intervals():
    shares = kind_shares(KINDS, TIMES)
    assert shares.kinds == ("good", "other", "swapped")
    assert shares.counts.tolist() == [[1, 2, 3, 2], [1, 0, 0, 0], [2, 2, 1, 2]]
    assert shares.runs.tolist() == [4, 4, 4, 4]
    assert (shares.share == shares.counts / 4).all()
    for k, won in enumerate([1, 2, 3, 2]):
        rate = success_rate(won, 4)
        assert (shares.low[0, k], shares.high[0, k]) == (rate.low, rate.high)


def test_cumulative_shares_end_at_one():
    cumulative = kind_shares(KINDS, TIMES).cumulative
    assert cumulative[0].tolist() == [0.25, 0.5, 0.75, 0.5]
    assert cumulative[1].tolist() == [0.5, 0.5, 0.75, 0.5]
    assert cumulative[-1].tolist() == [1, 1, 1, 1]


def test_order_fixes_rows_and_adds_kinds_that_no_run_has():
    shares = kind_shares(KINDS, TIMES, order=["swapped", "collapsed", "good", "other"])
    assert shares.kinds == ("swapped", "collapsed", "good", "other")
    assert shares.counts[1].tolist() == [0, 0, 0, 0]
    assert shares.high[1, 0] == success_rate(0, 4).high


def test_codes_give_the_shares_of_their_names():
    codes = np.array([[{"good": 0, "other": 1, "swapped": 2}[k] for k in row] for row in KINDS])
    by_code, by_name = kind_shares(codes, TIMES), kind_shares(KINDS, TIMES)
    assert by_code.kinds == (0, 1, 2)
    assert (by_code.counts == by_name.counts).all()


def test_runs_that_have_ended_are_left_out():
    shares = kind_shares([["a", "a", ""], ["b", "", ""]], [1, 2, 3], missing="")
    assert shares.runs.tolist() == [2, 1, 0]
    assert shares.share[0, :2].tolist() == [0.5, 1.0]
    assert np.isnan(shares.share[:, 2]).all()
    assert np.isnan(shares.low[:, 2]).all()


def test_one_run():
    shares = kind_shares([["a", "b"]], [0, 1])
    assert shares.share.tolist() == [[1, 0], [0, 1]]
    assert shares.high[0, 1] == success_rate(0, 1).high


def test_groups_by_base_share_their_kinds_and_add_up():
    groups = shares_by_base(KINDS, TIMES, ["b", "a", "a", "b"])
    assert list(groups) == ["a", "b"]
    assert groups["a"].kinds == groups["b"].kinds == ("good", "other", "swapped")
    assert groups["a"].counts.tolist() == [[1, 2, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]]
    total = groups["a"].counts + groups["b"].counts
    assert (total == kind_shares(KINDS, TIMES).counts).all()


def test_transitions_from_start_to_end():
    found = transitions(KINDS)
    assert found.kinds == ("good", "other", "swapped")
    # swapped -> good, swapped -> swapped, good -> good, other -> swapped.
    assert found.counts.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 1]]
    assert found.unseen == 0


def test_rows_and_columns_of_transitions_are_the_first_and_the_last_counts():
    kinds = np.random.default_rng(0).integers(0, 4, (50, 7))
    counts = transitions(kinds).counts
    shares = kind_shares(kinds, np.arange(7))
    assert (counts.sum(axis=1) == shares.counts[:, 0]).all()
    assert (counts.sum(axis=0) == shares.counts[:, -1]).all()


def test_transitions_span_what_was_seen():
    found = transitions([["", "a", "b", ""], ["", "", "", ""], ["b", "a", "", "b"]], missing="")
    assert found.counts.tolist() == [[0, 1], [0, 1]]
    assert found.unseen == 1


def test_order_of_runs_does_not_matter():
    kinds = np.array(KINDS)[[3, 1, 0, 2]]
    assert (kind_shares(kinds, TIMES).counts == kind_shares(KINDS, TIMES).counts).all()
    assert (transitions(kinds).counts == transitions(KINDS).counts).all()


@pytest.mark.parametrize(
    ("kinds", "times", "options", "words"),
    [
        (KINDS, [0, 10, 20], {}, "4 increasing numbers"),
        (KINDS, [0, 10, 10, 20], {}, "4 increasing numbers"),
        (["a", "b"], [0, 1], {}, r"kinds must be \[runs, times\]"),
        (np.empty((0, 2)), [0, 1], {}, r"kinds must be \[runs, times\]"),
        (KINDS, TIMES, {"order": ["good", "swapped"]}, "without .'other'."),
        (KINDS, TIMES, {"order": ["good", "good", "swapped", "other"]}, "every kind once"),
    ],
)
def test_what_does_not_fit_is_refused(kinds, times, options, words):
    with pytest.raises(InputError, match=words):
        kind_shares(kinds, times, **options)
