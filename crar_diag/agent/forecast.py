"""What a run would take: its time, memory and disk, for `--dry-run`."""

import time
from collections.abc import Sequence

import torch

from crar_diag.agent import snapshots
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.device_memory import TRANSITION_BYTES
from crar_diag.agent.engine import Engine
from crar_diag.agent.jobs import check, job_of, sample_of, without_device
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay

# A process with PyTorch and the compiled update loaded, before the first agent (measured).
_PROCESS_BYTES = 450 * 10**6
# The state itself, its copy and its file's bytes while it is saved.
_COPIES_WHILE_SAVING = 3

_MEASURE_SECONDS = 0.5


def plan(
    config: TrainConfig,
    threads: int | None = None,
    done: int = 0,
    shards: Sequence[tuple[int, int]] | None = None,
) -> dict[str, int | float]:
    """Return what a run on the CPU would take.

    Args:
        config: of the run.
        threads: for the fused engine; None for as many as PyTorch uses.
        done: updates that all members have behind them.
        shards: the members of each, first and behind the last, one of which trains at a time; all
            together by default.

    Returns:
        `members`, `updates`, `agent_updates`, `parameters` (of one agent), `memory_bytes` and
        `disk_bytes` (at most, by arithmetic), `rate` in agent-updates a second (measured now, on
        the members of up to four seeds) and the `seconds` that are left. Validation
        scores, a few per cent of the time at most, are not counted.

    Raises:
        InputError: see `check`.
    """
    config = without_device(config)
    check(config)
    job = job_of(sample_of(config, 4, 2000), torch.device("cpu"))
    population, replay = job.population, job.replay
    rate = _rate(job.engine(threads), population, replay)

    members, architecture = config.member_count, population.architecture
    history = job.empty_history(config, architecture, slice(1))
    history_bytes = members * sum(t.nbytes for t in history.arrays().values())
    agents_bytes = sum(t.nbytes for t in population.state().values()) * members // len(population)
    state_bytes = agents_bytes + history_bytes
    seeds = job.seeds_of(config)
    at_once = max(shards or [(0, members)], key=lambda part: part[1] - part[0])
    share = (at_once[1] - at_once[0]) / members
    data_bytes = len(set(seeds[slice(*at_once)])) * config.data.transitions * TRANSITION_BYTES
    trained_bytes = data_bytes + _COPIES_WHILE_SAVING * int(share * state_bytes)
    if shards is not None:
        trained_bytes += history_bytes
    agent_bytes = population.parameters[0].nbytes
    files = len(config.agents()) + members * snapshots.count(config)
    return {
        "members": members,
        "updates": config.updates,
        "agent_updates": members * config.updates,
        "parameters": architecture.parameter_count(),
        "memory_bytes": _PROCESS_BYTES + trained_bytes,
        # The state is written beside its predecessor.
        "disk_bytes": 2 * state_bytes + files * agent_bytes + history_bytes,
        "rate": rate,
        "seconds": members * (config.updates - done) / rate,
    }


def _rate(engine: Engine, population: Population, replay: Replay) -> float:
    """Return how many agent-updates an engine makes a second."""
    engine.advance(population, replay, 1)  # compiles
    updates, seconds = 1, 0.0
    while seconds < _MEASURE_SECONDS:
        updates *= 2
        start = time.monotonic()
        engine.advance(population, replay, updates)
        seconds = time.monotonic() - start
    return updates * len(population) / seconds
