"""Panels of paths between two models: both paths, the curve's parts, a rotation."""

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.style import COLUMN, LOSS_COLOURS

SHOWN: Final = (SUM, "transition")
"""The losses along both paths: what is minimised, and what the dynamics have to do with."""
TURNED: Final = ((SUM, "together"), ("volume", "together"), (SUM, "encoder"))
"""The losses along a rotation, and what turns."""
NEGLIGIBLE: Final = 0.01
"""A part that is nowhere on the curve so large a share of the sum is not drawn."""

STYLES: Final[dict[str, dict[str, Any]]] = {
    "straight": {"linestyle": (0, (4, 1.5)), "linewidth": 0.9},
    "curve": {"linestyle": "-"},
    "together": {"linestyle": "-"},
    "encoder": {"linestyle": (0, (1, 1.2))},
}
LEVEL: Final[dict[str, Any]] = {"color": "0.5", "linestyle": ":", "linewidth": 0.8, "zorder": 1}

_TITLES: Final = {
    "frozen": "dynamics frozen:\nthe encoder moves",
    "unfrozen": "dynamics unfrozen:\nencoder and dynamics move",
}


def plot_path(dataset: xr.Dataset, dynamics: str, *, ax: Axes | None = None) -> Axes:
    """Draw the losses along the straight segment and the curve, on a logarithmic scale.

    Args:
        dataset: a report's `path/<name>`.
        dynamics: `frozen` or `unfrozen`.
        ax: where to draw; new axes by default.

    Returns:
        The axes; the lines have the labels `<loss> <path>`.

    Raises:
        InputError: the data have no such dynamics.
    """
    own = _of(dataset, dynamics)
    axes = ax or _new_axes()
    for loss in (name for name in SHOWN if name in dataset.loss.values):
        for course in map(str, dataset.path.values):
            one = own.sel(loss=loss, path=course)
            _draw(axes, one, loss, f"{loss} {course}", STYLES[course])
    axes.set_yscale("log")
    _finish(axes, own)
    axes.set_title(_TITLES[dynamics])
    return axes


def plot_shares(dataset: xr.Dataset, dynamics: str, *, ax: Axes | None = None) -> Axes:
    """Draw the weighted sum along the curve, and each loss times its weight in it.

    Args:
        dataset: a report's `path/<name>`.
        dynamics: `frozen` or `unfrozen`.
        ax: where to draw; new axes by default.

    Returns:
        The axes; the lines have the losses' names as labels.

    Raises:
        InputError: the data have no such dynamics.
    """
    own = _of(dataset, dynamics)
    axes = ax or _new_axes()
    curve = own.sel(path="curve")
    for loss in (SUM, *shares_of(dataset)):
        one = curve.sel(loss=loss)
        weight = 1.0 if loss == SUM else float(one.weight)
        _draw(axes, one, loss, loss, STYLES["curve"], weight)
    _finish(axes, own)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("$t$, A at 0, B at 1")
    return axes


def shares_of(dataset: xr.Dataset) -> list[str]:
    """Return the losses that are more than a negligible part of the sum somewhere on a curve."""
    curves = dataset.value.sel(path="curve")
    total = curves.sel(loss=SUM)
    parts = np.abs(dataset.weight * curves / total).max([d for d in curves.dims if d != "loss"])
    return [
        str(name)
        for name, part in zip(dataset.loss.values, parts.values, strict=True)
        if name != SUM and part >= NEGLIGIBLE
    ]


def plot_rotation(dataset: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of A turned by angles, with its dynamics turning along and without.

    Args:
        dataset: a report's `path/<name>` with a rotation.
        ax: where to draw; new axes by default.

    Returns:
        The axes; the lines have the labels `<loss> <what turns>`.

    Raises:
        InputError: the data have no rotation.
    """
    if "rotation_value" not in dataset:
        raise InputError("expected paths with a rotation, found none")
    axes = ax or _new_axes()
    angles = dataset.angle.values
    for loss, turning in TURNED:
        if loss in dataset.loss.values:
            values = dataset.rotation_value.sel(loss=loss, turning=turning)
            colour = LOSS_COLOURS[loss]
            axes.plot(angles, values, color=colour, label=f"{loss} {turning}", **STYLES[turning])
    start = float(dataset.rotation_value.sel(loss=SUM, turning="together")[0])
    axes.axhline(start, **LEVEL)
    axes.set_xlim(0, float(angles[-1]))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1.5, 3, 4.5, 9, 10]))
    axes.set_xlabel("angle, degrees")
    axes.set_title("A turned: with its\ndynamics, or not")
    return axes


def _of(dataset: xr.Dataset, dynamics: str) -> xr.Dataset:
    if dynamics not in dataset.dynamics.values:
        raise InputError(
            f"expected dynamics {', '.join(map(str, dataset.dynamics.values))}, found '{dynamics}'",
            arguments=["dynamics"],
        )
    return dataset.sel(dynamics=dynamics)


def _new_axes() -> Axes:
    return Figure(figsize=(COLUMN, 2.4), layout="constrained").subplots()


def _draw(
    axes: Axes,
    one: xr.Dataset,
    loss: str,
    label: str,
    style: dict[str, Any],
    weight: float = 1.0,
) -> None:
    """Draw one loss along one path, with a band of its standard error where it has one."""
    values, colour = weight * one.value, LOSS_COLOURS.get(loss, "0.3")
    axes.plot(one.t, values, color=colour, label=label, **style)
    if "error" in one:
        spread = weight * one.error
        axes.fill_between(
            one.t, values - spread, values + spread, color=colour, alpha=0.2, linewidth=0
        )


def _finish(axes: Axes, own: xr.Dataset) -> None:
    """Draw the level of the worse end, and label what all panels have."""
    ends = own.value.sel(loss=SUM, path="straight").isel(t=[0, -1])
    axes.axhline(float(ends.max()), **LEVEL)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
