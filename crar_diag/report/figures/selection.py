"""What of a report a figure is drawn from: which groups, which runs, which members."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import xarray as xr
from matplotlib.figure import Figure

from crar_diag.errors import InputError, did_you_mean
from crar_diag.report.store import read_report, report_groups

REPORT_COMMAND: Final = "crar-diag report RUN... -o report.h5"

FAILURES: Final = ("exchange", "swap", "mirror", "rotation", "channels")
"""Kinds of outcome that are a wrong embedding in which a transfer has settled."""
UNSETTLED: Final = ("other", "collapsed", "unfinished")
"""Kinds of failures that are none of these; shown where there is no other."""
REFERENCES: Final = ("oracle", "paired", "finetune", "scratch")
"""Variants that are shown only where they are asked for: points of reference, freed dynamics."""


class MissingDataError(InputError):
    """A report has not what a figure shows.

    Args:
        what: it lacks, such as `a group /line/<name>`.
        command: that would make it.
    """

    def __init__(self, what: str, command: str = REPORT_COMMAND) -> None:
        super().__init__(f"the figure needs {what}: make it by {command}")
        self.what, self.command = what, command


@dataclass(frozen=True)
class Choice:
    """What a user has chosen to be drawn, where several things could be.

    Attributes:
        run: the name of a run, or of a comparison of landscapes.
        members: names of agents; each figure draws those that fit it.
        loss: the name of a loss.
        seed: of a maze that is drawn anew.
    """

    run: str | None = None
    members: tuple[str, ...] = ()
    loss: str | None = None
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """What a figure is drawn from.

    Attributes:
        figure: the function that draws it.
        data: its labelled data.
        options: its further arguments.
        words: what is drawn, in words by what it is: `run`, `member`, ...
    """

    figure: Callable[..., Figure]
    data: tuple[xr.Dataset, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)

    def draw(self) -> Figure:
        """Draw it."""
        return self.figure(*self.data, **self.options)


@dataclass(frozen=True)
class Candidate:
    """A member of a run that could be drawn.

    Attributes:
        run: the name of its groups.
        name: its own.
        base: label of its base model; empty for a base model itself and from scratch.
        variant: of a transfer; empty for a base model.
        kind: what became of a transfer in the end; empty for a base model.
    """

    run: str
    name: str
    base: str = ""
    variant: str = ""
    kind: str = ""

    def words(self) -> str:
        """Return the member as a user would name it."""
        ended = f", {self.kind}" if self.kind else ""
        return f"'{self.name}' of run '{self.run}'{ended}"


class Report:
    """A report that figures are drawn from; each of its groups is read once.

    Args:
        path: the file.

    Raises:
        InputError: it is not a whole report.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.names = tuple(report_groups(path))
        self._read: dict[str, xr.Dataset] = {}

    def read(self, group: str) -> xr.Dataset:
        """Return a group.

        Raises:
            InputError: it is not there.
        """
        if group not in self._read:
            self._read[group] = read_report(self.path, group)
        return self._read[group]

    def matching(self, pattern: str) -> list[str]:
        """Return the groups of a pattern in which `*` is the name of one level."""
        wanted = pattern.split("/")
        return [
            name
            for name in self.names
            if name.count("/") == len(wanted) - 1 and all(map(fnmatchcase, name.split("/"), wanted))
        ]

    @cached_property
    def runs(self) -> dict[str, xr.Dataset]:
        """The configuration of each run, by its name."""
        return {name.split("/")[1]: self.read(name) for name in self.matching("config/*")}

    def runs_of(self, kind: str, environment: str, part: str) -> list[str]:
        """Return runs of a kind in an environment that have a group, such as `history/{}`."""
        return [
            run
            for run, config in self.runs.items()
            if str(config.kind.values) == kind
            and str(config.environment.values) == environment
            and part.format(run) in self.names
        ]


def base_candidates(report: Report, runs: Sequence[str]) -> list[Candidate]:
    """Return the members of runs of base models, in their order."""
    return [Candidate(run, str(name)) for run in runs for name in report.runs[run].agent.values]


def transfer_candidates(report: Report, runs: Sequence[str]) -> list[Candidate]:
    """Return the members of runs of transfers: settled ones first, `original` ones among them."""
    found = []
    for run in runs:
        if f"embedding/{run}" not in report.names:
            continue
        ended = report.read(f"embedding/{run}")
        columns = (ended[name].values for name in ("member", "base", "variant"))
        kinds = ended.kind.isel(time=-1).values
        found += [Candidate(run, *map(str, row)) for row in zip(*columns, kinds, strict=True)]
    return sorted(found, key=lambda one: (unsettled(one), one.variant != "original"))


def restrict_runs(runs: Sequence[str], choice: Choice) -> list[str]:
    """Return the runs among which a user lets choose.

    Raises:
        InputError: the chosen one is none of them.
    """
    if choice.run is None or not runs:
        return list(runs)
    if choice.run not in runs:
        raise InputError(
            f"expected one of the report's runs that fit, found '{choice.run}'"
            f"{did_you_mean(choice.run, runs)}",
            arguments=["run"],
        )
    return [choice.run]


Slot = tuple[str, Callable[[Candidate], bool]]
"""What a part of a figure shows, in words, and which member fits."""


def pick(
    candidates: Sequence[Candidate], slots: Sequence[Slot], choice: Choice
) -> list[Candidate | None]:
    """Return a member for each slot: a chosen one that fits, else the first that does.

    Variants of `REFERENCES` are taken only where they are chosen.

    Returns:
        None where nothing fits.

    Raises:
        InputError: a chosen member is not there, or fits no slot.
    """
    names = {one.name for one in candidates}
    for name in choice.members:
        if candidates and name not in names:
            hint = did_you_mean(name, names) if len(names) < 40 else f", such as '{min(names)}'"
            raise InputError(
                f"expected one of the members that can be drawn, found '{name}'{hint}",
                arguments=["member"],
            )
    asked = [one for one in candidates if one.name in choice.members]
    others = [one for one in candidates if one.variant not in REFERENCES]
    found = []
    for _, fits in slots:
        found.append(next((one for one in [*asked, *others] if fits(one)), None))
    unused = [one for one in asked if one.name not in {own.name for own in found if own}]
    if unused:
        wanted = " and ".join(words for words, _ in slots)
        raise InputError(
            f"expected a member that is {wanted}, found {unused[0].words()}", arguments=["member"]
        )
    return found


def successful(one: Candidate) -> bool:
    """Tell a transfer that has its base's embedding."""
    return one.kind == "identity"


def failed(one: Candidate) -> bool:
    """Tell a transfer that has another embedding than its base."""
    return one.kind in FAILURES or unsettled(one)


def unsettled(one: Candidate) -> bool:
    """Tell a transfer that has failed, but not settled in a wrong embedding."""
    return one.kind in UNSETTLED
