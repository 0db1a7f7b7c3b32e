"""Agent-updates a second of a plain PyTorch loop and of both engines, measured side by side.

python benchmarks/train.py [--quick] [--json FILE]

`plain.py` is the loop as people write it; `equality.py` checks, before anything is timed, that all
of it does the same work; `timing.py` lets the rows take turns; `floor.py` says what the matrix
products of an update alone would take; `report.py` writes the tables.
"""

import argparse
import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import floor
import report
import timing
import torch
from equality import Case, differences

from crar_diag.agent.config import MODES
from crar_diag.agent.engine import ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 44], metavar="M")
    parser.add_argument("--seconds", type=float, default=4.0, help="timed for each row")
    parser.add_argument("--rounds", type=int, default=5, help="in which the rows take turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a short, inaccurate look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    if options.quick:
        options.members, options.seconds, options.rounds = [1, max(options.members)], 0.6, 3
    if min(*options.members, options.threads, options.rounds) < 1:
        parser.error("--members, --threads and --rounds must be at least 1")
    if not (math.isfinite(options.seconds) and options.seconds > 0):
        parser.error("--seconds must be positive")
    return options


def check(threads: int) -> list[report.Difference]:
    """Return the differences between the ways of training; exit if they are more than rounding."""
    found = []
    for difference in differences(threads):
        print(f"same work? {difference}", file=sys.stderr)
        found.append(difference)
    if not all(difference.equal for difference in found):
        sys.exit("the rows do not do the same work, so they are not compared")
    return found


def main() -> None:
    """Check, measure, print."""
    options = parse()
    threads, most = options.threads, max(options.members)
    machine = report.machine(threads)
    if machine["load"] > 1:
        print("the machine is busy: these numbers are not to be quoted", file=sys.stderr)
    memory = timing.peak_memory(most, threads)
    checks = check(threads)

    cases = [Case(mode, members=m) for m in sorted(set(options.members)) for mode in MODES]
    transfer = Case(frozen=True, members=most)
    plainly = timing.plain_rows(threads)
    # In a run the fused engine makes 250 updates before it turns to the next agents.
    fused = timing.engine_rows(
        "fused engine", FusedEngine(threads), [*cases, transfer], threads, least=100
    )
    reference = timing.engine_rows("reference engine", ReferenceEngine(), cases, threads)
    trained = Case(members=most).build()
    FusedEngine(threads).advance(*trained, 500)  # states have settled within the cube by then
    pictures = floor.needed(*trained)
    sizes = {floor.BATCH, floor.typical_pictures(pictures)}
    with ProcessPoolExecutor(threads, timing.SPAWN, initializer=timing.start_plain_process) as pool:
        rows = [*plainly, timing.plain_processes_row(pool, threads), *fused, *reference]
        rates = timing.measure(rows, sizes, options.seconds, options.rounds, threads)

    base = max(plainly, key=lambda row: row.rate)
    result = report.Result(machine, checks, rows, base, pictures, rates, memory)
    print(report.as_markdown(result))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
