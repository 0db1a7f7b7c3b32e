"""`crar-diag report` on runs of base models and of transfers, and on what are none."""

import csv
import json
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


def test_the_page_of_runs_is_that_of_their_report(cli, mixed, tmp_path):
    report, page, again = (tmp_path / name for name in ("r.h5", "p.html", "again.html"))
    answer = cli("report", mixed, "-o", report, "--html", page, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["html"] == str(page)
    assert answer.json["html_bytes"] == page.stat().st_size
    before = report.read_bytes()
    answer = cli("report", report, "--html", again)
    assert answer.out.startswith(f"page written to '{again}', ")
    assert again.read_bytes() == page.read_bytes()
    assert report.read_bytes() == before
    script = page.read_text().split('<script type="application/json" id="report-data">')[1]
    data = json.loads(script.split("</script>")[0])
    transfers = data["outcomes"]["transfers"]
    assert sum(one["success"] for one in transfers) == 3
    # The states of the report's own last record, found by what the outcome says.
    states = read_report(report, "embedding/mixed/states")
    for one in transfers:
        own = states.embedding.sel(member=one["name"]).isel(time=-1).values
        assert one["states"]["embedding"][5] == pytest.approx(own[5].tolist(), rel=1e-5)
    assert cli("report", mixed, "-o", report, "--json").json["html"] is None


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
            "'maze.safetensors' is a file: expected run folders, or one report together with --csv "
            "or --html",
        ),
        (
            ["old.h5"],
            "'old.h5' is a report: expected run folders, or --csv DIR to write its tables, or "
            "--html FILE to draw its page",
        ),
        (
            ["old.h5", "-o", "r.h5", "--csv", "t"],
            "-o goes with run folders: the tables and the page of a report",
        ),
        (["old.h5", "--html", "p.pdf"], "page 'p.pdf': expected a name that ends in .html or"),
        (["old.h5", "--html", "no/p.html"], "page 'no/p.html': there is no folder 'no'"),
        (
            ["maze", "-o", "r.h5", "--html", "taken.html"],
            "page 'taken.html': expected a file or a new name, found a folder",
        ),
        (["none.h5", "--html", "p.html"], "report 'none.h5' does not exist"),
        (["text.safetensors", "--html", "p.html"], "report 'text.safetensors': expected an HDF5"),
        (["maze.safetensors", "--csv", "t"], "report 'maze.safetensors': expected an HDF5 file"),
        (["none.h5", "--csv", "t"], "report 'none.h5' does not exist"),
        (["missing", "-o", "r.h5"], "run folder 'missing' is not complete: expected 3 members"),
    ],
)
def test_what_is_not_to_be_gathered_is_refused_in_a_sentence(
    cli, files, maze_run, arguments, sentence
):
    shutil.copytree(maze_run, "maze")
    Path("taken.html").mkdir()
    add_to_report("old.h5", {"line/a": sample(0)}, MADE)
    before = snapshot(files)
    answer = cli("report", *arguments)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert snapshot(files) == before
