"""A plane through a landscape as a group of a report: surfaces, points, a path, `/plane/<name>`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.labelling import (
    attributes,
    dependence,
    losses_of,
    stacked,
    weights_in_order,
)
from crar_diag.report.lines import refit_variables

Gridded = tuple[np.ndarray, np.ndarray, Surface]
"""Coordinates `[X]` and `[Y]`, and the losses `[X, Y]` there."""


@dataclass(frozen=True)
class Axis:
    """What an axis of a plane shows.

    Attributes:
        label: such as `distance along B - A`.
        units: such as `1`; axes of the same units are drawn at the same scale.
    """

    label: str
    units: str = "1"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Models along a training run, projected into a plane.

    Attributes:
        x: coordinates of the projections, `[S]`.
        y: `[S]`.
        distance: of each model from the plane, `[S]`.
        updates: after which each model was recorded, `[S]`.
        losses: the models' own losses by name, `[S]` each; they differ from the surface's at the
            projections.
    """

    x: np.ndarray
    y: np.ndarray
    distance: np.ndarray
    updates: np.ndarray
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scores:
    """A policy's score over a plane.

    Attributes:
        xs: coordinates, `[X]`.
        ys: `[Y]`.
        score: `[X, Y]`.
        error: its standard error, `[X, Y]`.
    """

    xs: np.ndarray
    ys: np.ndarray
    score: np.ndarray
    error: np.ndarray


def plane_dataset(
    *,
    frozen: Gridded | None = None,
    unfrozen: Gridded | None = None,
    points: Mapping[str, tuple[float, float, float]],
    axes: tuple[Axis, Axis],
    attrs: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
    depends_on_dynamics: Collection[str] | None = None,
    trajectory: Trajectory | None = None,
    scores: Scores | None = None,
) -> xr.Dataset:
    """Return the losses over a plane, as a group of a report.

    Args:
        frozen: the surface with the dynamics held, on its grid.
        unfrozen: the surface with the dynamics re-fitted, on its own grid.
        points: name -> x, y and distance from the plane of models that are marked in it.
        axes: what x and y are.
        attrs: of the group: the directions' seeds and norms, the endpoints' sha256; dicts are
            stored as JSON.
        weights: of the losses in the sum; 1 for one that is not named.
        depends_on_dynamics: the losses that can differ between frozen and unfrozen dynamics; all
            by default.
        trajectory: of a training run.
        scores: of the planning policy, on the grid of the frozen surface where there is one.

    Returns:
        `frozen` and `frozen_error` over `loss`, `x` and `y`; `unfrozen` and `unfrozen_error` over
        `loss`, `x_unfrozen` and `y_unfrozen`, `converged` and `iterations` over the latter two;
        over `loss` its `weight` and `depends_on_dynamics`; over `point` and `step` the marked
        models and the trajectory; `score` and `score_error` over `x` and `y`. What was not given
        is not there.

    Raises:
        InputError: neither a surface nor scores, surfaces of different losses, shapes that do not
            fit, scores on another grid than the frozen surface.
    """
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    surfaces = {"": frozen, "_unfrozen": unfrozen}
    given = {suffix: one for suffix, one in surfaces.items() if one is not None}
    if not given and scores is None:
        raise InputError("expected a frozen or unfrozen surface or scores, found none of them")
    losses = losses_of(one[2] for one in given.values()) if given else []
    for suffix, (xs, ys, surface) in given.items():
        coords |= _coordinates(xs, ys, axes, suffix)
        data |= _surface(surface, losses, (len(xs), len(ys)), suffix)
    if losses:
        coords["loss"] = labelled(["loss"], losses, "name of the loss")
        data |= _of_losses(losses, weights or {}, depends_on_dynamics)
    if scores is not None:
        coords |= _coordinates(*_same_grid(scores, frozen), axes, "")
        data |= _scores(scores)
    if points:
        coords["point"] = labelled(["point"], list(points), "name of the model")
        data |= _points(points, axes)
    if trajectory is not None:
        data |= _trajectory(trajectory, losses, axes)
    return xr.Dataset(data, coords=coords, attrs=attributes(attrs))


