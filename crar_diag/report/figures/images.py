"""Abstract states that are images: figure 9, base models above their transfers."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from crar_diag.errors import InputError, did_you_mean
from crar_diag.report.figures.pixels import STATES, as_vectors, draw_pixels
from crar_diag.report.layout import settle
from crar_diag.report.style import COLUMN, PAGE, paper_style

MOST: Final = 6
"""Pairs of states that a page has room for."""
_BESIDE: Final = 1.15  # inches beside the pictures
_GAP: Final = 0.3  # between pairs, in widths of a picture
_PANELS: Final = ("base", "transfer")


def images_figure(
    states: xr.Dataset, *, members: Sequence[str], picture: int = 0, title: str = ""
) -> Figure:
    """Draw the states of one maze: those of base models above, those of their transfers below.

    Side by side stand the channels of a state. Under each pair is its L2 distance, ||x - y|| over
    all entries of the two states (section 5.2.2).

    Args:
        states: a report's `embedding/<run>/states` of transfers in the labyrinth.
        members: which transfers, at most `MOST`.
        picture: number of the maze.
        title: above the panels.

    Raises:
        InputError: a member is not there or has no base model, there are none or too many, or the
            states are no images.
    """
    pairs = [pair_of(states, member, picture) for member in members]
    if not 1 <= len(pairs) <= MOST:
        raise InputError(
            f"expected 1 to {MOST} transfers, found {len(pairs)}", arguments=["member"]
        )
    reach = float(np.ceil(10 * np.nanmax(np.abs(pairs))) / 10)
    channels = pairs[0].shape[1]
    with paper_style():
        figure, panels = _panels(len(pairs), channels, bool(title))
        for own, pair in zip(panels, pairs, strict=True):
            for axes, values in zip(own.flat, pair.reshape(-1, *pair.shape[2:]), strict=True):
                drawn = draw_pixels(axes, values, low=-reach, high=reach, colours=STATES)
            distance = float(np.linalg.norm(pair[0] - pair[1]))
            own[1, channels // 2].set_xlabel(f"distance {distance:.2f}", fontsize=7)
        for own, member in zip(panels, members, strict=True):
            label = str(states.base.sel(member=member).values)
            own[0, channels // 2].set_title(label, fontsize=7)
        for row, name in enumerate(_PANELS):
            panels[0][row, 0].set_ylabel(name)
        numbers = ", ".join(str(one) for one in states.channel.values)
        figure.supxlabel(f"channels {numbers} of each state, from left to right", fontsize=7)
        every = [axes for own in panels for axes in own.flat]
        bar = as_vectors(
            figure.colorbar(drawn, ax=every, label="abstract state", aspect=14, pad=0.01)
        )
        bar.set_ticks([-reach, 0.0, reach])
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def _panels(pairs: int, channels: int, titled: bool) -> tuple[Figure, list[np.ndarray]]:
    """Return a figure and, for each pair, its axes, `[2, channels]`; gaps stand between pairs."""
    width = COLUMN if pairs == 1 else PAGE
    ratios = (([1.0] * channels + [_GAP]) * pairs)[:-1]
    edge = (width - _BESIDE) / sum(ratios)
    size = (width, 2.0 * edge + 0.75 + (0.2 if titled else 0))
    close = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=size, layout=close)
    cells = figure.subplots(len(_PANELS), len(ratios), squeeze=False, width_ratios=ratios)
    for axes in cells[:, channels :: channels + 1].flat:
        axes.remove()
    starts = range(0, len(ratios), channels + 1)
    return figure, [cells[:, start : start + channels] for start in starts]


def pair_of(states: xr.Dataset, member: str, picture: int = 0) -> np.ndarray:
    """Return a base model's state and the one that its transfer ended with, `[2, C, H, W]`.

    Args:
        states: a report's `embedding/<run>/states` of transfers in the labyrinth.
        member: which transfer.
        picture: number of the maze.

    Raises:
        InputError: there is no such member, it has no base model, or the states are no images.
    """
    names = [str(name) for name in states.member.values]
    if "base_embedding" not in states or "channel" not in states.embedding.dims:
        raise InputError("expected states of transfers that are images")
    if member not in names:
        raise InputError(
            f"expected a member of the run, found '{member}'{did_you_mean(member, names)}",
            arguments=["member"],
        )
    own = states.isel(member=names.index(member), picture=picture)
    label = str(own.base.values)
    if label not in own.base_model.values:
        raise InputError(f"expected a transfer that has a base model, found '{member}'")
    return np.stack(
        [own.base_embedding.sel(base_model=label).values, own.embedding.isel(time=-1).values]
    )
