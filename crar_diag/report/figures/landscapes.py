"""Encoders and dynamics, measured: the thought experiment of figure 15."""

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.labelling import check_loss
from crar_diag.report.layout import settle
from crar_diag.report.plane_panel import colour_bar, draw_filled, label_axes, mark_points
from crar_diag.report.plane_scale import scale_of, written
from crar_diag.report.style import BLUE, LOSS_LABELS, ORANGE, PAGE, VERMILION, paper_style

_OUTLINE: Final = [withStroke(linewidth=2.6, foreground="black")]
_CURVES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"color": BLUE, "label": "dynamics frozen, the slice y = 0"},
    "best": {"color": ORANGE, "label": "best of these dynamics", "linestyle": (0, (4, 1.5))},
    "unfrozen": {"color": VERMILION, "label": "dynamics re-fitted", "linestyle": (0, (1.2, 1.2))},
}


def dynamics_figure(
    dataset: xr.Dataset, line: xr.Dataset | None = None, *, loss: str = SUM, title: str = ""
) -> Figure:
    """Draw a loss over encoders and dynamics, and what of it is left when the dynamics are frozen.

    Left the loss z over the encoder's weights x and the dynamics' weights y, with the slice y = 0
    in which they are frozen. Right z along that slice, the least z that any dynamics in the plane
    reach at the same encoder and, of the line between the same agents, that of dynamics re-fitted
    to it.

    Args:
        dataset: a report's `plane/<name>-dynamics-plane`.
        line: its `line/<name>` between the same agents.
        loss: its name.
        title: above the panels.

    Raises:
        InputError: it is no such plane, or has no such loss.
    """
    if "frozen" not in dataset or dataset.attrs.get("mode") != "dynamics-plane":
        raise InputError("expected a plane of encoders and dynamics")
    check_loss(dataset, loss)
    surface = dataset.frozen.sel(loss=loss)
    scale = scale_of([surface.values])
    with paper_style():
        figure = Figure(figsize=(PAGE, 2.9 + (0.2 if title else 0)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        x, y = dataset.x.values, dataset.y.values
        filled = draw_filled(left, x, y, surface.values, scale)
        label_axes(left, dataset.x, dataset.y)
        left.axhline(0.0, color="white", linewidth=1.4, path_effects=_OUTLINE, label="frozen")
        mark_points(left, dataset)
        left.set_title("dynamics free to move")
        label = LOSS_LABELS.get(loss, loss)
        colour_bar(figure, [left], filled, scale, label)
        plot_slice(dataset, line, loss=loss, ax=right)
        right.set_title("what freezing leaves of it")
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=2.4)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def plot_slice(
    dataset: xr.Dataset, line: xr.Dataset | None = None, *, loss: str = SUM, ax: Axes | None = None
) -> Axes:
    """Draw a loss along encoders, with the dynamics frozen and with freer ones.

    Args:
        dataset: a report's `plane/<name>-dynamics-plane`.
        line: its `line/<name>` between the same agents, of which the re-fitted losses are drawn.
        loss: its name.
        ax: where to draw; new axes by default.

    Returns:
        The axes; its first lines are the losses: frozen, of the best dynamics, re-fitted.

    Raises:
        InputError: there is no such loss, or the frozen dynamics are not in the plane.
    """
    check_loss(dataset, loss)
    axes = ax or Figure(figsize=(3.25, 2.4), layout="constrained").subplots()
    surface, x = dataset.frozen.sel(loss=loss), dataset.x.values
    row = int(np.argmin(np.abs(dataset.y.values)))
    if abs(float(dataset.y[row])) > 1e-9:
        raise InputError("expected a plane with the frozen dynamics, y = 0, among its points")
    axes.plot(x, surface.values[:, row], **_CURVES["frozen"])
    axes.plot(x, np.nanmin(surface.values, axis=1), **_CURVES["best"])
    if line is not None:
        check_loss(line, loss)
        refitted = line.value.sel(dynamics="unfrozen", loss=loss)
        axes.plot(line.alpha.values, refitted.values, **_CURVES["unfrozen"])
    _scale(axes)
    axes.set(xlim=(x.min(), x.max()), xlabel=dataset.x.long_name)
    axes.set_ylabel(LOSS_LABELS.get(loss, loss))
    for place, name in ((0.0, "A"), (1.0, "B")):
        axes.axvline(place, color="0.6", linewidth=0.5, zorder=1)
        axes.annotate(
            *(name, (place, 0.0), (2, 2)),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
        )
    return axes


def _scale(axes: Axes) -> None:
    """Take a logarithmic axis where the losses need one, with plain numbers at it."""
    values = np.concatenate([np.asarray(curve.get_ydata(), np.float64) for curve in axes.lines])
    values = values[np.isfinite(values)]
    if not values.size or values.min() <= 0 or values.max() <= 5 * values.min():
        return
    axes.set_yscale("log")
    decades = np.log10(values.max() / values.min())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
