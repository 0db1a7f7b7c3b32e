"""Random streams: every draw in the package comes from a seed, a purpose and a position.

Streams are stateless: the batches of update 120,000 can be drawn without those before it. A run
that is resumed, regrouped or cut into shards therefore draws what an uninterrupted one does, and a
member draws the same alone and in a population.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

EpisodeStreams = Callable[[int, int], np.random.Generator]
"""The generator of an episode, by the slot in which it is played and its number there."""

# The purposes are numbered for good: a new one gets a new number, so that old seeds keep their
# meaning.
_PURPOSES = {
    "initialisation": 0,
    "data": 1,
    "batches": 2,
    "evaluation": 3,
    "held-out": 4,
    "permutation": 5,
    "restart": 6,
}

BLOCK = 1000
"""Updates whose batches are drawn together."""


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return the generator of one purpose of one seed.

    Args:
        seed: the member's seed.
        purpose: what is drawn: `initialisation`, `data`, `batches`, ...
        position: where in a long stream (a block, an epoch, an episode), if it has parts.
    """
    key = (_PURPOSES[purpose], *position)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def episode_streams(seed: int, *position: int) -> EpisodeStreams:
    """Return a generator for each (slot, episode) of an evaluation: its maze and its exploration.

    They are common random numbers: agents that are evaluated with one seed meet the same maze in
    the k-th episode of a slot, however long each of them took before, and explore at the same steps
    of it. Their difference then varies less than with mazes of their own.

    Args:
        seed: of the evaluation.
        position: which one, where a seed has several (a run's scores: the epoch).
    """
    return partial(stream, seed, "evaluation", *position)


def restart_seed(seed: int, restart: int) -> int:
    """Return the seed of the batches of a transfer's restart; the first has the transfer's own."""
    return seed if restart == 0 else int(stream(seed, "restart", restart).integers(2**63))


def batch_draws(seed: int, first: int, updates: int, batch: int, transitions: int) -> np.ndarray:
    """Return which transitions some updates see, int64 `[updates, batch]`, uniform replay.

    Args:
        seed: the member's seed.
        first: the first of the updates.
        updates: how many.
        batch: transitions an update.
        transitions: how many there are to draw from.
    """
    blocks = range(first // BLOCK, (first + updates - 1) // BLOCK + 1)
    draws = [
        stream(seed, "batches", block).integers(0, transitions, (BLOCK, batch)) for block in blocks
    ]
    offset = first % BLOCK
    return np.concatenate(draws)[offset : offset + updates]
