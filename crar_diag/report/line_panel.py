"""One loss along a line between two models, frozen and re-fitted, with its barriers."""

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, StrMethodFormatter

from crar_diag.report.labelling import check_loss, with_refits
from crar_diag.report.style import BLUE, COLUMN, LOSS_LABELS, ORANGE

SAME_FOR_BOTH: Final = "the same for both: does not\ndepend on the dynamics"

# Blue is the darker of the two in grey.
CURVES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"color": BLUE, "linestyle": "-", "zorder": 3},
    "unfrozen": {"color": ORANGE, "linestyle": (0, (4, 1.5)), "zorder": 4},
    "both": {"color": "black", "linestyle": "-", "zorder": 3},
}
HOLLOW: Final[dict[str, Any]] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 3,
    "markerfacecolor": "white",
    "markeredgecolor": ORANGE,
    "markeredgewidth": 0.7,
    "zorder": 5,
}
STRAIGHT: Final[dict[str, Any]] = {"linestyle": ":", "linewidth": 0.8, "zorder": 2}

_SMALL: Final = 6  # points
_LINE_SHARE: Final = 0.085  # of an axes' height, that a line of small text takes
_ROUNDING: Final = 1e-7  # of single precision, relative


def plot_line_loss(dataset: xr.Dataset, loss: str, *, ax: Axes | None = None) -> Axes:
    """Draw one loss along a line, with its barriers between the ends.

    Args:
        dataset: a report's `line/<name>` (`report.lines.line_dataset`).
        loss: its name.
        ax: where to draw; new axes by default.

    Returns:
        The axes. The curves have the labels `frozen`, `unfrozen` or, where they cannot differ,
        `both`.

    Raises:
        InputError: there is no such loss.
    """
    check_loss(dataset, loss)
    axes = ax or Figure(figsize=(COLUMN, 2.2), layout="constrained").subplots()
    curves = _curves(dataset.sel(loss=loss))
    words = [
        (f"{label}: " if len(curves) > 1 else "") + _barrier_words(curve)
        for label, curve in curves.items()
    ]
    if "both" in curves:
        words.append(with_refits(SAME_FOR_BOTH, dataset))
    text = "\n".join(words)
    for label, curve in curves.items():
        _draw_curve(axes, curve, label)
    _make_room(axes, list(curves.values()), lines=text.count("\n") + 1)
    for (label, curve), step in zip(curves.items(), _steps_aside(curves), strict=True):
        _draw_barrier(axes, curve, CURVES[label]["color"], step)
    _draw_ends(axes)
    axes.text(
        *(0.5, 0.97, text),
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="top",
        fontsize=_SMALL,
        linespacing=1.15,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
    )
    axes.set_title(LOSS_LABELS.get(loss, loss), pad=12)
    return axes


def _curves(own: xr.Dataset) -> dict[str, xr.Dataset]:
    if own.sizes["dynamics"] > 1 and not bool(own.depends_on_dynamics):
        return {"both": own.isel(dynamics=0)}
    return {str(name): own.sel(dynamics=name) for name in own.dynamics.values}


def _draw_curve(axes: Axes, curve: xr.Dataset, label: str) -> None:
    alphas, values = curve.alpha.values, curve.value.values
    axes.plot(alphas, values, label=label, **CURVES[label])
    if "error" in curve and np.isfinite(curve.error.values).any():
        low, high = values - curve.error.values, values + curve.error.values
        axes.fill_between(alphas, low, high, color=CURVES[label]["color"], alpha=0.25, linewidth=0)
    if label == "unfrozen" and not curve.converged.values.all():
        hollow = ~curve.converged.values
        axes.plot(alphas[hollow], values[hollow], label="not converged", **HOLLOW)


def _barrier_words(curve: xr.Dataset) -> str:
    height = float(curve.above_line)
    if not np.isfinite(height):
        return "barrier unknown"
    if height <= _ROUNDING * float(abs(curve.value.sel(alpha=[0.0, 1.0])).max()):
        return "no barrier"
    return f"barrier {height:.3g}"


def _make_room(axes: Axes, curves: list[xr.Dataset], lines: int) -> None:
    """Leave the top of the axes to so many lines of text, whatever the curves do below it."""
    reached = []
    for curve in curves:
        spread = np.nan_to_num(curve.error.values) if "error" in curve else 0.0
        reached += [curve.value.values - spread, curve.value.values + spread]
    values = np.concatenate(reached)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    span = (high - low) or abs(high) or 1.0
    low -= 0.05 * span
    axes.set_ylim(low, low + 1.1 * span / (1 - _LINE_SHARE * lines - 0.03))
    axes.set_xlim(curves[0].alpha.values[0], curves[0].alpha.values[-1])
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    # Without a common factor above the axes, where the ends have their names.
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _steps_aside(curves: dict[str, xr.Dataset]) -> list[float]:
    """Return by how much each arrow steps aside for another one at the same place."""
    places = [float(curve.above_line_at) for curve in curves.values()]
    first = next(iter(curves.values()))
    step = 0.012 * float(first.alpha[-1] - first.alpha[0])
    if len(places) == 1 or abs(places[1] - places[0]) >= 2 * step:
        return [0.0] * len(places)
    return [-step, step]


def _draw_barrier(axes: Axes, curve: xr.Dataset, colour: str, step: float) -> None:
    """Draw the straight line between the ends and, where it can be seen, the rise above it."""
    ends = curve.value.sel(alpha=[0.0, 1.0]).values
    axes.plot([0, 1], ends, color=colour, label="_ends", **STRAIGHT)
    at, height = float(curve.above_line_at), float(curve.above_line)
    bottom, top = axes.get_ylim()
    if not height > 0.04 * (top - bottom):
        return
    foot = float((1 - at) * ends[0] + at * ends[1])
    arrow = {
        "arrowstyle": "<->,head_length=0.2,head_width=0.1",
        "linewidth": 0.6,
        "color": colour,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", (at + step, foot + height), (at + step, foot), arrowprops=arrow, zorder=5)


def _draw_ends(axes: Axes) -> None:
    for place, name in ((0.0, "A"), (1.0, "B")):
        axes.axvline(place, color="0.6", linewidth=0.5, zorder=1)
        axes.annotate(
            *(name, (place, 1.0), (0, 1.5)),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
        )
