"""The benchmark's result as Markdown and as JSON."""

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from equality import UPDATES, Case, Difference
from floor import AS_WRITTEN, BATCH, Pictures, operations, typical_pictures
from timing import Row

_KINDS = ("needed", "as written")


@dataclass(frozen=True)
class Result:
    """All that was measured.

    Attributes:
        machine: what the numbers depend on; see `machine`.
        checks: that the rows do the same work.
        rows: the timed rows.
        base: the row that is (a).
        pictures: that an update needs.
        product_rates: operations a second of the encoder's products, by size of the batch.
        memory: peak in MiB, of the libraries alone and of training the largest population.
    """

    machine: dict[str, Any]
    checks: list[Difference]
    rows: list[Row]
    base: Row
    pictures: Pictures
    product_rates: dict[int, float]
    memory: tuple[float, float]


def machine(threads: int) -> dict[str, Any]:
    """Return what the numbers depend on: processor, versions, and how busy the machine was."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "numba")},
    }


def floors(result: Result, case: Case) -> dict[str, tuple[float, float]]:
    """Return an update's operations and the agent-updates a second that they allow, both counts."""
    found = {}
    for kind, pictures, size in (
        ("needed", result.pictures, typical_pictures(result.pictures)),
        ("as written", AS_WRITTEN, BATCH),
    ):
        count = operations(case, pictures)
        found[kind] = (count, result.product_rates[size] / count)
    return found


def as_markdown(result: Result) -> str:
    """Return the tables, ratios first."""
    facts = result.machine
    size = typical_pictures(result.pictures)
    lines = [
        f"## {facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads; "
        f"Python {facts['python']}, torch {facts['torch']}, numpy {facts['numpy']}, "
        f"numba {facts['numba']}",
        "",
        f"Simple maze, batches of 32, float32. (a) is the fastest plain loop of one agent. Load of "
        f"the machine before: {facts['load']}. Rates are medians of {len(result.base.rates)} "
        "rounds in which the rows took turns; the range is that of the rounds.",
        "",
        "Sequential is the work of (a), step for step. Simultaneous takes the same seven steps "
        "from one forward pass; joint takes one step an update, and training the encoder only "
        "leaves the heads alone: there, times (a) compares updates, not equal work.",
        "",
        *_rows_table(result),
        "",
        f"The floor: the matrix products of an update alone, at the rate measured between the "
        f"rows on {facts['threads']} threads at the sizes of the encoder's layers "
        f"({result.product_rates[BATCH] / 1e9:.0f} GFLOP/s on {BATCH} pictures, "
        f"{result.product_rates[size] / 1e9:.0f} on {size}). As written, each row of a batch is a "
        f"picture; needed are the distinct ones ({result.pictures.state:.1f} in s, "
        f"{result.pictures.both:.1f} in s and s', {result.pictures.volume:.1f} with a volume "
        "gradient) and the target networks once in 1,000 updates. One agent alone uses one thread "
        "of the fused engine.",
        "",
        *_floors_table(result),
        "",
        f"Same work, checked by {UPDATES} updates from equal weights on equal batches:",
        "",
        *(f"- {check}" for check in result.checks),
        "",
        f"Peak memory of a process that trains {_largest(result)} agents with the fused engine: "
        f"{result.memory[1]:,.0f} MiB, of which {result.memory[0]:,.0f} are the libraries.",
    ]
    return "\n".join(lines)


def as_json(result: Result) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "machine": result.machine,
        "checks": [asdict(check) for check in result.checks],
        "rows": [
            {
                "what": row.name,
                "update": str(row.case),
                "agents": row.case.members,
                "times_a": row.rate / result.base.rate,
                "of_floor": {k: row.rate / v[1] for k, v in floors(result, row.case).items()},
                "agent_updates_per_second": row.rate,
                "rounds": row.rates,
            }
            for row in result.rows
        ],
        "floors": {
            str(case): {
                kind: {"operations": count, "agent_updates_per_second": rate}
                for kind, (count, rate) in floors(result, case).items()
            }
            for case in _kinds(result)
        },
        "products_per_second": {str(n): rate for n, rate in result.product_rates.items()},
        "pictures": asdict(result.pictures),
        "peak_memory_mib": {"libraries": result.memory[0], "training": result.memory[1]},
    }


def _largest(result: Result) -> int:
    return max(row.case.members for row in result.rows)


def _kinds(result: Result) -> list[Case]:
    """Return one case for every kind of update, in the order of the rows."""
    return list({str(row.case): row.case for row in result.rows}.values())


def _table(header: Iterable[str], numbers: int, body: Iterable[Iterable[object]]) -> list[str]:
    """Return a table; the first `numbers` columns are aligned to the right."""
    names = list(header)
    lines = [names, ["---:"] * numbers + ["---"] * (len(names) - numbers), *body]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _rows_table(result: Result) -> list[str]:
    body = []
    for row in result.rows:
        bounds = floors(result, row.case)
        body.append(
            (
                f"{row.rate / result.base.rate:.3g}",
                *(f"{row.rate / bounds[kind][1]:.1%}" for kind in _KINDS),
                f"{row.rate:,.0f}",
                f"{min(row.rates):,.0f} to {max(row.rates):,.0f}",
                row.case.members,
                row.case,
                f"{row.name} **(a)**" if row is result.base else row.name,
            )
        )
    floor = (f"of the floor, {kind}" for kind in _KINDS)
    header = ("times (a)", *floor, "agent-updates/s", "range", "agents", "update", "what")
    return _table(header, 6, body)


def _floors_table(result: Result) -> list[str]:
    body = []
    for case in _kinds(result):
        bounds = floors(result, case)
        body.append(
            (
                *(f"{bounds[kind][1] / result.base.rate:.3g}" for kind in _KINDS),
                *(f"{bounds[kind][1]:,.0f}" for kind in _KINDS),
                *(f"{bounds[kind][0] / 1e6:.1f}" for kind in _KINDS),
                case,
            )
        )
    header = [
        f"{quantity}, {kind}"
        for quantity in ("floor, times (a)", "agent-updates/s", "MFLOP an update")
        for kind in _KINDS
    ]
    return _table([*header, "update"], len(header), body)
