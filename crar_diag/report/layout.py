"""The layout of a figure, computed once: however often it is saved, it looks the same."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The first pass starts from axes that fill the figure; a colour bar's width follows from its
# height in the next one.
_PASSES: Final = 3


def settle(figure: Figure) -> Figure:
    """Lay a figure out, keep that layout, and return the figure."""
    for _ in range(_PASSES):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def settle_proportion(figure: Figure, panels: Sequence[Axes], ratio: float | None) -> Figure:
    """Lay a figure out, as high as makes its panels so many times as high as wide.

    Args:
        figure: of some width.
        panels: axes of one size, of which a unit along y becomes as long as one along x.
        ratio: their height over their width; None leaves figure and panels as high as they are.
    """
    if ratio is None:
        return settle(figure)
    # The layout takes no account of how a fixed aspect shrinks axes, and would cut off titles: so
    # the aspect is fixed when the axes have it already.
    for _ in range(_PASSES):
        figure.draw_without_rendering()
        box = panels[0].get_position()
        width, height = figure.get_size_inches() * (box.width, box.height)
        figure.set_figheight(figure.get_figheight() + width * ratio - height)
    settle(figure)
    for axes in panels:
        axes.set_aspect("equal")
    return figure
