"""`crar-diag path`: the minimum-loss curve between two agents, and the rotation path."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crar_diag.cli import common, comparing, places, terminal
from crar_diag.cli.landscape_views import DYNAMICS, chosen
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.landscape.connections import Connection
    from crar_diag.landscape.path_settings import PathSettings
    from crar_diag.landscape.profiles import Profile
    from crar_diag.landscape.symmetries import Alignment
    from crar_diag.landscape.views import Between

EXAMPLE = (
    "Example: [bold]crar-diag path wrong.safetensors correct.safetensors -o report.h5 --figure "
    "path.pdf[/bold] asks whether a way without a barrier leads from a failed transfer to a "
    "successful one, with the dynamics frozen and unfrozen."
)
HALF_TURN: Final = 180.0


def command(
    a: Annotated[Path, typer.Argument(metavar="CKPT_A", help="The first checkpoint.")],
    b: Annotated[Path, typer.Argument(metavar="CKPT_B", help="The second one.")],
    dynamics: Annotated[
        str,
        typer.Option(
            "--dynamics",
            help="frozen (the encoder moves), unfrozen (all move) or both with a comma.",
        ),
    ] = "frozen,unfrozen",
    dynamics_from: Annotated[
        Path | None,
        typer.Option("--dynamics-from", help="Whose dynamics are the frozen ones; A's by default."),
    ] = None,
    bends: Annotated[
        int, typer.Option("--bends", min=1, help="Inner control points of the curve.")
    ] = 3,
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="Budget of the curve's optimisation.")
    ] = 1000,
    refit_iterations: Annotated[
        int,
        typer.Option(
            "--refit-iterations", min=1, help="Budget of re-fitting either end's dynamics."
        ),
    ] = 3000,
    points: Annotated[
        int, typer.Option("--points", min=2, help="Of each path, as kept and drawn.")
    ] = 61,
    align: Annotated[
        bool,
        typer.Option("--align", help="First bring B near A by permutations and signs of units."),
    ] = False,
    rotation: Annotated[
        float | None,
        typer.Option(
            "--rotation",
            help="Degrees by which A is turned; needs states in the plane.",
            show_default="180",
        ),
    ] = None,
    domain: comparing.DomainOption = None,
    weight: comparing.WeightOption = None,
    transitions: comparing.TransitionsOption = 512,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of the curve's first step off the straight line.")
    ] = 0,
    output: common.ReportOption = None,
    name: comparing.NameOption = None,
    figure: comparing.FigureOption = None,
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Find a curve of low loss between two agents: is there a barrier, or only on the straight way?

    The highest point of a Bezier curve between the agents is pressed down,
    once with the dynamics frozen and once with encoder and dynamics moving
    together, and compared with the straight segment's. Besides, A is turned
    as a whole, with its dynamics and without.
    """
    import torch

    from crar_diag.cli.path_output import Found, show
    from crar_diag.landscape.path_settings import PathSettings
    from crar_diag.report.agent_paths import agent_path_dataset

    kinds = [kind for kind in DYNAMICS if kind in chosen("--dynamics", dynamics, DYNAMICS)]
    if dynamics_from is not None and "frozen" not in kinds:
        raise InputError("--dynamics-from names frozen dynamics: it needs --dynamics frozen")
    comparing.check_places(output, name, figure)
    common.choose_device("cpu", threads)
    sample = (transitions, seed)
    between, alignment = _between((a, b), dynamics_from, kinds, align, domain, weight, sample)
    label = comparing.group_name([a.stem, b.stem], name) if output is not None else ""
    angle, workers = _angle(between, rotation), torch.get_num_threads()
    request = _Request(kinds, refit_iterations, points, angle, workers)
    settings = PathSettings(bends=bends, iterations=iterations, seed=seed)
    with terminal.ProgressLine() as line, terminal.stoppable() as stop:
        connections = _connections(between, request, settings, line, stop)
        rotations = _rotations(between, request)
    sampled = between.problem.clusters is not None
    dataset = agent_path_dataset(
        between,
        connections,
        settings=settings,
        rotations=rotations,
        alignment=alignment,
        about={"held_out_transitions": transitions} if sampled else {},
    )
    if output is not None:
        places.add_to_report(output, {f"path/{label}": dataset}, seed)
    if figure is not None:
        from crar_diag.report.path_figure import path_figure
        from crar_diag.report.style import save_figure

        save_figure(path_figure(dataset), figure)
    show(Found(dataset, between, alignment, output, figure), as_json)


