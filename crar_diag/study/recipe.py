"""A study as data: the commands that it consists of, and what is read off their report.

`catalogue.build` makes one, and its steps say what they would run:

    recipe = build("simple-maze", "quick")
    for step in recipe.steps:
        print(step.what)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crar_diag.report.figures.selection import Report
from crar_diag.study.findings import Finding

OUT: Final = "{out}"
"""Stands in arguments for the folder of the study."""
REPORT: Final = f"{OUT}/report.h5"
REPORT_NAME: Final = "report.h5"


@dataclass(frozen=True)
class Step:
    """One command of a study.

    Attributes:
        name: different for each step of a study, and fit for a file.
        what: it does, in words.
        arguments: of `crar-diag`, with `OUT` for the folder of the study; or a function that finds
            them in the report that earlier steps have made. Where that raises `InputError`, the
            report has not what the step is about.
        products: files and folders that it leaves, relative to the folder of the study.
        optional: whether the study goes on without it where there is nothing to do it with.
        members: how many agents it trains.
        updates: of each.
    """

    name: str
    what: str
    arguments: Sequence[str] | Callable[[Report], Sequence[str]]
    products: Sequence[str] = ()
    optional: bool = False
    members: int = 0
    updates: int = 0

    @property
    def agent_updates(self) -> int:
        """How many updates, of all agents, it trains."""
        return self.members * self.updates

    def resolve(self, folder: Path) -> tuple[str, ...]:
        """Return the arguments, `OUT` still in them.

        Raises:
            InputError: the report in the folder has not what the step is about.
        """
        found = self.arguments
        if callable(found):
            found = found(Report(folder / REPORT_NAME))
        return tuple(found)


@dataclass(frozen=True)
class Recipe:
    """A study.

    Attributes:
        study: its name.
        preset: `quick` or `paper`.
        environment: of its agents.
        steps: what is run, in order.
        findings: reads off the report how the paper's figures compare.
        drawing: what is run when the findings are in the report: figures and the page.
        bases: checkpoints that take the place of base models of its own.
    """

    study: str
    preset: str
    environment: str
    steps: Sequence[Step]
    findings: Callable[[Report], list[Finding]]
    drawing: Sequence[Step] = ()
    bases: Sequence[str] = field(default=())

    @property
    def agent_updates(self) -> int:
        """How many updates, of all agents, the study trains."""
        return sum(step.agent_updates for step in self.steps)


def with_folder(arguments: Sequence[str], folder: Path) -> list[str]:
    """Return arguments with the folder of the study in them."""
    return [one.replace(OUT, str(folder)) for one in arguments]
