"""`crar-diag report` on runs of base models and of transfers, and on what are none."""

import csv
import shutil
from pathlib import Path

import pytest

from crar_diag.agent.history import read_history
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import add_to_report, read_report, report_groups
from tests.cli.conftest import snapshot
from tests.cli.mixed_runs import mixed_bases, mixed_run
from tests.report.labelled import MADE, sample
from tests.runs import BASES


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return mixed_run(folder / "mixed", mixed_bases(folder, even=(0,), shipped=(4,)))


def test_runs_are_gathered_into_one_file(cli, mixed, maze_run, tmp_path):
    report = tmp_path / "report.h5"
    answer = cli("report", maze_run, mixed, "-o", report, "--seed", 3, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert found["report"] == str(report)
    assert sorted(found["groups"]) == list(report_groups(report))
    assert [(one["run"], one["holds"], one["members"]) for one in found["runs"]] == [
        ("maze", "base models", 2),
        ("mixed", "transfers", 6),
    ]
    (condition,) = found["conditions"]
    assert (condition["successes"], condition["runs"]) == (3, 6)
    assert condition["mean_rate"] == 0.5
    history = read_history(mixed / "history.h5")
    states = read_report(report, "embedding/mixed/states")
    assert (states.embedding.values == history["embedding"].embedding.values).all()
    made = Provenance.from_attributes(states.attrs)
    assert made.command == f"crar-diag report {maze_run} {mixed} -o {report} --seed 3 --json"
    assert made.seeds == (3,)
    assert cli("info", report).code == 0


def test_it_says_what_it_has_gathered(cli, mixed, tmp_path):
    answer = cli("report", BASES, mixed, "-o", tmp_path / "report.h5", "--csv", tmp_path / "tables")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split("  ")[0] == "run"
    assert [line.split()[0] for line in lines[1:3]] == ["simple-maze", "mixed"]
    assert "3 of 6 transfers have succeeded, a mean rate over bases of 0.50" in answer.out
    assert f"written to '{tmp_path / 'report.h5'}'" in answer.out
    tables = list((tmp_path / "tables").glob("*.csv"))
    assert f"{len(tables)} tables written to '{tmp_path / 'tables'}'" in answer.out


def test_the_tables_of_a_report_are_written_as_csv(cli, tmp_path):
    report, folder = tmp_path / "report.h5", tmp_path / "tables"
    data = sample(1, 3)[["threshold", "base"]]
    add_to_report(report, {"statistics/rates": data}, MADE)
    before = snapshot(tmp_path)
    answer = cli("report", report, "--csv", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    files = [Path(name) for name in answer.json["csv"]]
    assert {file.parent for file in files} == {folder}
    rows = [row for file in files for row in csv.reader(file.read_text().splitlines())]
    assert [repr(float(data.threshold))] in rows
    assert before.items() <= snapshot(tmp_path).items()
    assert cli("report", report, "--csv", folder).out == (
        f"{len(files)} tables written to '{folder}'\n"
    )


def test_a_report_that_is_there_is_added_to_and_one_that_is_not_whole_is_left_alone(
    cli, mixed, tmp_path
):
    report = tmp_path / "report.h5"
    add_to_report(report, {"line/a-to-b": sample(0)}, MADE)
    assert cli("report", mixed, "-o", report).code == 0
    assert {"line/a-to-b", "outcome", "history/mixed"} <= set(report_groups(report))
    broken = tmp_path / "broken.h5"
    broken.write_bytes(report.read_bytes()[:-1000])
    before = snapshot(tmp_path)
    answer = cli("report", mixed, "-o", broken)
    assert answer.code == 2
    assert answer.sentence.startswith(f"report '{broken}' is truncated or damaged")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["maze"], "a report of runs needs a file to be written to (--output)"),
        (["none", "-o", "r.h5"], "'none' is not a run folder: expected a folder with a run.toml"),
        (["mine", "-o", "r.h5"], "'mine' is not a run folder: expected a folder with a run.toml"),
        (["maze", "maze", "-o", "r.h5"], "is given twice: its members would count twice"),
        (["maze", "-o", "no/r.h5"], "report 'no/r.h5': there is no folder 'no'"),
        (
            ["maze.safetensors", "-o", "r.h5"],
            "'maze.safetensors' is a file: expected run folders, or one report together with --csv",
        ),
        (
            ["old.h5"],
            "'old.h5' is a report: expected run folders, or --csv DIR to write its tables",
        ),
        (
            ["old.h5", "-o", "r.h5", "--csv", "t"],
            "-o goes with run folders: the tables of a report",
        ),
        (["maze.safetensors", "--csv", "t"], "report 'maze.safetensors': expected an HDF5 file"),
        (["none.h5", "--csv", "t"], "report 'none.h5' does not exist"),
        (["missing", "-o", "r.h5"], "run folder 'missing' is not complete: expected 3 members"),
    ],
)
def test_what_is_not_to_be_gathered_is_refused_in_a_sentence(
    cli, files, maze_run, arguments, sentence
):
    shutil.copytree(maze_run, "maze")
    add_to_report("old.h5", {"line/a": sample(0)}, MADE)
    before = snapshot(files)
    answer = cli("report", *arguments)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert snapshot(files) == before
