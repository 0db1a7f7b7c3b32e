"""`crar-diag figure`: what it draws, says and refuses, and that real runs feed it."""

from pathlib import Path

import pytest

from crar_diag.report.figures.catalogue import ENTRIES
from crar_diag.report.store import add_to_report
from tests.cli.conftest import snapshot
from tests.cli.mixed_runs import mixed_bases, mixed_run
from tests.report.figures import by_hand
from tests.report.labelled import MADE
from tests.runs import BASES


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Not to be written."""
    return by_hand.report(tmp_path_factory.mktemp("figure") / "report.h5")


def test_a_figure_is_drawn_from_a_report_and_what_was_drawn_is_said(cli, report, tmp_path):
    target = tmp_path / "figure6.pdf"
    before = report.read_bytes()
    answer = cli("figure", 6, "--from", report, "-o", target)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "figure 6, embedding of a successful transfer during training\n"
        "  run: moved\n"
        "  member: original-good-seed0\n"
        "  kind: identity\n"
        "  updates: 4,000, 21,000, 80,000\n"
        f"written to '{target}'\n"
    )
    assert target.read_bytes().startswith(b"%PDF")
    assert report.read_bytes() == before


@pytest.mark.parametrize(
    ("ending", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")]
)
def test_the_ending_decides_the_format(cli, tmp_path, ending, start):
    target = tmp_path / f"maze.{ending}"
    answer = cli("figure", 4, "-o", target, "--seed", 7, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {
        "figure": "4",
        "title": "the labyrinth and its inverse",
        "drawn": {"environment": "labyrinth", "seed": 7},
        "from": None,
        "file": str(target),
    }
    assert target.read_bytes().startswith(start)


def test_choices_reach_the_figure(cli, report, tmp_path):
    answer = cli(
        *("figure", 16, "--from", report, "-o", tmp_path / "a.png", "--run", "mazes-moved"),
        *("--member", "oracle-good", "--member", "original-good-seed1", "--json"),
    )
    assert answer.json["drawn"]["member"] == ["good", "oracle-good", "original-good-seed1"]
    answer = cli(
        *("figure", "surfaces", "--from", report, "-o", tmp_path / "b.png"),
        *("--loss", "volume", "--run", "a-to-b-random-plane"),
    )
    assert "  loss: volume\n" in answer.out


def test_all_figures_are_listed_with_what_the_report_has(cli, report, tmp_path):
    answer = cli("figure", "--list", "--from", report)
    lines = answer.out.splitlines()
    assert (answer.code, len(lines)) == (0, 1 + len(ENTRIES))
    assert [line.split()[0] for line in lines[1:]] == list(ENTRIES)
    assert all(line.endswith("  yes") for line in lines[1:])
    add_to_report(tmp_path / "empty.h5", {}, MADE)
    found = cli("figure", "--list", "--from", tmp_path / "empty.h5", "--json").json["figures"]
    assert [one["figure"] for one in found if one["available"]] == ["3", "4", "12", "14"]
    (row,) = [one for one in found if one["figure"] == "15"]
    assert row["missing"].startswith("figure 15 needs a group /plane/*-dynamics-plane: make it by ")
    lines = cli("figure", "--list").out.splitlines()
    assert lines[0].split() == ["figure", "title", "needs"]
    assert lines[1].endswith("  nothing")


def test_real_runs_feed_the_figures_of_trainings_and_outcomes(cli, tmp_path):
    bases = mixed_bases(tmp_path, even=(0,), shipped=(4,))
    run = mixed_run(tmp_path / "moved", bases, "restarts=2", variants="original,reset-encoder")
    report = tmp_path / "report.h5"
    assert cli("report", BASES, run, "-o", report).code == 0
    found = cli("figure", "--list", "--from", report, "--json").json["figures"]
    there = [one["figure"] for one in found if one["available"]]
    assert there == ["3", "4", "5", "6", "7", "11", "12", "13", "14", "17", "kinds", "remedies"]
    for name, shown in [
        ("6", {"run": "moved", "kind": "identity"}),
        ("13", {"member": ["base-seed4", "original-base-seed4-lr1e-06-seed0-restart0"]}),
    ]:
        target = tmp_path / f"{name}.pdf"
        answer = cli("figure", name, "--from", report, "-o", target, "--json")
        assert (answer.code, answer.err) == (0, "")
        assert shown.items() <= answer.json["drawn"].items()
        assert b"/FontFile2" in target.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["2", "-o", "a.pdf"], "there is no figure '2' (choose from 3 to 18, surfaces, barriers"),
        (["kind", "-o", "a.pdf"], "there is no figure 'kind' (did you mean 'kinds'?)"),
        (["6", "-o", "a.pdf"], "figure 6 is drawn from a report: give one (--from)"),
        (["6", "--from", "r.h5"], "figure 6 needs a file to be drawn in (--output)"),
        (["6", "--from", "r.h5", "-o", "a.doc"], "expected a name that ends in .pdf, .svg, .png"),
        (["3", "-o", "no/a.pdf"], "figure 'no/a.pdf': there is no folder 'no'"),
        (["6", "--from", "none.h5", "-o", "a.pdf"], "report 'none.h5' does not exist"),
        (["6", "--from", "text.h5", "-o", "a.pdf"], "expected an HDF5 file"),
        (
            ["6", "--from", "empty.h5", "-o", "a.pdf"],
            "figure 6 needs a group /embedding/<run>/states of transfers in the simple maze: make "
            "it by crar-diag report RUN... -o report.h5",
        ),
        (
            ["15", "--from", "empty.h5", "-o", "a.pdf"],
            "figure 15 needs a group /plane/*-dynamics-plane: make it by crar-diag landscape A B "
            "--mode dynamics-plane -o report.h5",
        ),
        (["6", "--from", "r.h5", "-o", "a.pdf", "--run", "move"], "found 'move' (did you mean 'mo"),
        (["6", "--from", "r.h5", "-o", "a.pdf", "--member", "x"], "found 'x' (choose from "),
        (["15", "--from", "r.h5", "-o", "a.pdf", "--loss", "hue"], "found 'hue' (--loss)"),
        (["6", "--from", "r.h5", "-o", "a.pdf", "--seed", "1"], "leaves no such choice (--seed)"),
        (["-o", "a.pdf"], "expected a figure, such as 6; --list names them all"),
        (["6", "--list"], "--list names the figures and draws none: give no figure and no -o"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(
    cli, report, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    Path("r.h5").write_bytes(report.read_bytes())
    Path("text.h5").write_text("a thesis\n")
    add_to_report("empty.h5", {}, MADE)
    before = snapshot(tmp_path)
    answer = cli("figure", *arguments)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert snapshot(tmp_path) == before
