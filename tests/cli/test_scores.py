"""`crar-diag scores` on the paper's own scores, on made-up ones, and on what is no such file."""

import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

from crar_diag.report.provenance import Provenance
from crar_diag.report.score_study import study_scores
from crar_diag.report.store import read_report
from crar_diag.report.style import PAGE
from tests.cli.conftest import snapshot
from tests.report.scored import HEADER, PAPER, level, written


@pytest.fixture(scope="module")
def paper():
    return study_scores(PAPER)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def split(line):
    return re.split(r" {2,}", line)


def test_the_papers_base_models_as_json(cli):
    answer = cli("scores", PAPER, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert list(found) == [
        "runs",
        "last_epochs",
        "groups",
        "tables",
        "base_effect",
        "notes",
        "report",
        "figures",
    ]
    bases = {row["base"]: row for row in found["tables"]["base"]}
    counts = {
        base: [row[name] for name in ("successes", "failures", "unfinished")]
        for base, row in bases.items()
    }
    assert counts == {
        "41": [5, 0, 1],
        "42": [5, 0, 1],
        "43": [2, 2, 2],
        "44": [0, 6, 0],
        "45": [0, 6, 0],
    }
    between = {
        (run["base"], round(run["score"], 1)): run["why"]
        for run in found["runs"]
        if run["outcome"] == "unfinished"
    }
    assert between == dict.fromkeys(
        [("41", -2.3), ("42", -0.3), ("43", -1.2), ("43", -3.1)], "between the groups"
    )
    assert found["groups"]["sizes"] == [14, 16]
    assert found["notes"] == []
    assert (found["report"], found["figures"]) == (None, [])
    (effect,) = found["base_effect"]
    assert effect["test"] == "permutation"
    assert effect["p"] < 0.005


def test_the_numbers_are_those_of_the_library(cli, paper):
    found = cli("scores", PAPER, "--json").json
    for name, table in paper.tables.items():
        for r, row in enumerate(found["tables"][name]):
            own = table.isel(row=r)
            assert row["rate"] == own.rate.item()
            assert row["interval"] == [own.low.item(), own.high.item()]
            assert row["interval_kind"] == own.interval.item()
            for summary in ("mean", "median", "interquartile_mean"):
                assert row[summary] == own[summary].item()
                ends = [own[f"{summary}_{end}"].item() for end in ("low", "high")]
                assert row[f"{summary}_interval"] == ends
    assert [run["score"] for run in found["runs"]] == paper.outcomes.score.tolist()


def test_the_papers_base_models_as_tables(cli):
    answer = cli("scores", PAPER)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "30 runs; score: mean of the last 20 epochs"
    assert lines[2] == (
        "success: -0.20 or more (median 0.67); failure: -4.19 or less (median -4.72); between: "
        "unfinished"
    )
    assert split(lines[4])[-3:] == ["epochs", "score", "outcome"]
    assert split(lines[9]) == [
        *("original", "0.0005", "41", "18944"),
        *("100 of 100", "-2.31", "unfinished (between the groups)"),
    ]
    start = lines.index("by base:")
    assert split(lines[start + 1])[:9] == [
        *("approach", "learning rate", "base", "runs", "success", "failure", "unfinished"),
        *("rate", "95% interval"),
    ]
    rows = [split(line) for line in lines[start + 2 : start + 7]]
    assert [row[2:9] for row in rows] == [
        ["41", "6", "5 of 6", "0", "1", "0.83", "0.44 to 0.97"],
        ["42", "6", "5 of 6", "0", "1", "0.83", "0.44 to 0.97"],
        ["43", "6", "2 of 6", "2", "2", "0.33", "0.10 to 0.70"],
        ["44", "6", "0 of 6", "6", "0", "0.00", "0.00 to 0.39"],
        ["45", "6", "0 of 6", "6", "0", "0.00", "0.00 to 0.39"],
    ]
    assert {"by approach:", "by learning rate:", "by seed:"} <= set(lines)
    assert lines[-1].startswith("original, lr 0.0005: effect of the base model: p = 0.0")


def test_a_report_and_a_figure(cli, here, paper):
    answer = cli("scores", PAPER, "-o", "r.h5", "--figure", "f.png", "--seed", 3)
    assert answer.out.splitlines()[-2:] == ["written to 'r.h5'", "figure in 'f.png'"]
    assert sorted(p.name for p in here.iterdir()) == ["f.png", "r.h5", "r.h5.lock"]
    with xr.open_dataset("r.h5", group="history/scores", engine="h5netcdf") as opened:
        np.testing.assert_array_equal(opened.score, paper.history.score)
        made = Provenance.from_attributes(opened.attrs)
    assert made.command == f"crar-diag scores {PAPER} -o r.h5 --figure f.png --seed 3"
    assert made.seeds == (3,)
    runs = read_report("r.h5", "statistics/scores/runs")
    assert runs.outcome.values.tolist() == paper.outcomes.outcome.tolist()
    expected = study_scores(PAPER, seed=3).tables["base"]
    stored = read_report("r.h5", "statistics/scores/by_base")
    xr.testing.assert_identical(stored.drop_attrs(), expected.drop_attrs())
    assert imread("f.png").shape[1] == round(300 * PAGE)


def all_studies():
    def runs(approach, bases, rate=5e-4, epochs=20):
        return {
            (approach, base, s, rate): level(score + s / 100, epochs)
            for base, score in bases.items()
            for s in range(2)
        }

    found = runs("original", {"a": 1, "b": -4}) | runs("original", {"a": -4}, rate=1e-5)
    return (
        found | runs("finetune", {"a": 1, "b": 1}) | runs("scratch", {"": 1}, rate=5e-4, epochs=40)
    )


def test_all_figures_that_the_data_allow_or_one_of_them(cli, here):
    written(here / "s.csv", all_studies())
    answer = cli("scores", "s.csv", "--figure", "f.svg", "--json")
    assert answer.json["figures"] == ["f-8.svg", "f-10.svg", "f-18.svg"]
    for number in (8, 10, 18):
        answer = cli("scores", "s.csv", "--figure", "one.svg", "--number", number, "--json")
        assert answer.json["figures"] == ["one.svg"]
        assert (here / "one.svg").read_bytes() == (here / f"f-{number}.svg").read_bytes()


def test_runs_of_unequal_length_are_said(cli, here):
    runs = all_studies()
    runs["original", "a", 7, 5e-4] = level(1.0, 12)
    written(here / "s.csv", runs)
    lines = cli("scores", "s.csv").out.splitlines()
    own = next(line for line in lines if "12 of 20" in line)
    assert split(own)[3:6] == ["7", "12 of 20", "-"]
    assert split(own)[6] == "unfinished (no score after epoch 12 of 20)"
    assert lines[-2:] == [
        "approaches and rates have different lengths: 20 to 40 epochs",
        "1 run without a final score: unfinished, and in no rate or mean (no score after epoch 12 "
        "of 20)",
    ]


def test_one_run_gets_its_table_and_no_outcome(cli, here):
    written(here / "s.csv", {("original", "a", 0, 1e-4): level(0.5)})
    answer = cli("scores", "s.csv")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[:2] == [
        "1 run; score: mean of the last 20 epochs",
        "one run alone: no groups can be found from it",
    ]
    assert split(lines[4]) == [
        *("original", "0.0001", "a", "0", "20 of 20", "0.50", "undecided"),
    ]
    start = lines.index("by base:")
    assert split(lines[start + 2])[3:] == ["1", "-", "-", "0", "-", "-", "0.50", "-", "0.50", "-"]
    assert "by seed:" not in lines
    assert lines[-1].endswith("undecidable, success and failure are not known")
    found = cli("scores", "s.csv", "--json").json
    assert found["tables"]["base"][0]["rate"] is None
    assert found["groups"]["bands"] is None


def test_another_number_of_last_epochs(cli, here):
    written(here / "s.csv", {("original", "a", 0, 1e-4): [0, 1, 2, 3, 4]})
    assert cli("scores", "s.csv", "--last", 2, "--json").json["runs"][0]["score"] == 3.5
    found = cli("scores", "s.csv", "--json").json
    assert found["runs"][0]["why"] == "5 epochs, 20 needed"
    assert found["groups"] == {"sizes": [], "reason": "no run has a final score", "bands": None}


ROW = "original,41,3,0.0005,1,-4.5"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "^scores 's.csv': expected a CSV file, found an empty one$"),
        (
            b"\x89PNG\r\n\x1a\n\xff",
            "^scores 's.csv', line 1: expected a CSV file in UTF-8, is not$",
        ),
        (b"a,b\n1,2\n", "validation_score; 'approach' is missing .found 'a, b'.$"),
        (f"{HEADER}\n{ROW}\n{ROW}\n", "line 3: epoch 1 of run .* is there already, in line 2$"),
        (
            f"{HEADER}\n{ROW}\n{ROW.replace('3', 'three')}\n",
            "line 3, column 'seed': expected a whole number from .*, found 'three'$",
        ),
        (
            f"{HEADER}\n{ROW.replace('-4.5', 'bad')}\n",
            "^scores 's.csv', line 2, column 'validation_score': expected a number, found 'bad'$",
        ),
        (f"{HEADER}\n{'x' * 200_000}", "line 2: not a CSV file: field larger than field limit"),
        (HEADER, ": expected scores in rows below the header, found none$"),
    ],
)
def test_bad_files_are_one_sentence_and_leave_nothing(cli, here, data, sentence):
    (here / "s.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    before = snapshot(here)
    answer = cli("scores", "s.csv", "-o", "r.h5", "--figure", "f.pdf")
    assert answer.code == 2
    assert re.search(sentence, answer.sentence)
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.csv"], "^scores 'none.csv' does not exist$"),
        (["."], "expected a regular file, found a folder$"),
        ([PAPER, "--number", 9, "--figure", "f.pdf"], "^--number: expected 8, 10 or 18, found 9$"),
        ([PAPER, "--number", 8], "^--number needs --figure, the file to draw in$"),
        ([PAPER, "--number", 10, "--figure", "f.pdf"], "^figure 10 needs runs of at least 2 appr"),
        ([PAPER, "--number", 18, "--figure", "f.pdf"], "^figure 18 needs runs .* found 1$"),
        ([PAPER, "--figure", "f.bmp"], "^figure 'f.bmp': expected a name that ends in .pdf, "),
        ([PAPER, "--figure", "no/f.pdf"], "there is no folder 'no'$"),
        ([PAPER, "-o", "no/r.h5"], "there is no folder 'no'$"),
        ([PAPER, "-o", PAPER], "expected an HDF5 file, found another kind of file$"),
        ([PAPER, "--last", 0], "invalid value for '--last': .*, found '0'"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_leave_nothing(cli, here, arguments, sentence):
    answer = cli("scores", *arguments)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence)
    assert list(here.iterdir()) == []
