"""Random streams: every draw in the package comes from a seed, a purpose and a position.

Streams are stateless: the batches of update 120,000 can be drawn without those before it. A run
that is resumed, regrouped or cut into shards therefore draws what an uninterrupted one does, and a
member draws the same alone and in a population.
"""

import numpy as np

# The purposes are numbered for good: a new one gets a new number, so that old seeds keep their
# meaning.
_PURPOSES = {"initialisation": 0, "data": 1, "batches": 2, "evaluation": 3, "held-out": 4}

BLOCK = 1000
"""Updates whose batches are drawn together."""


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return the generator of one purpose of one seed.

    Args:
        seed: the member's seed.
        purpose: what is drawn: `initialisation`, `data`, `batches`, `evaluation` or `held-out`.
        position: where in a long stream (an epoch, a block), if it has parts.
    """
    key = (_PURPOSES[purpose], *position)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


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
