"""Losses over the time of a training: figures 13 and 16, and a panel of figure 17."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crar_diag.agent.config import LOSSES
from crar_diag.errors import InputError, did_you_mean
from crar_diag.report.layout import settle
from crar_diag.report.style import COLUMN, LOSS_COLOURS, LOSS_LABELS, PAGE, paper_style

DECADES: Final = 5
"""The axis of losses leads at most so far below the largest of them."""
NEGLIGIBLE: Final = 1e-4
"""A final loss below this share of the largest final one does not decide where the axis ends."""

# Dashes tell apart in grey what colours do otherwise.
DASHES: Final[Mapping[str, Any]] = {
    "transition": "-",
    "volume": (0, (5, 1.5)),
    "random_pairs": (0, (1.2, 1.2)),
    "consecutive_pairs": (0, (4, 1.2, 1.2, 1.2)),
    "reward": (0, (7, 2, 1, 2, 1, 2)),
    "discount": (0, (3, 3)),
    "q": (0, (1, 3)),
}
_WIDTHS: Final = {"transition": 1.7}


def plot_losses(history: xr.Dataset, *, member: str, ax: Axes | None = None) -> Axes:
    """Draw the losses of an agent over its training, both axes logarithmic.

    Args:
        history: a report's `history/<run>`: `expected_loss` over `member`, `time` and `loss`, with
            its standard error, which is drawn as a band where it is not 0.
        member: which agent.
        ax: where to draw; new axes by default.

    Returns:
        The axes. Update 0, which a logarithm cannot place, stands at the left end. What falls more
        than `DECADES` below the largest loss leaves the axes.

    Raises:
        InputError: there is no such member.
    """
    names = [str(name) for name in history.member.values]
    if member not in names:
        raise InputError(
            f"expected a member of the run, found '{member}'{did_you_mean(member, names)}",
            arguments=["member"],
        )
    axes = ax or Figure(figsize=(COLUMN, 2.4), layout="constrained").subplots()
    own = history.isel(member=names.index(member))
    times = np.maximum(own.time.values, 1)
    for loss in LOSSES:
        values = own.expected_loss.sel(loss=loss).values
        errors = own.expected_loss_error.sel(loss=loss).values
        axes.plot(times, values, label=loss, **_style(loss))
        if np.nanmax(errors, initial=0.0) > 0:
            low, high = values - errors, values + errors
            band: dict[str, Any] = {"color": LOSS_COLOURS[loss], "alpha": 0.25, "linewidth": 0}
            axes.fill_between(times, low, high, label="_error", **band)
    axes.set(xscale="log", yscale="log", xlim=(times[0], times[-1]), xlabel="updates")
    axes.set_ylabel("loss")
    _limit(axes)
    return axes


def losses_figure(
    *histories: xr.Dataset, members: Sequence[str], titles: Sequence[str] = (), title: str = ""
) -> Figure:
    """Draw the losses of several agents over their trainings, side by side on one scale.

    Args:
        histories: a report's `history/<run>` for each.
        members: which agent of each.
        titles: above each panel; the members' names by default.
        title: above all.

    Raises:
        InputError: one of the members is not there, or there are not as many as histories.
    """
    if not histories or len(members) != len(histories):
        raise InputError(
            f"expected a member for each of {len(histories)} histories, found {len(members)}"
        )
    with paper_style():
        figure = Figure(figsize=(PAGE, 2.55 + (0.2 if title else 0)), layout="constrained")
        panels = figure.subplots(1, len(histories), squeeze=False, sharey=True)[0]
        for axes, history, member in zip(panels, histories, members, strict=True):
            plot_losses(history, member=member, ax=axes)
            axes.label_outer()
        for axes, words in zip(panels, titles or members, strict=True):
            axes.set_title(words)
        _limit(panels[0], *panels[1:])
        loss_legend(figure, panels, columns=4)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def loss_legend(figure: Figure, panels: Sequence[Axes], columns: int, **style: Any) -> None:
    """Name the losses that are drawn below the panels, and last those that lie below all axes."""
    handles, unseen = [], []
    for loss in LOSSES:
        curves = [line for axes in panels for line in axes.lines if line.get_label() == loss]
        if any(map(_is_seen, curves)):
            handles.append(Line2D([], [], label=LOSS_LABELS[loss], **_style(loss)))
        else:
            unseen.append("$" + LOSS_LABELS[loss].split("$")[1] + "$")
    if unseen:
        words = f"below the axis: {', '.join(unseen)}"
        handles.append(Line2D([], [], linestyle="none", label=words))
    style = {"loc": "outside lower center", "handlelength": 2.8, **style}
    figure.legend(handles=handles, ncols=columns, **style)


def _is_seen(curve: Line2D) -> bool:
    axes = curve.axes
    assert isinstance(axes, Axes)
    values = np.asarray(curve.get_ydata(), np.float64)
    return bool((values[np.isfinite(values)] >= axes.get_ylim()[0]).any())


def _style(loss: str) -> dict[str, Any]:
    return {
        "color": LOSS_COLOURS[loss],
        "linestyle": DASHES[loss],
        "linewidth": _WIDTHS.get(loss, 1.2),
    }


def _limit(*panels: Axes) -> None:
    """Let the axes lead from the largest loss of all panels down to the least that counts.

    That is half of the least final loss, those apart that are negligible beside the largest one;
    but at most `DECADES` down, and at least three.
    """
    curves = [np.asarray(line.get_ydata(), float) for axes in panels for line in axes.lines]
    values = np.concatenate(curves)
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:  # a logarithmic axis has no limits of its own then
        panels[0].set_ylim(1e-3, 1.0)
        return
    top = 1.5 * values.max()
    last = np.array([curve[-1] for curve in curves])
    last = last[np.isfinite(last)]
    counting = last[last >= NEGLIGIBLE * last.max(initial=0.0)]
    low = 0.5 * counting.min(initial=np.inf)
    panels[0].set_ylim(max(min(low, 1e-3 * top), top * 10.0**-DECADES), top)
