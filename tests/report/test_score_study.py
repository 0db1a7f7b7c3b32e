"""Scored runs as groups of a report, and what is said of them."""

import h5py
import numpy as np
import pytest
import xarray as xr

from crar_diag.report.score_statistics import TABLES
from crar_diag.report.score_study import study_scores
from crar_diag.report.store import add_to_report, read_report
from tests.report.labelled import MADE, assert_netcdf4, assert_same, sample
from tests.report.scored import HEADER, PAPER, level, written


@pytest.fixture(scope="module")
def paper():
    return study_scores(PAPER)


def test_a_report_holds_all_groups_as_they_were(tmp_path, paper):
    path = tmp_path / "report.h5"
    add_to_report(path, paper.groups(), MADE)
    names = ["runs", *(f"by_{name}" for name in TABLES), "base_effect"]
    assert list(paper.groups()) == ["history/scores", *(f"statistics/scores/{n}" for n in names)]
    for name, dataset in paper.groups().items():
        assert_same(read_report(path, name), dataset)
        with xr.open_dataset(path, group=name, engine="h5netcdf") as opened:
            for variable in opened.variables.values():
                assert variable.attrs["units"]
                assert variable.attrs["long_name"]
    assert_netcdf4(path)
    with h5py.File(path) as file:
        assert file["history/scores/score"].shape == (30, 100)


def test_scores_of_transfers_in_the_same_report_stay(tmp_path, paper):
    path, other = tmp_path / "report.h5", sample(0)
    add_to_report(path, {"statistics/scores": other}, MADE)
    add_to_report(path, paper.groups(), MADE)
    assert_same(read_report(path, "statistics/scores"), other)
    add_to_report(path, {"statistics/scores": other}, MADE)
    assert read_report(path, "statistics/scores/runs").sizes["run"] == 30


def test_runs_tell_what_became_of_them_and_how_that_was_found(paper):
    runs = paper.groups()["statistics/scores/runs"]
    assert runs.run.values.tolist() == paper.history.run.values.tolist()
    np.testing.assert_array_equal(runs.final_score, paper.outcomes.score)
    assert runs.attrs["last_epochs"] == 20
    assert runs.attrs["groups"] == 2
    assert runs.attrs["success_from"] == paper.outcomes.bands.success_from
    assert (runs.attrs["success"], runs.attrs["failure"]) == pytest.approx((0.67, -4.72), abs=0.01)


def test_a_whole_file_needs_no_note(paper):
    assert paper.notes() == []


def test_notes_say_what_is_not_whole(tmp_path):
    runs = {("original", "a", s, 1e-4): level(1.0, 40) for s in range(4)}
    runs["original", "a", 4, 1e-4] = level(1.0, 30)
    runs["original", "a", 5, 1e-4] = level(1.0, 30)
    runs["original", "a", 6, 1e-4] = [*level(1.0, 39), "nan"]
    runs["original", "a", 7, 1e-4] = dict(enumerate(level(1.0, 40), 1)) | {7: ""}
    runs["scratch", "", 0, 1e-4] = level(1.0, 60)
    path = written(tmp_path / "x.csv", runs)
    assert study_scores(path).notes() == [
        "approaches and rates have different lengths: 40 to 60 epochs",
        "3 runs without a final score: unfinished, and in no rate or mean (no score after epoch 30 "
        "of 40: 2, no score after epoch 39 of 40)",
        "1 run without a score at some epochs before the last 20: original-a-lr0.0001-seed7",
    ]


def test_columns_that_are_not_used_are_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER},host,note\noriginal,a,0,1,1,0.5,x,y\n")
    assert study_scores(path, last=1).notes() == ["columns that are not used: 'host', 'note'"]


def test_one_run_is_a_study_too(tmp_path):
    path = written(tmp_path / "x.csv", {("original", "a", 0, 1e-4): level(0.5)})
    found = study_scores(path)
    assert found.outcomes.outcome.tolist() == ["undecided"]
    assert found.tables["base"]["mean"].values.tolist() == pytest.approx([0.5])
    add_to_report(tmp_path / "report.h5", found.groups(), MADE)
    assert read_report(tmp_path / "report.h5", "statistics/scores/runs").attrs["groups"] == 1


def test_a_study_without_any_final_score(tmp_path):
    path = written(tmp_path / "x.csv", {("original", "a", 0, 1e-4): level(0.5, 5)})
    found = study_scores(path)
    assert found.outcomes.why.tolist() == ["5 epochs, 20 needed"]
    add_to_report(tmp_path / "report.h5", found.groups(), MADE)
    assert read_report(tmp_path / "report.h5", "statistics/scores/runs").attrs["groups"] == 0
