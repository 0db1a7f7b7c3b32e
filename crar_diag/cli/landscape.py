"""`crar-diag landscape`: lines and planes between agents, with frozen and unfrozen dynamics."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from crar_diag.cli import common, comparing
from crar_diag.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from crar_diag.agent.loading import Agent
    from crar_diag.landscape.drawing import Drawing
    from crar_diag.landscape.views import Between, View

EXAMPLE = (
    "Example: [bold]crar-diag landscape correct.safetensors wrong.safetensors -o report.h5 "
    "--figure landscape.pdf[/bold] draws the line and the plane between two transfers, with the "
    "dynamics frozen and re-fitted at every point."
)
LINE_POINTS, PLANE_POINTS, UNFROZEN_POINTS = 61, 51, 25
_DYNAMICS = ("frozen", "unfrozen")
_ENGINES = ("crar-diag", "loss-landscapes")


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
        typer.Option("--points", help="Along each axis.", show_default="61 a line, 51 a plane"),
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
            show_default="0.001 on a line, 0.01 on a plane",
        ),
    ] = None,
    domain: comparing.DomainOption = None,
    weight: comparing.WeightOption = None,
    transitions: Annotated[
        int, typer.Option("--transitions", min=2, help="Held-out ones, in the labyrinth.")
    ] = 512,
    environments: Annotated[
        int, typer.Option("--environments", min=2, help="Of each point's score (reward).")
    ] = 8,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="crar-diag, or loss-landscapes: that library, frozen line and random plane only.",
        ),
    ] = "crar-diag",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of random directions, samples and mazes.")
    ] = 0,
    output: common.ReportOption = None,
    name: comparing.NameOption = None,
    figure: comparing.FigureOption = None,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Draw loss landscapes between two agents: every loss, dynamics frozen and re-fitted.

    Losses are exact in the simple maze, and means over held-out transitions in the labyrinth. With
    -o, what an interrupted call had computed is kept beside the report, and the same call goes on.
    """
    from crar_diag.cli.landscape_output import show
    from crar_diag.landscape.drawing import Drawing
    from crar_diag.landscape.views import MODES, group_of
    from crar_diag.report.library import by_library
    from crar_diag.report.style import check_format

    modes = _chosen("--mode", mode or _default_modes(third), MODES)
    kinds = _chosen("--dynamics", dynamics, _DYNAMICS)
    if engine not in _ENGINES:
        raise InputError(f"--engine: unknown engine '{engine}'{did_you_mean(engine, _ENGINES)}")
    if figure is not None:
        check_format(figure)
    if output is not None:
        common.check_report_place(output)
    where = common.choose_device(device, threads)
    between = _between(a, b, third, dynamics_from, domain, weight, transitions, seed, where)
    views = [_view(one, between, points, unfrozen_points, seed) for one in modes]
    label = comparing.group_name([agent.path for agent in between.ends.agents[:2]], name)
    about = {"seed": seed, "engine": engine, **_sample(between, transitions)}
    with common.ProgressLine() as line, common.stoppable() as stop:
        drawing = Drawing(
            workers=threads or os.cpu_count() or 1,
            refit=_refit_settings(refit_iterations, refit_tolerance),
            request={**about, "sha256": between.ends.sha256, "domain": between.ends.domain},
            partial=None if output is None else output.with_name(f"{output.name}.{label}"),
            progress=lambda what: common.counting(line, f"points, {what}", stop),
        )
        if engine == _ENGINES[1]:
            found = by_library(views, between, kinds, about, seed)
        else:
            found = {
                view.mode: _draw(view, between, kinds, drawing, about, environments)
                for view in views
            }
    if output is not None:
        groups = {group_of(mode, label): dataset for mode, dataset in found.items()}
        common.add_to_report(output, groups, seed)
        for view in views:
            drawing.forget(view)
    figures = _save_figures(found, figure)
    show(found, between, as_json, output, figures)


def _default_modes(third: Path | None) -> str:
    return "line,random-plane" if third is None else "line,plane"


def _chosen(option: str, text: str, choices: tuple[str, ...]) -> list[str]:
    """Return the different names in `a,b`."""
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in choices:
            raise InputError(f"{option}: unknown '{name}'{did_you_mean(name, choices)}")
    return list(dict.fromkeys(names))


