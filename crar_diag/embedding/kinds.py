"""What became of a transfer: the base's embedding, a turned or mirrored one, or none of it.

The kind of outcome is read off the embedding alone: how the base's states are best carried onto the
transfer's (`alignment`), how far the states are spread, and whether they still move. The rules are
asked in the order of `classify`'s docstring; the first that holds names the kind.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from crar_diag.embedding import alignment, distance
from crar_diag.embedding.distance import SPATIAL, VECTOR
from crar_diag.embedding.pieces import fit_pieces
from crar_diag.errors import InputError

Kind = Literal[
    "identity",
    "swap",
    "mirror",
    "rotation",
    "exchange",
    "channels",
    "collapsed",
    "unfinished",
    "other",
    "diverged",
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The kinds of outcome; a code is an index into them."""


@dataclass(frozen=True)
class Thresholds:
    """Where one kind ends and the next begins; lengths are relative to the base.

    Attributes:
        fit: a map (or, of an exchange, one map a room) fits up to this residual. Neighbouring
            states of the shipped base models of the simple maze lie 0.41 to 0.45 apart (medians);
            five of the six agree up to a map with residuals of 0.06 to 0.21, the unfinished sixth
            stays 0.91 or more from each of them.
        fit_images: the same where states are images, as in the labyrinth. In its transfers of
            200,000 updates those that have found the base's embedding, as their scores show, wander
            0.14 to 0.47 from it; the others come as near as 0.54 and are nearly always beyond 0.75.
        turn: identity and swap end this far from 0 and 180 degrees: half of 45, the least turn
            that exchanges the grid's axes with its diagonals.
        collapsed: below this spread the states have fallen together.
        moving: above this RMS displacement since the record before, an embedding that no map fits
            is unfinished. Over the last ten epochs of the shipped base models, which are settled
            but for seed 3, nine of ten displacements are below 0.22 and half are below 0.12.
    """

    fit: float = 0.25
    fit_images: float = 0.5
    turn: float = 22.5
    collapsed: float = 0.1
    moving: float = 0.2


@dataclass(frozen=True)
class Outcome:
    """The kind of one transfer and the numbers behind it; NaN where undefined.

    Attributes:
        kind: one of `KINDS`.
        distance: mean L2 distance to the base, in the embedding's units.
        identity_residual: RMS distance to the base, relative to the base's RMS norm.
        residual: the same after the best map (rotation, reflection, or channel permutation).
        margin: residual of the next best (of the worse of rotation and reflection) minus that.
        reflected: whether the best map is a reflection; False for spatial states.
        angle: of the best rotation, degrees in (-180, 180]; NaN for spatial states.
        axis: of the best reflection, degrees in [0, 180); NaN for spatial states.
        spread: RMS distance from the centroid, relative to the base's.
        displacement: RMS distance to the record before, relative to the base's RMS norm.
    """

    kind: Kind
    distance: float
    identity_residual: float
    residual: float
    margin: float
    reflected: bool
    angle: float
    axis: float
    spread: float
    displacement: float


@dataclass(frozen=True)
class Outcomes:
    """The same for many embeddings: every attribute is an array `[...]`, see `Outcome`.

    Attributes:
        codes: indices into `KINDS`, int8 `[...]`.
    """

    codes: np.ndarray
    distance: np.ndarray
    identity_residual: np.ndarray
    residual: np.ndarray
    margin: np.ndarray
    reflected: np.ndarray
    angle: np.ndarray
    axis: np.ndarray
    spread: np.ndarray
    displacement: np.ndarray

    @property
    def kinds(self) -> np.ndarray:
        """The names of the kinds, strings `[...]`."""
        return np.array(KINDS)[self.codes]


def classify(
    base: np.ndarray,
    embedding: np.ndarray,
    previous: np.ndarray | None = None,
    *,
    pieces: np.ndarray | None = None,
    thresholds: Thresholds | None = None,
) -> Outcome:
    """Return the kind of one transfer.

    In this order: `diverged` where a value is not finite; `collapsed` where the states have fallen
    together; then, with plane states, where the better of rotation and reflection fits, `mirror`
    for a reflection, `identity` or `swap` (x -> -x, the paper's swapped sides) for a rotation near
    0 or 180 degrees, `rotation` for any other, and, where no map fits but each of two rooms fits by
    itself without a turn, `exchange` if they have changed places (`pieces`); with spatial states,
    `identity` where the base itself fits and `channels` where another signed permutation of its
    channels does; where no map fits, `unfinished` if the embedding still moves, and `other` if it
    does not.

    Args:
        base: the base's embedding, `[S, 2]` or `[S, C, H, W]`.
        embedding: the transfer's, of the same states.
        previous: the transfer's one record before; without it (or where it is not finite) the
            embedding counts as settled.
        pieces: the room of each state, see `fit_pieces`, `[S]`; without it no exchange is looked
            for.
        thresholds: where the kinds end.

    Raises:
        InputError: the shapes do not fit, or the base's states all coincide.
    """
    limits = thresholds or Thresholds()
    if np.ndim(embedding) != np.ndim(base):
        raise InputError(
            f"expected one embedding of shape {np.shape(base)}, got {np.shape(embedding)}"
        )
    before = np.full(np.shape(embedding), np.nan) if previous is None else np.asarray(previous)
    moved = _displacement(base, before, embedding)
    found = _outcomes(base, np.asarray(embedding), moved, pieces, limits)
    return Outcome(
        kind=KINDS[int(found.codes)],
        distance=float(found.distance),
        identity_residual=float(found.identity_residual),
        residual=float(found.residual),
        margin=float(found.margin),
        reflected=bool(found.reflected),
        angle=float(found.angle),
        axis=float(found.axis),
        spread=float(found.spread),
        displacement=float(found.displacement),
    )


