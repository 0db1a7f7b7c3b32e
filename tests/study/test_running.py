"""Carrying out a study whose commands only note that they ran: order, resuming, skipping, locks."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from crar_diag.errors import CrarDiagError, InputError
from crar_diag.report.figures.selection import Report
from crar_diag.report.store import add_to_report, read_report
from crar_diag.study.findings import GROUP, Finding
from crar_diag.study.recipe import OUT, Recipe, Step
from crar_diag.study.running import Event, Result, carry_out
from tests.report.labelled import MADE, sample


def findings(report: Report) -> list[Finding]:
    total = float(np.sum(report.read("statistics/some").loss.values))
    return [Finding("sum", "section 1", "1", f"{total:.3f}", "undecided")]


STEPS = (
    Step("base", "train", ("train", "--out", f"{OUT}/base"), ("base",), members=2, updates=10),
    Step("report", "gather", ("report", f"{OUT}/base", "-o", f"{OUT}/report.h5"), ("report.h5",)),
    Step("pick", "compare", lambda report: ("landscape", report.names[-1]), optional=True),
)
DRAWING = (Step("figure", "draw", ("figure", "-o", f"{OUT}/figure.pdf"), ("figure.pdf",)),)
RECIPE = Recipe("simple-maze", "quick", "simple-maze", STEPS, findings, DRAWING)


class Commands:
    """Notes what is run, and makes what the steps above leave behind."""

    def __init__(self, folder: Path, fail: dict[str, BaseException] | None = None) -> None:
        self.folder, self.fail, self.run_names = folder, fail or {}, list[str]()

    def __call__(self, arguments: Sequence[str]) -> str:
        name = arguments[0]
        self.run_names.append(name)
        if name in self.fail:
            raise self.fail[name]
        if name == "train":
            (self.folder / "base").mkdir(exist_ok=True)
        if name == "report":
            add_to_report(self.folder / "report.h5", {"statistics/some": sample(1)}, MADE)
        if name == "figure":
            Path(arguments[-1]).write_text("drawn")
        return f"{name} printed this\n"


def study(folder: Path, commands: Commands, recipe: Recipe = RECIPE, **options) -> list[Event]:
    told: list[Event] = []
    carry_out(recipe, folder, commands, command="crar-diag", tell=told.append, **options)
    return told


def test_steps_run_in_order_and_keep_what_they_printed(tmp_path):
    folder = tmp_path / "new" / "study"
    commands = Commands(folder)
    told = study(folder, commands)
    assert commands.run_names == ["train", "report", "landscape", "figure"]
    assert [event.state for event in told] == ["begins", "done"] * 4
    assert told[0].command == ["train", "--out", f"{folder}/base"]
    kept = (folder / "steps" / "base.txt").read_text()
    assert kept == "$ crar-diag train --out {out}/base\ntrain printed this\n"
    assert json.loads((folder / "study.json").read_text())["study"] == "simple-maze"


def test_findings_are_those_of_the_report_and_stand_in_it(tmp_path):
    result: Result = carry_out(RECIPE, tmp_path, Commands(tmp_path), command="crar-diag x")
    total = f"{float(sample(1).loss.sum()):.3f}"
    assert [one.ours for one in result.findings] == [total]
    stored = read_report(tmp_path / "report.h5", GROUP)
    assert stored.ours.values.tolist() == [total]
    assert stored.attrs["provenance_command"] == "crar-diag x"


@pytest.mark.parametrize("at", ["train", "report", "landscape", "figure"])
def test_an_interrupted_study_goes_on_with_the_step_it_was_at(tmp_path, at):
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, Commands(tmp_path, {at: KeyboardInterrupt()}))
    commands = Commands(tmp_path)
    study(tmp_path, commands, resume=True)
    order = ["train", "report", "landscape", "figure"]
    assert commands.run_names == order[order.index(at) :]
    again = Commands(tmp_path)
    assert {event.state for event in study(tmp_path, again, resume=True)} == {"kept"}
    assert again.run_names == []


def test_a_step_whose_product_is_gone_is_done_again_and_all_after_it(tmp_path):
    study(tmp_path, Commands(tmp_path))
    (tmp_path / "report.h5").unlink()
    commands = Commands(tmp_path)
    study(tmp_path, commands, resume=True)
    assert commands.run_names == ["report", "landscape", "figure"]


def test_a_step_with_other_arguments_is_done_again(tmp_path):
    study(tmp_path, Commands(tmp_path))
    longer = Step("base", "train", ("train", "--more", "--out", f"{OUT}/base"), ("base",))
    commands = Commands(tmp_path)
    other = Recipe("simple-maze", "quick", "simple-maze", (longer, *STEPS[1:]), findings, DRAWING)
    study(tmp_path, commands, other, resume=True)
    assert commands.run_names[0] == "train"


def test_an_optional_step_that_cannot_be_done_is_skipped_with_its_reason(tmp_path):
    commands = Commands(tmp_path, {"landscape": InputError("there is no pair")})
    result = carry_out(RECIPE, tmp_path, commands, command="crar-diag")
    assert result.skipped == {"pick": "there is no pair"}
    again = carry_out(RECIPE, tmp_path, Commands(tmp_path), command="crar-diag", resume=True)
    assert again.skipped == {"pick": "there is no pair"}


def test_any_other_step_that_cannot_be_done_stops_the_study(tmp_path):
    commands = Commands(tmp_path, {"report": InputError("no such run")})
    with pytest.raises(CrarDiagError, match="step report of the study: no such run"):
        study(tmp_path, commands)
    assert not (tmp_path / "steps" / "report.txt").exists()


def test_a_study_is_not_begun_over_another(tmp_path):
    study(tmp_path, Commands(tmp_path))
    with pytest.raises(InputError, match="holds the study simple-maze: go on with it"):
        study(tmp_path, Commands(tmp_path))
    paper = Recipe("simple-maze", "paper", "simple-maze", STEPS, findings)
    with pytest.raises(InputError, match="a study with preset = 'quick', found 'paper'"):
        study(tmp_path, Commands(tmp_path), paper, resume=True)


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds files and no study"):
        study(tmp_path, Commands(tmp_path), resume=True)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is no folder to write in"):
        study(tmp_path / "thesis.tex", Commands(tmp_path))


def test_a_broken_description_is_refused(tmp_path):
    study(tmp_path, Commands(tmp_path))
    (tmp_path / "study.json").write_text("[1")
    with pytest.raises(InputError, match="is not the description of a study"):
        study(tmp_path, Commands(tmp_path), resume=True)


def test_two_processes_do_not_write_one_study(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="in use by another process"):
        study(tmp_path, Commands(tmp_path))
