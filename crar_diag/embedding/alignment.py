"""The orthogonal map that best carries one embedding onto another: y_s = R x_s for all states.

A transfer with frozen dynamics may end in the base's embedding turned or mirrored. Maps act about
the origin, because the encoder's sign does (a tanh network is odd), and without scaling, because
the frozen dynamics know one scale.

Vector states are aligned by orthogonal Procrustes analysis (Schoenemann, Psychometrika 1966) with
the determinant prescribed as by Kabsch (Acta Cryst. A 1976), the labyrinth's states by trying all
signed permutations of their channels, the same at every position.
"""

from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from math import factorial
from typing import Final

import numpy as np

from crar_diag.embedding.distance import (
    SPATIAL,
    VECTOR,
    finite_or_nan,
    flat_states,
    root_mean_square,
)
from crar_diag.errors import InputError

# 5! * 2^5 = 3,840 candidates; one channel more and they are 46,080 for every pair of embeddings.
MAX_CHANNELS: Final = 5

# Residuals that differ by less, relative to the base's size, are one and the same: states on a line
# are turned and mirrored alike, and rounding must not choose.
TIE: Final = 1e-9


@dataclass(frozen=True)
class Fit:
    """One map of each pair of embeddings, and how well it fits.

    Attributes:
        matrix: R, `[..., d, d]`, or `[..., C, C]` on channels; NaN where not finite.
        residual: RMS over states of ||R x_s - y_s||, NaN where not finite, `[...]`.
        relative: the same in units of the RMS norm of x; NaN where that is 0, `[...]`.
    """

    matrix: np.ndarray
    residual: np.ndarray
    relative: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """The best rotation and the best reflection of each pair of embeddings.

    Attributes:
        rotation: the best map of determinant +1.
        reflection: the best map of determinant -1.
        reflected: whether the reflection fits better; of equals the rotation is taken, `[...]`.
    """

    rotation: Fit
    reflection: Fit
    reflected: np.ndarray

    @property
    def better(self) -> Fit:
        """The one of the two that fits better."""
        one, other, chosen = self.reflection, self.rotation, self.reflected
        return Fit(
            np.where(chosen[..., None, None], one.matrix, other.matrix),
            np.where(chosen, one.residual, other.residual),
            np.where(chosen, one.relative, other.relative),
        )

    @property
    def margin(self) -> np.ndarray:
        """Relative residual of the worse minus that of the better, `[...]`."""
        return np.abs(self.rotation.relative - self.reflection.relative)


@dataclass(frozen=True)
class ChannelAlignment:
    """The best signed channel permutation of each pair of embeddings.

    Attributes:
        best: where two cost exactly the same, the identity if it is one of them.
        identity: the map that changes nothing.
        runner_up: the best of those that are not `best`.
    """

    best: Fit
    identity: Fit
    runner_up: Fit

    @property
    def margin(self) -> np.ndarray:
        """Relative residual of the runner-up minus that of the best, `[...]`."""
        return self.runner_up.relative - self.best.relative


def align(base: np.ndarray, transfer: np.ndarray) -> Alignment:
    """Return the rotation and the reflection R that minimise sum_s ||R x_s - y_s||^2.

    With sum_s y_s x_s^T = U diag(sigma) V^T and falling sigma, R = U diag(1, ..., 1, s) V^T, where
    the sign s sets the determinant: it costs least at the smallest singular value.

    Args:
        base: x, `[..., S, d]`.
        transfer: y of the same states, `[..., S, d]`; the axes before S broadcast.

    Raises:
        InputError: the shapes do not fit.
    """
    x, y = flat_states(base, transfer, state_axes=VECTOR)
    with np.errstate(over="ignore", invalid="ignore"):
        cross = y.swapaxes(-1, -2) @ x
    valid = np.isfinite(cross).all((-2, -1))
    dimension = x.shape[-1]
    u, _, vt = np.linalg.svd(np.where(valid[..., None, None], cross, np.eye(dimension)))
    orientation = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    fits = []
    for determinant in (1.0, -1.0):
        signs = np.ones((*orientation.shape, 1, dimension))
        signs[..., 0, -1] = determinant * orientation
        matrix = (u * signs) @ vt
        with np.errstate(over="ignore", invalid="ignore"):
            fits.append(_fit(matrix, root_mean_square(x @ matrix.swapaxes(-1, -2) - y), x))
    rotation, reflection = fits
    return Alignment(rotation, reflection, reflection.relative < rotation.relative - TIE)


