"""The rows of the benchmark, and how they are timed: in turns, so that a busy machine slows all.

A row's rate is the median of its rounds.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import plain
import torch
from equality import Case, plain_training

from crar_diag.agent.engine import Engine
from crar_diag.agent.fused.engine import FusedEngine

SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: what is timed.
        case: the update and the number of agents.
        torch_threads: set while the row is timed.
        advance: applies a number of updates to every agent.
        updates: how many, a round.
        rates: agent-updates a second, a round each.
    """

    name: str
    case: Case
    torch_threads: int
    advance: Callable[[int], object]
    updates: int = 1
    rates: list[float] = field(default_factory=list)

    def time(self) -> float:
        """Apply a round's updates and return agent-updates a second."""
        torch.set_num_threads(self.torch_threads)
        start = time.perf_counter()
        self.advance(self.updates)
        return self.case.members * self.updates / (time.perf_counter() - start)

    def warm_up(self, seconds: float) -> None:
        """Compile, fill the caches, and find how many updates a round of that length has."""
        self.time()
        rate = self.time()
        while self.case.members * self.updates < rate * seconds / 4:
            self.updates *= 4
            rate = self.time()
        for _ in range(2):  # what a call prepares weighs less in a longer one
            self.updates = max(1, round(rate * seconds / self.case.members))
            rate = self.time()

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)


def plain_rows(case: Case, threads: int) -> list[Row]:
    """Return the plain loop of one agent with one thread and with all."""
    return [
        Row(f"plain loop, {_threads(count)}", case, count, plain_training(case).advance)
        for count in sorted({1, threads})
    ]


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


_training: plain.Training


def start_plain_process(case: Case) -> None:
    """Prepare a process that trains one agent by the plain loop on one core."""
    global _training
    torch.set_num_threads(1)
    _training = plain_training(case)


def _advance_plain_process(updates: int) -> None:
    _training.advance(updates)


def plain_processes_row(pool: ProcessPoolExecutor, case: Case, processes: int) -> Row:
    """Return that many plain loops at once, each in a process of the pool."""

    def advance(updates: int) -> None:
        list(pool.map(_advance_plain_process, [updates] * processes))

    name = f"plain loops, {processes} at once"
    return Row(name, replace(case, members=processes), 1, advance)


def engine_rows(
    name: str, make: Callable[[], Engine], cases: Iterable[Case], threads: int
) -> list[Row]:
    """Return an engine's rows, each with an engine and a population of its own."""
    rows = []
    for case in cases:
        population, replay = case.build()
        advance = partial(make().advance, population, replay)
        rows.append(Row(name, case, threads, advance))
    return rows


def measure(
    rows: list[Row], others: Mapping[str, Callable[[], float]], seconds: float, rounds: int
) -> dict[str, float]:
    """Time all rows in turn, and take other measurements among them.

    Args:
        rows: their `rates` are filled.
        others: by name, each with a number as its result.
        seconds: for each row, over all rounds.
        rounds: how many.

    Returns:
        Each of the other measurements, the median of the rounds.
    """
    for row in rows:
        print(f"warming up: {row.name}, M = {row.case.members}, {row.case}", file=sys.stderr)
        row.warm_up(seconds / rounds)
    found: dict[str, list[float]] = {name: [] for name in others}
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        for row in rows:
            row.rates.append(row.time())
        for name, numbers in found.items():
            numbers.append(others[name]())
    return {name: statistics.median(numbers) for name, numbers in found.items()}


def _memory() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _train_once(case: Case, threads: int) -> tuple[float, float]:
    before = _memory()
    population, replay = case.build()
    FusedEngine(threads).advance(population, replay, 20)
    return before, _memory()


def peak_memory(case: Case, threads: int) -> tuple[float, float]:
    """Return the peak memory of a process in MiB: the libraries alone, and with training.

    To be called first: a child's peak is never below what its parent had when it began.
    """
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(_train_once, case, threads).result()
