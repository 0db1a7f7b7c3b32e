"""A view of a landscape as a group of a report, and its figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from crar_diag.agent.history import labelled
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.landscape.drawing import line_embedding, line_predictions
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.reward import RewardSurface
from crar_diag.landscape.surface import Surface
from crar_diag.landscape.trajectory import TrajectoryLosses
from crar_diag.landscape.views import Between, View
from crar_diag.report.labelling import DYNAMICS_LOSSES
from crar_diag.report.library_figure import ENGINE, library_line_figure, library_plane_figure
from crar_diag.report.line_figure import line_figure
from crar_diag.report.lines import line_dataset
from crar_diag.report.plane_figure import plane_figure, score_figure
from crar_diag.report.plane_figure_3d import plane_figure_3d
from crar_diag.report.planes import Axis, Gridded, Scores, Trajectory, plane_dataset
from crar_diag.report.records import ACTIONS, SIDE


def view_dataset(
    view: View,
    between: Between,
    surfaces: Mapping[str, Surface],
    about: Mapping[str, Any],
    *,
    rewards: RewardSurface | None = None,
    along: tuple[np.ndarray, TrajectoryLosses] | None = None,
) -> xr.Dataset:
    """Return a view's group: `/line/<name>` or `/plane/<name>`.

    Args:
        view: what was drawn.
        between: which agents.
        surfaces: `frozen`, `unfrozen` or both.
        about: attributes besides those of the view and its ends.
        rewards: the score over the view's grid.
        along: of a trajectory, the updates of its snapshots and its losses.
    """
    attrs = {**ends_of(between), **view.about, **about, "mode": view.mode}
    weights = view.problem.weights
    if view.mode == "line":
        return _line(view, between, surfaces, attrs)
    xs, ys = view.grid.axes
    first, second = (Axis(label, units) for label, units in view.axes)
    return plane_dataset(
        frozen=_gridded(view.grid, surfaces.get("frozen")),
        unfrozen=_gridded(view.coarse, surfaces.get("unfrozen")),
        points=view.marks,
        axes=(first, second),
        attrs=attrs,
        weights=weights,
        depends_on_dynamics=DYNAMICS_LOSSES,
        trajectory=None if along is None else _trajectory(view, *along),
        scores=None if rewards is None else Scores(xs, ys, rewards.mean, rewards.standard_error),
    )


def _line(
    view: View, between: Between, surfaces: Mapping[str, Surface], attrs: Mapping[str, Any]
) -> xr.Dataset:
    """Return a line's group; in the simple maze with the states, and where they lead."""
    agent = between.ends.agents[0]
    shared: dict[str, Any] = {
        "attrs": attrs,
        "weights": view.problem.weights,
        "depends_on_dynamics": DYNAMICS_LOSSES,
    }
    states = line_embedding(between, view, agent)
    if states is None:
        return line_dataset(view.grid.axes[0], surfaces, **shared)
    shared["embedding"] = states.numpy()
    shared["prediction"] = line_predictions(between, states, agent).numpy()
    actions = labelled(["action"], list(ACTIONS[SIMPLE_MAZE]), "action of the agent")
    sides = labelled(["state"], simple_maze.SIDES, SIDE)
    found = line_dataset(view.grid.axes[0], surfaces, **shared)
    return found.assign_coords(action=actions, side=sides)


def view_figures(dataset: xr.Dataset, title: str = "") -> dict[str, Figure]:
    """Draw what a view's group holds; the name of each figure, and the figure."""
    mode = str(dataset.attrs["mode"])
    if dataset.attrs.get("engine") == ENGINE:
        draw = library_line_figure if mode == "line" else library_plane_figure
        return {mode: draw(dataset, title=title)}
    if mode == "line":
        return {"line": line_figure(dataset, title=title)}
    found = {}
    if "frozen" in dataset or "unfrozen" in dataset:
        found[mode] = plane_figure(dataset, title=title)
        found[f"{mode}-3d"] = plane_figure_3d(dataset, title=title)
    if "score" in dataset:
        found["reward"] = score_figure(dataset, title=title)
    return found


def _gridded(grid: Grid | None, surface: Surface | None) -> Gridded | None:
    if grid is None or surface is None:
        return None
    xs, ys = grid.axes
    return xs, ys, surface


def ends_of(between: Between) -> dict[str, Any]:
    """Return attributes that say which files were compared."""
    ends = between.ends
    found: dict[str, Any] = {"domain": ends.domain, "dynamics_of": str(between.dynamics.path)}
    for name, agent, sha in zip("abc", ends.agents, ends.sha256, strict=False):
        found |= {f"checkpoint_{name}": str(agent.path), f"sha256_{name}": sha}
    return found


def _trajectory(view: View, updates: np.ndarray, losses: TrajectoryLosses) -> Trajectory:
    found = view.trajectory
    assert found is not None
    x, y = found.coordinates.T
    true = {name: value.double().cpu().numpy() for name, value in losses.true.losses.items()}
    return Trajectory(x=x, y=y, distance=found.distances, updates=updates, losses=true)
