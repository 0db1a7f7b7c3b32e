"""Carrying out a study: its commands one after the other, then what it finds."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crar_diag.errors import CrarDiagError, InputError
from crar_diag.report.figures.selection import Report
from crar_diag.report.provenance import provenance
from crar_diag.report.store import add_to_report
from crar_diag.study.findings import GROUP, Finding, findings_dataset
from crar_diag.study.folder import SKIPPED, StudyFolder, open_folder
from crar_diag.study.recipe import REPORT_NAME, Recipe, Step, with_folder

Run = Callable[[Sequence[str]], str]
"""Runs a command of `crar-diag` from its arguments and returns what it printed."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a step.

    Attributes:
        step: which.
        state: `begins`, `done`, `kept` (it was done before) or `skipped`.
        command: its arguments, the folder in them.
        seconds: that it took.
        reason: why it was skipped.
    """

    step: Step
    state: Literal["begins", "done", "kept", "skipped"]
    command: Sequence[str] = ()
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """A study that was carried out.

    Attributes:
        folder: where everything is.
        findings: the paper's figures and ours.
        skipped: why, by the name of the step.
    """

    folder: Path
    findings: Sequence[Finding]
    skipped: dict[str, str]


def carry_out(
    recipe: Recipe,
    folder: str | Path,
    run: Run,
    *,
    command: str,
    resume: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
) -> Result:
    """Run a study, or what of it is not done yet.

    Once a step has been done anew, all that follow are: they depend on it.

    Args:
        recipe: the study.
        folder: to make it in.
        run: runs one command.
        command: that this is, for the provenance of the findings.
        resume: go on with the study in the folder.
        tell: is told of every step.

    Raises:
        InputError: see `open_folder`; or a step that is not optional lacks something.
        CrarDiagError: a step failed.
    """
    with open_folder(folder, recipe, resume) as opened:
        skipped: dict[str, str] = {}
        anew = False
        for event in _steps(recipe.steps, opened, run, anew):
            tell(event)
            anew |= event.state == "done"
            _note(event, skipped)
        report = opened.path / REPORT_NAME
        findings = recipe.findings(Report(report))
        if anew or GROUP not in Report(report).names:
            made = provenance(command=command, seeds=[0], device="cpu")
            add_to_report(report, {GROUP: findings_dataset(findings)}, made)
        for event in _steps(recipe.drawing, opened, run, anew):
            tell(event)
            _note(event, skipped)
        return Result(opened.path, findings, skipped)


def _note(event: Event, skipped: dict[str, str]) -> None:
    if event.reason:
        skipped[event.step.name] = event.reason


def _steps(steps: Sequence[Step], folder: StudyFolder, run: Run, anew: bool) -> Iterator[Event]:
    for step in steps:
        for event in _carry_out(step, folder, run, anew):
            yield event
            anew |= event.state == "done"


def _carry_out(step: Step, folder: StudyFolder, run: Run, anew: bool) -> Iterator[Event]:
    try:
        arguments = step.resolve(folder.path)
    except InputError as error:
        if not step.optional:
            raise
        yield Event(step, "skipped", reason=str(error))
        return
    printed = None if anew else folder.printed(step, arguments)
    command = with_folder(arguments, folder.path)
    if printed is not None:
        reason = printed.removeprefix(SKIPPED).strip() if printed.startswith(SKIPPED) else ""
        yield Event(step, "kept", command, reason=reason)
        return
    yield Event(step, "begins", command)
    started = time.monotonic()
    try:
        printed = run(command)
    except InputError as error:
        if not step.optional:
            raise CrarDiagError(f"step {step.name} of the study: {error}") from error
        folder.keep(step, arguments, f"{SKIPPED}{error}\n")
        yield Event(step, "skipped", command, reason=str(error))
        return
    folder.keep(step, arguments, printed)
    yield Event(step, "done", command, time.monotonic() - started)
