"""What `crar-diag landscape` prints and saves of the lines and planes that it has drawn."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from crar_diag.cli import common

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.landscape.views import Between

_BARRIERS = ("above_line", "above_line_at", "above_ends", "above_ends_at")
_LENGTHS = (
    "distance_a_b",
    "height_of_c",
    "random_seed",
    "random_direction_norm",
    "dynamics_direction_norm",
    "explained_variance_ratio",
    "first_norm",
    "second_norm",
)


def show(
    found: "Mapping[str, xr.Dataset]",
    between: "Between",
    as_json: bool,
    output: Path | None,
    figures: list[Path],
) -> None:
    """Print the landscapes: barriers of a line, extremes of planes; notes; where they are."""
    from crar_diag.cli.landscape_notes import notes_on

    notes = notes_on(found, between)
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


def save_figures(found: "Mapping[str, xr.Dataset]", figure: Path | None) -> list[Path]:
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
        size = " x ".join(map(str, values.shape))
        rows.append([loss, name, size, f"{np.nanmin(values):.4g}", f"{np.nanmax(values):.4g}"])
    return ["loss", "surface", "points", "least", "largest"], rows


def _surfaces(dataset: "xr.Dataset") -> Iterator[tuple[str, str, np.ndarray]]:
    for name in ("value", "frozen", "unfrozen"):
        if name in dataset:
            for loss in map(str, dataset.loss.values):
                yield name, loss, dataset[name].sel(loss=loss).values
    if "score" in dataset:
        yield "score", "score", dataset.score.values


def _as_json(dataset: "xr.Dataset") -> dict[str, Any]:
    """Return a line with all its values; of a plane, what its losses lie between."""
    found: dict[str, Any] = {
        name: np.asarray(dataset.attrs[name]).tolist() for name in _LENGTHS if name in dataset.attrs
    }
    if "alpha" in dataset.variables:
        found |= _line_json(dataset)
    else:
        for name, loss, values in _surfaces(dataset):
            extremes = {"least": float(np.nanmin(values)), "largest": float(np.nanmax(values))}
            found.setdefault(name, {})[loss] = extremes
    if "point" in dataset.dims:
        found["points"] = {
            str(point): {
                name: float(dataset[f"point_{name}"].sel(point=point))
                for name in ("x", "y", "distance")
            }
            for point in dataset.point.values
        }
    if "trajectory_x" in dataset:
        found["trajectory"] = {
            **{
                name: dataset[f"trajectory_{name}"].values.tolist()
                for name in ("updates", "x", "y", "distance")
            },
            "losses": {
                str(loss): dataset.trajectory_loss.sel(loss=loss).values.tolist()
                for loss in dataset.loss.values
            },
        }
    if "converged" in dataset:
        converged = dataset.converged.values
        found["refit"] = {"converged": int(converged.sum()), "points": int(converged.size)}
    return found


def _line_json(dataset: "xr.Dataset") -> dict[str, Any]:
    found: dict[str, Any] = {"alpha": dataset.alpha.values.tolist()}
    losses = list(map(str, dataset.loss.values))
    if "above_line" not in dataset:  # the library's, which has no barriers
        values = {loss: dataset.value.sel(loss=loss).values.tolist() for loss in losses}
        return found | {"frozen": {loss: {"values": values[loss]} for loss in losses}}
    for kind in map(str, dataset.dynamics.values):
        own = dataset.sel(dynamics=kind)
        found[kind] = {
            loss: {
                "values": own.value.sel(loss=loss).values.tolist(),
                **{name: float(own[name].sel(loss=loss)) for name in _BARRIERS},
            }
            for loss in losses
        }
    return found
