"""The training of a whole study, from its first update to its last."""

import sys
import time

from equality import Case

from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.trainer import slice_seconds
from crar_diag.envs.names import SIMPLE_MAZE

MEMBERS = 44
UPDATES = 80_000

_SECONDS_BETWEEN_SIGNS = 30.0


def train_study(threads: int, updates: int = UPDATES) -> str:
    """Train the agents of a transfer study slice by slice, as a run does, and say how long it took.

    They are 44 transfers in the simple maze: the encoder alone, on the negated pictures.

    Args:
        threads: of the fused engine.
        updates: of every agent.

    Returns:
        Wall time and rate, compilation included.
    """
    case = Case(SIMPLE_MAZE, frozen=True, domain="inverse", members=MEMBERS)
    population, replay = case.build()
    engine = FusedEngine(threads)
    began = shown = time.perf_counter()
    piece = 1
    while population.updates < updates:
        start = time.perf_counter()
        engine.advance(population, replay, min(piece, updates - population.updates))
        now = time.perf_counter()
        piece = max(1, min(2 * piece, int(piece * slice_seconds(MEMBERS) / (now - start))))
        if now - shown > _SECONDS_BETWEEN_SIGNS:
            shown = now
            print(f"{population.updates:,} of {updates:,} updates", file=sys.stderr)
    seconds = time.perf_counter() - began
    return (
        f"{MEMBERS} agents, {updates:,} updates each ({case}), fused engine: {seconds:,.1f} s, "
        f"{MEMBERS * updates / seconds:,.0f} agent-updates/s"
    )
