"""The plane of a training trajectory: its leading principal directions, and how far it lies off.

Li, Xu, Taylor, Studer and Goldstein (2018), "Visualizing the loss landscape of neural nets",
section 7: of the points theta_1 ... theta_T that training passed, the two principal directions of

    [theta_1 - theta_T; ...; theta_T - theta_T]

span a plane through the last point. The variance is taken about that point, through which the plane
leads, so that no other plane through it has a smaller sum of squared distances to the trajectory.
(The authors' code takes it about the points' mean, with scikit-learn's PCA: another plane, unless
the points lie in one.) A point off the plane is drawn where it projects to, and its true loss is
not the surface's there: `losses_along` returns both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crar_diag.errors import InputError
from crar_diag.landscape.grids import Plane, plane_axis
from crar_diag.landscape.problem import Evaluation, Parameters, Problem, evaluate
from crar_diag.landscape.vectors import doubled, flatten, unflatten

# As in `directions.plane_through`: what is left of a line's points off the line is rounding.
_ON_A_LINE = 1e-9


@dataclass(frozen=True, eq=False)
class TrajectoryPlane:
    """The plane of T points; `origin + x u + y v` is where the point of coordinates x, y projects.

    Attributes:
        origin: the last point.
        u: the first principal direction, of length 1, float64.
        v: the second one, orthogonal to it. Along both, the point with the largest coordinate (of
            equals the first) lies on the positive side.
        coordinates: of each point in the plane, float64 `[T, 2]`; those of the last are 0.
        distances: of each point from the plane, float64 `[T]`.
        explained_variance_ratio: the share of each direction in the sum of the points' squared
            distances to the last point, float64 `[2]`, the larger first.
    """

    origin: Parameters
    u: Parameters
    v: Parameters
    coordinates: np.ndarray
    distances: np.ndarray
    explained_variance_ratio: np.ndarray

    def limits(self, margin: float = 0.2) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the ends of both axes between which all points lie.

        Args:
            margin: room beyond the points on each side, as a share of their range along the axis.

        Raises:
            InputError: a negative margin, or one that is not finite.
        """
        if not 0.0 <= margin < np.inf:
            raise InputError(
                f"margin must be a finite number of at least 0, found {margin}",
                arguments=["margin"],
            )
        low, high = self.coordinates.min(axis=0), self.coordinates.max(axis=0)
        room = margin * (high - low)
        (x0, y0), (x1, y1) = (low - room).tolist(), (high + room).tolist()
        return (x0, x1), (y0, y1)

    def grid(self, points: int, margin: float = 0.2) -> Plane:
        """Return the grid that holds the trajectory.

        Args:
            points: along each axis, an odd number.
            margin: as for `limits`.

        Raises:
            InputError: fewer than 3 points, an even number, or a margin that will not do.
        """
        xs, ys = (plane_axis(low, high, points) for low, high in self.limits(margin))
        return Plane(self.origin, self.u, self.v, xs, ys)

    def projected(self) -> Parameters:
        """Return where the points project to, `[T, ...]`, in the precision of the last point."""
        x, y = self.coordinates.T
        return Plane(self.origin, self.u, self.v, x, y).at(x, y)


@dataclass(frozen=True, eq=False)
class TrajectoryLosses:
    """The losses along a trajectory, `[T]` each.

    Attributes:
        true: at the points themselves.
        projected: where they project to, which is what a surface over the plane shows.
    """

    true: Evaluation
    projected: Evaluation


def trajectory_plane(points: Sequence[Parameters]) -> TrajectoryPlane:
    """Return the plane of a trajectory.

    The directions come from the T x T matrix of inner products, in double precision, the second
    from what the first leaves. Memory is that of 2 T points in double precision.

    Args:
        points: T of them in order, at least 3: the parameters that move, of the same names and
            shapes.

    Raises:
        InputError: fewer points, points of different names or shapes, one that is not finite, or
            points that are all equal or on one line.
    """
    _check(points)
    last = {name: p.detach() for name, p in doubled(points[-1]).items()}
    end = flatten(last)
    # By name, whatever the order in which a point has its parameters.
    rows = torch.stack(
        [flatten({n: p[n].detach() for n in last}).double() - end for p in points]
    ).cpu()
    total = rows.square().sum().item()
    if total == 0:
        raise InputError(f"expected a trajectory, found its {len(points)} points all equal")
    u, x = _leading(rows)
    rest = rows - torch.outer(x, u)
    if rest.norm().item() <= _ON_A_LINE * total**0.5:
        raise InputError(f"expected a trajectory, found its {len(points)} points on one line")
    v, y = _leading(rest, orthogonal_to=u)
    distances = (rest - torch.outer(y, v)).norm(dim=1)
    coordinates = torch.stack([x, y], dim=1)
    return TrajectoryPlane(
        origin=points[-1],
        u=unflatten(u, last),
        v=unflatten(v, last),
        coordinates=coordinates.numpy(),
        distances=distances.numpy(),
        explained_variance_ratio=(coordinates.square().sum(dim=0) / total).numpy(),
    )


def losses_along(
    problem: Problem, points: Sequence[Parameters], plane: TrajectoryPlane, held: Parameters
) -> TrajectoryLosses:
    """Return the losses at the points of a trajectory and where they project to.

    Each is that of the model by itself, to the last bit. Where training moved more than the
    problem's moving parameters (the dynamics of a base model), these are losses with the held ones,
    not those that the agent had then.

    Args:
        problem: what is evaluated.
        points: of the trajectory.
        plane: theirs.
        held: all other parameters, of one model.
    """
    moving = {name: torch.stack([p[name] for p in points]) for name in plane.origin}
    true, projected = (
        evaluate(problem, own, held, at_once=1) for own in (moving, plane.projected())
    )
    return TrajectoryLosses(true, projected)


def _leading(rows: Tensor, orthogonal_to: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the first right singular vector of `[T, P]`, its sign fixed, and rows times it."""
    weights = torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -1]
    direction = rows.T @ weights
    if orthogonal_to is not None:  # by construction, but for rounding
        direction = direction - orthogonal_to * (orthogonal_to @ direction)
    direction = direction / direction.norm()
    coordinates = rows @ direction
    size = coordinates.abs()
    # Rounding must not choose between two points of opposite coordinates.
    farthest = int((size >= (1 - 1e-6) * size.max()).nonzero()[0])
    if coordinates[farthest] < 0:
        return -direction, -coordinates
    return direction, coordinates


def _check(points: Sequence[Parameters]) -> None:
    if len(points) < 3:
        raise InputError(f"a trajectory's plane needs at least 3 points, found {len(points)}")
    expected = {name: tuple(p.shape) for name, p in points[-1].items()}
    for k, point in enumerate(points):
        found = {name: tuple(p.shape) for name, p in point.items()}
        for name in [*expected, *sorted(found.keys() - expected.keys())]:
            if found.get(name) != expected.get(name):
                raise InputError(
                    f"point {k + 1} of a trajectory differs from its last in parameter '{name}': "
                    f"expected the shape {expected.get(name)}, found {found.get(name)}"
                )
        for name, p in point.items():
            if not torch.isfinite(p).all():
                raise InputError(
                    f"point {k + 1} of a trajectory must be finite, its parameter '{name}' is not"
                )
