"""What the fused update of every kind of agent has in common: positions, batches, rules."""

from typing import Any, NamedTuple

import numpy as np

from crar_diag.agent.fused.compiling import jit

ENCODER, TRANSITION, REWARD, DISCOUNT, Q = range(5)
"""Positions of the components in every array that has one entry a component."""

VOLUME_LOSS, RANDOM_PAIRS, CONSECUTIVE_PAIRS, Q_LOSS = 3, 4, 5, 6
"""Positions of these losses in every array that has one entry a loss; those before have heads."""

HEAD_OF = (TRANSITION, REWARD, DISCOUNT, -1, -1, -1, Q)

SEQUENTIAL, SIMULTANEOUS, JOINT = range(3)

RHO, ONE_MINUS_RHO, EPSILON, CLIP, GAMMA, PAIR_SCALE, PAIR_LOW, PAIR_HIGH, VOLUME_LIMIT = range(9)
"""Positions of the hyperparameters in one array of the agent's precision."""


class Places(NamedTuple):
    """Where things lie in a member's flat parameters and optimizer state.

    Attributes:
        tensors: for each component, the lengths of its tensors, one after the other.
        starts: `[6]`, the offset of each component and the end.
        slots: `[7, 2]`, for each loss the offset of its encoder's and its head's running squares;
            losses with equal offsets share an optimizer.
        dimension: numbers in a state, d.
        channels: of a state; the numbers of one channel follow each other.
    """

    tensors: tuple[Any, ...]
    starts: Any
    slots: Any
    dimension: int
    channels: int


class Orders(NamedTuple):
    """From the population's memory to the update's, and back.

    Attributes:
        pick: for each number of the update's parameters, its place in the population's.
        spread: for each of the population's parameters, its place in the update's.
        pick_squares: the same of the running squares.
        spread_squares: the same of the running squares.
    """

    pick: Any
    spread: Any
    pick_squares: Any
    spread_squares: Any


class Batch(NamedTuple):
    """One batch: pictures of s and of s', actions, rewards, (1 - terminal)."""

    first: Any
    second: Any
    actions: Any
    rewards: Any
    going_on: Any


class Transitions(NamedTuple):
    """A member's data, one entry a transition: numbers of pictures, actions, rewards, going on."""

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

    own: Any  # of the kind of agent
    x: Any  # states [d, columns]
    dx: Any  # derivative by them
    joint: Any  # the same, weighted and summed over losses
    out: Any  # a head's output [outputs, batch]
    dout: Any
    next_q: Any  # [4, batch], the target network's Q values of s'
    grad: Any  # like the parameters
    squares: Any  # squared norms of each component's tensors
    start: Any  # parameters at the start of the update
    before: Any  # parameters before a step that may have to be taken back
    slots: Any  # [K] of -1
    picks: Any  # [columns], for short use
    distinct: Any  # [columns], the batch's distinct pictures
    columns: Any  # [3, batch], each transition's column for s, for s', and for s rolled by one
    identity: Any  # [batch], 0, 1, ...
    none: Any  # an empty list of actions


@jit
def common_workspace(
    own: Any, places: Any, theta: Any, pictures: int, outputs: int, size: int
) -> Any:
    """Return scratch memory for batches of `size` transitions and heads of so many outputs."""
    n, d, tensors = 2 * size, places.dimension, 0
    for lengths in places.tensors:
        tensors = max(tensors, lengths.size)
    kind = theta.dtype
    return Work(
        own,
        np.empty(d * n, kind),
        np.empty(d * n, kind),
        np.empty(d * n, kind),
        np.empty(outputs * size, kind),
        np.empty(outputs * size, kind),
        np.empty((4, size), kind),
        np.zeros(theta.size, kind),
        np.zeros((5, tensors), kind),
        np.empty(theta.size, kind),
        np.empty(theta.size, kind),
        np.full(pictures, -1, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty((3, size), np.int64),
        np.arange(size),
        np.empty(0, np.int64),
    )
