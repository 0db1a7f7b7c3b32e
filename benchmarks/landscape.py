"""Landscape points a second by the library loss-landscapes and by crar-diag, side by side.

python benchmarks/landscape.py [--quick] [--memory] [--json FILE]

A plane of encoder weights with frozen dynamics: of the simple maze with exact losses, of the
labyrinth with 512 held-out transitions; the library evaluates it by its own `random_plane`. Checked
first: both have the same losses at the same points. `landscape_cases.py` has what is evaluated,
`landscape_table.py` the rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import loss_landscapes
import report
import torch
from landscape_cases import (
    SHIPPED,
    Case,
    labyrinth_case,
    maze_case,
    operations,
    product_rate,
)
from landscape_table import LIBRARY, OURS, Result, Row, table

from crar_diag.landscape.bridge import AgentModule, LossesMetric
from crar_diag.landscape.surface import frozen_surface

ENDS = [
    SHIPPED / "transfers" / f"original-base-seed0-lr8e-05-seed{seed}.safetensors"
    for seed in (12, 17)
]
TOLERANCE = 1e-5

# A row of several threads that is slower than so many seconds is timed once: PyTorch's threads wait
# actively for each other, which on a busy machine takes minutes.
PATIENCE = 20.0


def rows_of(case: Case, threads: int) -> list[Row]:
    """Return the library's rows and ours, each with one thread and with all."""
    plane, metric = case.plane, LossesMetric(case.theirs, case.parameters)

    def library() -> None:
        module = AgentModule(case.theirs, case.parameters)
        loss_landscapes.random_plane(module, metric, steps=case.side)

    def ours(workers: int) -> None:
        frozen_surface(case.ours, plane, case.parameters, workers=workers)

    counts = sorted({1, threads})
    found = [Row(LIBRARY, count, library) for count in counts]
    return found + [Row(OURS, count, partial(ours, count)) for count in counts]


def compare(case: Case, options: argparse.Namespace, count: float = 0.0) -> Result:
    """Check that both ways agree, then let the rows take turns.

    Args:
        case: what is evaluated.
        options: threads and rounds.
        count: operations of the matrix products, for the floor.
    """
    torch.set_num_threads(1)
    difference = case.difference()
    print(f"same losses? {case.name}: {difference:.2g} apart", file=sys.stderr)
    if not difference <= TOLERANCE:
        sys.exit("the two do not evaluate the same losses, so they are not compared")
    rows, rates = rows_of(case, options.threads), []
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
        for row in rows:
            if row.threads == 1 or not row.seconds or row.seconds[0] < PATIENCE:
                row.time()
        rates += [product_rate(options.threads) for _ in range(3)]
    return Result(case, difference, rows, count / max(rates))


def print_peak(side: int, threads: int) -> None:
    """Print the peak memory in MiB of this process, which evaluates a plane of the simple maze."""
    case = maze_case(side)
    frozen_surface(case.ours, case.plane, case.parameters, workers=threads)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def peaks(threads: int) -> dict[str, float]:
    """Return the peak memory in MiB of a small plane and of a large one, each in a process."""
    script = [sys.executable, __file__, "--threads", str(threads), "--peak"]
    return {
        f"{side} x {side}": float(
            subprocess.run([*script, str(side)], check=True, stdout=subprocess.PIPE).stdout
        )
        for side in (51, 501)
    }


def command_seconds() -> tuple[float, float]:
    """Time `crar-diag landscape A B`: line, random plane, both dynamics, a report.

    Returns:
        Seconds, and seconds of the processor.
    """
    program = [sys.executable, "-c", "from crar_diag.cli.main import main; main()", "landscape"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output = ["-o", str(Path(folder) / "report.h5")]
        subprocess.run([*program, *map(str, ENDS), *output], check=True, stdout=subprocess.DEVNULL)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="in which the rows take turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="a short, inaccurate look")
    parser.add_argument("--memory", action="store_true", help="a plane of 501 x 501 points, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.rounds, options.threads) < 1:
        parser.error("--rounds and --threads must be at least 1")
    if options.quick:
        options.rounds = min(options.rounds, 2)
    return options


def main() -> None:
    """Check, measure, print."""
    options = parse()
    if options.peak:
        print_peak(options.peak, options.threads)
        return
    machine = report.machine(options.threads)
    if machine["load"] > 1:
        print("the machine is busy: these numbers are not to be quoted", file=sys.stderr)
    print(report.heading(machine), flush=True)
    memory = peaks(options.threads) if options.memory else {}
    if memory:
        told = ", ".join(f"{size} points {mib:,.0f} MiB" for size, mib in memory.items())
        print(f"Peak memory of the simple maze's plane: {told}.\n", flush=True)
    side = 21 if options.quick else 51
    results = [compare(maze_case(side), options, operations(side**2))]
    print(table(results[-1]), flush=True)
    results.append(compare(labyrinth_case(3, 128 if options.quick else 512), options))
    print(table(results[-1]), flush=True)
    command = None if options.quick else command_seconds()
    if command is not None:
        print(
            f"`crar-diag landscape A B`, line and random plane, both dynamics: {command[0]:.1f} s, "
            f"{command[1]:.1f} s of the processor."
        )
    if options.json:
        found = {
            "machine": machine,
            "planes": [result.as_json() for result in results],
            "peak_memory_mib": memory,
            "command_seconds": command,
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
