"""The picture of curvature: densities of the Hessian's eigenvalues, frozen against unfrozen."""

from collections.abc import Mapping
from typing import Any, Final

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crar_diag.errors import InputError
from crar_diag.report.layout import settle
from crar_diag.report.style import BLUE, COLUMN, ORANGE, paper_style

STYLES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"color": BLUE, "linestyle": "-", "zorder": 3},
    "unfrozen": {"color": ORANGE, "linestyle": (0, (4, 1.5)), "zorder": 4},
}
_WORDS: Final = {"frozen": "encoder, dynamics frozen", "unfrozen": "all parameters"}
_HEIGHT: Final = 2.3  # inches
# Of one eigenvalue's peak; lower parts of the density are tails of Gaussians.
_LOWEST: Final = 1e-2


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

    The density is logarithmic: nearly all eigenvalues are 0. A tick marks an extreme eigenvalue,
    with an open circle where it has not converged.

    Args:
        dataset: a report's `hessian/<name>`.
        point: see `curvature_figure`.
        title: above the axes.
        ax: where to draw; new axes by default.

    Returns:
        The axes; the curves have the labels `frozen` and `unfrozen` and their verdict.

    Raises:
        InputError: there is no density, or no such point.
    """
    where = _point(dataset, point)
    axes = ax or Figure(figsize=(COLUMN, _HEIGHT), layout="constrained").subplots()
    lowest, drawn = [], [str(s) for s in dataset.space.values if str(s) in STYLES]
    for place, space in enumerate(drawn):
        own = dataset.sel(space=space, point=where)
        axes.plot(
            own.density_at.values,
            own.density.values,
            label=f"{_WORDS[space]}: {own.verdict.item()}",
            **STYLES[space],
        )
        lowest.append(_LOWEST / (float(own["size"]) * float(own.density_width) * 2.51))
        _mark(axes, own, space, height=0.04 + 0.05 * place)
    axes.set_yscale("log")
    top = float(dataset.density.sel(point=where, space=drawn).max())
    # Room for the marks below, and for the legend above.
    axes.set_ylim(min(lowest) * (min(lowest) / top) ** 0.15, top * (top / min(lowest)) ** 0.3)
    axes.set_xlabel(f"eigenvalue of the Hessian ({_at(where)})")
    axes.set_ylabel("density")
    axes.set_title(title)
    axes.legend(loc="upper right", fontsize=6)
    return axes


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


def _mark(axes: Axes, own: xr.Dataset, space: str, *, height: float) -> None:
    """Mark the extreme eigenvalues by ticks at a share of the axes' height."""
    values = own.eigenvalue.values.ravel()
    converged = own.eigenvalue_converged.values.ravel()
    across = axes.get_xaxis_transform()
    colour = STYLES[space]["color"]
    for sure, marker in ((True, "|"), (False, "o")):
        chosen = values[converged == sure]
        axes.plot(
            chosen,
            [height] * len(chosen),
            linestyle="none",
            marker=marker,
            markersize=5 if sure else 3,
            markeredgewidth=0.7,
            markerfacecolor="none",
            color=colour,
            transform=across,
            zorder=5,
        )
