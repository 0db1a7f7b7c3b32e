"""Outcomes of runs by their scores: the paper's own, and small sets worked by hand."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.score_outcomes import find_bands, judge_scores
from crar_diag.report.score_table import read_scores
from tests.report.scored import PAPER, history, level


def runs_at(*scores, epochs=20, approach="original", rate=1e-4):
    return {(approach, "b", s, rate): level(v, epochs) for s, v in enumerate(scores)}


LOW = [-4.9, -4.8, -4.7, -4.6, -4.5]
HIGH = [0.5, 0.7, 0.9, 1.0, 1.1]


@pytest.fixture
def judged(tmp_path):
    def judge(runs, **options):
        return judge_scores(history(tmp_path / "scores.csv", runs), **options)

    return judge


# The paper's five base models


def test_the_papers_base_models_are_what_the_paper_says_of_them():
    """41: five good, one at -2.3; 42: one at -0.3; 43 mixed; 44 and 45 none."""
    scores = read_scores(PAPER)
    found = judge_scores(scores)
    table = {
        base: [
            (o, round(float(s), 1))
            for o, s in zip(found.outcome[rows], found.score[rows], strict=True)
        ]
        for base in ("41", "42", "43", "44", "45")
        for rows in [scores.base.values == base]
    }
    assert [o for o, _ in table["41"]].count("success") == 5
    assert ("unfinished", -2.3) in table["41"]
    assert [o for o, _ in table["42"]].count("success") == 5
    assert ("unfinished", -0.3) in table["42"]
    assert sorted(o for o, _ in table["43"]) == sorted(
        ["success", "failure", "unfinished"] * 2,
    )
    assert {o for base in ("44", "45") for o, _ in table[base]} == {"failure"}
    assert found.complete.all()


def test_the_papers_bands_are_those_that_the_paper_names():
    """Success between about 0.2 and 1.2, failure between about -5 and -4.4."""
    found = judge_scores(read_scores(PAPER))
    success, failure = (found.score[found.outcome == o] for o in ("success", "failure"))
    assert success.min() == pytest.approx(0.2, abs=0.05)
    assert success.max() == pytest.approx(1.2, abs=0.05)
    assert failure.min() > -5
    assert failure.max() < -4.4
    assert found.groups.groups == 2
    assert found.bands.failure_to < found.bands.success_from


def test_scores_are_means_of_the_last_twenty_epochs():
    scores = read_scores(PAPER)
    np.testing.assert_allclose(
        judge_scores(scores).score, scores.score.sel(epoch=slice(81, 100)).mean("epoch")
    )
    np.testing.assert_allclose(
        judge_scores(scores, 5).score, scores.score.sel(epoch=slice(96, 100)).mean("epoch")
    )


def test_outcomes_do_not_depend_on_the_order_of_the_runs():
    scores = read_scores(PAPER)
    order = np.random.default_rng(0).permutation(30)
    first, again = judge_scores(scores), judge_scores(scores.isel(run=order))
    assert again.outcome.tolist() == first.outcome[order].tolist()
    assert again.bands == first.bands


# Groups and bands


def test_bands_by_hand():
    """Medians 0 and 10. Low: deviations 0, 0, 0, 0.1: the tenth; high: median deviation 1."""
    bands = find_bands(np.array([0, 0, 0, 0.1]), np.array([8.5, 9, 10, 11, 11]))
    assert (bands.failure, bands.success) == (0, 10)
    assert bands.failure_to == pytest.approx(1)
    assert bands.success_from == pytest.approx(10 - 2.24 * 1.4826 * 1)


def test_bands_never_cross():
    bands = find_bands(np.array([0.0, 4, 5, 6, 10]) - 5, np.array([0.0, 3, 5, 7, 20]) + 1)
    assert bands.failure_to == bands.success_from == 3


def test_two_groups_and_what_lies_between(judged):
    found = judged(runs_at(*LOW, *HIGH, -2.0))
    assert found.outcome.tolist() == ["failure"] * 5 + ["success"] * 5 + ["unfinished"]
    assert found.why[-1] == "between the groups"
    assert not any(found.why[:-1])
    assert found.bands.failure == pytest.approx(-4.7)


def test_scores_beyond_the_outer_ends_are_no_less_successes_and_failures(judged):
    found = judged(runs_at(*LOW, *HIGH, *HIGH, -5.6, 1.9))
    assert found.outcome[-2:].tolist() == ["failure", "success"]


def test_three_groups_leave_the_middle_one_unfinished(judged):
    rng = np.random.default_rng(0)
    scores = np.concatenate([c + 0.1 * rng.normal(size=12) for c in (-5, -2, 1)])
    found = judged(runs_at(*scores))
    assert found.groups.groups == 3
    assert found.outcome.tolist() == ["failure"] * 12 + ["unfinished"] * 12 + ["success"] * 12
    assert "what lies in the 1 between" in found.reason


def test_one_group_decides_nothing(judged):
    scores = np.random.default_rng(1).normal(size=16)
    found = judged(runs_at(*scores))
    assert set(found.outcome) == {"undecided"}
    assert found.bands is None
    assert found.reason.startswith("one group: BIC chooses one component; nothing tells")


def test_too_few_runs_decide_nothing(judged):
    found = judged(runs_at(*LOW[:3], *HIGH[:4]))
    assert set(found.outcome) == {"undecided"}
    assert "7 runs are too few to be split: at least 8 are needed" in found.reason


def test_one_run_alone(judged):
    found = judged(runs_at(0.5))
    assert found.outcome.tolist() == ["undecided"]
    assert found.reason == "one run alone: no groups can be found from it"
    assert found.score.tolist() == pytest.approx([0.5])


# Runs that are not whole


def test_a_run_that_stopped_before_the_others_is_unfinished_whatever_it_scored(judged):
    runs = runs_at(*LOW, *HIGH, epochs=40)
    runs["original", "b", 98, 1e-4] = level(1.0, 39)
    runs["original", "b", 99, 1e-4] = level(1.0, 40)[:30] + ["nan"] * 10
    found = judged(runs)
    assert found.outcome[:-2].tolist() == ["failure"] * 5 + ["success"] * 5
    assert found.outcome[-2:].tolist() == ["unfinished"] * 2
    assert found.why[-2:].tolist() == [
        "no score after epoch 39 of 40",
        "no score after epoch 30 of 40",
    ]
    assert found.complete.tolist() == [True] * 10 + [False] * 2
    assert found.score[-2:].tolist() == pytest.approx([1.0, 1.0])
    assert found.scored.tolist() == [40] * 10 + [39, 30]
    assert set(found.expected) == {40}


def test_whoever_is_cut_off_moves_no_band(judged):
    whole = judged(runs_at(*LOW, *HIGH, epochs=40))
    runs = runs_at(*LOW, *HIGH, epochs=40)
    runs |= {("original", "b", 50 + k, 1e-4): level(-2.0, 25) for k in range(6)}
    assert judged(runs).bands == whole.bands


def test_approaches_and_rates_may_have_different_lengths(judged):
    runs = runs_at(*LOW, *HIGH, epochs=40) | runs_at(*LOW, *HIGH, epochs=25, rate=1e-3)
    found = judged(runs | runs_at(*LOW, *HIGH, epochs=60, approach="scratch"))
    assert found.complete.all()
    assert found.expected.tolist() == [40] * 10 + [25] * 10 + [60] * 10
    assert found.outcome.tolist() == (["failure"] * 5 + ["success"] * 5) * 3


def test_scores_every_tenth_epoch_have_no_gaps(judged):
    runs = {
        key: dict(zip(range(10, 410, 10), curve, strict=True))
        for key, curve in runs_at(*LOW, *HIGH, epochs=40).items()
    }
    found = judged(runs | runs_at(*LOW, *HIGH, epochs=400, approach="other"))
    assert found.complete.all()
    assert found.expected.tolist() == [40] * 10 + [400] * 10


def test_gaps_before_the_last_epochs_do_no_harm_and_among_them_do(judged):
    runs = runs_at(*LOW, *HIGH, epochs=40)
    early = dict(enumerate(level(1.0, 40), 1))
    del early[5], early[20]
    late = dict(enumerate(level(1.0, 40), 1))
    del late[33], late[21]
    nan = dict(enumerate(level(1.0, 40), 1)) | {21: ""}
    runs |= {("original", "b", 90 + k, 1e-4): c for k, c in enumerate((early, late, nan))}
    found = judged(runs)
    assert found.outcome[-3:].tolist() == ["success", "unfinished", "unfinished"]
    assert found.why[-3:].tolist() == [
        "",
        "no score at epoch 21 and 1 more of the last 20",
        "no score at epoch 21 of the last 20",
    ]
    assert found.scored[-3:].tolist() == [38, 38, 39]
    assert np.isnan(found.score[-2:]).all()


def test_runs_without_any_score(judged):
    found = judged(runs_at(*LOW, *HIGH) | {("original", "b", 99, 1e-4): ["nan"] * 20})
    assert (found.outcome[-1], found.why[-1]) == ("unfinished", "no score")


def test_a_condition_that_diverged_as_a_whole_did_not_end_earlier(judged):
    alone = {("other", "b", 1, 1e-4): level(1.0, 30)[:25] + ["nan"] * 5}
    found = judged(runs_at(*LOW, *HIGH) | alone)
    assert found.why[-1] == "no score after epoch 25 of 30"


def test_too_few_epochs_for_a_score(judged):
    found = judged(runs_at(*LOW, *HIGH, epochs=19))
    assert set(found.outcome) == {"unfinished"}
    assert set(found.why) == {"19 epochs, 20 needed"}
    assert found.groups is None
    assert found.reason == "no run has a final score"
    assert set(judged(runs_at(*LOW, *HIGH, epochs=18), last=18).outcome) == {"failure", "success"}


def test_an_average_over_no_epoch_is_refused(judged):
    with pytest.raises(InputError, match="at least 1 epoch, found 0"):
        judged(runs_at(0.5), last=0)
