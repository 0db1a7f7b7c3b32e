"""Means of approaches and what resamples of their runs say."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.study.comparisons import holds, interval, mean_of, resample, worth
from tests.study.reported import Ended, outcome


def test_each_base_weighs_alike_however_many_runs_it_has():
    assert mean_of({"a": np.array([1.0, 1, 1, 1]), "b": np.array([0.0])}) == 0.5


def test_resampled_means_spread_as_the_standard_error_of_each_base_says():
    rng = np.random.default_rng(0)
    runs = {"a": rng.normal(0, 1, 30), "b": rng.normal(2, 3, 20)}
    drawn = resample({"one": runs})["one"]
    variance = sum(x.var() / len(x) for x in runs.values()) / 4
    assert drawn.mean() == pytest.approx(mean_of(runs), abs=4 * np.sqrt(variance / len(drawn)))
    assert drawn.std() == pytest.approx(np.sqrt(variance), rel=0.03)
    low, high = interval(drawn)
    normal = stats.norm.interval(0.95, mean_of(runs), np.sqrt(variance))
    assert (low, high) == pytest.approx(normal, abs=0.1)


def test_approaches_are_drawn_independently_and_the_same_each_time():
    runs = {"base": np.arange(10.0)}
    first, second = (resample({"x": runs, "y": runs}) for _ in range(2))
    assert np.array_equal(first["x"], second["x"])
    assert abs(np.corrcoef(first["x"], first["y"])[0, 1]) < 0.05


def test_a_claim_holds_where_it_does_in_nearly_all_resamples():
    means = {"a": np.linspace(0, 1, 1000), "b": np.full(1000, 0.5)}
    assert holds(means, lambda m: m["a"] > m["b"]) == (0.5, "undecided")
    assert holds(means, lambda m: m["a"] > m["b"] - 0.46)[1] == "agrees"
    assert holds(means, lambda m: m["a"] > m["b"] + 0.46)[1] == "differs"


def test_runs_without_scores_are_worth_their_success():
    scored = [Ended("a", s, s == 0, score=s - 1.0) for s in range(2)]
    values, what = worth(outcome(scored))
    assert (values.tolist(), what) == ([-1.0, 0.0], "mean final score")
    values, what = worth(outcome([*scored, Ended("a", 2, True)]))
    assert (values.tolist(), what) == ([1.0, 0.0, 1.0], "success rate")
