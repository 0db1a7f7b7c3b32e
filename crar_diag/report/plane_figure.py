"""The pictures of a plane: its losses with frozen and re-fitted dynamics, and a policy's score."""

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.report.labelling import check_loss, with_refits
from crar_diag.report.layout import settle_proportion
from crar_diag.report.line_panel import SAME_FOR_BOTH
from crar_diag.report.plane_panel import (
    colour_bar,
    draw_filled,
    draw_trajectory,
    label_axes,
    mark_points,
    proportion,
)
from crar_diag.report.plane_scale import scale_of
from crar_diag.report.style import LOSS_LABELS, PAGE, paper_style

TITLES: Final = {"frozen": "dynamics frozen", "unfrozen": "dynamics re-fitted (unfrozen)"}
VARIED: Final = "dynamics along the second axis"
"""Of a plane whose second axis is one of dynamics: nothing is frozen there."""

_HEIGHT: Final = 3.2  # inches, where the axes have no proportion of their own
_BESIDE: Final = 1.5  # inches that the colour bar and the labels take


def plane_figure(dataset: xr.Dataset, *, loss: str = SUM, title: str = "") -> Figure:
    """Draw a loss over a plane, frozen and unfrozen side by side on one colour scale.

    A loss that does not depend on the dynamics has one panel. Contour lines are at the values that
    the colour bar names; points show where a re-fit did not converge.

    Args:
        dataset: a report's `plane/<name>` (`report.planes.plane_dataset`).
        loss: its name.
        title: above the panels.

    Raises:
        InputError: there is no surface or no such loss.
    """
    shown = surfaces_of(dataset, loss)
    scale = scale_of([one.values for one in _with_trajectory(dataset, loss, shown)])
    grids = {name: (dataset[one.dims[0]], dataset[one.dims[1]]) for name, one in shown.items()}
    first = next(iter(grids.values()))
    with paper_style():
        figure = Figure(figsize=_size(len(shown)), layout="constrained")
        panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
        handles = []
        for axes, (name, values) in zip(panels, shown.items(), strict=True):
            x, y = (coordinate.values for coordinate in grids[name])
            filled = draw_filled(axes, x, y, values.values, scale)
            label_axes(axes, *grids[name])
            axes.set(**_limits(list(grids.values())))
            axes.set_title(heading(dataset, loss, name))
            handles = draw_trajectory(axes, dataset, loss, scale)
            if name == "unfrozen":
                handles += _mark_unconverged(axes, dataset)
            mark_points(axes, dataset)
            axes.label_outer()
        colour_bar(figure, list(panels), filled, scale, LOSS_LABELS.get(loss, loss))
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle_proportion(figure, panels, proportion(panels[0], *first))


def score_figure(dataset: xr.Dataset, *, title: str = "") -> Figure:
    """Draw a policy's score over a plane, and beside it the standard error.

    Args:
        dataset: a report's `plane/<name>` with scores.
        title: above the panels.

    Raises:
        InputError: there are no scores.
    """
    if "score" not in dataset:
        raise InputError("expected a plane with scores, found none")
    with paper_style():
        figure = Figure(figsize=(PAGE, _HEIGHT), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, name in zip(panels, ("score", "score_error"), strict=True):
            values = dataset[name]
            scale = scale_of([values.values])
            filled = draw_filled(axes, dataset.x.values, dataset.y.values, values.values, scale)
            label_axes(axes, dataset.x, dataset.y)
            mark_points(axes, dataset)
            axes.label_outer()
            colour_bar(figure, [axes], filled, scale, values.long_name)
        if title:
            figure.suptitle(title, fontsize=9)
        return settle_proportion(figure, panels, proportion(panels[0], dataset.x, dataset.y))


def surfaces_of(dataset: xr.Dataset, loss: str) -> dict[str, xr.DataArray]:
    """Return the surfaces of a loss that a figure shows, `[x, y]` each: one where both are alike.

    Raises:
        InputError: there is no surface or no such loss.
    """
    present = [name for name in TITLES if name in dataset]
    if not present:
        raise InputError("expected a plane with a frozen or an unfrozen surface, found neither")
    check_loss(dataset, loss)
    if not bool(dataset.depends_on_dynamics.sel(loss=loss)):
        present = present[:1]
    return {name: dataset[name].sel(loss=loss) for name in present}


def heading(dataset: xr.Dataset, loss: str, name: str) -> str:
    """Return what stands above the panel of a surface."""
    both = all(one in dataset for one in TITLES)
    if both and not bool(dataset.depends_on_dynamics.sel(loss=loss)):
        return with_refits(SAME_FOR_BOTH, dataset)
    if dataset.attrs.get("mode") == "dynamics-plane":
        return VARIED
    return with_refits(TITLES[name], dataset)


def _with_trajectory(
    dataset: xr.Dataset, loss: str, shown: dict[str, xr.DataArray]
) -> list[xr.DataArray]:
    """Return all that is drawn in the colours of a figure."""
    own = [dataset.trajectory_loss.sel(loss=loss)] if "trajectory_loss" in dataset else []
    return [*shown.values(), *own]


def _limits(grids: list[tuple[xr.DataArray, xr.DataArray]]) -> dict[str, tuple[float, float]]:
    """Return the limits of axes on which all grids find room."""
    values = [np.concatenate([grid[k].values for grid in grids]) for k in range(2)]
    return {f"{name}lim": (v.min(), v.max()) for name, v in zip("xy", values, strict=True)}


def _size(panels: int) -> tuple[float, float]:
    """Return inches: one panel alone is as wide as each of two."""
    return PAGE - (0 if panels == 2 else (PAGE - _BESIDE) / 2), _HEIGHT


def _mark_unconverged(axes: Axes, dataset: xr.Dataset) -> list[Line2D]:
    """Put a point where a re-fit did not converge; return what a legend needs."""
    rows, columns = np.nonzero(~dataset.converged.values)
    if not len(rows):
        return []
    x, y = dataset.x_unfrozen.values[rows], dataset.y_unfrozen.values[columns]
    label = f"re-fit stopped before it converged ({len(rows)} of {dataset.converged.size})"
    style: dict[str, Any] = {"color": "black", "linestyle": "none", "marker": "."}
    return axes.plot(x, y, markersize=2.2, markeredgewidth=0, label=label, **style)