def _between(
    a: Path,
    b: Path | None,
    third: Path | None,
    dynamics_from: Path | None,
    domain: str | None,
    weight: list[str] | None,
    transitions: int,
    seed: int,
    device: "torch.device",
) -> "Between":
    """Load the agents, check that they can be compared, and make their problem."""
    from crar_diag.agent.loading import load_agent, load_agents
    from crar_diag.landscape.agents import agent_problem, check_same_task, comparable
    from crar_diag.landscape.views import Between

    if b is None and third is not None:
        raise InputError("--third needs both CKPT_A and CKPT_B")
    ends = comparable(load_agents([path for path in (a, b, third) if path is not None]), domain)
    first = ends.agents[0]
    dynamics = first
    if dynamics_from is not None:
        dynamics = load_agent(dynamics_from)
        check_same_task(first, dynamics)
    problem = agent_problem(
        first,
        ends.domain,
        weights=comparing.weights(weight),
        transitions=transitions,
        seed=seed,
        device=device,
    )
    return Between(problem, ends, dynamics)


def _view(
    mode: str, between: "Between", points: int | None, coarse: int | None, seed: int
) -> "View":
    """Return a view at the sizes that were asked for."""
    from crar_diag.landscape import views

    if mode == "line":
        return views.line(between, points or LINE_POINTS)
    fine = points or PLANE_POINTS
    rough = coarse or min(fine, UNFROZEN_POINTS)
    if mode == "plane":
        return views.plane(between, fine, rough)
    if mode == "dynamics-plane":
        return views.dynamics_plane(between, fine, seed)
    if mode == "trajectory":
        return views.trajectory(between, _snapshots(between), fine, rough)
    if mode == "reward":
        return views.reward_plane(between, fine, seed)
    return views.random_plane(between, fine, rough, seed)


def _snapshots(between: "Between") -> list["Agent"]:
    """Return what the first agent was on the way, its own file last."""
    from crar_diag.agent.loading import load_agents
    from crar_diag.agent.snapshots import snapshot_files

    end = between.ends.agents[0]
    found = snapshot_files(end.path.parent, end.path.stem)
    return load_agents([snapshot.path for snapshot in found])


def _refit_settings(iterations: int | None, tolerance: float | None) -> dict[str, float]:
    given = {"iterations": iterations, "tolerance": tolerance}
    return {name: value for name, value in given.items() if value is not None}


def _draw(
    view: "View",
    between: "Between",
    kinds: list[str],
    drawing: "Drawing",
    about: dict[str, Any],
    environments: int,
) -> "xr.Dataset":
    """Compute a view and label it."""
    from crar_diag.landscape.drawing import draw, draw_rewards
    from crar_diag.landscape.trajectory import losses_along
    from crar_diag.report.views import view_dataset

    if view.mode == "reward":
        rewards = draw_rewards(view, between, drawing, environments=environments)
        return view_dataset(view, between, {}, about, rewards=rewards)
    surfaces = draw(view, kinds, drawing)
    if view.trajectory is None:
        return view_dataset(view, between, surfaces, about)
    agents = _snapshots(between)
    points = [between.problem.moving(agent.parameters) for agent in agents]
    losses = losses_along(between.problem, points, view.trajectory, between.held)
    updates = np.array([agent.metadata.updates for agent in agents])
    return view_dataset(view, between, surfaces, about, along=(updates, losses))


def _sample(between: "Between", transitions: int) -> dict[str, int]:
    """Return the size of the held-out sample, where losses are means over one."""
    return {} if between.problem.clusters is None else {"held_out_transitions": transitions}


def _save_figures(found: "dict[str, xr.Dataset]", figure: Path | None) -> list[Path]:
    """Save what the groups show: the first figure under the name, the others beside it."""
    if figure is None:
        return []
    from crar_diag.report.style import save_figure
    from crar_diag.report.views import view_figures

    files: list[Path] = []
    for dataset in found.values():
        for name, drawn in view_figures(dataset).items():
            file = figure if not files else figure.with_stem(f"{figure.stem}-{name}")
            save_figure(drawn, file)
            files.append(file)
    return files
