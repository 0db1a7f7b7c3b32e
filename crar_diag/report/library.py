"""What loss-landscapes computes, as groups of a report, labelled with the points it samples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.errors import InputError
from crar_diag.landscape.bridge_grids import library_line, library_random_plane
from crar_diag.landscape.surface import Progress, Surface
from crar_diag.landscape.vectors import norm
from crar_diag.landscape.views import Between, View
from crar_diag.report.labelling import attributes, losses_of, stacked, weights_in_order
from crar_diag.report.library_figure import ENGINE
from crar_diag.report.views import ends_of


def by_library(
    views: Sequence[View],
    between: Between,
    dynamics: Collection[str],
    about: Mapping[str, Any],
    seed: int,
    *,
    progress: Callable[[str], Progress] = lambda what: lambda done, total: None,
) -> dict[str, xr.Dataset]:
    """Run the line and the random plane through the library loss-landscapes.

    Args:
        views: which; their grids give the number of points along an axis.
        between: which agents.
        dynamics: the library knows frozen ones alone.
        about: attributes of the groups besides those of the ends.
        seed: of the plane's directions.
        progress: told what is computed, and how many points are done and of all.

    Returns:
        By mode, over `loss` and the `step`s the `value`, and where each was taken: `alpha`, or `x`
        and `y` in units of the directions, which the library makes as long as the model; over
        `loss` its `weight`.

    Raises:
        InputError: another view, or unfrozen dynamics.
    """
    wrong = [view.mode for view in views if view.mode not in ("line", "random-plane")]
    if wrong or set(dynamics) != {"frozen"}:
        what = wrong[0] if wrong else "unfrozen dynamics"
        raise InputError(
            f"the engine {ENGINE} has the line and the random plane with frozen dynamics only, "
            f"found {what}",
            arguments=["mode"] if wrong else ["dynamics"],
        )
    attrs = {**ends_of(between), **about, "engine": ENGINE}
    found: dict[str, xr.Dataset] = {}
    for view in views:
        draw = _line if view.mode == "line" else _plane
        own = {**attrs, "mode": view.mode}
        found[view.mode] = draw(view, between, own, seed, progress(f"{ENGINE} {view.mode}"))
    return found


def _line(
    view: View, between: Between, attrs: dict[str, Any], seed: int, progress: Progress
) -> xr.Dataset:
    a, b = between.pair()
    line = library_line(view.problem, a, b, len(view.grid), between.held, progress=progress)
    places = {"alpha": (line.alphas, "position, A at 0 and B at 1")}
    return _dataset(view, line.surface, ("step",), places, attrs)


def _plane(
    view: View, between: Between, attrs: dict[str, Any], seed: int, progress: Progress
) -> xr.Dataset:
    model = between.moving(0)
    steps = view.grid.shape[0]
    plane = library_random_plane(
        view.problem, model, between.held, steps, seed=seed, progress=progress
    )
    places = {
        name: (plane.coordinates[..., k], f"position along the {which} direction, A at 0")
        for k, (name, which) in enumerate((("x", "first"), ("y", "second")))
    }
    about = {"first_norm": norm(plane.u), "second_norm": norm(plane.v), "random_seed": seed}
    return _dataset(view, plane.surface, ("row", "column"), places, attrs | about)


def _dataset(
    view: View,
    surface: Surface,
    dims: tuple[str, ...],
    places: Mapping[str, tuple[np.ndarray, str]],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    losses = losses_of([surface])
    shape = next(iter(places.values()))[0].shape
    values = stacked(surface.losses, losses, shape, "value")
    data = {"value": labelled(("loss", *dims), values, "loss with the dynamics held")}
    data |= {name: labelled(dims, values, about) for name, (values, about) in places.items()}
    if surface.errors:
        errors = stacked(surface.errors, losses, shape, "error")
        data["error"] = labelled(("loss", *dims), errors, "standard error of the loss")
    weights = weights_in_order(losses, view.problem.weights)
    data["weight"] = labelled(["loss"], weights, "weight in the sum")
    coords = {"loss": labelled(["loss"], losses, "name of the loss")}
    return xr.Dataset(data, coords=coords, attrs=attributes(attrs))
