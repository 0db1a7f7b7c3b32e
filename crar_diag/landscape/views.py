"""Views: the lines and planes through agents that are drawn, each with its grids and its labels.

A view says which parameters move and where, at two resolutions (the frozen surface's and, where the
dynamics can be re-fitted, the unfrozen one's), which agents lie in it, and what its axes are.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crar_diag.agent.loading import Agent
from crar_diag.errors import InputError
from crar_diag.landscape.agents import Endpoints, same_dynamics
from crar_diag.landscape.directions import plane_through, random_direction
from crar_diag.landscape.grids import LEAST_POINTS, Grid, Line, Plane, check_odd, line_alphas
from crar_diag.landscape.problem import Parameters, Problem
from crar_diag.landscape.trajectory import TrajectoryPlane, trajectory_plane
from crar_diag.landscape.vectors import added, difference, dot, doubled, norm, scaled

MODES = ("line", "plane", "random-plane", "dynamics-plane", "trajectory", "reward")

# Of the half width of a plane's second axis to the first one's unit: planes are square.
_HALF_WIDTH = 0.75


@dataclass(frozen=True, eq=False)
class View:
    """A line or plane to be drawn.

    Attributes:
        mode: one of `MODES`.
        problem: its losses, and what moves.
        held: the parameters that do not.
        grid: points of the frozen surface.
        coarse: points of the unfrozen one; None where nothing is left to be re-fitted.
        axes: label and units of each axis.
        marks: agents in it: name -> x, y, distance from the plane.
        about: what a report says of it besides: norms and seeds of directions.
        trajectory: of a training run, where its plane is that of one.
    """

    mode: str
    problem: Problem
    held: Parameters
    grid: Grid
    coarse: Grid | None
    axes: tuple[tuple[str, str], ...]
    marks: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    trajectory: TrajectoryPlane | None = None


def group_of(mode: str, name: str) -> str:
    """Return a view's group in a report: `line/<name>`, `plane/<name>`, `plane/<name>-<mode>`."""
    if mode == "line":
        return f"line/{name}"
    return f"plane/{name}" if mode == "plane" else f"plane/{name}-{mode}"


@dataclass(frozen=True, eq=False)
class Between:
    """Agents between which views are drawn, on one problem.

    Attributes:
        problem: of all of them.
        ends: A, B and maybe a third, or A alone.
        dynamics: whose frozen components all points have; A by default.
    """

    problem: Problem
    ends: Endpoints
    dynamics: Agent

    def moving(self, index: int) -> Parameters:
        """Return the parameters of an agent that move."""
        return self.problem.moving(self.ends.agents[index].parameters)

    @property
    def held(self) -> Parameters:
        """The parameters that do not move."""
        moving = self.moving(0)
        return {n: p for n, p in self.dynamics.parameters.items() if n not in moving}

    def pair(self) -> tuple[Parameters, Parameters]:
        """Return A's and B's moving parameters.

        Raises:
            InputError: there is no B, or they are the same.
        """
        if len(self.ends.agents) < 2:
            raise InputError("this needs two checkpoints, CKPT_A and CKPT_B, found one")
        a, b = self.moving(0), self.moving(1)
        if norm(difference(b, a)) == 0:
            raise InputError(
                f"checkpoints '{self.ends.agents[0].path}' and '{self.ends.agents[1].path}' have "
                "the same encoder: there is nothing between them"
            )
        return a, b


def line(between: Between, points: int) -> View:
    """Return the straight line of encoders from A through B.

    Raises:
        InputError: too few points, or no B.
    """
    a, b = between.pair()
    grid = Line(a, b, line_alphas(points))
    return View(
        "line",
        between.problem,
        between.held,
        grid,
        grid,
        (("position on the line, A at 0 and B at 1", "1"),),
        {"A": (0.0, 0.0, 0.0), "B": (1.0, 0.0, 0.0)},
        {"distance_a_b": norm(difference(doubled(b), doubled(a)))},
    )


def plane(between: Between, points: int, coarse: int) -> View:
    """Return the plane through A, B and a third agent, in orthonormal coordinates.

    Raises:
        InputError: even or tiny numbers of points, no third agent, or all three on one line.
    """
    a, b = between.pair()
    if len(between.ends.agents) < 3:
        raise InputError(
            "the plane through three checkpoints needs a third one; the plane with a random "
            "direction needs none",
            arguments=["third"],
        )
    (u, v), places = plane_through(a, b, between.moving(2))
    marks = {name.upper(): (*place, 0.0) for name, place in places.items()}
    length, (x, height) = places["b"][0], places["c"]
    low, high = min(-0.25 * length, x - 0.25 * length), max(1.25 * length, x + 0.25 * length)
    within = low == -0.25 * length and high == 1.25 * length

    def grid(count: int) -> Plane:
        check_odd(count, LEAST_POINTS)
        # A and B are grid points, unless the third agent asks for a wider axis.
        xs = length * line_alphas(count) if within else np.linspace(low, high, count)
        return Plane(a, u, v, xs, height * line_alphas(count))

    labels = ("distance from A along B - A", "orthogonal distance towards C")
    return View(
        "plane",
        between.problem,
        between.held,
        grid(points),
        grid(coarse),
        tuple((label, "1") for label in labels),
        marks,
        {"distance_a_b": length, "height_of_c": height},
    )