def align_channels(base: np.ndarray, transfer: np.ndarray) -> ChannelAlignment:
    """Return the signed permutation of channels that fits best, of all C! 2^C.

    The matrix R of a fit maps the channels at every position alike: y_c = sum_k R_ck x_k.

    Args:
        base: x, `[..., S, C, H, W]`.
        transfer: y of the same states, `[..., S, C, H, W]`; the axes before S broadcast.

    Raises:
        InputError: the shapes do not fit, or there are more than `MAX_CHANNELS` channels.
    """
    x, y = flat_states(base, transfer, state_axes=SPATIAL)
    channels = np.shape(base)[-SPATIAL]
    if channels > MAX_CHANNELS:
        raise InputError(f"expected at most {MAX_CHANNELS} channels to permute, got {channels}")
    first = x.reshape(*x.shape[:-1], channels, -1)
    second = y.reshape(*y.shape[:-1], channels, -1)
    # costs[..., c, k, s] = sum ||(+-)x_k - y_c||^2; a candidate costs C of them. Taking differences
    # before squaring keeps a perfect fit at exactly 0.
    costs = np.empty((*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), channels, channels, 2))
    with np.errstate(over="ignore", invalid="ignore"):
        for c, k in product(range(channels), repeat=2):
            ours, theirs = first[..., k, :], second[..., c, :]
            costs[..., c, k, 0] = ((ours - theirs) ** 2).sum((-2, -1))
            costs[..., c, k, 1] = ((ours + theirs) ** 2).sum((-2, -1))
    orders, signs = _candidates(channels)
    each = costs[..., np.arange(channels), orders, signs].sum(-1)
    valid = np.isfinite(each).all(-1)
    residuals = np.sqrt(np.where(valid[..., None], each, np.nan) / x.shape[-2])
    ranking = np.argsort(np.where(valid[..., None], each, 0.0), axis=-1, kind="stable")
    matrices = np.zeros((len(orders), channels, channels))
    matrices[np.arange(len(orders))[:, None], np.arange(channels), orders] = 1.0 - 2.0 * signs

    def chosen(index: np.ndarray) -> Fit:
        return _fit(matrices[index], np.take_along_axis(residuals, index[..., None], -1)[..., 0], x)

    identity = np.zeros(valid.shape, int)
    return ChannelAlignment(chosen(ranking[..., 0]), chosen(identity), chosen(ranking[..., 1]))


def rotation_angle(matrix: np.ndarray) -> np.ndarray:
    """Return the angle in degrees, in (-180, 180], by which plane rotations turn (positive: left).

    Args:
        matrix: `[..., 2, 2]` of determinant +1.

    Raises:
        InputError: the matrices are not 2 x 2.
    """
    return _direction(matrix)


def mirror_axis(matrix: np.ndarray) -> np.ndarray:
    """Return the angle in degrees, in [0, 180), of the line across which plane reflections mirror.

    The reflection across the line at angle t is [[cos 2t, sin 2t], [sin 2t, -cos 2t]]: 90 degrees
    changes the sign of the first coordinate.

    Args:
        matrix: `[..., 2, 2]` of determinant -1.

    Raises:
        InputError: the matrices are not 2 x 2.
    """
    axis = np.mod(_direction(matrix) / 2, 180.0)
    return np.where(axis == 180.0, 0.0, axis)


def _direction(matrix: np.ndarray) -> np.ndarray:
    """Return where the first axis goes, in degrees in (-180, 180], `[...]`."""
    if np.shape(matrix)[-2:] != (2, 2):
        raise InputError(f"expected matrices of shape [..., 2, 2], got {np.shape(matrix)}")
    angle = np.degrees(np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]))
    # A negative zero as sine gives -180.
    return np.where(angle == -180.0, 180.0, angle)


def _fit(matrix: np.ndarray, residual: np.ndarray, base: np.ndarray) -> Fit:
    """Return a fit whose residual is known; `base` is flat, `[..., S, n]`."""
    matrix = np.where(np.isfinite(residual)[..., None, None], matrix, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Fit(matrix, residual, finite_or_nan(residual / root_mean_square(base)))


@cache
def _candidates(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all signed permutations, the identity first: `[C! 2^C, C]` channels, and 1 for minus.

    Output channel c takes channel `orders[i, c]`, negated where `signs[i, c]` is 1.
    """
    pairs = product(permutations(range(channels)), product((0, 1), repeat=channels))
    both = np.array(list(pairs)).reshape(factorial(channels) * 2**channels, 2, channels)
    return both[:, 0], both[:, 1]
