"""The picture of the paths between two models: straight segment, minimum-loss curve, rotation."""

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.layout import settle
from crar_diag.report.line_panel import check_loss
from crar_diag.report.style import LOSS_COLOURS, LOSS_LABELS, PAGE, paper_style

SHOWN: Final = (SUM, "transition")
"""The losses along a path: what is minimised, and what the dynamics have to do with."""
TURNED: Final = ((SUM, "together"), ("volume", "together"), (SUM, "encoder"))
"""The losses along a rotation, and what turns."""

STYLES: Final[dict[str, dict[str, Any]]] = {
    "straight": {"linestyle": (0, (4, 1.5)), "linewidth": 0.9},
    "curve": {"linestyle": "-"},
    "together": {"linestyle": "-"},
    "encoder": {"linestyle": (0, (1, 1.2))},
}
_TITLES: Final = {
    "frozen": "dynamics frozen:\nthe encoder moves",
    "unfrozen": "dynamics unfrozen:\nboth move",
}
_ROTATION: Final = "rotation of A"
_WORDS: Final = {
    "straight": "straight",
    "curve": "curve",
    "together": "dynamics turn along",
    "encoder": "dynamics frozen",
}
_LEVEL: Final[dict[str, Any]] = {"color": "0.6", "linestyle": ":", "linewidth": 0.8, "zorder": 1}
_PANELS: Final = 3
_HEIGHT: Final = 2.7  # inches


def path_figure(dataset: xr.Dataset, *, title: str = "") -> Figure:
    """Draw weighted sum and transition loss along the paths, and what a rotation does.

    One panel for each kind of dynamics: dashed along the straight segment, solid along the
    minimum-loss curve; the dotted level is the weighted sum at the worse end, above which is a
    barrier. A third panel, where the data have a rotation.

    Args:
        dataset: a report's `path/<name>` (`report.paths.path_dataset`).
        title: above the panels.

    Raises:
        InputError: it has no weighted sum along paths.
    """
    if "dynamics" not in dataset.dims or "path" not in dataset.dims:
        raise InputError("expected a report's group of paths, found no paths in it")
    check_loss(dataset, SUM)
    kinds = list(map(str, dataset.dynamics.values))
    count = len(kinds) + ("rotation_value" in dataset)
    with paper_style():
        figure = Figure(figsize=(PAGE * count / _PANELS, _HEIGHT), layout="constrained")
        panels = list(figure.subplots(1, count, squeeze=False)[0])
        for axes, kind in zip(panels, kinds, strict=False):
            plot_path(dataset, kind, ax=axes)
            if axes is not panels[0]:
                axes.sharey(panels[0])
                axes.tick_params(labelleft=False)
        panels[0].set_ylabel("loss")
        if count > len(kinds):
            plot_rotation(dataset, ax=panels[-1])
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def plot_path(dataset: xr.Dataset, dynamics: str, *, ax: Axes | None = None) -> Axes:
    """Draw the losses along the straight segment and the curve, on a logarithmic scale.

    Args:
        dataset: a report's `path/<name>`.
        dynamics: `frozen` or `unfrozen`.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        InputError: the data have no such dynamics.
    """
    if dynamics not in dataset.dynamics.values:
        raise InputError(
            f"expected dynamics {', '.join(map(str, dataset.dynamics.values))}, found '{dynamics}'",
            arguments=["dynamics"],
        )
    axes = ax or Figure(figsize=(PAGE / _PANELS, _HEIGHT), layout="constrained").subplots()
    own = dataset.sel(dynamics=dynamics)
    for loss in (name for name in SHOWN if name in dataset.loss.values):
        for course in map(str, dataset.path.values):
            one = own.sel(loss=loss, path=course)
            label = f"{LOSS_LABELS.get(loss, loss)}, {_WORDS[course]}"
            axes.plot(one.t, one.value, color=LOSS_COLOURS[loss], label=label, **STYLES[course])
            if "error" in one:
                low, high = one.value - one.error, one.value + one.error
                axes.fill_between(
                    one.t, low, high, color=LOSS_COLOURS[loss], alpha=0.2, linewidth=0
                )
    ends = own.value.sel(loss=SUM, path="straight").isel(t=[0, -1])
    axes.axhline(float(ends.max()), **_LEVEL)
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.set_xlabel("$t$, A at 0, B at 1")
    axes.set_title(_TITLES[dynamics])
    axes.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return axes


def plot_rotation(dataset: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of A turned by angles, with its dynamics turning along and without.

    Args:
        dataset: a report's `path/<name>` with a rotation.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        InputError: the data have no rotation.
    """
    if "rotation_value" not in dataset:
        raise InputError("expected paths with a rotation, found none")
    axes = ax or Figure(figsize=(PAGE / _PANELS, _HEIGHT), layout="constrained").subplots()
    angles = dataset.angle.values
    for loss, turning in TURNED:
        if loss not in dataset.loss.values:
            continue
        values = dataset.rotation_value.sel(loss=loss, turning=turning)
        label = f"{LOSS_LABELS.get(loss, loss)}, {_WORDS[turning]}"
        axes.plot(angles, values, color=LOSS_COLOURS[loss], label=label, **STYLES[turning])
    start = float(dataset.rotation_value.sel(loss=SUM, turning="together")[0])
    axes.axhline(start, **_LEVEL)
    axes.set_xlim(0, float(np.max(angles)))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1.5, 3, 4.5, 9, 10]))
    axes.set_xlabel("angle, degrees")
    axes.set_title(f"{_ROTATION}:\nencoder, with or without dynamics")
    axes.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return axes
