"""The pictures of the paper's worked example: figures 12 and 14."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crar_diag.report.figures.pixels import draw_pixels, frame_pixel
from crar_diag.report.layout import settle
from crar_diag.report.style import BLUE, COLUMN, ORANGE, PURPLE, VERMILION, paper_style

# The paper's yellow, red and purple crosses; their shapes tell them apart in grey.
CROSSES: Final[Mapping[str, dict[str, Any]]] = {
    "begun": {"marker": "x", "color": ORANGE, "label": "encoded"},
    "predicted": {"marker": "+", "color": VERMILION, "label": "predicted"},
    "expected": {"marker": (6, 2, 0), "color": PURPLE, "label": "expected"},
}
_MARK: Final[dict[str, Any]] = {"markersize": 8, "markeredgewidth": 1.6, "linestyle": "none"}


def swapped_figure(example: xr.Dataset, *, title: str = "") -> Figure:
    """Draw one state in both domains, and what the simple encoding function makes of it.

    Figure 12: the matrices of the input values above, with the pixel that the encoder reads framed,
    and the embeddings below.

    Args:
        example: see `worked_example.worked_example`.
        title: above the panels.
    """
    with paper_style():
        figure = Figure(figsize=(COLUMN, 3.35 + (0.2 if title else 0)), layout="constrained")
        panels = figure.subplots(2, 2)
        for column, domain in enumerate(example.domain.values):
            own = example.sel(place="before", domain=domain)
            _matrix(panels[0, column], own, f"{domain}: input")
            x, y = own.embedding.values
            pixel = _number(float(own.picture[int(own.player_row), int(own.player_column)]))
            words = f"{_pair(own.factor.values)} · ({pixel}) = {_pair(own.embedding.values)}"
            axes = _plane(panels[1, column], words)
            axes.title.set_fontsize(7)
            axes.plot([x], [y], marker="x", color=BLUE, label=str(domain), **_MARK)
            axes.label_outer()
        panels[1, 0].set_ylabel("$x_2$")
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def mismatch_figure(example: xr.Dataset, *, title: str = "") -> Figure:
    """Draw what the frozen transition function predicts in a swapped embedding.

    Figure 14: the matrices of the input values of a state and of the one that the action up leads
    to above, and below the embedding of the first, the next one that is predicted from it, the one
    that is expected, and the distance between these, which the transition loss is the square of.

    Args:
        example: see `worked_example.worked_example`.
        title: above the panels.
    """
    with paper_style():
        figure = Figure(figsize=(COLUMN, 4.3 + (0.2 if title else 0)), layout="constrained")
        panels = figure.subplot_mosaic([["before", "after"], ["plane", "plane"]])
        for name, place in (("before", "before"), ("after", "after up")):
            own = example.sel(place=place, domain="inverse")
            player = f"({int(own.player_row)}, {int(own.player_column)})"
            words = "player at" if place == "before" else "after up, at"
            _matrix(panels[name], own, f"{words} {player}")
        distance = float(example.distance)
        axes = _plane(panels["plane"], f"predicted to expected: distance {distance:g}")
        axes.set_ylabel("$x_2$")
        points = {name: example[name].values for name in CROSSES}
        _arrow(axes, points["begun"], points["predicted"])
        _distance(axes, points["predicted"], points["expected"], distance)
        for name, point in points.items():
            axes.plot(*point[:, None], **CROSSES[name], **_MARK)
            words = f"{CROSSES[name]['label']} {_pair(point)}"
            where: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
            axes.annotate(words, tuple(point), (-8, 0), ha="right", fontsize=7, **where)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def _matrix(axes: Axes, own: xr.Dataset, title: str) -> None:
    draw_pixels(axes, own.picture.values, values=True)
    frame_pixel(axes, int(own.player_row), int(own.player_column), VERMILION)
    axes.set_title(title)


def _plane(axes: Axes, title: str) -> Axes:
    for line in (axes.axhline, axes.axvline):
        line(0.0, color="0.75", linewidth=0.5, zorder=0)
    ticks = (-1, -0.5, 0, 0.5, 1)
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=ticks, yticks=ticks, xlabel="$x_1$")
    axes.set_aspect("equal")
    axes.set_title(title)
    return axes


def _pair(point: np.ndarray) -> str:
    """Return a point as text: (-0.5, 0)."""
    return f"({', '.join(map(_number, point))})"


def _number(value: float) -> str:
    return f"{value + 0.0:g}".replace("-", "\N{MINUS SIGN}")


def _arrow(axes: Axes, start: np.ndarray, end: np.ndarray) -> None:
    """Draw the step that the transition function takes."""
    arrow = {"arrowstyle": "->", "color": "0.35", "linewidth": 0.9, "shrinkA": 5, "shrinkB": 5}
    axes.annotate("", tuple(end), tuple(start), arrowprops=arrow, zorder=2)


def _distance(axes: Axes, predicted: np.ndarray, expected: np.ndarray, distance: float) -> None:
    """Draw and name the distance between two points, beside them."""
    aside = np.array([0.15, 0.0])
    arrow = {"arrowstyle": "<->", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tuple(predicted + aside), tuple(expected + aside), arrowprops=arrow)
    x, y = (predicted + expected) / 2 + 1.4 * aside
    axes.text(x, y, f"{distance:g}", va="center", fontsize=7)
