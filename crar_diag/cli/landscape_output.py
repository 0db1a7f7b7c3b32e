"""What `crar-diag landscape` prints of the lines and planes that it has drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from crar_diag.cli import common

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.landscape.views import Between

_BARRIERS = ("above_line", "above_line_at", "above_ends", "above_ends_at")


def show(
    found: "Mapping[str, xr.Dataset]",
    between: "Between",
    as_json: bool,
    output: Path | None,
    figures: list[Path],
) -> None:
    """Print the landscapes: barriers of a line, extremes of planes; notes; where they are."""
    notes = _notes(between, found)
    if as_json:
        common.print_json(
            {
                "checkpoints": [str(agent.path) for agent in between.ends.agents],
                "domain": between.ends.domain,
                "dynamics_of": str(between.dynamics.path),
                "weights": dict(between.problem.weights),
                "views": {mode: _as_json(dataset) for mode, dataset in found.items()},
                "notes": notes,
                "report": None if output is None else str(output),
                "figures": [str(file) for file in figures],
            }
        )
        return
    for mode, dataset in found.items():
        typer.echo(f"{mode}, domain '{between.ends.domain}':")
        rows = _line_rows(dataset) if "above_line" in dataset else _range_rows(dataset)
        common.print_table(*rows)
        typer.echo("")
    for note in notes:
        typer.echo(note)
    if output is not None:
        typer.echo(f"written to '{output}'")
    for file in figures:
        typer.echo(f"figure in '{file}'")


def _notes(between: "Between", found: "Mapping[str, xr.Dataset]") -> list[str]:
    """Return what a reader has to know about the numbers, in sentences."""
    from crar_diag.landscape.agents import same_dynamics

    sums = ", ".join(f"{name} {weight:g}" for name, weight in between.problem.weights.items())
    notes = [f"weights of the losses in the sum: {sums}"]
    agents = between.ends.agents
    if not same_dynamics([between.dynamics, *agents]):
        notes.append(
            f"the checkpoints differ in their dynamics: those of '{between.dynamics.path}'"
        )
        notes[-1] += " are taken everywhere"
    if any("unfrozen" in str(dataset.attrs.get("kinds", "")) for dataset in found.values()):
        notes.append(
            "volume, random_pairs and consecutive_pairs do not depend on the dynamics: re-fitting "
            "cannot change them"
        )
    for mode, dataset in found.items():
        if "converged" in dataset:
            converged = dataset.converged.values
            notes.append(
                f"{mode}: the re-fit converged at {int(converged.sum())} of {converged.size} points"
            )
        if dataset.attrs["engine"] == "loss-landscapes":
            notes.append(f"{mode}: by loss-landscapes, at the coordinates that it really samples")
    return notes


def _line_rows(dataset: "xr.Dataset") -> tuple[list[str], list[list[str]]]:
    """Return a table of barriers: a row a loss and kind of dynamics."""
    header = ["loss", "dynamics", "at A", "at B", "above the line", "at", "above the ends", "at"]
    rows = []
    for loss in map(str, dataset.loss.values):
        for kind in map(str, dataset.dynamics.values):
            own = dataset.sel(loss=loss, dynamics=kind)
            ends = [float(own.value.sel(alpha=alpha)) for alpha in (0.0, 1.0)]
            numbers = [f"{value:.4g}" for value in ends]
            numbers += [
                f"{float(own[name]):.3g}" if name.endswith("_at") else f"{float(own[name]):.4g}"
                for name in _BARRIERS
            ]
            rows.append([loss, kind, *numbers])
    return header, rows


def _range_rows(dataset: "xr.Dataset") -> tuple[list[str], list[list[str]]]:
    """Return a table of what a plane's losses, or scores, lie between."""
    rows = []
    for name, loss, values in _surfaces(dataset):
        rows.append([loss, name, f"{np.nanmin(values):.4g}", f"{np.nanmax(values):.4g}"])
    return ["loss", "surface", "least", "largest"], rows


def _surfaces(dataset: "xr.Dataset") -> list[tuple[str, str, np.ndarray]]:
    found = []
    for name in ("value", "frozen", "unfrozen"):
        if name in dataset:
            for loss in map(str, dataset.loss.values):
                found.append((name, loss, dataset[name].sel(loss=loss).values))
    if "score" in dataset:
        found.append(("score", "score", dataset.score.values))
    return found


def _as_json(dataset: "xr.Dataset") -> dict[str, Any]:
    """Return a line with all its values; of a plane, what its losses lie between."""
    if "above_line" not in dataset:
        found: dict[str, Any] = {
            name: {
                loss: {"least": float(np.nanmin(values)), "largest": float(np.nanmax(values))}
                for own, loss, values in _surfaces(dataset)
                if own == name
            }
            for name in dict.fromkeys(own for own, _, _ in _surfaces(dataset))
        }
        if "point" in dataset.dims:
            found["points"] = {
                str(point): {
                    name: float(dataset[f"point_{name}"].sel(point=point))
                    for name in ("x", "y", "distance")
                }
                for point in dataset.point.values
            }
        return found | _convergence(dataset)
    found = {"alpha": dataset.alpha.values.tolist()}
    for kind in map(str, dataset.dynamics.values):
        found[kind] = {
            loss: {
                "values": dataset.value.sel(dynamics=kind, loss=loss).values.tolist(),
                **{name: float(dataset[name].sel(dynamics=kind, loss=loss)) for name in _BARRIERS},
            }
            for loss in map(str, dataset.loss.values)
        }
    return found | _convergence(dataset)


def _convergence(dataset: "xr.Dataset") -> dict[str, Any]:
    if "converged" not in dataset:
        return {}
    converged = dataset.converged.values
    return {"refit": {"converged": int(converged.sum()), "points": int(converged.size)}}