@dataclass(frozen=True)
class _Request:
    """What is computed: kinds of dynamics, re-fits, points, last angle (or None), threads."""

    kinds: Sequence[str]
    refit_iterations: int
    points: int
    angle: float | None
    workers: int


def _between(
    files: tuple[Path, Path],
    dynamics_from: Path | None,
    kinds: Sequence[str],
    align: bool,
    domain: str | None,
    weight: list[str] | None,
    sample: tuple[int, int],
) -> "tuple[Between, Alignment | None]":
    """Load the agents, check that they can be compared, and bring B near A if asked."""
    from dataclasses import replace

    import torch

    from crar_diag.agent.config import COMPONENTS
    from crar_diag.agent.loading import load_agent, load_agents
    from crar_diag.landscape.agents import agent_problem, check_same_task, comparable
    from crar_diag.landscape.symmetries import align as aligned
    from crar_diag.landscape.views import Between

    weights = comparing.weights(weight)
    ends = comparable(load_agents(files), domain)
    first, second = ends.agents
    source = first
    if dynamics_from is not None:
        source = load_agent(dynamics_from)
        check_same_task(first, source)
    alignment = None
    if align:
        components = COMPONENTS if "unfrozen" in kinds else ("encoder",)
        alignment = aligned(first.architecture, first.parameters, second.parameters, components)
        second = replace(second, parameters=alignment.parameters)
        ends = replace(ends, agents=(first, second))
    transitions, seed = sample
    problem = agent_problem(
        first,
        ends.domain,
        weights=weights,
        transitions=transitions,
        seed=seed,
        dtype=torch.float64,
    )
    between = Between(problem, ends, source)
    between.pair()
    return between, alignment


def _angle(between: "Between", rotation: float | None) -> float | None:
    """Return the last angle of the rotation path; None where states are no points of a plane."""
    from crar_diag.landscape.rotation import check_angle, check_plane

    architecture = between.ends.agents[0].architecture
    if rotation is None:
        return HALF_TURN if architecture.state_shape == (2,) else None
    check_plane(architecture)
    check_angle(rotation)
    return rotation


def _connections(
    between: "Between",
    request: _Request,
    settings: "PathSettings",
    line: terminal.ProgressLine,
    stop: threading.Event,
) -> "dict[str, Connection]":
    from dataclasses import replace

    from crar_diag.landscape.connections import END_REFIT, connect, frozen_ends, unfrozen_ends

    def interrupt() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    refit = replace(END_REFIT, iterations=request.refit_iterations)
    found = {}
    for kind in request.kinds:
        frozen = kind == "frozen"
        ends = frozen_ends(between) if frozen else unfrozen_ends(between, refit, interrupt)
        found[kind] = connect(
            ends,
            settings,
            points=request.points,
            workers=request.workers,
            progress=terminal.counting(line, "iterations", stop, kind),
        )
    return found


def _rotations(between: "Between", request: _Request) -> "dict[str, Profile] | None":
    """Turn A, with the dynamics that the frozen path has."""
    if request.angle is None:
        return None
    from crar_diag.landscape.rotation import rotation_profiles
    from crar_diag.landscape.vectors import doubled

    agent = between.ends.agents[0]
    return rotation_profiles(
        between.problem,
        agent.architecture,
        doubled(agent.parameters),
        degrees=request.angle,
        points=request.points,
        workers=request.workers,
    )