def _coordinates(
    xs: np.ndarray, ys: np.ndarray, axes: tuple[Axis, Axis], suffix: str
) -> dict[str, Any]:
    return {
        name + suffix: labelled(
            [name + suffix], np.asarray(values, np.float64), axis.label, axis.units
        )
        for name, values, axis in zip("xy", (xs, ys), axes, strict=True)
    }


def _surface(
    surface: Surface, losses: list[str], shape: tuple[int, int], suffix: str
) -> dict[str, Any]:
    name, how = ("unfrozen", "re-fitted") if suffix else ("frozen", "held")
    grid = (f"x{suffix}", f"y{suffix}")
    data = {
        name: labelled(
            ("loss", *grid),
            stacked(surface.losses, losses, shape, "value"),
            f"loss with the dynamics {how}",
        )
    }
    if surface.errors:
        data[f"{name}_error"] = labelled(
            ("loss", *grid),
            stacked(surface.errors, losses, shape, "error"),
            f"standard error of the loss with the dynamics {how}",
        )
    if suffix:
        data |= refit_variables(surface, grid, shape)
    return data


def _of_losses(
    losses: list[str], weights: Mapping[str, float], depending: Collection[str] | None
) -> dict[str, Any]:
    depends = dependence(losses, losses if depending is None else depending, weights)
    return {
        "weight": labelled(["loss"], weights_in_order(losses, weights), "weight in the sum"),
        "depends_on_dynamics": labelled(
            ["loss"], depends, "whether frozen and unfrozen dynamics can give it different values"
        ),
    }


def _same_grid(scores: Scores, frozen: Gridded | None) -> tuple[np.ndarray, np.ndarray]:
    if frozen is not None and not (
        np.array_equal(scores.xs, frozen[0]) and np.array_equal(scores.ys, frozen[1])
    ):
        raise InputError(
            "expected scores on the grid of the frozen surface: keep others in a group of their own"
        )
    return scores.xs, scores.ys


def _scores(scores: Scores) -> dict[str, Any]:
    shape = (len(scores.xs), len(scores.ys))
    values = {"score": scores.score, "score_error": scores.error}
    for name, array in values.items():
        if np.shape(array) != shape:
            raise InputError(f"expected '{name}' of shape {shape}, found {np.shape(array)}")
    long_names = ("score of the planning policy", "standard error of the score")
    return {
        name: labelled(("x", "y"), np.asarray(array, np.float64), long_name)
        for (name, array), long_name in zip(values.items(), long_names, strict=True)
    }


def _points(
    points: Mapping[str, tuple[float, float, float]], axes: tuple[Axis, Axis]
) -> dict[str, Any]:
    x, y, distance = np.array(list(points.values()), np.float64).T
    return {
        "point_x": labelled(["point"], x, axes[0].label, axes[0].units),
        "point_y": labelled(["point"], y, axes[1].label, axes[1].units),
        "point_distance": labelled(["point"], distance, "distance of the model from the plane"),
    }


def _trajectory(
    trajectory: Trajectory, losses: list[str], axes: tuple[Axis, Axis]
) -> dict[str, Any]:
    steps = np.shape(trajectory.x)
    about = {
        "x": (axes[0].label, axes[0].units),
        "y": (axes[1].label, axes[1].units),
        "distance": ("distance of the model from the plane", "1"),
        "updates": ("updates after which the model was recorded", "updates"),
    }
    data = {}
    for name, (long_name, units) in about.items():
        values = np.asarray(getattr(trajectory, name))
        if values.shape != steps or values.ndim != 1:
            raise InputError(
                f"expected '{name}' of a trajectory of shape {steps}, found {values.shape}"
            )
        data[f"trajectory_{name}"] = labelled(["step"], values, long_name, units)
    missing = sorted(set(losses) - set(trajectory.losses))
    if trajectory.losses and missing:
        raise InputError(f"expected loss '{missing[0]}' of a trajectory too, found none")
    if trajectory.losses and losses:
        data["trajectory_loss"] = labelled(
            ("loss", "step"),
            stacked(trajectory.losses, losses, steps, "value on the trajectory"),
            "loss of the model itself, not of its projection into the plane",
        )
    return data
