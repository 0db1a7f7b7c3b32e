"""What the fused update of every kind of agent has in common: positions, batches, rules."""

from typing import Any, NamedTuple

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
