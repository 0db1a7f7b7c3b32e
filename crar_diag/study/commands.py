"""The steps that studies are made of: each a command of `crar-diag`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crar_diag.agent.presets import preset, transfer_preset
from crar_diag.report.figures.catalogue import ENTRIES
from crar_diag.report.figures.selection import Report
from crar_diag.study.choices import FIRST, by_success, files_of, pair
from crar_diag.study.recipe import OUT, REPORT, REPORT_NAME, Step

BASES: Final = f"{OUT}/base"
TRANSFERS: Final = f"{OUT}/{FIRST}"
RESTARTS: Final = f"{OUT}/restarts"

_PAGE: Final = "page.html"
_FIGURES: Final = "figures"


def seeds(count: int) -> str:
    """Return the first seeds as an option says them."""
    return f"0:{count}"


@dataclass(frozen=True)
class Beginning:
    """What all studies begin with: base models and the published transfer of each.

    Attributes:
        count: base models.
        sources: their checkpoints or their folder.
        runs: the run folders that there are then.
        steps: training, unless the base models are given, and transfer.
    """

    count: int
    sources: Sequence[str]
    runs: Sequence[str]
    steps: Sequence[Step]


def begin(
    environment: str, preset_name: str, given: Sequence[str], bases: int, transfers: int
) -> Beginning:
    """Return what a study begins with.

    Args:
        environment: of the agents.
        preset_name: `quick` or `paper`.
        given: checkpoints that take the place of base models of its own.
        bases: how many of its own it trains.
        transfers: of each base model.
    """
    count, sources = (len(given), given) if given else (bases, [BASES])
    moved = transfer_bases(environment, preset_name, sources, transfers, count)
    if given:
        return Beginning(count, sources, [TRANSFERS], [moved])
    trained = train_bases(environment, preset_name, count)
    return Beginning(count, sources, [BASES, TRANSFERS], [trained, moved])


def train_bases(environment: str, preset_name: str, count: int) -> Step:
    """Return the training of base models in the folder `base`."""
    updates = preset(environment, preset_name).updates
    return Step(
        "base",
        f"train {count} base models for {updates:,} updates",
        (
            "train",
            "--env",
            environment,
            "--preset",
            preset_name,
            "--seeds",
            seeds(count),
            "--out",
            BASES,
            "--resume",
        ),
        ("base/history.h5",),
        members=count,
        updates=updates,
    )


def transfer_bases(
    environment: str, preset_name: str, bases: Sequence[str], count: int, models: int
) -> Step:
    """Return the published transfer of all base models, in the folder `transfers`.

    Args:
        environment: of the base models.
        preset_name: `quick` or `paper`.
        bases: checkpoints or folders of the base models.
        count: seeds of each.
        models: how many base models these are.
    """
    updates = int(transfer_preset(environment, preset_name)["updates"])
    return Step(
        "transfers",
        f"transfer each of {models} base models {count} times for {updates:,} updates",
        (
            "transfer",
            *bases,
            "--preset",
            preset_name,
            "--seeds",
            seeds(count),
            "--out",
            TRANSFERS,
            "--resume",
        ),
        ("transfers/history.h5",),
        members=models * count,
        updates=updates,
    )


def restart_bases(
    environment: str, preset_name: str, bases: Sequence[str], count: int, models: int, restarts: int
) -> Step:
    """Return transfers with restarts, of all base models, in the folder `restarts`.

    Args:
        environment: of the base models.
        preset_name: `quick` or `paper`.
        bases: checkpoints or folders of the base models.
        count: seeds of each.
        models: how many base models these are.
        restarts: encoders of each transfer.
    """
    updates = int(transfer_preset(environment, preset_name)["updates"])
    options = ("--preset", preset_name, "--seeds", seeds(count), "--restarts", str(restarts))
    return Step(
        "restarts",
        f"the same with the best of {restarts} restarts, {count} times",
        ("transfer", *bases, *options, "--out", RESTARTS, "--resume"),
        ("restarts/history.h5",),
        members=models * count * restarts,
        updates=updates,
    )


def transfer_chosen(
    name: str,
    what: str,
    files: Sequence[str],
    ranks: Sequence[int],
    options: Sequence[str],
    members: int,
    updates: int,
) -> Step:
    """Return transfers of those base models whose first transfers succeeded most or least often.

    Args:
        name: of the step and of its run folder.
        what: the step does, in words.
        files: checkpoints of all base models.
        ranks: which, by success: 0 the best, -1 the poorest.
        options: of `crar-diag transfer`.
        members: how many agents that trains.
        updates: of each.
    """

    def arguments(report: Report) -> Sequence[str]:
        order = by_success(report)
        chosen = files_of([order[rank] for rank in ranks], files)
        return ("transfer", *chosen, *options, "--out", f"{OUT}/{name}", "--resume")

    return Step(name, what, arguments, (f"{name}/history.h5",), members=members, updates=updates)


def gather(name: str, runs: Sequence[str]) -> Step:
    """Return the step that puts runs and what became of them into the report."""
    return Step(
        name,
        "gather " + ", ".join(run.rpartition("/")[2] for run in runs) + " into the report",
        ("report", *runs, "-o", REPORT),
        (REPORT_NAME,),
    )


def files(bases: Sequence[str], count: int) -> list[str]:
    """Return the checkpoints of the base models: those given, or those of the folder `base`."""
    return list(bases) or [f"{BASES}/base-seed{seed}.safetensors" for seed in range(count)]


def landscape_of_pair(number: int, options: Sequence[str]) -> Step:
    """Return the landscape between a correct and a wrong transfer (see `choices.pairs`)."""
    return _of_pair("landscape", number, "landscape from correct to wrong", (0, 1), options)


def path_of_pair(number: int, options: Sequence[str]) -> Step:
    """Return the minimum-loss path from a wrong transfer to a correct one."""
    return _of_pair("path", number, "minimum-loss path from wrong to correct", (1, 0), options)


def curvature_of_pair(number: int, options: Sequence[str], both: bool = True) -> Step:
    """Return the curvature at a wrong transfer, and at the correct one where `both`."""
    which = (1, 0) if both else (1,)
    words = "a wrong and a correct transfer" if both else "a wrong transfer"
    return _of_pair("curvature", number, f"curvature at {words}", which, options)


def _of_pair(
    command: str, number: int, what: str, which: Sequence[int], options: Sequence[str]
) -> Step:
    def arguments(report: Report) -> Sequence[str]:
        found = pair(report, number)
        ends = [f"{OUT}/{name}.safetensors" for name in (found.correct, found.wrong)]
        return (command, *(ends[k] for k in which), *options, "-o", REPORT)

    name = f"{command}-{number + 1}"
    counted = "" if number == 0 else f", base model {number + 1} that has both"
    return Step(name, what + counted, arguments, (REPORT_NAME,), optional=True)


def figure(name: str, *options: str) -> Step:
    """Return the drawing of a figure as PDF."""
    entry = ENTRIES[name]
    number = f"{name:0>2}" if name.isdecimal() else name
    file = f"{_FIGURES}/figure-{number}.pdf"
    source = ("--from", REPORT) if entry.needs else ()
    return Step(
        f"figure-{number}",
        f"figure {name}: {entry.title}",
        ("figure", name, *source, *options, "-o", f"{OUT}/{file}"),
        (file,),
        optional=True,
    )


def page() -> Step:
    """Return the page that shows the report."""
    return Step("page", "the page", ("report", REPORT, "--html", f"{OUT}/{_PAGE}"), (_PAGE,))
