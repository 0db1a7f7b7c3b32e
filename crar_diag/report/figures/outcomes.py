"""What became of transfers: kinds over time and their shares, and what the two remedies do."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crar_diag.errors import InputError
from crar_diag.report.kinds import KIND_COLOURS, plot_kinds
from crar_diag.report.layout import settle
from crar_diag.report.style import BLUE, COLUMN, PAGE, VERMILION, paper_style

ALL_BASES: Final = "all"

# Without colours, hatches tell the kinds apart.
_HATCHES: Final = {
    "identity": "",
    "exchange": "////",
    "mirror": "\\\\\\\\",
    "swap": "xxxx",
    "rotation": "....",
    "channels": "----",
    "collapsed": "",
    "unfinished": "",
    "other": "||||",
    "diverged": "++++",
    "no base": "",
}
_HATCH_WIDTH: Final = 0.6
_COLUMNS: Final = 4
_FAINT: Final[dict[str, Any]] = {"color": "0.65", "linewidth": 0.7, "zorder": 1}


def kinds_figure(shares: xr.Dataset, *, title: str = "") -> Figure:
    """Draw the share of every kind of outcome over time: of all transfers, and of each base's.

    Transfers from scratch, which have no base to be compared with, have no panel of their own.

    Args:
        shares: a report's `embedding/<run>/kinds`.
        title: above the panels.
    """
    bases = [str(base) for base in shares.base.values if str(base)]
    if len(bases) == 2:  # one base model, and all of them: the same
        bases = bases[1:]
    columns = min(_COLUMNS, len(bases))
    rows = -(-len(bases) // columns)
    with paper_style():
        width = COLUMN if columns <= _COLUMNS / 2 else PAGE
        figure = Figure(figsize=(width, 1.65 * rows + 0.3), layout="constrained")
        cells = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
        present: dict[str, None] = {}
        for axes, base in zip(cells, bases, strict=False):
            present |= dict.fromkeys(_hatched(plot_kinds(shares, base, ax=axes)))
            axes.set_title("all base models" if base == ALL_BASES else base)
            axes.set(xlabel="", ylabel="")
        for axes in cells[len(bases) - columns : len(bases)]:
            axes.tick_params(labelbottom=True)
        for axes in cells[(rows - 1) * columns : len(bases)]:
            axes.set_xlabel("updates")
        _name_kinds(figure, cells[len(bases) :], present)
        figure.supylabel("share of transfers", fontsize=8)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def remedies_figure(
    restarts: xr.Dataset, rates: xr.Dataset | None = None, *, title: str = ""
) -> Figure:
    """Draw what the two remedies do: success by the number of restarts, and with realignment.

    Args:
        restarts: a report's `embedding/<run>/restarts`.
        rates: its `statistics/rates`; conditions with realignment have a second panel, beside the
            same ones without it.
        title: above the panels.
    """
    shown = [] if rates is None else realigned_conditions(rates)
    with paper_style():
        width = PAGE if shown else COLUMN
        size = (width, (2.7 if shown else 2.9) + (0.2 if title else 0))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, 2 if shown else 1, squeeze=False, sharey=True)[0]
        plot_restarts(restarts, ax=panels[0])
        panels[0].set_title("restarts")
        if rates is not None and shown:
            plot_rates(rates, shown, ax=panels[1])
            panels[1].set(title="realignment", ylabel="")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 if shown else 1)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def plot_restarts(restarts: xr.Dataset, *, ax: Axes) -> Axes:
    """Draw the success rate of the best of K starts against K, with its interval.

    Args:
        restarts: a report's `embedding/<run>/restarts`.
        ax: where to draw.

    Returns:
        The axes: a marked line is the mean over bases, thin lines are the bases, and crosses the
        K-th starts by themselves.
    """
    own, k = restarts.sel(base=ALL_BASES), restarts.restarts.values
    rate = own.rate.values
    _with_interval(ax, k, rate, own.low.values, own.high.values, "mean over bases, 95% interval")
    for number, base in enumerate(restarts.base.values[1:]):
        label = "_" if number else "each base model"
        ax.plot(k, restarts.rate.sel(base=base).values, label=label, **_FAINT)
    alone: dict[str, Any] = {"color": VERMILION, "marker": "x", "linestyle": "none"}
    label = "the K-th start alone, mean over bases"
    ax.plot(k, own.alone.values, label=label, markersize=5, zorder=4, **alone)
    ax.set(xlabel="best of K restarts", ylabel="success rate", xticks=k, ylim=(-0.03, 1.03))
    return ax


def plot_rates(rates: xr.Dataset, shown: Sequence[str], *, ax: Axes) -> Axes:
    """Draw the mean success rates of conditions with their intervals over bases.

    Args:
        rates: a report's `statistics/rates`.
        shown: names of conditions; thin lines join those of each base model.
        ax: where to draw.

    Raises:
        InputError: one of them is not there.
    """
    names = [str(name) for name in rates.condition.values]
    for name in shown:
        if name not in names:
            raise InputError(f"expected one of the conditions {', '.join(names)}, found '{name}'")
    own = rates.isel(condition=[names.index(name) for name in shown])
    places = np.arange(len(shown))
    for place in places:
        ends = (own.mean_low.values[[place]], own.mean_high.values[[place]])
        _with_interval(ax, places[[place]], own.mean_rate.values[[place]], *ends, "_mean")
    for rate in own.rate.values.T:
        ax.plot(places, rate, marker=".", markersize=4, label="_base", **_FAINT)
    ax.set_xticks(places, [name.replace(", ", "\n") for name in shown])
    ax.set(xlim=(-0.5, len(shown) - 0.5), ylabel="success rate")
    return ax


def _with_interval(
    axes: Axes, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray, label: str
) -> None:
    style: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4, "zorder": 3}
    axes.errorbar(x, y, yerr=np.abs([low - y, high - y]), capsize=2.5, label=label, **style)


def realigned_conditions(rates: xr.Dataset) -> list[str]:
    """Return the conditions with realignment, each after the one that it is to be compared with."""
    names = [str(name) for name in rates.condition.values]
    found: list[str] = []
    for name in names:
        plain = name.replace(", realign", "")
        if plain != name and plain in names:
            found += [one for one in (plain, name) if one not in found]
    return found


def _hatched(axes: Axes) -> list[str]:
    """Give each area its hatch; return the kinds that are drawn."""
    found = []
    for area in axes.collections:
        assert isinstance(area, PolyCollection)
        kind = str(area.get_label())
        area.set(hatch=_HATCHES[kind], hatch_linewidth=_HATCH_WIDTH, edgecolor="white")
        found.append(kind)
    return found


def _name_kinds(figure: Figure, free: Sequence[Axes], kinds: Mapping[str, None]) -> None:
    """Put the legend into the first free cell, or below the panels where there is none."""
    style: dict[str, Any] = {"edgecolor": "white", "linewidth": 0}
    handles = [
        Patch(label=kind, facecolor=colour, hatch=_HATCHES[kind], **style)
        for kind, colour in KIND_COLOURS.items()
        if kind in kinds
    ]
    for handle in handles:
        handle.set_hatch_linewidth(_HATCH_WIDTH)
    for axes in free:
        axes.set_axis_off()
    if free:
        free[0].legend(handles=handles, loc="upper left", borderaxespad=0).set_in_layout(False)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
