"""A population whose members are not all trained by one engine."""

from collections.abc import Sequence

import numpy as np

from crar_diag.agent.engine import Engine, ReferenceEngine
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay


class DividedEngine(Engine):
    """Lets each part of a population be trained by an engine of its own.

    Args:
        population: whose parts share its memory.
        replay: of the same members.
        parts: which members, and what trains them; together everyone, each once.
    """

    def __init__(
        self, population: Population, replay: Replay, parts: Sequence[tuple[slice, Engine]]
    ) -> None:
        self._population = population
        if any(isinstance(engine, ReferenceEngine) for _, engine in parts):
            replay.join()  # so that the parts need no pictures of their own
        self._parts = [
            (members, population.part(members), replay.part(members), engine)
            for members, engine in parts
        ]

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        assert population is self._population
        for members, own, own_replay, engine in self._parts:
            own.updates = population.updates
            engine._advance(own, own_replay, updates, epoch, sums[members])


class IdleEngine(Engine):
    """Leaves its members as they are: points of reference."""

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        sums += np.nan  # no batch was looked at