def random_plane(between: Between, points: int, coarse: int, seed: int) -> View:
    """Return the plane of B - A and a random direction, filter-normalised and orthogonal to it.

    Both axes are in units of ||B - A||. Filter normalisation gives the direction's filters their
    ratios; its length as a whole is that of B - A.

    Raises:
        InputError: even or tiny numbers of points, or no B.
    """
    a, b = between.pair()
    u = difference(doubled(b), doubled(a))
    d = random_direction(a, seed, orthogonal_to=u)
    length = norm(u)
    v = scaled(d, length / norm(d))

    def grid(count: int) -> Plane:
        check_odd(count, LEAST_POINTS)
        ys = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, count)
        return Plane(a, u, v, line_alphas(count), ys)

    about = {"distance_a_b": length, "random_direction_norm": norm(d), "random_seed": seed}
    marks = {"A": (0.0, 0.0, 0.0), "B": (1.0, 0.0, 0.0)}
    if len(between.ends.agents) > 2:
        marks["C"] = _projected(between.moving(2), a, u, v)
    return View(
        "random-plane",
        between.problem,
        between.held,
        grid(points),
        grid(coarse),
        (("along B - A, A at 0 and B at 1", "1"), ("along a random direction", "1")),
        marks,
        about,
    )


def dynamics_plane(between: Between, points: int, seed: int) -> View:
    """Return the plane of encoders from A to B and of dynamics: figure 15 of the paper, measured.

    Along y the dynamics lead from the frozen ones to those of the third agent, or of B; where all
    are the same, along a filter-normalised random direction. The slice y = 0 is the frozen
    landscape. Agents are marked where they project to, encoder and dynamics together.

    Raises:
        InputError: an even or tiny number of points, or no B.
    """
    check_odd(points, LEAST_POINTS)
    a, b = between.pair()
    start = between.held
    problem = replace(between.problem, moves=("*",), refits=())
    others = between.ends.agents[:0:-1]
    other = next((o for o in others if not same_dynamics([between.dynamics, o])), None)
    axis = line_alphas(points)
    u = difference(doubled(b), doubled(a))
    if other is None:
        v = random_direction(start, seed)
        label = "dynamics along a random direction"
        ys = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, points)
        about: dict[str, Any] = {"random_seed": seed}
    else:
        v = difference(doubled({n: other.parameters[n] for n in start}), doubled(start))
        first = between.dynamics
        whose = "A's" if first is between.ends.agents[0] else f"those of '{first.path.stem}'"
        label = f"dynamics, {whose} at 0 and those of '{other.path.stem}' at 1"
        ys, about = axis, {}
    about |= {"distance_a_b": norm(u), "dynamics_direction_norm": norm(v)}
    return View(
        "dynamics-plane",
        problem,
        {},
        Plane(a | start, u, v, axis, ys),
        None,
        (("encoder, A at 0 and B at 1", "1"), (label, "1")),
        {
            name: _projected(agent.parameters, a | start, u, v)
            for name, agent in zip("ABC", between.ends.agents, strict=False)
        },
        about,
    )


def reward_plane(between: Between, points: int, seed: int) -> View:
    """Return the plane over which the policy's score is drawn: of three agents, or a random one.

    Raises:
        InputError: as for these.
    """
    if len(between.ends.agents) > 2:
        found = plane(between, points, points)
    else:
        found = random_plane(between, points, points, seed)
    return replace(found, mode="reward", coarse=None)


def trajectory(
    between: Between, snapshots: list[Agent], points: int, coarse: int, margin: float = 0.2
) -> View:
    """Return the plane of the two leading principal directions of a training trajectory.

    Args:
        between: its first agent is the end of the trajectory.
        snapshots: the agent as it was on the way, in order.
        points: along each axis.
        coarse: the same for the unfrozen surface.
        margin: room around the trajectory, as a share of its extent.

    Raises:
        InputError: even or tiny numbers of points, or too short a trajectory.
    """
    found = trajectory_plane([between.problem.moving(agent.parameters) for agent in snapshots])
    ratio = found.explained_variance_ratio
    return View(
        "trajectory",
        between.problem,
        between.held,
        found.grid(points, margin),
        found.grid(coarse, margin),
        tuple((f"principal direction {k + 1} ({100 * r:.0f}%)", "1") for k, r in enumerate(ratio)),
        {
            name: _projected(between.moving(k), found.origin, found.u, found.v)
            for k, name in enumerate("ABC"[: len(between.ends.agents)])
        },
        {"explained_variance_ratio": ratio},
        found,
    )


def _projected(
    point: Parameters, origin: Parameters, u: Parameters, v: Parameters
) -> tuple[float, float, float]:
    """Return where a point projects to in a plane of orthogonal directions, and how far it is.

    A direction need not have all parameters of the point; it is zero along the others.
    """
    offset = difference(doubled(point), doubled(origin))
    x, y = dot(u, offset) / dot(u, u), dot(v, offset) / dot(v, v)
    return x, y, norm(added(added(offset, u, -x), v, -y))
