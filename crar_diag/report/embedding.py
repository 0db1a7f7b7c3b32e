"""The picture of a two-dimensional embedding: figures 5, 6, 7 and 11 of the paper."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from crar_diag.errors import InputError

# Left room, door, right room: blue, vermilion and bluish green of Okabe and Ito's palette, which
# colour-blind readers tell apart, and which differ in grey.
SIDE_COLOURS = ("#0072B2", "#D55E00", "#009E73")
# Two crosses and, in the door between the rooms, both at once: they can be told apart in grey.
SIDE_MARKERS = ("x", (6, 2, 0), "+")
# One grey an action, as in the paper.
ACTION_GREYS = ("0.15", "0.4", "0.6", "0.8")


def plot_embedding(
    embedding: np.ndarray,
    predictions: np.ndarray,
    sides: np.ndarray,
    *,
    title: str = "",
    size: float = 28,
    ax: Axes | None = None,
) -> Axes:
    """Draw states as crosses coloured by side, and predicted transitions as lines.

    Args:
        embedding: abstract states e(o), `[states, 2]`.
        predictions: predicted next states x + p(x, a), `[states, actions, 2]`; one grey an action.
        sides: 0 left of the wall, 1 the door, 2 right of it, `[states]`.
        title: above the axes.
        size: area of a cross, points^2.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        InputError: if the shapes do not fit.
    """
    states = len(embedding)
    if embedding.shape != (states, 2) or predictions.shape[::2] != (states, 2):
        raise InputError(
            "expected an embedding [states, 2] and predictions [states, actions, 2], found "
            f"{embedding.shape} and {predictions.shape}"
        )
    axes = ax or plt.subplots(figsize=(3.25, 3.25), layout="constrained")[1]
    width = 1.4 * (size / 28) ** 0.5
    for action in range(predictions.shape[1]):
        lines = np.stack([embedding, predictions[:, action]], axis=1)
        grey = ACTION_GREYS[action % len(ACTION_GREYS)]
        axes.add_collection(
            LineCollection(list(lines), colors=grey, linewidths=0.7 * width, zorder=1)
        )
    for side, (name, colour) in enumerate(
        zip(("left", "door", "right"), SIDE_COLOURS, strict=True)
    ):
        x, y = embedding[sides == side].T
        style: dict[str, Any] = {"marker": SIDE_MARKERS[side], "s": size, "linewidths": width}
        axes.scatter(x, y, color=colour, label=name, zorder=2, **style)
    axes.set_aspect("equal")
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$")
    axes.set_title(title)
    axes.autoscale_view()
    return axes
