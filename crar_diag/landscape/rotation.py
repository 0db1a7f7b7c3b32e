"""The rotation path: an embedding turned together with the dynamics that predict it.

With x turned into R x and

    p'(x, a) = R p(R^-1 x, a),  r'(x, a) = r(R^-1 x, a),  and gamma and Q likewise,

every loss is what it was but the volume loss, whose maximum norm is not invariant under rotations:
a square turned by 45 degrees sticks out of the square. So turning by 180 degrees leads an agent to
its embedding with sides swapped, over no barrier but that one. A mirrored agent has the same losses
too, but no rotation leads to it. Where the dynamics stay as they are, the transition loss rises.

All of it is exact: R is folded into the encoder's linear last layer, R^-1 into what the first
layers of the other networks see of the state, R into the transition's linear last layer.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture, Conv, Dense
from crar_diag.agent.networks import Parameters, component_of, of_component, stack
from crar_diag.agent.realignment import fold
from crar_diag.errors import InputError
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.problem import Problem
from crar_diag.landscape.profiles import Profile, profile

TOGETHER, ENCODER = TURNINGS = ("together", "encoder")
"""What turns: encoder and dynamics together, or the encoder alone."""

# Products of rotations in double precision stay orthogonal to this.
_ORTHOGONAL = 1e-9


def rotation(degrees: float) -> np.ndarray:
    """Return the matrix that turns the plane, counter-clockwise, `[2, 2]`; quarter turns are exact.

    Raises:
        InputError: an angle that is not finite.
    """
    if not np.isfinite(degrees):
        raise InputError(f"expected a finite angle, found {degrees}", arguments=["rotation"])
    quarters, rest = divmod(degrees, 90.0)
    c, s = np.cos(np.radians(rest)), np.sin(np.radians(rest))
    turned = [(c, s), (-s, c), (-c, -s), (s, -c)][int(quarters) % 4]
    return np.array([[turned[0], -turned[1]], [turned[1], turned[0]]]) + 0.0


def rotated(architecture: Architecture, parameters: Parameters, map: np.ndarray) -> Parameters:
    """Return the agent whose states are R e(o), with dynamics that turn along.

    Args:
        architecture: the agent's layers.
        parameters: one agent, without a member axis.
        map: R, any orthogonal matrix, `[d, d]`: of a state's entries, or of the channels at each
            position where states are spatial.

    Returns:
        New parameters; those that R does not touch are copies.

    Raises:
        InputError: a map that is not orthogonal or of another size, or a network that does not
            begin with a layer of weights; or an encoder or transition that does not end in a
            linear one.
    """
    size = architecture.state_shape[0]
    map = np.asarray(map, np.float64)
    if map.shape != (size, size) or not np.allclose(map @ map.T, np.eye(size), 0, _ORTHOGONAL):
        raise InputError(
            f"expected an orthogonal map of shape {(size, size)} for the states of "
            f"'{architecture.name}', found {map.tolist()}"
        )
    found = fold(architecture, parameters, map)
    for component in ("transition", "reward", "discount", "q"):
        _see_turned(architecture, found, component, map)
    last = len(architecture.transition) - 1
    _check_layer(architecture, "transition", last, linear=True)
    for kind in ("weight", "bias"):
        name = f"transition.{last}.{kind}"
        matrix = torch.as_tensor(map, device=found[name].device)
        found[name] = torch.tensordot(matrix, found[name].double(), dims=1).to(found[name].dtype)
    return found


def _see_turned(
    architecture: Architecture, parameters: Parameters, component: str, map: np.ndarray
) -> None:
    """Fold R^-1 into what a network's first layer sees of the state, in place."""
    _check_layer(architecture, component, 0)
    name = f"{component}.0.weight"
    old = parameters[name]
    # Vectors stand before the action, channels behind its planes (`networks.join`); Q sees states.
    behind = architecture.actions if architecture.spatial and component != "q" else 0
    columns = slice(behind, behind + len(map))
    # W R^-1 for a state in the place of R^-1 x, and R^-1 is the transpose of R.
    inverse = torch.as_tensor(map.T.copy(), device=old.device)
    turned = torch.einsum("oi...,ij->oj...", old[:, columns].double(), inverse)
    parameters[name] = old.clone()
    parameters[name][:, columns] = turned.to(old.dtype)


