"""`crar-diag reproduce`: a study of the paper as a whole, from training to figures and the page."""

import contextlib
import io
import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, places, terminal
from crar_diag.errors import CrarDiagError

if TYPE_CHECKING:
    from crar_diag.study.recipe import Recipe
    from crar_diag.study.running import Event, Result

EXAMPLE = (
    "Example: [bold]crar-diag reproduce simple-maze --preset quick --out study[/bold] makes the "
    "study in about six minutes on two cores; [bold]crar-diag reproduce simple-maze --preset quick "
    "--out study --resume[/bold] goes on after an interruption."
)

# What a command without Ctrl-C of its own returns then, instead of raising.
_INTERRUPTED = 130

# The commands that take `--scheduler` and `--device`, and those that take `--threads`.
_ON_WORKERS = ("train", "transfer", "landscape")
_WITH_THREADS = (*_ON_WORKERS, "curvature", "path")


def command(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="simple-maze, labyrinth, variants, learning-rates."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")],
    preset: Annotated[
        str, typer.Option("--preset", help="paper (the published counts) or quick (short ones).")
    ] = "paper",
    environment: Annotated[
        str | None,
        typer.Option(
            "--env",
            help="simple-maze or labyrinth, for variants and learning-rates.",
            show_default="the paper's; with --preset quick the simple maze",
        ),
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option("--base", help="Base model to use instead of training some; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study in the folder.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Name the steps, and how long they train; run nothing."),
    ] = False,
    scheduler: common.SchedulerOption = None,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Reproduce a study of the paper: train, transfer, compare, report, draw, hold against it.

    Every step is a command of crar-diag, and what it printed is kept in the folder's steps. Ends
    with a table: the paper's figures, ours, whether they agree.
    """
    from crar_diag.study.catalogue import build

    recipe = build(study, preset, environment, [str(path) for path in base or ()])
    _check_bases(base or [], recipe.environment)
    common.choose_place(device, threads, scheduler)  # refuses now what a step would refuse later
    place = _Place(scheduler, device, threads)
    if dry_run:
        _print_plan(recipe, out, threads, as_json)
        return
    from crar_diag.study.running import carry_out

    count = len(recipe.steps) + len(recipe.drawing)
    result = carry_out(
        recipe,
        out,
        lambda arguments: _run(place.on(arguments)),
        command=places.command_line(),
        resume=resume,
        tell=(lambda event: None) if as_json else _Teller(count, place),
    )
    if as_json:
        common.print_json(_as_json(recipe, result))
        return
    _print(result)


def _check_bases(base: Sequence[Path], environment: str) -> None:
    """Refuse base models that are none of this environment's before anything is trained."""
    if not base:
        return
    from crar_diag.agent.loading import load_agents
    from crar_diag.errors import InputError

    for path, agent in zip(base, load_agents(list(base)), strict=True):
        if agent.metadata.environment != environment:
            raise InputError(
                f"--base '{path}': expected a base model of the {environment}, found one of the "
                f"{agent.metadata.environment}"
            )


def _run(arguments: Sequence[str]) -> str:
    """Run a command in this process and return what it printed."""
    from crar_diag.cli.main import app

    printed = io.StringIO()
    with places.as_command(arguments), contextlib.redirect_stdout(printed):
        code = app(args=list(arguments), prog_name="crar-diag", standalone_mode=False) or 0
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise CrarDiagError(f"'{_text(arguments)}' ended with exit code {code}")
    return printed.getvalue()


def _text(arguments: Sequence[str]) -> str:
    return shlex.join(["crar-diag", *arguments])


@dataclass(frozen=True)
class _Place:
    """Where the steps compute, as their options say it.

    Attributes:
        scheduler: on whose workers, for the commands that can.
        device: of agents and landscapes; with a scheduler of its workers, which have it for agents
            alone.
        threads: None for all cores.
    """

    scheduler: str | None
    device: str
    threads: int | None

    def on(self, arguments: Sequence[str]) -> Sequence[str]:
        """Return a command with the options of where it computes.

        A run that was begun as a whole, without the scheduler, goes on as a whole.
        """
        found, name = list(arguments), arguments[0]
        scheduled = self.scheduler if name in _ON_WORKERS and not _whole(arguments) else None
        if scheduled is not None:
            found += ["--scheduler", scheduled]
        # With a scheduler the device is its workers': what is computed here is so on the CPU.
        own = name in _ON_WORKERS and self.scheduler is None
        if self.device != "auto" and (own or (scheduled is not None and name != "landscape")):
            found += ["--device", self.device]
        if self.threads is not None and name in _WITH_THREADS:
            found += ["--threads", str(self.threads)]
        return found


def _whole(arguments: Sequence[str]) -> bool:
    from crar_diag.agent.run import RESUME_NAME

    given = dict(itertools.pairwise(arguments))
    return "--out" in given and (Path(given["--out"]) / RESUME_NAME).exists()


class _Teller:
    """Prints each step with its command when it begins, and how long it took."""

    def __init__(self, count: int, place: _Place) -> None:
        self._count, self._number, self._place = count, 0, place

    def __call__(self, event: "Event") -> None:
        if event.state == "done":
            typer.echo(f"    done in {terminal.duration(event.seconds)}")
            return
        if event.state == "skipped" and event.command:  # it had begun
            typer.echo(f"    skipped: {event.reason}")
            return
        self._number += 1
        typer.echo(f"[{self._number} of {self._count}] {event.step.what}")
        if event.state == "begins":
            typer.echo(f"    {_text(self._place.on(event.command))}")
        elif event.state == "kept":
            typer.echo(f"    skipped before: {event.reason}" if event.reason else "    done before")
        else:
            typer.echo(f"    skipped: {event.reason}")


def _print(result: "Result") -> None:
    typer.echo()
    common.print_table(
        ["what", "the paper", "ours", "95% interval", "verdict", "where"],
        [
            [one.what, one.paper, one.ours, one.interval, one.verdict, one.source]
            for one in result.findings
        ],
    )
    typer.echo()
    for one in result.findings:
        if one.note:
            typer.echo(f"{one.what}: {one.note}")
    typer.echo()
    typer.echo(
        f"report '{result.folder / 'report.h5'}', figures '{result.folder / 'figures'}', page "
        f"'{result.folder / 'page.html'}'"
    )


def _as_json(recipe: "Recipe", result: "Result") -> dict[str, Any]:
    return {
        "study": recipe.study,
        "preset": recipe.preset,
        "environment": recipe.environment,
        "folder": str(result.folder),
        "report": str(result.folder / "report.h5"),
        "figures": sorted(str(file) for file in (result.folder / "figures").glob("*.pdf")),
        "page": str(result.folder / "page.html"),
        "findings": [{**vars(one)} for one in result.findings],
        "skipped": result.skipped,
    }


def _print_plan(recipe: "Recipe", out: Path, threads: int | None, as_json: bool) -> None:
    """Print the steps; the time of their training at the rate of this machine."""
    from crar_diag.agent.config_sources import build_config
    from crar_diag.agent.forecast import plan

    largest = max(recipe.steps, key=lambda step: step.members)
    config = build_config(
        recipe.environment, recipe.preset, seeds=f"0:{largest.members}", updates=largest.updates
    )
    found = plan(config, threads)
    seconds = recipe.agent_updates / found["rate"]
    steps = [
        {"name": step.name, "what": step.what, "agent_updates": step.agent_updates}
        for step in (*recipe.steps, *recipe.drawing)
    ]
    memory = int(found["memory_bytes"])
    disk = int(found["disk_bytes"] * recipe.agent_updates / largest.agent_updates)
    if as_json:
        whole = {
            "agent_updates": recipe.agent_updates,
            **{"rate": found["rate"], "seconds": seconds},
            **{"memory_bytes": memory, "disk_bytes": disk},
        }
        common.print_json({"study": recipe.study, "out": str(out), **whole, "steps": steps})
        return
    for number, step in enumerate(steps, 1):
        typer.echo(f"{number:>3}  {step['what']}")
    typer.echo(
        f"would train {recipe.agent_updates:,} agent-updates into '{out}': about "
        f"{terminal.duration(seconds)} (at {terminal.rate(found['rate'])} a second on the CPU, "
        f"measured now), and some minutes for landscapes and figures; {common.size(memory)} of "
        f"memory, {common.size(disk)} of disk"
    )
