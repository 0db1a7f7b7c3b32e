"""Planes of a report as a page draws them: surfaces in space, frozen beside unfrozen."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.landscape.problem import SUM
from crar_diag.report.figures.selection import Report
from crar_diag.report.page.encoding import number, numbers
from crar_diag.report.plane_figure import heading, surfaces_of
from crar_diag.report.plane_panel import axis_label
from crar_diag.report.plane_scale import scale_of

SCORE: Final = "score"


def surfaces_data(report: Report, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Return every plane of a report.

    Args:
        report: what is drawn.
        labels: what a page calls each loss.

    Returns:
        For each `/plane/<name>`: its `name`, `about` it, the labels of its `axes`, its `points`, of
        a training run its `trajectory`, and `layers`: a loss or the score each, with `surfaces` of
        one colour `scale`; values are `[x][y]`.
    """
    return [_plane(name, report.read(name), labels) for name in report.matching("plane/*")]


def _plane(name: str, dataset: xr.Dataset, labels: dict[str, str]) -> dict[str, Any]:
    losses = [str(loss) for loss in dataset.loss.values] if "loss" in dataset.coords else []
    losses.sort(key=lambda loss: loss != SUM)  # what is looked at first
    layers = [_layer(dataset, loss, labels) for loss in losses]
    if SCORE in dataset:
        layers.append(_score_layer(dataset))
    first = "x" if "x" in dataset.coords else "x_unfrozen"
    axes = {
        axis: axis_label(dataset[first.replace("x", axis)])  # `y`, or `y_unfrozen`
        for axis in ("x", "y")
    }
    return {
        "name": name.partition("/")[2],
        "about": about(dataset),
        "axes": axes,
        "layers": [layer for layer in layers if layer is not None],
        "points": _points(dataset),
        "trajectory": _trajectory(dataset),
    }


def about(dataset: xr.Dataset) -> list[str]:
    """Return which agents were compared, in which domain, with whose dynamics."""
    found = []
    for name in "abc":
        if f"checkpoint_{name}" in dataset.attrs:
            path = Path(str(dataset.attrs[f"checkpoint_{name}"]))
            found.append(f"{name.upper()}: {path.stem}")
    if "domain" in dataset.attrs:
        found.append(f"domain: {dataset.attrs['domain']}")
    if "dynamics_of" in dataset.attrs:
        found.append(f"frozen dynamics: {Path(str(dataset.attrs['dynamics_of'])).stem}")
    return found


def _layer(dataset: xr.Dataset, loss: str, labels: dict[str, str]) -> dict[str, Any] | None:
    shown = surfaces_of(dataset, loss)
    titles = {name: heading(dataset, loss, name) for name in shown}
    own = dataset.trajectory_loss.sel(loss=loss).values if "trajectory_loss" in dataset else None
    return _drawn(loss, labels.get(loss, loss), shown, titles, own)


def _score_layer(dataset: xr.Dataset) -> dict[str, Any] | None:
    shown = {SCORE: dataset[SCORE]}
    return _drawn(SCORE, dataset[SCORE].long_name, shown, {SCORE: dataset[SCORE].long_name})


def _drawn(
    key: str,
    label: str,
    shown: dict[str, xr.DataArray],
    titles: dict[str, str],
    own: np.ndarray | None = None,
) -> dict[str, Any] | None:
    """Return surfaces with the scale that they share; None where nothing is finite."""
    arrays = [*(values.values for values in shown.values()), *([] if own is None else [own])]
    if not any(np.isfinite(values).any() for values in arrays):
        return None
    scale = scale_of(arrays)
    lines = scale.lines if len(scale.lines) <= 8 else scale.lines[::2]
    surfaces = []
    for name, values in shown.items():
        x, y = (values[dim].values for dim in values.dims)
        grids = {"x": numbers(x), "y": numbers(y), "z": numbers(values.values)}
        surfaces.append({"name": name, "title": titles[name], **grids})
    return {
        "key": key,
        "label": label,
        "surfaces": surfaces,
        "trajectory": None if own is None else numbers(own),
        "scale": {
            "logarithmic": scale.logarithmic,
            "low": number(scale.norm.vmin or 0.0),
            "high": number(scale.norm.vmax or 0.0),
            "ticks": numbers(lines),
            "cut": scale.cut,
        },
    }


def _points(dataset: xr.Dataset) -> list[dict[str, Any]]:
    if "point" not in dataset.dims:
        return []
    return [
        {
            "name": str(name),
            **{
                what: number(dataset[f"point_{what}"].sel(point=name))
                for what in ("x", "y", "distance")
            },
        }
        for name in dataset.point.values
    ]


def _trajectory(dataset: xr.Dataset) -> dict[str, Any] | None:
    if "trajectory_x" not in dataset:
        return None
    return {
        what: numbers(dataset[f"trajectory_{what}"].values)
        for what in ("x", "y", "distance", "updates")
    }
