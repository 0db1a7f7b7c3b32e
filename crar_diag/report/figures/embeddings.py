"""Embeddings of the simple maze over time and beside each other: figures 5, 6, 7, 11 and 17."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from crar_diag.errors import InputError, did_you_mean
from crar_diag.report.embedding import ACTION_GREYS, SIDE_COLOURS, SIDE_MARKERS, plot_embedding
from crar_diag.report.figures.loss_curves import loss_legend, plot_losses
from crar_diag.report.layout import settle
from crar_diag.report.style import PAGE, paper_style

BASE_TIMES: Final = (5_000, 20_000, 160_000)
"""Updates at which figure 5 shows a base model."""
TRANSFER_TIMES: Final = (5_000, 20_000, 80_000)
"""Updates at which figures 6 and 7 show a transfer."""

_ROOMS: Final = ("left room", "door", "right room")
_SMALL: Final = 14.0  # area of a cross where three panels share a page, points^2
_MARGIN: Final = 1.07  # of the axes around what they show


def training_figure(
    states: xr.Dataset,
    *,
    member: str,
    times: Sequence[int] = TRANSFER_TIMES,
    title: str = "",
) -> Figure:
    """Draw an agent's embedding at several times in its training, side by side at one scale.

    Args:
        states: a report's `embedding/<run>/states` of the simple maze.
        member: which agent.
        times: updates; see `nearest_records`.
        title: above the panels.

    Raises:
        InputError: there is no such member, or its states are not points of a plane.
    """
    own = _member(states, member)
    records = [own.isel(time=k) for k in nearest_records(own.time.values, times)]
    with paper_style():
        figure = Figure(figsize=(PAGE, 2.62 + (0.2 if title else 0)), layout="constrained")
        panels = figure.subplots(1, len(records), squeeze=False, sharex=True, sharey=True)[0]
        for axes, record in zip(panels, records, strict=True):
            _draw(axes, record, f"{int(record.time):,} updates")
        _finish(figure, panels, states)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def beside_base_figure(states: xr.Dataset, *, member: str, title: str = "") -> Figure:
    """Draw the embedding of a base model beside what one of its transfers ended with.

    Args:
        states: a report's `embedding/<run>/states` of transfers in the simple maze.
        member: which transfer.
        title: above the panels.

    Raises:
        InputError: there is no such member, it has no base model, or its states are not points of a
            plane.
    """
    base, transfer = base_record(states, member), _member(states, member).isel(time=-1)
    with paper_style():
        figure = Figure(figsize=(PAGE, 3.62 + (0.2 if title else 0)), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        _draw(panels[0], base, f"base model, domain '{states.attrs['base_domain']}'", 24)
        words = f"transfer, domain '{states.attrs['domain']}', {int(transfer.time):,} updates"
        _draw(panels[1], transfer, words, 24)
        _finish(figure, list(panels), states)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def variant_figure(
    states: xr.Dataset, history: xr.Dataset, *, member: str, title: str = ""
) -> Figure:
    """Draw a base's embedding, what one of its transfers ended with, and that transfer's losses.

    Args:
        states: a report's `embedding/<run>/states` of transfers in the simple maze.
        history: its `history/<run>`.
        member: which transfer.
        title: above the panels.

    Raises:
        InputError: as `beside_base_figure`.
    """
    base, transfer = base_record(states, member), _member(states, member).isel(time=-1)
    with paper_style():
        figure = Figure(figsize=(PAGE, 2.9 + (0.2 if title else 0)), layout="constrained")
        panels = list(figure.subplots(1, 3, width_ratios=(1, 1, 0.98)))
        _draw(panels[0], base, "base model")
        _draw(panels[1], transfer, f"transfer, {int(transfer.time):,} updates")
        panels[1].set(ylabel="", yticklabels=[])
        _finish(figure, panels[:2], states, columns=4, loc="outside lower left")
        plot_losses(history, member=member, ax=panels[2]).set_title("losses of the transfer")
        panels[2].set_box_aspect(1)
        close: dict[str, Any] = {"columnspacing": 0.6, "handletextpad": 0.5, "handlelength": 2.2}
        loss_legend(figure, panels[2:], columns=2, loc="outside lower right", fontsize=6.5, **close)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def nearest_records(times: np.ndarray, wanted: Sequence[int]) -> list[int]:
    """Return the positions of the records nearest to some times, by their ratio.

    In a run shorter than the last of these times, they are taken at the same shares of its length.

    Args:
        times: of the records, updates, increasing, `[K]`.
        wanted: updates, increasing, the first at least 1.
    """
    scale = min(1.0, float(times[-1]) / wanted[-1])
    logarithms = np.log(np.maximum(times, 0.5))
    return [int(np.argmin(np.abs(logarithms - np.log(scale * one)))) for one in wanted]


def base_record(states: xr.Dataset, member: str) -> xr.Dataset:
    """Return the base model's states for a transfer, as `embedding` and `prediction`.

    Raises:
        InputError: there is no such member, or it has no base model.
    """
    own = _member(states, member)
    label = str(own.base.values) if "base" in own.coords else ""
    if "base_embedding" not in states or label not in states.base_model.values:
        raise InputError(f"expected a transfer that has a base model, found '{member}'")
    found = states[["base_embedding", "base_prediction"]].sel(base_model=label)
    return found.rename(base_embedding="embedding", base_prediction="prediction")


def _member(states: xr.Dataset, member: str) -> xr.Dataset:
    names = [str(name) for name in states.member.values]
    if member not in names:
        raise InputError(
            f"expected a member of the run, found '{member}'{did_you_mean(member, names)}",
            arguments=["member"],
        )
    if "side" not in states.coords or states.embedding.dims[3:] != ("coordinate",):
        raise InputError("expected states of the simple maze that are points of a plane")
    return states.isel(member=names.index(member))


def _draw(axes: Axes, record: xr.Dataset, title: str, size: float = _SMALL) -> None:
    embedding, prediction = record.embedding.values, record.prediction.values
    plot_embedding(embedding, prediction, record.side.values, title=title, size=size, ax=axes)
    axes.label_outer()


def _finish(
    figure: Figure,
    panels: Sequence[Axes],
    states: xr.Dataset,
    columns: int = 7,
    loc: str = "outside lower center",
) -> None:
    """Give the panels one square frame and the figure a legend."""
    reach = max(np.abs(axes.dataLim.get_points()).max() for axes in panels)
    limits = (-_MARGIN * reach, _MARGIN * reach)
    for axes in panels:
        axes.set(xlim=limits, ylim=limits)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    handles = _handles([str(action) for action in states.action.values])
    if columns < len(handles):  # rooms in one row, actions in the next
        handles = [
            one
            for pair in zip([*handles[:3], Line2D([], [], alpha=0)], handles[3:], strict=True)
            for one in pair
        ]
    style: dict[str, Any] = {"loc": loc, "columnspacing": 1.2, "handletextpad": 0.5}
    figure.legend(handles=handles, ncols=columns, handlelength=1.6, **style)


def _handles(actions: Sequence[str]) -> list[Line2D]:
    """Return what a legend shows: a cross a room, a grey line an action."""
    found = []
    for name, colour, marker in zip(_ROOMS, SIDE_COLOURS, SIDE_MARKERS, strict=True):
        cross: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 4.5}
        found.append(Line2D([], [], linestyle="none", label=name, **cross))
    for action, grey in zip(actions, ACTION_GREYS, strict=True):
        found.append(Line2D([], [], color=grey, label=f"predicted, {action}"))
    return found
