"""Agent-updates a second of a plain PyTorch loop and of both engines, measured side by side.

python benchmarks/train.py [--environment NAME ...] [--quick] [--json FILE]
python benchmarks/train.py --study

`plain.py` is the loop as people write it; `equality.py` checks, before anything is timed, that all
of it does the same work; `timing.py` lets the rows take turns; `floor.py` says what the matrix
products of an update alone would take; `report.py` writes the tables; `study.py` trains a whole
transfer study instead.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import floor
import report
import study
import timing
import torch
from equality import Case, Difference, differences, kinds

from crar_diag.agent.engine import ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.envs.names import ENVIRONMENTS, LABYRINTH, SIMPLE_MAZE, Environment

MEMBERS = {SIMPLE_MAZE: [1, 8, 44], LABYRINTH: [1, 2, 4]}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--environment", action="append", choices=ENVIRONMENTS, help="repeatable; default both"
    )
    parser.add_argument(
        "--members", type=int, nargs="+", metavar="M", help="default 1 8 44; labyrinth 1 2 4"
    )
    parser.add_argument("--seconds", type=float, default=2.5, help="timed for each row")
    parser.add_argument("--rounds", type=int, default=5, help="in which the rows take turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a short, inaccurate look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument(
        "--study",
        action="store_true",
        help="train 44 transfers to the end instead (15 minutes; with --quick a hundredth)",
    )
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 0.6, 3
    if min(*(options.members or [1]), options.threads, options.rounds) < 1:
        parser.error("--members, --threads and --rounds must be at least 1")
    if not (math.isfinite(options.seconds) and options.seconds > 0):
        parser.error("--seconds must be positive")
    return options


def members_for(environment: Environment, options: argparse.Namespace) -> list[int]:
    """Return the sizes of the populations, in order; only the outer two if it must be quick."""
    members = sorted(set(options.members or MEMBERS[environment]))
    return [*dict.fromkeys((members[0], members[-1]))] if options.quick else members


def check(environment: Environment, threads: int) -> list[Difference]:
    """Return the differences between the ways of training; exit if they are more than rounding."""
    # PyTorch's threads wait actively for each other: on a busy machine that takes minutes.
    torch.set_num_threads(1)
    found = []
    for difference in differences(environment, threads):
        print(f"same work? {environment}, {difference}", file=sys.stderr)
        found.append(difference)
    if not all(difference.equal for difference in found):
        sys.exit("the rows do not do the same work, so they are not compared")
    return found


def pictures_of(environment: Environment, members: int, threads: int) -> dict[str, floor.Pictures]:
    """Return what the floors count, by its name; nothing where there is no floor."""
    if environment != SIMPLE_MAZE:
        return {}
    trained = Case(environment, members=members).build()
    FusedEngine(threads).advance(*trained, 500)  # states have settled within the cube by then
    return {"needed": floor.needed(*trained), "as written": floor.AS_WRITTEN}


def fused_cases(environment: Environment, members: list[int]) -> list[Case]:
    """Return what the fused engine is timed on: all sizes in all modes, the rest in the largest."""
    found = []
    for kind in kinds(environment):
        sizes = members if kind.domain == "normal" else members[-1:]
        found += [replace(kind, members=m) for m in sizes]
    return found


def benchmark(
    environment: Environment,
    members: list[int],
    memory: tuple[float, float],
    options: argparse.Namespace,
) -> report.Result:
    """Check and measure one environment, whose peak memory is known."""
    threads, every = options.threads, kinds(environment)
    normal = [case for case in every if case.domain == "normal"]
    checks = check(environment, threads)
    counted = pictures_of(environment, members[-1], threads)
    works = {case.work: case for case in reversed(every)}  # the first case of each
    rows = [row for case in works.values() for row in timing.plain_rows(case, threads)]
    rows += timing.engine_rows(
        "fused engine",
        partial(FusedEngine, threads),
        fused_cases(environment, members),
        threads,
    )
    # Its members gain from each other in the simple maze alone.
    together = sorted({1, members[-1]}) if environment == SIMPLE_MAZE else [1]
    rows += timing.engine_rows(
        "reference engine",
        ReferenceEngine,
        [replace(case, members=m) for case in normal for m in together],
        threads,
    )
    others: dict[str, Callable[[], float]] = {
        name: partial(floor.product_rate, pictures, threads) for name, pictures in counted.items()
    }
    with ProcessPoolExecutor(
        threads, timing.SPAWN, initializer=timing.start_plain_process, initargs=(every[0],)
    ) as pool:
        if threads > 1:
            rows.append(timing.plain_processes_row(pool, every[0], threads))
        rates = timing.measure(rows, others, options.seconds, options.rounds)
    floors = {name: floor.Floor(counted[name], rate) for name, rate in rates.items()}
    return report.Result(environment, checks, report.in_order(rows, every), floors, memory)


def main() -> None:
    """Check, measure, print."""
    options = parse()
    machine = report.machine(options.threads)
    if machine["load"] > 1:
        print("the machine is busy: these numbers are not to be quoted", file=sys.stderr)
    print(report.heading(machine), flush=True)
    if options.study:
        updates = study.UPDATES // 100 if options.quick else study.UPDATES
        print(study.train_study(options.threads, updates))
        return
    members = {name: members_for(name, options) for name in options.environment or ENVIRONMENTS}
    memory = {
        name: timing.peak_memory(Case(name, members=sizes[-1]), options.threads)
        for name, sizes in members.items()
    }
    results = []
    for name, sizes in members.items():
        results.append(benchmark(name, sizes, memory[name], options))
        print(report.as_markdown(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(machine, results), indent=2) + "\n")


if __name__ == "__main__":
    main()
