"""The rows of the landscape benchmark, timed, and their table."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from landscape_cases import Case, operations

LIBRARY, OURS = "loss-landscapes", "crar-diag"


@dataclass
class Row:
    """One line of a table.

    Attributes:
        name: what is timed.
        threads: that it may use.
        run: evaluates the plane once.
        seconds: that each round took.
        cpu_seconds: the same of the processor, over all threads.
    """

    name: str
    threads: int
    run: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def time(self) -> None:
        """Evaluate the plane and note how long it took."""
        torch.set_num_threads(self.threads)
        start, cpu_start = time.perf_counter(), time.process_time()
        self.run()
        self.cpu_seconds.append(time.process_time() - cpu_start)
        self.seconds.append(time.perf_counter() - start)


@dataclass(frozen=True)
class Result:
    """One table.

    Attributes:
        case: what was evaluated.
        difference: the largest between both ways at the same points.
        rows: all that was timed.
        floor: seconds that the matrix products alone take, 0 where it is not known.
    """

    case: Case
    difference: float
    rows: list[Row]
    floor: float

    @property
    def base(self) -> float:
        """Seconds of the fastest of the library's rows."""
        return min(min(row.seconds) for row in self.rows if row.name == LIBRARY)

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "case": self.case.name,
            "points": self.case.side**2,
            "difference": self.difference,
            "floor_seconds": self.floor,
            "rows": [
                {
                    "what": row.name,
                    "threads": row.threads,
                    "seconds": row.seconds,
                    "cpu_seconds": row.cpu_seconds,
                }
                for row in self.rows
            ],
        }


def table(result: Result) -> str:
    """Return a result as Markdown."""
    case, rows = result.case, result.rows
    rounds = max(len(row.seconds) for row in rows)
    lines = [
        f"### {case.name}: {case.side} x {case.side} points, best of {rounds} rounds",
        "",
        "| times the library | points/s | seconds, best | worst | CPU seconds | threads | what |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        best, worst = min(row.seconds), max(row.seconds)
        lines.append(
            f"| {result.base / best:.3g} | {case.side**2 / best:,.4g} | {best:.3g} | {worst:.3g} | "
            f"{min(row.cpu_seconds):.3g} | {row.threads} | {row.name} |"
        )
    lines += ["", f"Largest difference of a loss at the same points: {result.difference:.1g}."]
    if result.floor:
        count = operations(case.side**2)
        lines.append(
            f"The floor: {count / 1e9:.3g} GFLOP of matrix products, {result.floor:.3g} s at the "
            f"{count / result.floor / 1e9:.0f} GFLOP/s measured between the rows."
        )
    return "\n".join([*lines, ""])
