"""Where things lie in the fused update's memory: positions, layouts, batches, scratch."""

from typing import Any, NamedTuple

import numpy as np

from crar_diag.agent.fused.compiling import jit

ENCODER, TRANSITION, REWARD, DISCOUNT, Q = range(5)
"""Positions of the components in every array that has one entry a component."""

VOLUME_LOSS, RANDOM_PAIRS, CONSECUTIVE_PAIRS, Q_LOSS = 3, 4, 5, 6
"""Positions of these losses in every array that has one entry a loss; those before have heads."""

HEAD_OF = (TRANSITION, REWARD, DISCOUNT, -1, -1, -1, Q)

SEQUENTIAL, SIMULTANEOUS, JOINT = range(3)


class Layout(NamedTuple):
    """Where things lie in a member's flat parameters and optimizer state.

    Attributes:
        sizes: for each component, its layer sizes, inputs and outputs included.
        starts: `[6]`, the offset of each component and the end.
        slots: `[7, 2]`, for each loss the offset of its encoder's and its head's running squares;
            losses with equal offsets share an optimizer.
    """

    sizes: tuple[Any, ...]
    starts: Any
    slots: Any


class Batch(NamedTuple):
    """One batch: columns of the observation table, actions, rewards, (1 - terminal), target values.

    Attributes:
        table: `[features, K]`, every distinct picture a column.
        target_q: `[4, K]`, the target network's Q values of every picture.
    """

    table: Any
    target_q: Any
    first: Any
    second: Any
    actions: Any
    rewards: Any
    going_on: Any


class Transitions(NamedTuple):
    """A member's data, one entry a transition: columns of the table, actions, rewards, going on."""

    first: Any
    second: Any
    actions: Any
    rewards: Any
    going_on: Any


class Rule(NamedTuple):
    """What one member's update does: see `UpdateRule` and `MemberRule`."""

    mode: int
    double_q: bool
    clip_globally: bool
    rate: float
    weights: Any
    trainable: Any
    hyper: Any


class Work(NamedTuple):
    """Scratch memory of one thread."""

    a: Any  # encoder activations [all layers, columns]
    da: Any  # their derivatives
    compact: Any  # activations of a part of the columns
    head: Any  # head activations [all layers, batch]
    dhead: Any
    rows: Any
    grad: Any  # like the parameters
    squares: Any
    dx: Any  # derivative by the states [d, columns]
    joint: Any  # the same, weighted and summed over losses
    start: Any  # parameters at the start of the update
    slots: Any  # [K] of -1
    picks: Any  # [columns], for short use
    distinct: Any  # [columns], the batch's distinct pictures
    columns: Any  # [3, batch], each transition's column for s, for s', and for s rolled by one
    none: Any  # an empty list of actions


@jit
def workspace(theta: Any, layout: Any, size: int, pictures: int) -> Any:
    """Return scratch memory for batches of `size` transitions."""
    n = 2 * size
    encoder = layout.sizes[ENCODER]
    features, widest, deepest, tensors = encoder.sum(), 0, 0, 0
    for sizes in layout.sizes:
        widest = max(widest, sizes.max())
        deepest = max(deepest, sizes.sum())
        tensors = max(tensors, 2 * (sizes.size - 1))
    kind = theta.dtype
    return Work(
        np.empty(features * n, kind),
        np.empty(features * n, kind),
        np.empty(features * n, kind),
        np.empty(deepest * size, kind),
        np.empty(deepest * size, kind),
        np.empty(widest * n, kind),
        np.zeros(theta.size, kind),
        np.empty((5, tensors), kind),
        np.empty(encoder[-1] * n, kind),
        np.empty(encoder[-1] * n, kind),
        np.empty(theta.size, kind),
        np.full(pictures, -1, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty((3, size), np.int64),
        np.empty(0, np.int64),
    )
