"""The simple maze's exact losses at many points of a grid at once, without gradients.

The same numbers as `agent.exact.losses_of_embedding` gives of each point, to rounding; tests hold
one against the other in double precision. It stands beside the definition for one reason: by
`vmap` a plane takes ten times as long (`point_networks` says what makes the difference). States
stand in columns, 32 of them, so that products run on aligned rows; and of two states' distance,
each pair is taken once.
"""

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.architecture import Architecture, Dense, Flatten
from crar_diag.agent.config import LOSSES
from crar_diag.agent.losses import PAIR_SQUARE_BOUNDS, VOLUME_LIMIT, LossSettings
from crar_diag.envs import simple_maze
from crar_diag.landscape.point_networks import Array, PointNetworks, with_ones
from crar_diag.landscape.points import Points
from crar_diag.landscape.problem import Parameters, Values

_STATES, _ACTIONS = simple_maze.SUCCESSORS.shape
# The next state of all pairs, by action and then by state.
_FOLLOWING = np.ascontiguousarray(simple_maze.SUCCESSORS.T)
# All pairs of states without their order, each with itself among them, and how often it counts.
_FIRST, _SECOND = np.triu_indices(_STATES)
_TIMES = np.where(_FIRST == _SECOND, 1.0, 2.0)


def fits(architecture: Architecture) -> bool:
    """Return whether agents of an architecture are evaluated here: dense layers, flat states."""
    layers = [layer for layer in architecture.encoder if not isinstance(layer, Flatten)]
    return not architecture.spatial and all(isinstance(layer, Dense) for layer in layers)


def losses_of_points(
    architecture: Architecture,
    points: Points,
    held: Parameters,
    pictures: Tensor,
    settings: LossSettings,
    q_target: Tensor | None = None,
) -> Values:
    """Return every loss at G points, `[G]` each; on a CPU.

    Args:
        architecture: one that `fits`.
        points: the parameters that differ between the points.
        held: all others.
        pictures: of the 31 states, `[31, c, h, w]`.
        settings: the losses' constants.
        q_target: what Q is to be at each point, `[G, 124]`, instead of the agent's own target.
    """
    networks = PointNetworks(architecture, points, held)
    with np.errstate(all="ignore"):  # where points are not finite, their losses say so
        found = _losses(networks, _columns(pictures), settings, q_target)
    shape = (networks.count,)
    return {name: torch.from_numpy(np.broadcast_to(found[name], shape).copy()) for name in LOSSES}


def _losses(
    networks: PointNetworks, pixels: Array, settings: LossSettings, q_target: Tensor | None
) -> dict[str, Array]:
    """Return the losses, `[G]`, or `[1]` where they are the same at all points."""
    values = networks.run("encoder", pixels, shared=True)
    x = np.ascontiguousarray(values[:, :-1, :_STATES])  # [G, d, 31]
    step = x[:, :, None] - x.take(_FOLLOWING, 2)  # [G, d, 4, 31]
    change, reward, discount = (
        _by_action(networks.run_on_pairs(component, values))
        for component in ("transition", "reward", "discount")
    )
    q = networks.run("q", values)[:, :-1, :_STATES]
    if q_target is None:
        wanted = settings.discount_factor * q.max(axis=1).take(_FOLLOWING, 1)
    else:
        wanted = q_target.numpy().reshape(-1, _STATES, _ACTIONS).swapaxes(1, 2)
    between = _closeness(x.take(_FIRST, 2) - x.take(_SECOND, 2), settings.pair_scale)
    beyond = np.clip(np.square(x).max(axis=1) - 1, 0, VOLUME_LIMIT)
    return {
        "transition": _mean_square(change + step),
        "reward": _mean_square(reward),
        "discount": _mean_square(settings.discount_factor - discount),
        "volume": beyond.mean(axis=1),
        "random_pairs": (between * (_TIMES / _STATES**2).astype(x.dtype)).sum(axis=1),
        "consecutive_pairs": _closeness(step, settings.pair_scale).mean(axis=(1, 2)),
        "q": _mean_square(q - wanted) / _ACTIONS,
    }


def _columns(pictures: Tensor) -> Array:
    """Return the pictures as values that all points share, `[1, pixels + 1, 32]`."""
    # Keras' order of pixels, channels last; and one column more, for aligned rows.
    pixels = pictures.permute(0, 2, 3, 1).flatten(1).numpy()
    return with_ones(np.concatenate([pixels, pixels[:1]]).T[None])


def _by_action(values: Array) -> Array:
    """Return the values of all pairs, `[G, outputs, 4, 31]`."""
    return values[:, :-1].reshape(len(values), -1, _ACTIONS, _STATES + 1)[..., :_STATES]


def _mean_square(x: Array) -> Array:
    """Return the mean of squares at each point, `[G]`."""
    found: Array = np.square(x).reshape(len(x), -1).mean(axis=1)
    return found


def _closeness(difference: Array, scale: float) -> Array:
    """Return exp(-C_d ||x - y||) of differences `[G, d, ...]`, `[G, ...]`."""
    square = np.square(difference).sum(axis=1)
    np.clip(square, *PAIR_SQUARE_BOUNDS, out=square)
    np.sqrt(square, out=square)
    square *= -scale
    found: Array = np.exp(square, out=square)
    return found
