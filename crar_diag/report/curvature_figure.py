"""The picture of curvature: densities of the Hessian's eigenvalues, frozen against unfrozen."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from crar_diag.errors import InputError
from crar_diag.report.layout import settle
from crar_diag.report.style import BLUE, COLUMN, ORANGE, paper_style

STYLES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"color": BLUE, "linestyle": "-", "zorder": 3},
    "unfrozen": {"color": ORANGE, "linestyle": (0, (4, 1.5)), "zorder": 4},
}
_HEIGHT: Final = 2.3  # inches

LINEAR: Final = 1e-6
"""Share of the largest |eigenvalue| up to which the axis is linear rather than logarithmic."""
_WIDTH: Final = 0.08  # decades
_POINTS: Final = 1500
_LEAST, _ROOM = 0.1, 300.0  # eigenvalues a decade; for the legend above the curves


def curvature_figure(
    datasets: Mapping[str, xr.Dataset], *, point: str | None = None, title: str = ""
) -> Figure:
    """Draw the spectral densities of one or more agents, one panel each, a column wide.

    Args:
        datasets: title of the panel -> a report's `hessian/<name>`
            (`report.curvature.curvature_dataset`).
        point: `checkpoint` or `polished`; where both are there, `polished` by default.
        title: above all.

    Raises:
        InputError: no data, or none with a density at that point.
    """
    if not datasets:
        raise InputError("expected the curvature of at least one checkpoint, found none")
    with paper_style():
        figure = Figure(figsize=(COLUMN, _HEIGHT * len(datasets)), layout="constrained")
        panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
        for axes, (name, dataset) in zip(panels, datasets.items(), strict=True):
            plot_density(dataset, point=point, title=name, ax=axes)
        if title:
            figure.suptitle(title, fontsize=8)
        return settle(figure)


def plot_density(
    dataset: xr.Dataset, *, point: str | None = None, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the density of the Hessian's eigenvalues, with the extreme ones marked below it.

    Both axes are logarithmic, the one of the eigenvalues on both sides of 0 and linear up to
    `LINEAR` of the largest: nearly all eigenvalues are 0, and the others span many decades. The
    density is that over a decade, times the number of variables. Frozen: by the encoder's
    parameters; unfrozen: by all. A tick marks an extreme eigenvalue, an open circle one that has
    not converged.

    Args:
        dataset: a report's `hessian/<name>`.
        point: see `curvature_figure`.
        title: above the axes.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        InputError: there is no density, or no such point.
    """
    where = _point(dataset, point)
    axes = ax or Figure(figsize=(COLUMN, _HEIGHT), layout="constrained").subplots()
    drawn = [str(s) for s in dataset.space.values if str(s) in STYLES]
    largest = float(abs(dataset.node_at.sel(point=where, space=drawn)).max()) or 1.0
    for place, space in enumerate(drawn):
        own = dataset.sel(space=space, point=where)
        at, density = per_decade(own, LINEAR * largest)
        axes.plot(at, density, label=f"{space}: {own.verdict.item()}", **STYLES[space])
        _mark(axes, own, space, height=0.04 + 0.05 * place)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST / 3, _ROOM * float(dataset["size"].sel(space=drawn).max()))
    _scale_across(axes, largest)
    axes.set_xlabel(f"eigenvalue of the Hessian ({_at(where)})")
    axes.set_ylabel("eigenvalues a decade")
    axes.set_title(title)
    axes.legend(loc="upper left", fontsize=6)
    return axes


def per_decade(own: xr.Dataset, linear: float) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and the number of eigenvalues a decade there.

    The quadrature's nodes are smoothed by a Gaussian in asinh(lambda / linear), which is
    log(2 |lambda| / linear) with lambda's sign where |lambda| is larger than `linear`.

    Args:
        own: one space at one point.
        linear: the eigenvalue up to which the scale is linear.
    """
    there = own.node_weight.values > 0
    nodes = np.arcsinh(own.node_at.values[there] / linear)
    weights = own.node_weight.values[there] * float(own["size"])
    width = _WIDTH * math.log(10)
    across = np.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, _POINTS)
    peaks = np.exp(-(((across[:, None] - nodes) / width) ** 2) / 2)
    density = peaks @ weights / (_WIDTH * math.sqrt(2 * math.pi))
    return linear * np.sinh(across), density


def _point(dataset: xr.Dataset, point: str | None) -> str:
    there = [str(p) for p in dataset.point.values] if "point" in dataset.coords else []
    where = there[-1] if point is None and there else point
    if "density" not in dataset or where not in there:
        raise InputError(
            f"expected a density of the eigenvalues at '{where}', found "
            f"{'one at ' + ', '.join(there) if 'density' in dataset else 'none'}"
        )
    return str(where)


def _at(point: str) -> str:
    return "at the checkpoint" if point == "checkpoint" else "polished"


def _scale_across(axes: Axes, largest: float) -> None:
    """Scale the eigenvalues' axis, with ticks every two decades on both sides of 0."""
    linear = LINEAR * largest
    axes.set_xscale("asinh", linear_width=linear)
    low, high = axes.get_xlim()
    first = math.ceil(math.log10(3 * linear))
    powers = [10.0**k for k in range(first, math.floor(math.log10(largest)) + 1)][::-2]
    ticks = [sign * p for sign in (-1, 1) for p in powers if low <= sign * p <= high]
    axes.xaxis.set_major_locator(FixedLocator([*ticks, 0.0]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))


def _power(value: float) -> str:
    if value == 0:
        return "0"
    return rf"${'-' if value < 0 else ''}10^{{{round(math.log10(abs(value)))}}}$"


def _mark(axes: Axes, own: xr.Dataset, space: str, *, height: float) -> None:
    """Mark the extreme eigenvalues by ticks at a share of the axes' height."""
    values = own.eigenvalue.values.ravel()
    converged = own.eigenvalue_converged.values.ravel()
    for sure, marker in ((True, "|"), (False, "o")):
        chosen = values[(converged == sure) & np.isfinite(values)]
        axes.plot(
            chosen,
            [height] * len(chosen),
            linestyle="none",
            marker=marker,
            markersize=5 if sure else 3,
            markeredgewidth=0.7,
            markerfacecolor="none",
            color=STYLES[space]["color"],
            transform=axes.get_xaxis_transform(),
            zorder=5,
        )
