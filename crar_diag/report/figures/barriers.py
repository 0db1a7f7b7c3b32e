"""Barriers between models, loss by loss, over all lines of a report."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.layout import settle
from crar_diag.report.line_figure import NEGLIGIBLE
from crar_diag.report.style import BLUE, LOSS_LABELS, ORANGE, PAGE, paper_style

_BARS: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"facecolor": BLUE},
    "unfrozen": {"facecolor": ORANGE, "hatch": "////", "edgecolor": "white"},
    "both": {"facecolor": "0.6"},
}
_MEANING: Final = {
    "frozen": "dynamics frozen",
    "unfrozen": "dynamics re-fitted (unfrozen)",
    "both": "the same for both",
}
_COLUMNS: Final = 3


def barriers_figure(*lines: xr.Dataset, title: str = "") -> Figure:
    """Draw the barrier of every loss, over all lines, with frozen and re-fitted dynamics.

    A bar is the mean over lines of the largest rise above the straight line between the ends; dots
    are the lines, those of one line joined. Losses whose barriers are negligible are left out.

    Args:
        lines: each a report's `line/<name>`.
        title: above the panels.

    Raises:
        InputError: no line, or none of the losses is in all of them.
    """
    if not lines:
        raise InputError("expected at least one line between two models, got none")
    shown, left_out = _losses(lines)
    columns = min(_COLUMNS, len(shown) + 1)
    rows = -(-(len(shown) + 1) // columns)
    with paper_style():
        size = (PAGE, 1.6 * rows + (0.2 if title else 0))
        figure = Figure(figsize=size, layout="constrained")
        cells = list(figure.subplots(rows, columns, squeeze=False).flat)
        names: dict[str, None] = {}
        for axes, loss in zip(cells, shown, strict=False):
            names |= dict.fromkeys(plot_barriers(lines, loss=loss, ax=axes))
            axes.set_title(LOSS_LABELS.get(loss, loss))
        figure.supylabel("barrier", fontsize=8)
        _legend(cells[len(shown)], list(names), len(lines), left_out)
        for axes in cells[len(shown) + 1 :]:
            axes.remove()
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def plot_barriers(lines: Sequence[xr.Dataset], *, loss: str, ax: Axes) -> list[str]:
    """Draw the barriers of one loss over lines.

    Args:
        lines: each a report's `line/<name>`.
        loss: its name.
        ax: where to draw.

    Returns:
        What has a bar: `frozen`, `unfrozen`, or `both` where a loss does not depend on the
        dynamics.
    """
    found = {
        name: np.array([_height(line, loss, name) for line in lines])
        for name in ("frozen", "unfrozen")
    }
    if not any(bool(line.depends_on_dynamics.sel(loss=loss)) for line in lines):
        found = {"both": np.fmax(found["frozen"], found["unfrozen"])}
    found = {name: values for name, values in found.items() if np.isfinite(values).any()}
    for place, (name, values) in enumerate(found.items()):
        style = {"width": 0.62, "linewidth": 0, **_BARS[name]}
        ax.bar(place, np.nanmean(values), label=name, **style)
    heights = np.array(list(found.values()))
    places = np.arange(len(heights))
    for own in heights.T:
        ax.plot(places, own, color="black", linewidth=0.5, marker=".", markersize=3.5, alpha=0.8)
    ax.set_xticks([])
    ax.set_xlim(-0.7, len(found) - 0.3)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    return list(found)


def _height(line: xr.Dataset, loss: str, dynamics: str) -> float:
    """Return a barrier; NaN where the line has no such loss or dynamics."""
    if loss not in line.loss.values or dynamics not in line.dynamics.values:
        return float("nan")
    return float(line.above_line.sel(loss=loss, dynamics=dynamics))


def _losses(lines: Sequence[xr.Dataset]) -> tuple[list[str], list[str]]:
    """Return the losses that have a panel, the sum first, and those that are negligible."""
    names = [
        str(name)
        for name in lines[0].loss.values
        if all(name in line.loss.values for line in lines)
    ]
    if not names:
        raise InputError("expected lines of the same losses, found none that all of them have")
    highest = [
        max(float(np.nan_to_num(line.above_line.sel(loss=name).max())) for line in lines)
        for name in names
    ]
    largest = max(highest)
    small = [n for n, high in zip(names, highest, strict=True) if high < NEGLIGIBLE * largest]
    shown = sorted((n for n in names if n not in small), key=lambda name: name != SUM)
    return shown, small


def _legend(axes: Axes, names: list[str], lines: int, left_out: list[str]) -> None:
    axes.set_axis_off()
    order = [name for name in _BARS if name in names]
    handles: list[Any] = [Patch(label=_MEANING[name], linewidth=0, **_BARS[name]) for name in order]
    what = "the line" if lines == 1 else f"one of {lines} lines"
    handles.append(Line2D([], [], color="black", linewidth=0.5, marker=".", label=what))
    axes.legend(handles=handles, loc="upper left", borderaxespad=0).set_in_layout(False)
    if left_out:
        several = ", ".join(LOSS_LABELS.get(name, name) for name in left_out)
        note = f"negligible barriers:\n{several}"
        words = axes.text(0.0, 0.3, note, transform=axes.transAxes, fontsize=7, va="top")
        words.set_in_layout(False)
