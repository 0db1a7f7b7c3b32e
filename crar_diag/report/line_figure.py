"""The picture of a line between two models: every loss, with frozen and re-fitted dynamics."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from crar_diag.landscape.problem import SUM
from crar_diag.report.labelling import check_loss, with_refits
from crar_diag.report.layout import settle
from crar_diag.report.line_panel import CURVES, HOLLOW, STRAIGHT, plot_line_loss
from crar_diag.report.style import LOSS_LABELS, PAGE, paper_style

NEGLIGIBLE: Final = 1e-4
"""A loss that is everywhere below this share of the largest one is left out of the figure."""

_MEANING: Final = {
    "frozen": "dynamics frozen",
    "unfrozen": "dynamics re-fitted (unfrozen)",
    "both": "the same for both",
}
_COLUMNS: Final = 3
_ROW: Final = 1.72  # inches


def line_figure(
    dataset: xr.Dataset, *, losses: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Draw the losses along a line, one panel a loss.

    Solid: the dynamics frozen; dashed: re-fitted at each point, hollow where the re-fit did not
    converge. A loss that does not depend on the dynamics has one curve. An arrow shows the barrier:
    the largest rise above the straight line between the losses of A and B.

    Args:
        dataset: a report's `line/<name>` (`report.lines.line_dataset`).
        losses: those that get a panel; by default the sum, then all but the negligible ones, which
            the legend names.
        title: above the panels.

    Raises:
        InputError: a loss that the data does not have.
    """
    shown, left_out = panels_of(dataset, losses)
    needed = len(shown) + 1  # the last cell is the legend's
    columns = 2 if needed == 4 else min(_COLUMNS, needed)
    rows = -(-needed // columns)
    size = (PAGE * columns / _COLUMNS, _ROW * rows + 0.2 + (0.2 if title else 0.0))
    with paper_style():
        figure = Figure(figsize=size, layout="constrained")
        cells = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
        for axes, loss in zip(cells, shown, strict=False):
            plot_line_loss(dataset, loss, ax=axes)
        cells[len(shown)].set_axis_off()
        for axes in cells[needed:]:
            axes.remove()
        for axes in cells[needed - 1 - columns : len(shown)]:  # the lowest panels of their columns
            axes.tick_params(labelbottom=True)
        figure.supxlabel(r"position on the line, $\alpha$", fontsize=8)
        figure.supylabel("loss", fontsize=8)
        _draw_legend(cells[len(shown)], dataset.sel(loss=shown), left_out)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def panels_of(
    dataset: xr.Dataset, losses: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """Return which losses `line_figure` draws, and which it leaves out as negligible.

    Raises:
        InputError: a loss that the data does not have.
    """
    if losses is not None:
        for loss in losses:
            check_loss(dataset, loss)
        return list(losses), []
    names = [str(name) for name in dataset.loss.values]
    values = np.abs(dataset.value.values)
    # What is not finite somewhere is worth a look.
    highest = np.where(np.isfinite(values).all(axis=(0, 2)), values.max(axis=(0, 2)), np.inf)
    largest = highest[np.isfinite(highest)].max(initial=0.0)
    left_out = [n for n, high in zip(names, highest, strict=True) if high < NEGLIGIBLE * largest]
    order = sorted(names, key=lambda name: name != SUM)
    return [name for name in order if name not in left_out], left_out


def _draw_legend(axes: Axes, shown: xr.Dataset, left_out: Sequence[str]) -> None:
    names = [str(name) for name in shown.dynamics.values]
    differ = shown.depends_on_dynamics.values
    if len(names) > 1:
        names = (names if differ.any() else []) + ([] if differ.all() else ["both"])
    handles: list[Any] = [
        Line2D([], [], label=with_refits(_MEANING[n], shown), **CURVES[n]) for n in names
    ]
    if "unfrozen" in names and not shown.converged.values.all():
        handles.append(Line2D([], [], label="re-fit not converged", **HOLLOW))
    if "error" in shown:
        handles.append(Patch(color="0.8", label=r"$\pm$ 1 standard error"))
    handles.append(Line2D([], [], color="0.3", label="straight line from A to B", **STRAIGHT))
    arrow: dict[str, Any] = {"linestyle": "none", "marker": r"$\updownarrow$", "markersize": 7}
    arrow |= {"color": "0.3", "markeredgewidth": 0}
    handles.append(Line2D([], [], label="barrier: largest rise above it", **arrow))
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.03, 1.08),
        borderaxespad=0,
        fontsize=6.5,
        labelspacing=0.35,
    ).set_in_layout(False)
    if left_out:
        several = ", ".join(LOSS_LABELS.get(name, name) for name in left_out)
        share = f"$10^{{{np.log10(NEGLIGIBLE):.0f}}}$"
        note = f"not drawn, below {share} of the largest:\n{several}"
        axes.text(-0.03, -0.12, note, transform=axes.transAxes, fontsize=6.5)
