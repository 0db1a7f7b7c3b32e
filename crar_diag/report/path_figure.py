"""The picture of the paths between two models: straight segment, minimum-loss curve, rotation."""

from typing import Final

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.labelling import check_loss
from crar_diag.report.layout import settle
from crar_diag.report.path_panels import (
    LEVEL,
    STYLES,
    plot_path,
    plot_rotation,
    plot_shares,
    shares_of,
)
from crar_diag.report.style import LOSS_COLOURS, LOSS_LABELS, PAGE, paper_style

_COLUMNS: Final = 3
_HEIGHT: Final = 4.3  # inches
_WORDS: Final = {
    "straight": "straight segment",
    "curve": "curve; rotation: all turn",
    "encoder": "rotation: the encoder alone",
}


def path_figure(dataset: xr.Dataset, *, title: str = "") -> Figure:
    """Draw the losses along the paths, and what a rotation does.

    A column for each kind of dynamics: above, the weighted sum and the transition loss along the
    straight segment (dashed) and the curve (solid); below, the curve alone, with what its sum
    consists of. The dotted level is the sum at the worse end: what rises above it is a barrier.
    A third column has the rotation, where the data have one, and the legend.

    Args:
        dataset: a report's `path/<name>` (`report.paths.path_dataset`).
        title: above the panels.

    Raises:
        InputError: it has no weighted sum along paths.
    """
    if "dynamics" not in dataset.dims or "path" not in dataset.dims:
        raise InputError("expected a report's group of paths, found no paths in it")
    check_loss(dataset, SUM)
    kinds = list(map(str, dataset.dynamics.values))
    columns = len(kinds) + 1
    with paper_style():
        figure = Figure(figsize=(PAGE * columns / _COLUMNS, _HEIGHT), layout="constrained")
        above, below = figure.subplots(2, columns)
        for kind, upper, lower in zip(kinds, above, below, strict=False):
            plot_path(dataset, kind, ax=upper)
            plot_shares(dataset, kind, ax=lower)
            lower.set_title("the curve alone")
            if upper is not above[0]:
                upper.sharey(above[0])
                lower.sharey(below[0])
                for axes in (upper, lower):
                    axes.tick_params(labelleft=False)
        above[0].set_ylabel("loss")
        below[0].set_ylabel("weight times loss")
        turned = "rotation_value" in dataset
        if turned:
            plot_rotation(dataset, ax=above[-1])
        else:
            above[-1].set_axis_off()
        _draw_legend(below[-1], dataset, turned)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)


def _draw_legend(axes: Axes, dataset: xr.Dataset, turned: bool) -> None:
    axes.set_axis_off()
    shown = [SUM, "transition", *shares_of(dataset)]
    handles = [
        Line2D([], [], color=LOSS_COLOURS.get(name, "0.3"), label=LOSS_LABELS.get(name, name))
        for name in dict.fromkeys(shown)
        if name in dataset.loss.values
    ]
    words = _WORDS if turned else {"straight": _WORDS["straight"], "curve": "curve"}
    handles += [
        Line2D([], [], color="0.3", label=label, **STYLES[name]) for name, label in words.items()
    ]
    handles.append(Line2D([], [], label="sum at the worse end", **LEVEL))
    legend = axes.legend(handles=handles, loc="upper left", borderaxespad=0, labelspacing=0.35)
    legend.set_in_layout(False)
