"""Pictures of what loss-landscapes computed, drawn at the points that it really sampled."""

from typing import Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from crar_diag.landscape.problem import SUM
from crar_diag.report.labelling import check_loss
from crar_diag.report.layout import settle
from crar_diag.report.plane_panel import COLOURS
from crar_diag.report.plane_scale import scale_of, written
from crar_diag.report.style import LOSS_COLOURS, LOSS_LABELS, PAGE, paper_style

ENGINE: Final = "loss-landscapes"
"""What groups made by the library say of themselves, in their attribute `engine`."""

_COLUMNS: Final = 4
_ROW: Final = 1.6  # inches


def library_line_figure(dataset: xr.Dataset, *, title: str = "") -> Figure:
    """Draw each loss over the positions at which the library evaluated it; A is not among them.

    Args:
        dataset: a line of `report.library.by_library`.
        title: above the panels.
    """
    losses = [str(name) for name in dataset.loss.values]
    rows = -(-len(losses) // _COLUMNS)
    with paper_style():
        figure = Figure(figsize=(PAGE, _ROW * rows + 0.3), layout="constrained")
        cells = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).flat
        for axes, loss in zip(cells, losses, strict=False):
            values = dataset.value.sel(loss=loss).values
            colour = LOSS_COLOURS.get(loss, "black")
            axes.plot(dataset.alpha.values, values, marker=".", markersize=3, color=colour)
            axes.set_title(LOSS_LABELS.get(loss, loss))
        for axes in list(cells)[len(losses) :]:
            axes.remove()
        figure.supxlabel(r"position on the line, $\alpha$ (A at 0, B at 1)", fontsize=8)
        figure.supylabel("loss", fontsize=8)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def library_plane_figure(dataset: xr.Dataset, *, loss: str = SUM, title: str = "") -> Figure:
    """Draw a loss between the points at which the library evaluated it, which are dots.

    They form no rectangular grid, so that contours lead through triangles of neighbours.

    Args:
        dataset: a plane of `report.library.by_library`.
        loss: its name.
        title: above the panel.

    Raises:
        InputError: there is no such loss.
    """
    check_loss(dataset, loss)
    values = dataset.value.sel(loss=loss).values
    finite = np.isfinite(values)
    x, y, values = dataset.x.values[finite], dataset.y.values[finite], values[finite]
    scale = scale_of([values])
    with paper_style():
        figure = Figure(figsize=(0.6 * PAGE, 0.5 * PAGE), layout="constrained")
        axes = figure.subplots()
        filled = axes.tricontourf(
            *(x, y, scale.clipped(values)),
            levels=scale.levels,
            norm=scale.norm,
            cmap=mpl.colormaps[COLOURS],
            extend="min" if scale.cut else "neither",
        )
        axes.plot(x, y, linestyle="none", marker=".", markersize=0.8, color="white", alpha=0.5)
        axes.plot([0], [0], marker="o", markersize=5, color="black", markeredgecolor="white")
        axes.annotate("A", (0, 0), (5, 4), textcoords="offset points", color="white")
        axes.set(xlabel=dataset.x.long_name, ylabel=dataset.y.long_name, aspect="equal")
        bar = figure.colorbar(filled, ax=axes, label=LOSS_LABELS.get(loss, loss), aspect=25)
        bar.ax.set_yticks(scale.lines, [written(value) for value in scale.lines])
        bar.ax.yaxis.set_minor_locator(NullLocator())
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)
