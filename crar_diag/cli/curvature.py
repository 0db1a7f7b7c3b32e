"""`crar-diag curvature`: is an agent in a local minimum, at a saddle, or on its way?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, comparing, places, plans, terminal
from crar_diag.cli.landscape_views import DYNAMICS, chosen
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.loading import Agent
    from crar_diag.cli.curvature_output import Found

EXAMPLE = (
    "Example: [bold]crar-diag curvature wrong.safetensors correct.safetensors --polish "
    "-o report.h5 --figure spectra.pdf[/bold] asks of each whether it lies in a local minimum, "
    "with the dynamics frozen and unfrozen."
)


def command(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints or run folders.")],
    dynamics: Annotated[
        str,
        typer.Option(
            "--dynamics",
            help="frozen (the encoder varies), unfrozen (all parameters) or both with a comma.",
        ),
    ] = "frozen,unfrozen",
    polish: Annotated[
        bool, typer.Option("--polish", help="Descend to the nearest stationary point as well.")
    ] = False,
    polish_iterations: Annotated[
        int | None,
        typer.Option(
            "--polish-iterations", min=1, help="Its budget in each space.", show_default="200"
        ),
    ] = None,
    smoothing: Annotated[
        float,
        typer.Option(
            "--smoothing",
            help="Temperature that rounds off the volume loss's kinks; 0: the exact loss.",
        ),
    ] = 0.01,
    eigenvalues: Annotated[
        int, typer.Option("--eigenvalues", min=1, help="Extreme ones, at each end.")
    ] = 6,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Of Lanczos, each a Hessian product.")
    ] = 100,
    probes: Annotated[
        int, typer.Option("--probes", min=2, help="Random vectors for the trace.")
    ] = 100,
    density_probes: Annotated[
        int,
        typer.Option(
            "--density-probes",
            min=0,
            help="Random vectors for the density, --steps products each; 0: no density.",
        ),
    ] = 5,
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="Visual domain.", show_default="each checkpoint's own"),
    ] = None,
    weight: comparing.WeightOption = None,
    transitions: comparing.TransitionsOption = 128,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of random vectors and held-out transitions.")
    ] = 0,
    output: common.ReportOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Of the group in the report, for one checkpoint.",
            show_default="the file's name",
        ),
    ] = None,
    figure: comparing.FigureOption = None,
    dry_run: plans.DryRunOption = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="CPU threads.",
            show_default="all cores, for dense networks 1: more gain nothing",
        ),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    """Look at the curvature of agents' losses: local minimum, saddle, or not stationary?

    Gradient norms, extreme eigenvalues of the Hessian with residuals, trace and spectral density of
    the weighted sum, by the encoder's parameters (dynamics frozen) and by all (unfrozen); in the
    simple maze by the states' own coordinates, too, exactly. The Q target is held as it is.
    """
    from crar_diag.agent.loading import load_agents
    from crar_diag.cli.curvature_output import Found, show
    from crar_diag.landscape.agent_curvature import agent_curvature
    from crar_diag.landscape.curvature import CurvatureSettings
    from crar_diag.landscape.polish import ITERATIONS

    if polish_iterations is not None and not polish:
        raise InputError("--polish-iterations needs --polish")
    if figure is not None and density_probes == 0:
        raise InputError("--figure draws the density, which --density-probes 0 leaves out")
    kinds = [kind for kind in DYNAMICS if kind in chosen("--dynamics", dynamics, DYNAMICS)]
    comparing.check_places(output, name, figure)
    common.choose_device("cpu", threads)
    files = places.checkpoint_files(checkpoints)
    names = _names(files, name, output is not None or figure is not None)
    agents = load_agents(files)
    weights = comparing.weights(weight)
    settings = CurvatureSettings(eigenvalues, steps, probes, density_probes, seed)
    budget = (polish_iterations or ITERATIONS) if polish else None
    options: dict[str, Any] = {
        "kinds": kinds,
        "weights": weights,
        "temperature": smoothing,
        "settings": settings,
        "transitions": transitions,
    }
    if dry_run:
        from crar_diag.landscape.forecast import forecast_curvature

        costs = []
        for label, agent in zip(names, agents, strict=True):
            with _threads(agent, threads):
                count = 2 if polish else 1
                costs.append(forecast_curvature(label, agent, domain, places=count, **options))
        note = f"and a polish of at most {budget} iterations in each space, of unknown time"
        plans.show_plan(costs, output, as_json, note if polish else "")
        return
    found: list[Found] = []
    with terminal.ProgressLine() as line:
        for label, agent in zip(names, agents, strict=True):
            with _threads(agent, threads):
                progress = terminal.counting(line, "spectra", what=label)
                curvature = agent_curvature(
                    agent, domain, polish_iterations=budget, progress=progress, **options
                )
            found.append(Found(label, agent, curvature))
    _keep(found, output, figure, seed)
    show(found, as_json, output, figure)


def _names(files: list[Path], name: str | None, needed: bool) -> list[str]:
    """Return what the files' groups are called in a report and their panels in a figure.

    Raises:
        InputError: where they are needed, two of one name, or one that a report cannot have; or
            one name for several files.
    """
    if name is not None and len(files) > 1:
        raise InputError(
            f"--name is that of one group: expected one checkpoint, found {len(files)}"
        )
    if not needed:
        return [file.stem for file in files]
    stems = [file.stem for file in files]
    if len(set(stems)) < len(stems):
        stems = [f"{file.parent.name}-{file.stem}" for file in files]
    names = [comparing.group_name([stem], name) for stem in stems]
    for k, own in enumerate(names):
        if own in names[:k]:
            raise InputError(
                f"checkpoints '{files[names.index(own)]}' and '{files[k]}' would both be called "
                f"'{own}': give them one at a time, with --name"
            )
    return names


@contextmanager
def _threads(agent: "Agent", threads: int | None) -> Iterator[None]:
    """Compute on one thread where more gain nothing and nobody asked for them."""
    from crar_diag.agent.lifting import one_thread

    if threads is None and not agent.architecture.convolutional:
        with one_thread():
            yield
    else:
        yield


def _keep(found: "list[Found]", output: Path | None, figure: Path | None, seed: int) -> None:
    """Write the report and the figure, where they are asked for."""
    if output is None and figure is None:
        return
    from crar_diag.agent.checkpoint import file_sha256
    from crar_diag.report.curvature import curvature_dataset

    datasets = {
        one.name: curvature_dataset(
            one.curvature,
            attrs={"checkpoint": one.agent.path.name, "sha256": file_sha256(one.agent.path)},
        )
        for one in found
    }
    if output is not None:
        groups = {f"hessian/{name}": dataset for name, dataset in datasets.items()}
        places.add_to_report(output, groups, seed)
    if figure is not None:
        from crar_diag.report.curvature_figure import curvature_figure
        from crar_diag.report.style import save_figure

        save_figure(curvature_figure(datasets), figure)
