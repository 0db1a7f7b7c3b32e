"""One plane of a landscape as filled contours, with the models and the trajectory marked in it."""

from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from crar_diag.report.plane_scale import Scale, written

COLOURS: Final = "viridis"  # perceptually uniform, and readable in grey

_MARKERS: Final = {"A": "o", "B": "s", "C": "^"}
_THIN: Final[dict[str, Any]] = {
    "colors": "white",
    "linewidths": 0.35,
    "linestyles": "solid",
    "alpha": 0.8,
}
_OUTLINE: Final = [withStroke(linewidth=1.6, foreground="white")]
_SMALLEST, _LARGEST = 3.0, 20.0  # areas of a trajectory's dots, points^2
# Axes of one unit are drawn at one scale unless that makes a strip of the plane.
_LONGEST: Final = 3.0


def draw_filled(
    axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, scale: Scale
) -> QuadContourSet:
    """Draw values `[x, y]` as filled contours with thin contour lines; return the filled ones.

    What is not finite stays grey.
    """
    seen = scale.clipped(values).T
    axes.set_facecolor("0.85")
    filled = axes.contourf(
        *(x, y, seen),
        levels=scale.levels,
        norm=scale.norm,
        cmap=mpl.colormaps[COLOURS],
        extend="min" if scale.cut else "neither",
    )
    filled.set_edgecolor("face")  # else viewers show the page between the bands
    filled.set_linewidth(0.2)
    if len(scale.lines):
        axes.contour(x, y, seen, levels=scale.lines, **_THIN)
    return filled


def colour_bar(
    figure: Figure, axes: Sequence[Axes], filled: QuadContourSet, scale: Scale, label: str
) -> Colorbar:
    """Put the scale of what `draw_filled` drew beside panels, with its lines as ticks."""
    bar = figure.colorbar(
        filled, ax=list(axes), label=label, ticks=scale.lines, pad=0.02, aspect=25
    )
    bar.ax.set_yticks(scale.lines, [written(value) for value in scale.lines])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return bar


def proportion(axes: Axes, x: xr.DataArray, y: xr.DataArray) -> float | None:
    """Return how many times as high as wide a plane is, if its axes have one scale, else None."""
    ratio = float(np.ptp(axes.get_ylim()) / np.ptp(axes.get_xlim()))
    alike = x.units == y.units and 1 / _LONGEST <= ratio <= _LONGEST
    return ratio if alike else None


def label_axes(axes: Axes, x: xr.DataArray, y: xr.DataArray) -> None:
    """Name the axes and fit them to the grid."""
    for which, coordinate in (("x", x), ("y", y)):
        limits = (coordinate.values.min(), coordinate.values.max())
        axes.set(**{f"{which}label": axis_label(coordinate), f"{which}lim": limits})


def axis_label(coordinate: xr.DataArray) -> str:
    """Return what an axis shows, with its units where it has some."""
    units = "" if coordinate.units == "1" else f" ({coordinate.units})"
    return f"{coordinate.long_name}{units}"


def mark_points(axes: Axes, dataset: xr.Dataset) -> None:
    """Mark and name the models in a plane; say of each that is not in it how far off it is."""
    if "point" not in dataset.dims:
        return
    extent = max(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    for name in map(str, dataset.point.values):
        own = dataset.sel(point=name)
        x, y, distance = (float(own[f"point_{what}"]) for what in ("x", "y", "distance"))
        marker: dict[str, Any] = {"marker": _MARKERS.get(name, "D"), "markersize": 5.5}
        marker |= {"markerfacecolor": "black", "markeredgecolor": "white", "markeredgewidth": 0.9}
        axes.plot([x], [y], linestyle="none", label=name, zorder=6, **marker)
        far = distance > 1e-3 * extent
        _name(axes, f"{name} ({distance:.2g} off the plane)" if far else name, x, y)


def _name(axes: Axes, words: str, x: float, y: float) -> None:
    """Write beside a point, on the side where there is more room."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    aside = -1 if x > left + 0.6 * (right - left) else 1
    up = -1 if y > bottom + 0.85 * (top - bottom) else 1
    axes.annotate(
        *(words, (x, y), (5 * aside, 4 * up)),
        textcoords="offset points",
        ha="left" if aside > 0 else "right",
        va="bottom" if up > 0 else "top",
        path_effects=_OUTLINE,
        zorder=7,
    )


def draw_trajectory(axes: Axes, dataset: xr.Dataset, loss: str, scale: Scale) -> list[Line2D]:
    """Draw the trajectory of a training run, its models as dots; return what a legend needs.

    A dot has the colour of the model's own loss where that is known, else white, and grows with
    its distance from the plane.
    """
    if "step" not in dataset.dims:
        return []
    x, y = dataset.trajectory_x.values, dataset.trajectory_y.values
    distance = dataset.trajectory_distance.values
    axes.plot(x, y, color="white", linewidth=1.0, label="trajectory", zorder=4)
    axes.lines[-1].set_path_effects([withStroke(linewidth=1.8, foreground="black")])
    farthest = float(distance.max())
    area = _SMALLEST + (_LARGEST - _SMALLEST) * distance / (farthest or 1.0)
    colour: dict[str, Any] = {"color": "white"}
    known = "trajectory_loss" in dataset
    if known:
        own = scale.clipped(dataset.trajectory_loss.sel(loss=loss).values)
        colour = {"c": own, "norm": scale.norm, "cmap": COLOURS}
    axes.scatter(x, y, s=area, edgecolors="black", linewidths=0.4, zorder=5, **colour)
    for words, k in (("start", 0), ("end", -1)):
        if not _is_marked(axes, dataset, float(x[k]), float(y[k])):
            _name(axes, words, float(x[k]), float(y[k]))
    colours = ", coloured by its own loss" if known else ""
    within = [_dot(_SMALLEST, f"model on the trajectory{colours}")]
    return within + [_dot(_LARGEST, f"the same, {farthest:.3g} off the plane")] * (farthest > 0)


def _is_marked(axes: Axes, dataset: xr.Dataset, x: float, y: float) -> bool:
    if "point" not in dataset.dims:
        return False
    aside = np.abs(dataset.point_x.values - x) / np.ptp(axes.get_xlim())
    up = np.abs(dataset.point_y.values - y) / np.ptp(axes.get_ylim())
    return bool((np.maximum(aside, up) < 0.03).any())


def _dot(area: float, label: str) -> Line2D:
    style: dict[str, Any] = {"marker": "o", "markersize": area**0.5, "markeredgewidth": 0.4}
    style |= {"markerfacecolor": "0.7", "markeredgecolor": "black", "linestyle": "none"}
    return Line2D([], [], label=label, **style)
