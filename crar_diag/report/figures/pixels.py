"""Small pictures, pixel by pixel, as vectors: what an agent sees, and the states of images."""

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

GREYS: Final = "gray"
STATES: Final = "cividis"
"""Colours of abstract states: perceptually uniform, made for colour-blind readers, and for grey."""


def draw_pixels(
    axes: Axes,
    picture: np.ndarray,
    *,
    low: float = -1.0,
    high: float = 1.0,
    colours: str = GREYS,
    values: bool = False,
) -> PatchCollection:
    """Draw a picture with its first row on top; a square of the page a pixel.

    Args:
        axes: where to draw; they lose their ticks.
        picture: numbers, `[rows, columns]`.
        low: which is the darkest.
        high: which is the brightest.
        colours: a colour map of matplotlib's.
        values: write each number into its pixel.
    """
    rows, columns = picture.shape
    # As rectangles, not as an image: viewers of PDF smooth images.
    parts = rectangles(picture)
    drawn = PatchCollection(
        [Rectangle((column, row), width, height) for row, column, height, width in parts],
        norm=Normalize(low, high),
        cmap=colours,
        edgecolors="face",  # else viewers show the page between them
        linewidth=0.1,
        zorder=1,
    )
    drawn.set_array(np.array([picture[row, column] for row, column, _, _ in parts]))
    axes.add_collection(drawn)
    axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    axes.set_aspect("equal")
    if values:
        _write(axes, picture, low, high)
    return drawn


def rectangles(picture: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return rectangles of one value each that cover a picture: row, column, height, width."""
    free = np.ones(picture.shape, bool)
    found = []
    for row, column in np.ndindex(picture.shape):
        if not free[row, column]:
            continue
        same = free & (picture == picture[row, column])
        width = _run(same[row, column:])
        height = _run(same[row:, column : column + width].all(axis=1))
        free[row : row + height, column : column + width] = False
        found.append((row, column, height, width))
    return found


def _run(holds: np.ndarray) -> int:
    """Return how many of the first values hold."""
    return len(holds) if holds.all() else int(np.argmin(holds))


def as_vectors(bar: Colorbar) -> Colorbar:
    """Let a colour bar of many colours be made of rectangles, not of an image."""
    if bar.solids is not None:
        bar.solids.set(rasterized=False, edgecolor="face", linewidth=0.1)
    return bar


def frame_pixel(axes: Axes, row: int, column: int, colour: str) -> None:
    """Frame the pixel of a picture that is spoken of."""
    x = np.array([0, 1, 1, 0, 0]) + column
    y = np.array([0, 0, 1, 1, 0]) + row
    axes.plot(x, y, color=colour, linewidth=1.6, solid_joinstyle="miter", zorder=4)


def _write(axes: Axes, picture: np.ndarray, low: float, high: float) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    for (row, column), value in np.ndenumerate(picture):
        dark = (value - low) / (high - low) < 0.5
        text = f"{value + 0.0:g}".replace("-", "\N{MINUS SIGN}")
        ink = "white" if dark else "black"
        size = 5 if len(text) < 4 else 4
        axes.text(column + 0.5, row + 0.5, text, color=ink, fontsize=size, **style)