def classify_history(
    base: np.ndarray,
    embeddings: np.ndarray,
    *,
    pieces: np.ndarray | None = None,
    thresholds: Thresholds | None = None,
) -> Outcomes:
    """Return the kind at every record of every member, `[M, K]`; the rules are `classify`'s.

    The first record has no displacement and counts as settled.

    Args:
        base: the base's embedding, `[S, 2]` or `[S, C, H, W]`.
        embeddings: the transfers' over time, `[M, K, S, ...]`.
        pieces: as in `classify`.
        thresholds: where the kinds end.

    Raises:
        InputError: the shapes do not fit, or the base's states all coincide.
    """
    if np.ndim(embeddings) != np.ndim(base) + 2:
        raise InputError(
            f"expected embeddings of shape [members, times, *{np.shape(base)}], "
            f"got {np.shape(embeddings)}"
        )
    array = np.asarray(embeddings)
    moved = np.full(array.shape[:2], np.nan)
    moved[:, 1:] = _displacement(base, array[:, :-1], array[:, 1:])
    return _outcomes(base, array, moved, pieces, thresholds or Thresholds())


def _outcomes(
    base: np.ndarray,
    embeddings: np.ndarray,
    displacement: np.ndarray,
    pieces: np.ndarray | None,
    limits: Thresholds,
) -> Outcomes:
    """Return the kinds of embeddings `[..., S, ...]` with displacements `[...]`."""
    axes = _state_axes(base)
    reach = distance.spread(base, state_axes=axes)
    if reach == 0:
        raise InputError("expected a base embedding with states apart, got one where all coincide")
    spread = distance.spread(embeddings, state_axes=axes) / reach
    if axes == VECTOR:
        aligned = alignment.align(base, embeddings)
        best, margin, reflected = aligned.better, aligned.margin, aligned.reflected
        angle = alignment.rotation_angle(aligned.rotation.matrix)
        axis = alignment.mirror_axis(aligned.reflection.matrix)
        unmoved = _displacement(base, base, embeddings)
        fits = best.relative <= limits.fit
        maps = [
            ("mirror", fits & reflected),
            ("identity", fits & (np.abs(angle) <= limits.turn)),
            ("swap", fits & (np.abs(angle) >= 180 - limits.turn)),
            ("rotation", fits),
        ]
        if pieces is not None:
            maps.append(("exchange", _exchanged(base, embeddings, pieces, limits)))
    else:
        permuted = alignment.align_channels(base, embeddings)
        best, margin = permuted.best, permuted.margin
        unmoved = permuted.identity.relative
        reflected = np.zeros(unmoved.shape, bool)
        angle = axis = np.full(unmoved.shape, np.nan)
        fit = limits.fit_images
        maps = [("identity", unmoved <= fit), ("channels", best.relative <= fit)]
    rules = [
        ("diverged", np.isnan(best.relative)),
        ("collapsed", spread < limits.collapsed),
        *maps,
        ("unfinished", displacement > limits.moving),
    ]
    codes = np.select(
        [holds for _, holds in rules],
        [KINDS.index(name) for name, _ in rules],
        KINDS.index("other"),
    )
    return Outcomes(
        codes=codes.astype(np.int8),
        distance=distance.mean_distance(base, embeddings, state_axes=axes),
        identity_residual=unmoved,
        residual=best.relative,
        margin=margin,
        reflected=reflected,
        angle=angle,
        axis=axis,
        spread=spread,
        displacement=displacement,
    )


def _exchanged(
    base: np.ndarray, embeddings: np.ndarray, pieces: np.ndarray, limits: Thresholds
) -> np.ndarray:
    """Return whether two rooms have changed places and kept their orientation, bool `[...]`."""
    found = fit_pieces(base, embeddings, pieces)
    holds: np.ndarray = (
        found.exchanged
        & ~found.reflected
        & (found.angle <= limits.turn)
        & (found.residual <= limits.fit)
    )
    return holds


def _displacement(base: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return RMS_s ||after_s - before_s|| in units of the base's RMS norm, `[...]`."""
    axes = _state_axes(base)
    first, second = distance.flat_states(before, after, state_axes=axes)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        moved = distance.root_mean_square(second - first)
        return distance.finite_or_nan(moved / distance.size(base, state_axes=axes))


def _state_axes(base: np.ndarray) -> int:
    shape = np.shape(base)
    if len(shape) == 2 and shape[1] == 2:
        return VECTOR
    if len(shape) == 4:
        return SPATIAL
    raise InputError(f"expected a base embedding [S, 2] or [S, C, H, W], got shape {shape}")