def _check_layer(
    architecture: Architecture, component: str, position: int, linear: bool = False
) -> None:
    layers = architecture.layers(component)
    layer = layers[position] if layers else None
    if not isinstance(layer, Dense | Conv) or (linear and layer.tanh):
        kind, end = ("a linear layer", "end") if linear else ("a layer of weights", "begin")
        raise InputError(
            f"expected the {component} of '{architecture.name}' to {end} with {kind}, found {layer}"
        )


@dataclass(frozen=True, eq=False)
class Rotation(Grid):
    """An agent with states in the plane, turned by each of several angles.

    Attributes:
        architecture: its layers.
        parameters: all of them, at 0 degrees.
        degrees: the angles, float64 `[G]`.
        dynamics_turn: whether its dynamics turn along; else the encoder turns alone, and a point
            has only the encoder's parameters.
    """

    architecture: Architecture
    parameters: Parameters
    degrees: np.ndarray
    dynamics_turn: bool = True

    def __post_init__(self) -> None:
        """Refuse an agent whose states are no points of a plane.

        Raises:
            InputError: naming their shape.
        """
        check_plane(self.architecture)

    @property
    def axes(self) -> tuple[np.ndarray, ...]:  # type: ignore[override]
        """The angles."""
        return (self.degrees,)

    def points(self, start: int, stop: int) -> Parameters:
        """Return some of the points, `[n, ...]`."""
        return stack([self._at(float(angle)) for angle in self.degrees[start:stop]])

    def _at(self, degrees: float) -> Parameters:
        map = rotation(degrees)
        if self.dynamics_turn:
            return rotated(self.architecture, self.parameters, map)
        folded = fold(self.architecture, self.parameters, map)
        return of_component(folded, "encoder")


def rotation_profiles(
    problem: Problem,
    architecture: Architecture,
    parameters: Parameters,
    *,
    degrees: float = 180.0,
    points: int = 61,
    workers: int = 1,
) -> dict[str, Profile]:
    """Return the losses of an agent turned by angles from 0 on.

    Args:
        problem: gives the losses.
        architecture: the agent's layers.
        parameters: all of them.
        degrees: the last angle.
        points: of each profile.
        workers: pieces that are computed side by side, each on one thread.

    Returns:
        `together`: its dynamics turn along. `encoder`: they do not.

    Raises:
        InputError: its states are no points of a plane, or the angle is not above 0 and at most
            360.
    """
    check_plane(architecture)
    check_angle(degrees)
    frozen = {n: p for n, p in parameters.items() if component_of(n) != "encoder"}
    found = {}
    for name, held in ((TOGETHER, {}), (ENCODER, frozen)):
        course = partial(Rotation, architecture, parameters, dynamics_turn=name == TOGETHER)
        found[name] = profile(problem, course, held, points=points, end=degrees, workers=workers)
    return found


def check_angle(degrees: float) -> None:
    """Refuse an angle at which no rotation path can end.

    Raises:
        InputError: it is not above 0 and at most 360.
    """
    if not 0 < degrees <= 360:
        raise InputError(
            f"expected an angle above 0 and at most 360 degrees, found {degrees:g}",
            arguments=["rotation"],
        )


def check_plane(architecture: Architecture) -> None:
    """Refuse agents whose states are no points of a plane.

    Raises:
        InputError: naming the shape of a state.
    """
    if architecture.state_shape != (2,):
        raise InputError(
            "a rotation needs abstract states in the plane, of shape (2,), found those of "
            f"'{architecture.name}', of shape {architecture.state_shape}",
            arguments=["rotation"],
        )
