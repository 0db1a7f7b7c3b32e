"""The picture of a plane as a surface in space: frozen and unfrozen from one side, at one scale."""

from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from crar_diag.landscape.problem import SUM
from crar_diag.report.plane_figure import heading, surfaces_of
from crar_diag.report.plane_panel import COLOURS, axis_label
from crar_diag.report.plane_scale import Scale, scale_of, written
from crar_diag.report.style import LOSS_LABELS, PAGE, paper_style

_LABEL: Final = 7  # points
_BOX, _HEADING = 2.75, 0.22  # inches
_TO_THE_LEFT: Final = 0.05  # of a panel's width


def plane_figure_3d(
    dataset: xr.Dataset,
    *,
    loss: str = SUM,
    title: str = "",
    elevation: float = 40.0,
    azimuth: float = -60.0,
) -> Figure:
    """Draw a loss over a plane as a surface, frozen and unfrozen side by side.

    Both have the same heights, colours and view. Heights are logarithmic where the colours are.

    Args:
        dataset: a report's `plane/<name>` (`report.planes.plane_dataset`).
        loss: its name.
        title: above the panels.
        elevation: of the view above the plane, degrees.
        azimuth: of the view around it, degrees.

    Raises:
        InputError: there is no surface or no such loss.
    """
    shown = surfaces_of(dataset, loss)
    scale = scale_of([values.values for values in shown.values()])
    with paper_style(), mpl.rc_context({"grid.linewidth": 0.4}):
        total = _BOX + _HEADING + (0.2 if title else 0.0)
        figure = Figure(figsize=(PAGE / 2 * len(shown), total))
        width, height = 1 / len(shown), _BOX / total
        for k, (name, values) in enumerate(shown.items()):
            # No layout engine sees how far labels in space reach: to the right, most of them.
            place = ((k - _TO_THE_LEFT) * width, 0.03, width, height)
            axes: Any = figure.add_axes(place, projection="3d")
            axes.view_init(elevation, azimuth)
            axes.computed_zorder = False  # else markers may vanish behind the surface
            _draw_surface(axes, values, scale)
            _mark_points(axes, dataset, values, scale)
            _label(axes, values, scale, LOSS_LABELS.get(loss, loss))
            axes.set_title(heading(dataset, loss, name), y=0.99)
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def _height(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return heights at which values stand: their logarithm where colours are logarithmic."""
    values = np.maximum(scale.clipped(values), float(scale.norm.vmin or 0.0))
    return np.log10(values) if scale.logarithmic else values


def _draw_surface(axes: Any, values: xr.DataArray, scale: Scale) -> None:
    x, y = (values[dim].values for dim in values.dims)
    heights = _height(values.values, scale)
    # Of each patch's own height, not of one of its corners.
    middle = (heights[1:, 1:] + heights[1:, :-1] + heights[:-1, 1:] + heights[:-1, :-1]) / 4
    bottom, top = _heights(scale)
    axes.plot_surface(
        *np.meshgrid(x, y, indexing="ij"),
        heights,
        facecolors=mpl.colormaps[COLOURS]((middle - bottom) / (top - bottom)),
        rcount=len(x),
        ccount=len(y),
        linewidth=0.1,
        shade=False,
        zorder=1,
    )


def _mark_points(axes: Any, dataset: xr.Dataset, values: xr.DataArray, scale: Scale) -> None:
    """Put each model's name above the surface, on a pole that stands on it."""
    if "point" not in dataset.dims:
        return
    bottom, top = _heights(scale)
    x_name, y_name = values.dims
    heights = values.copy(data=_height(values.values, scale))
    for name in map(str, dataset.point.values):
        own = dataset.sel(point=name)
        x, y = float(own.point_x), float(own.point_y)
        foot = float(heights.interp({x_name: x, y_name: y}))
        if not np.isfinite(foot):  # beyond the grid
            continue
        head = foot + 0.25 * (top - bottom)
        axes.plot([x, x], [y, y], [foot, head], color="black", linewidth=0.7, zorder=3)
        axes.plot(
            *([x], [y], [foot]),
            label=name,
            zorder=4,
            marker="o",
            markersize=3.5,
            markerfacecolor="black",
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
        outline = [withStroke(linewidth=1.6, foreground="white")]
        axes.text(x, y, head, name, ha="center", va="bottom", path_effects=outline, zorder=5)


def _heights(scale: Scale) -> tuple[float, float]:
    ends = np.array([scale.norm.vmin, scale.norm.vmax], np.float64)
    bottom, top = _height(ends, scale)
    return float(bottom), float(top)


def _label(axes: Any, values: xr.DataArray, scale: Scale, label: str) -> None:
    x, y = (values[dim] for dim in values.dims)
    axes.set_xlabel(axis_label(x), labelpad=-3, fontsize=_LABEL)
    axes.set_ylabel(axis_label(y), labelpad=-2, fontsize=_LABEL)
    axes.set_zlabel(label, labelpad=-3, fontsize=_LABEL)
    axes.tick_params(labelsize=6, pad=-2)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_zlim(*_heights(scale))
    lines = scale.lines if len(scale.lines) <= 6 else scale.lines[::2]
    axes.set_zticks(_height(lines, scale), [written(value) for value in lines])
    axes.set_box_aspect((1.0, 1.0, 0.6), zoom=0.92)
