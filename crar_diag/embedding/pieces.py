"""Embeddings that fit their base's piece by piece: rooms that have changed places.

Frozen dynamics say how a state moves wherever it lies: up is the same way in all of the embedding.
A transfer can therefore put each room where the other one was and keep the orientation of both. No
orthogonal map carries the base's embedding onto that: it is a translation of its own for each room.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from crar_diag.embedding.alignment import align, rotation_angle
from crar_diag.embedding.distance import VECTOR, flat_states, size
from crar_diag.envs import simple_maze
from crar_diag.errors import InputError

ROOMS: Final = np.array([0, -1, 1])[simple_maze.SIDES]
"""The room of each state of the simple maze: 0 left, 1 right, -1 the door, `[31]`."""


@dataclass(frozen=True)
class PieceFit:
    """How two pieces of a base's embedding are carried onto a transfer's, each by its own map.

    Attributes:
        residual: RMS over the states of both pieces of ||R_k (x_s - c_k) + c'_k - y_s||, with the
            pieces' centroids c and c', relative to the base's RMS norm, `[...]`.
        angle: the larger turn of the two, degrees in [0, 180], `[...]`.
        reflected: whether a piece fits better reflected than turned, bool `[...]`.
        exchanged: whether the pieces lie to each other the other way round: the vector from one
            centroid to the other has turned by more than 90 degrees, bool `[...]`.
    """

    residual: np.ndarray
    angle: np.ndarray
    reflected: np.ndarray
    exchanged: np.ndarray


def exchange(base: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Return an embedding whose two pieces have changed places, each moved and not turned.

    Along the line between their centroids the embedding keeps its extent: where one piece began the
    other begins, and where the other ended the first ends. States of neither piece go to the point
    that lies as far from the far end as they did from the near one. Where the centroids coincide
    there is no line, and the embedding stays as it is.

    Args:
        base: x, `[S, 2]`.
        pieces: which piece each state belongs to, 0 or 1, and -1 for neither, `[S]`.
    """
    first, second = (base[pieces == k] for k in (0, 1))
    line = second.mean(0) - first.mean(0)
    length = np.linalg.norm(line)
    if length == 0:
        return base.copy()
    line = line / length
    along = base @ line
    ends = [(along[pieces == k].min(), along[pieces == k].max()) for k in (0, 1)]
    moves = np.where(pieces == 0, ends[1][1] - ends[0][1], ends[0][0] - ends[1][0])
    mirrored = ends[0][0] + ends[1][1] - 2 * along
    moved: np.ndarray = base + np.where(pieces < 0, mirrored, moves)[:, None] * line
    return moved


def fit_pieces(base: np.ndarray, transfer: np.ndarray, pieces: np.ndarray) -> PieceFit:
    """Return how each of two pieces fits, turned about its centroid and moved.

    Args:
        base: x, `[S, 2]`.
        transfer: y of the same states, `[..., S, 2]`.
        pieces: which piece each state belongs to, 0 or 1, and -1 for neither, `[S]`.

    Returns:
        NaN, and no exchange, where an embedding is not finite.

    Raises:
        InputError: the shapes do not fit, or a piece has fewer than three states.
    """
    x, y = flat_states(base, transfer, state_axes=VECTOR)
    pieces = np.asarray(pieces)
    counts = [int((pieces == k).sum()) for k in (0, 1)]
    if pieces.shape != x.shape[-2:-1] or min(counts) < 3:
        raise InputError(
            f"expected two pieces of at least 3 of {x.shape[-2]} states, found {counts}"
        )
    squares, angles, reflected, apart = [], [], [], []
    for k in (0, 1):
        own, other = x[..., pieces == k, :], y[..., pieces == k, :]
        with np.errstate(over="ignore", invalid="ignore"):
            centres = own.mean(-2, keepdims=True), other.mean(-2, keepdims=True)
            found = align(own - centres[0], other - centres[1])
        squares.append(found.better.residual**2 * counts[k])
        angles.append(np.abs(rotation_angle(found.rotation.matrix)))
        reflected.append(found.reflected)
        apart.append(centres)
    with np.errstate(over="ignore", invalid="ignore"):
        before, after = (apart[1][k] - apart[0][k] for k in (0, 1))
        turned = (before * after).sum((-2, -1))
    residual = np.sqrt(sum(squares) / sum(counts)) / size(base)
    return PieceFit(
        residual=residual,
        angle=np.maximum(*angles),
        reflected=reflected[0] | reflected[1],
        exchanged=np.isfinite(residual) & (turned < 0),
    )
