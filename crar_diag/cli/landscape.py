"""`crar-diag landscape`: lines and planes between agents, with frozen and unfrozen dynamics."""

import functools
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, comparing, landscape_views, places, plans, terminal
from crar_diag.cli.landscape_views import DYNAMICS, ENGINES, LIBRARY, OWN
from crar_diag.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.agent.loading import Agent
    from crar_diag.landscape.drawing import Drawing
    from crar_diag.landscape.views import Between, View

EXAMPLE = (
    "Example: [bold]crar-diag landscape correct.safetensors wrong.safetensors -o report.h5 "
    "--figure landscape.pdf[/bold] draws the line and the plane between two transfers, with the "
    "dynamics frozen and re-fitted at every point."
)


def command(
    a: Annotated[Path, typer.Argument(metavar="CKPT_A", help="The first checkpoint.")],
    b: Annotated[
        Path | None,
        typer.Argument(metavar="CKPT_B", help="The second one; a trajectory needs none."),
    ] = None,
    third: Annotated[
        Path | None, typer.Option("--third", help="A third checkpoint, for the plane of three.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="line, plane, random-plane, dynamics-plane, trajectory, reward; several with "
            "commas.",
            show_default="line and random-plane, with --third line and plane",
        ),
    ] = None,
    dynamics: Annotated[
        str,
        typer.Option(
            "--dynamics", help="frozen, unfrozen (re-fitted at every point) or both with a comma."
        ),
    ] = "frozen,unfrozen",
    dynamics_from: Annotated[
        Path | None,
        typer.Option("--dynamics-from", help="Whose dynamics all points have; A's by default."),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            "--points",
            help="Along each axis: 7 or more, of a plane an odd number.",
            show_default="61 a line, 51 a plane, 15 for reward",
        ),
    ] = None,
    unfrozen_points: Annotated[
        int | None,
        typer.Option(
            "--unfrozen-points",
            help="The same for planes with unfrozen dynamics.",
            show_default="25, or fewer where --points says so",
        ),
    ] = None,
    refit_iterations: Annotated[
        int | None,
        typer.Option(
            "--refit-iterations",
            min=1,
            help="Budget of the re-fit at each point.",
            show_default="3000 on a line, 500 on a plane",
        ),
    ] = None,
    refit_tolerance: Annotated[
        float | None,
        typer.Option(
            "--refit-tolerance",
            help="A re-fit has converged when 20 iterations gain less than this share of all.",
            show_default="0.001 on a line, 0.02 on a plane",
        ),
    ] = None,
    domain: comparing.DomainOption = None,
    weight: comparing.WeightOption = None,
    transitions: comparing.TransitionsOption = 512,
    environments: Annotated[
        int, typer.Option("--environments", min=2, help="Of each point's score (reward).")
    ] = 8,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="crar-diag, or loss-landscapes: that library, frozen line and random plane only.",
        ),
    ] = OWN,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of random directions, samples and mazes.")
    ] = 0,
    output: common.ReportOption = None,
    name: comparing.NameOption = None,
    figure: comparing.FigureOption = None,
    dry_run: plans.DryRunOption = False,
    scheduler: common.SchedulerOption = None,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Draw loss landscapes between two agents: every loss, dynamics frozen and re-fitted.

    Losses are exact in the simple maze, and in the labyrinth means over
    held-out transitions. With -o, what an interrupted call had computed is
    kept beside the report, and the same call goes on from there.
    """
    from crar_diag.cli.landscape_output import save_figures, show
    from crar_diag.landscape.views import MODES, group_of

    default = "line,random-plane" if third is None else "line,plane"
    modes = landscape_views.chosen("--mode", default if mode is None else mode, MODES)
    kinds = landscape_views.chosen("--dynamics", dynamics, DYNAMICS)
    if engine not in ENGINES:
        raise InputError(f"--engine: unknown engine '{engine}'{did_you_mean(engine, ENGINES)}")
    if engine == LIBRARY and device not in ("auto", "cpu"):
        raise InputError(f"--device {device}: the engine {LIBRARY} computes on the CPU")
    if engine == LIBRARY and dry_run:
        raise InputError(f"--dry-run measures our own engine, not {LIBRARY}")
    if engine == LIBRARY and scheduler is not None:
        raise InputError(f"--scheduler: the engine {LIBRARY} computes on this machine")
    where = common.choose_place(device if engine == OWN else "cpu", threads, scheduler)
    if scheduler is not None and device not in ("auto", "cpu"):
        raise InputError(f"--device {device}: with --scheduler landscapes are computed on CPUs")
    refit = landscape_views.refit_settings(refit_iterations, refit_tolerance)
    comparing.check_places(output, name, figure)
    between = landscape_views.between_agents(
        (a, b, third), dynamics_from, domain, weight, transitions, seed, where
    )
    sizes = landscape_views.Sizes(points, unfrozen_points)
    views, snapshots = landscape_views.views_of(modes, between, sizes, kinds, seed)
    label = _label(between, name, engine) if output is not None else ""
    partial = None if output is None else output.with_name(f"{output.name}.{label}")
    about = {"seed": seed, "engine": engine, **_details(between, transitions)}
    drawing = _drawing(between, about, refit, partial)
    if dry_run:
        from crar_diag.landscape.forecast import forecast

        costs = forecast(views, between, kinds, drawing, environments=environments)
        note = "" if scheduler is None else "the scheduler's workers share the points"
        plans.show_plan(costs, output, as_json, note)
        return
    with comparing.stopping(output, partial):
        with (
            terminal.ProgressLine() as line,
            terminal.stoppable() as stop,
            nullcontext() if scheduler is None else common.dask_workers(scheduler) as workers,
        ):
            drawing = _watched(drawing, line, stop)
            if workers is not None:
                drawing = replace(
                    drawing, spread=functools.partial(workers.map, look=drawing.interrupt)
                )
            if engine == LIBRARY:
                found = _by_library(views, between, kinds, about, drawing)
            else:
                found = {
                    view.mode: _draw(view, between, snapshots, kinds, drawing, about, environments)
                    for view in views
                }
        if output is not None:
            groups = {group_of(mode, label): dataset for mode, dataset in found.items()}
            places.add_to_report(output, groups, seed, where)
            for view in views:
                drawing.forget(view)
    show(found, between, as_json, output, save_figures(found, figure))


def _label(between: "Between", name: str | None, engine: str) -> str:
    """Return the name of the groups; what the library computes does not take our place."""
    label = comparing.group_name([agent.path.stem for agent in between.ends.agents[:2]], name)
    return label if engine == OWN else f"{label}-{engine}"


def _drawing(
    between: "Between", about: dict[str, Any], refit: dict[str, Any], partial: Path | None
) -> "Drawing":
    """Return how to compute: side by side."""
    import torch

    from crar_diag.landscape.drawing import Drawing

    ends = between.ends
    request = {"sha256": ends.sha256, "domain": ends.domain, "device": str(between.problem.device)}
    return Drawing(
        workers=torch.get_num_threads(),
        refit=refit,
        request={**about, **request},
        partial=partial,
    )


def _watched(drawing: "Drawing", line: terminal.ProgressLine, stop: threading.Event) -> "Drawing":
    """Return the same, shown on `line`, until `stop` is set."""

    def interrupt() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    return replace(
        drawing,
        progress=lambda what: terminal.counting(line, "points", stop, what),
        interrupt=interrupt,
    )


def _by_library(
    views: "list[View]",
    between: "Between",
    kinds: list[str],
    about: dict[str, Any],
    drawing: "Drawing",
) -> "dict[str, xr.Dataset]":
    from crar_diag.agent.lifting import one_thread
    from crar_diag.report.library import by_library

    with one_thread():
        return by_library(views, between, kinds, about, about["seed"], progress=drawing.progress)


def _draw(
    view: "View",
    between: "Between",
    snapshots: "list[Agent]",
    kinds: list[str],
    drawing: "Drawing",
    about: dict[str, Any],
    environments: int,
) -> "xr.Dataset":
    """Compute a view and label it."""
    import numpy as np

    from crar_diag.agent.lifting import one_thread
    from crar_diag.landscape.drawing import draw, draw_rewards
    from crar_diag.landscape.trajectory import losses_along
    from crar_diag.report.views import view_dataset

    if view.mode == "reward":
        rewards = draw_rewards(view, between, drawing, environments=environments)
        about = {**about, "environments": environments}
        return view_dataset(view, between, {}, about, rewards=rewards)
    surfaces = draw(view, kinds, drawing)
    if view.trajectory is None:
        return view_dataset(view, between, surfaces, about)
    points = [between.problem.moving(agent.parameters) for agent in snapshots]
    with one_thread():
        losses = losses_along(between.problem, points, view.trajectory, between.held)
    updates = np.array([agent.metadata.updates for agent in snapshots])
    return view_dataset(view, between, surfaces, about, along=(updates, losses))


def _details(between: "Between", transitions: int) -> dict[str, Any]:
    """Return what all groups say: whose dynamics, and the size of a held-out sample."""
    from crar_diag.agent.checkpoint import file_sha256

    found: dict[str, Any] = {"sha256_dynamics": file_sha256(between.dynamics.path)}
    if between.problem.clusters is not None:
        found["held_out_transitions"] = transitions
    return found
