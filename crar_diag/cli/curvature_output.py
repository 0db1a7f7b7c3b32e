"""What `crar-diag curvature` prints."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from crar_diag.cli import common
from crar_diag.cli.curvature_json import as_json, displacements

if TYPE_CHECKING:
    from crar_diag.agent.loading import Agent
    from crar_diag.landscape.agent_curvature import AgentCurvature
    from crar_diag.landscape.curvature import Curvature
    from crar_diag.landscape.spectrum import Eigenpairs

# States that are named as those which the smallest eigenvalue's direction moves most.
_MOVED: Final = 3


@dataclass(frozen=True)
class Found:
    """One agent's curvature, and what it is called."""

    name: str
    agent: "Agent"
    curvature: "AgentCurvature"


def show(found: list[Found], machine: bool, output: Path | None, figure: Path | None) -> None:
    """Print the curvature of agents: verdicts, numbers, polishes, notes; where they are kept."""
    if machine:
        common.print_json(
            {
                "checkpoints": [as_json(one.name, one.agent, one.curvature) for one in found],
                "report": None if output is None else str(output),
                "figure": None if figure is None else str(figure),
            }
        )
        return
    for one in found:
        typer.echo(f"{one.agent.path}, domain '{one.curvature.domain}':")
        _print_points(one.curvature)
        typer.echo("")
        _print_losses(one.curvature)
        typer.echo("")
        for sentence in _sentences(one.curvature):
            typer.echo(sentence)
        typer.echo("")
    for note in dict.fromkeys(
        note for one in found for note in _notes(one.curvature, _pools(one.agent))
    ):
        typer.echo(note)
    if output is not None:
        typer.echo(f"written to '{output}'")
    if figure is not None:
        typer.echo(f"figure in '{figure}'")


def _print_points(found: "AgentCurvature") -> None:
    header = ["space", "point", "variables", "decrement", "smallest", "largest", "trace"]
    common.print_table(
        [*header, "negative", "positive", "verdict"],
        [
            [
                space,
                point,
                f"{own.size:,}",
                f"{own.decrement:.2g}",
                _first(own.smallest),
                _first(own.largest),
                _trace(own),
                str(own.negative),
                str(own.positive),
                own.verdict,
            ]
            for space, point, own in _points(found)
        ],
    )


def _points(found: "AgentCurvature") -> "list[tuple[str, str, Curvature]]":
    return [
        (space, point, own)
        for space, analysis in found.analyses.items()
        for point, own in analysis.points.items()
    ]


def _first(pairs: "Eigenpairs") -> str:
    """Return the outermost eigenvalue, with the residual where that can be seen."""
    sure = "" if pairs.converged[0] else f"±{pairs.residuals[0]:.1g}"
    return f"{pairs.values[0]:.3g}{sure}"


def _trace(own: "Curvature") -> str:
    reach = (own.trace.high - own.trace.low) / 2
    return f"{own.trace.value:.3g}" + (f"±{reach:.1g}" if reach else "")


def _print_losses(found: "AgentCurvature") -> None:
    """Print each loss where values differ, and the norm of its gradient everywhere."""
    points = _points(found)
    first = points[0][2]
    polished = [(space, own) for space, point, own in points if point == "polished"]
    common.print_table(
        ["loss", "checkpoint", *(f"{space} polished" for space, _ in polished)],
        [
            [loss, *(f"{own.losses[loss]:.4g}" for own in (first, *(own for _, own in polished)))]
            for loss in first.losses
        ],
    )
    typer.echo("")
    common.print_table(
        ["gradient norm", *(f"{space} {point}" for space, point, _ in points)],
        [
            [loss, *(f"{own.gradient_norms[loss]:.2g}" for _, _, own in points)]
            for loss in first.losses
        ],
    )


def _sentences(found: "AgentCurvature") -> list[str]:
    return [*_polishes(found), *_directions(found), *_convergence(found)]


def _polishes(found: "AgentCurvature") -> list[str]:
    sentences = []
    for space, own in found.analyses.items():
        if own.polish is None:
            continue
        way = own.polish
        before, after = (losses["sum"] for losses in (way.losses_before, way.losses_after))
        sentences.append(
            f"{space}: polished in {way.iterations} iterations, {'' if way.converged else 'not '}"
            f"converged: the sum went from {before:.5g} to {after:.5g}, the gradient's norm from "
            f"{way.gradient_norm_before:.2g} to {way.gradient_norm_after:.2g}, over a distance of "
            f"{way.distance:.3g} ({100 * way.relative_distance:.3g}% of the norm); the states "
            f"moved by {own.embedding_distance:.3g} on average"
        )
    return sentences


def _directions(found: "AgentCurvature") -> list[str]:
    """Say which states the smallest eigenvalue in the embedding moves, where it is negative."""
    sentences = []
    for point, moved in displacements(found).items():
        own = found.analyses["embedding"].points[point]
        if not own.negative:
            continue
        lengths = moved.norm(dim=1)
        order = lengths.argsort(descending=True)[:_MOVED].tolist()
        states = ", ".join(f"{_cell(k)} by {lengths[k]:.2f}" for k in order)
        sentences.append(
            f"embedding, {point}: the direction of the smallest eigenvalue "
            f"({own.smallest.values[0]:.3g}) moves the states {states} of a whole of 1"
        )
    return sentences


def _cell(state: int) -> str:
    from crar_diag.envs import simple_maze

    return "({}, {})".format(*simple_maze.STATES[state].tolist())


def _convergence(found: "AgentCurvature") -> list[str]:
    """Say where extreme eigenvalues are not known to the floor."""
    sentences = []
    for space, point, own in _points(found):
        pairs = (own.smallest, own.largest)
        unsure = sum(int((~one.converged).sum()) for one in pairs)
        if unsure:
            count = sum(len(one.values) for one in pairs)
            sentences.append(
                f"{space}, {point}: {unsure} of {count} extreme eigenvalues have not converged: "
                "more --steps"
            )
    return sentences


def _pools(agent: "Agent") -> bool:
    """Tell whether a network of the agent has max-pooling."""
    from crar_diag.agent.architecture import MaxPool
    from crar_diag.agent.config import COMPONENTS

    layers = [layer for c in COMPONENTS for layer in agent.architecture.layers(c)]
    return any(isinstance(layer, MaxPool) for layer in layers)


def _notes(found: "AgentCurvature", pooled: bool) -> list[str]:
    """Return what a reader has to know about the numbers, in sentences."""
    from crar_diag.landscape.spectrum import FLOOR
    from crar_diag.landscape.stationarity import STATIONARY

    sums = ", ".join(f"{name} {weight:g}" for name, weight in found.weights.items())
    notes = [f"weights of the losses in the sum: {sums}"]
    if found.temperature:
        notes.append(
            f"volume loss smoothed at its kinks, temperature {found.temperature:g}: at most "
            f"{found.bound:.3g} above the exact one"
        )
    else:
        notes.append(
            "volume loss exact: at its kinks the subgradient of automatic differentiation, and no "
            "curvature"
        )
    if found.transitions is not None:
        notes.append(
            f"losses are means over a sample of {found.transitions} held-out transitions: gradient "
            "and curvature are those of the sample's mean"
        )
    if pooled:
        notes.append(
            "max-pooling has kinks that nothing smooths: the curvature is that between them"
        )
    notes.append(
        f"stationary: a Newton step promises at most {STATIONARY:g} of the sum (decrement); "
        f"eigenvalues within {FLOOR:g} of the largest count as 0"
    )
    return notes
