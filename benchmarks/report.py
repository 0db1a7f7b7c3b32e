"""The benchmark's results as Markdown and as JSON."""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from equality import UPDATES, Case, Difference
from floor import BATCH, Floor, operations
from threadpoolctl import threadpool_info
from timing import Row

from crar_diag.agent.presets import preset
from crar_diag.envs.names import Environment


@dataclass(frozen=True)
class Result:
    """All that was measured in one environment.

    Attributes:
        environment: which.
        checks: that the rows do the same work.
        rows: the timed rows.
        floors: by what they count; empty where there is no floor.
        memory: peak in MiB, of the libraries alone and of training the largest population.
    """

    environment: Environment
    checks: list[Difference]
    rows: list[Row]
    floors: Mapping[str, Floor]
    memory: tuple[float, float]

    def base(self, row: Row) -> Row:
        """Return (a) for a row: the fastest plain loop of one agent that does the same work."""
        same = [r for r in self.rows if _is_plain(r) and r.case.work == row.case.work]
        return max(same, key=lambda row: row.rate)

    def times_base(self, row: Row) -> float:
        """Return a row's rate as a multiple of (a)'s."""
        return row.rate / self.base(row).rate

    @property
    def works(self) -> list[Case]:
        """One case for every kind of work, in the order of the rows."""
        return list({row.case.work: row.case for row in reversed(self.rows)}.values())[::-1]

    @property
    def largest(self) -> int:
        """How many agents the largest population has."""
        return max(row.case.members for row in self.rows)


def _is_plain(row: Row) -> bool:
    return row.name.startswith("plain loop,")


def in_order(rows: Iterable[Row], cases: list[Case]) -> list[Row]:
    """Return the rows by their work, in the order of `cases`; within it, plain loops first."""
    order = list(dict.fromkeys(case.work for case in cases))
    return sorted(rows, key=lambda row: (order.index(row.case.work), row.name[:5] != "plain"))


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
        "blas": _kernels(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "numba")},
    }


def _kernels() -> str:
    """Return which kernels the BLAS has chosen that compiled code calls: SciPy's."""
    import scipy.linalg.cython_blas  # noqa: F401  (loads it)

    found = [one for one in threadpool_info() if "scipy" in one["filepath"]]
    return ", ".join(f"{one['internal_api']} {one.get('architecture', '')}" for one in found)


def heading(facts: Mapping[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    return (
        f"## {facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads; "
        f"Python {facts['python']}, torch {facts['torch']}, numpy {facts['numpy']}, "
        f"numba {facts['numba']}; BLAS kernels {facts['blas']}; load before: {facts['load']}\n"
    )


def as_markdown(result: Result) -> str:
    """Return the tables, ratios first."""
    config = preset(result.environment)
    lines = [
        f"### {result.environment}: batches of {BATCH} of {config.data.transitions:,} transitions "
        f"an agent, float32",
        "",
        "In every mode (a) is the fastest plain PyTorch loop of one agent that does the same work, "
        "step for step; its RMSprop is PyTorch's faster one (foreach). Encoder only is a transfer "
        f"to the negated pictures. Rates are medians of {len(result.rows[0].rates)} rounds in "
        "which the rows took turns; the range is that of the rounds.",
        "",
        *_rows_table(result),
        "",
        *(_floors(result) if result.floors else ()),
        f"Same work, checked by {UPDATES} updates from equal weights on equal batches; the "
        "reference is in float64:",
        "",
        *(f"- {check}" for check in result.checks),
        "",
        f"Peak memory of a process that trains {result.largest} agents with the fused engine: "
        f"{result.memory[1]:,.0f} MiB, of which {result.memory[0]:,.0f} are the libraries.",
        "",
    ]
    return "\n".join(lines)


def as_json(facts: Mapping[str, Any], results: Iterable[Result]) -> dict[str, Any]:
    """Return the same as plain values."""
    return {"machine": dict(facts), "environments": {r.environment: _plainly(r) for r in results}}


def _plainly(result: Result) -> dict[str, Any]:
    return {
        "checks": [asdict(check) for check in result.checks],
        "rows": [
            {
                "what": row.name,
                "update": str(row.case),
                "agents": row.case.members,
                "a": row is result.base(row),
                "times_a": result.times_base(row),
                "of_floor": {
                    name: row.rate / floor.updates_per_second(row.case)
                    for name, floor in result.floors.items()
                },
                "agent_updates_per_second": row.rate,
                "rounds": row.rates,
            }
            for row in result.rows
        ],
        "floors": {
            name: {
                "pictures": asdict(floor.pictures),
                "operations_per_second": floor.rate,
                "operations": {c.work: operations(c, floor.pictures) for c in result.works},
            }
            for name, floor in result.floors.items()
        },
        "peak_memory_mib": {"libraries": result.memory[0], "training": result.memory[1]},
    }


def _table(header: Iterable[str], numbers: int, body: Iterable[Iterable[object]]) -> list[str]:
    """Return a table; the first `numbers` columns are aligned to the right."""
    names = list(header)
    lines = [names, ["---:"] * numbers + ["---"] * (len(names) - numbers), *body]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _rows_table(result: Result) -> list[str]:
    body = []
    for row in result.rows:
        bounds = [floor.updates_per_second(row.case) for floor in result.floors.values()]
        body.append(
            (
                f"{result.times_base(row):.3g}",
                *(f"{row.rate / bound:.1%}" for bound in bounds),
                f"{row.rate:,.3g}" if row.rate < 100 else f"{row.rate:,.0f}",
                f"{min(row.rates):,.3g} to {max(row.rates):,.3g}"
                if row.rate < 100
                else f"{min(row.rates):,.0f} to {max(row.rates):,.0f}",
                row.case.members,
                row.case,
                f"{row.name} **(a)**" if row is result.base(row) else row.name,
            )
        )
    floors = [f"of the floor, {name}" for name in result.floors]
    header = ["times (a)", *floors, "agent-updates/s", "range", "agents", "update", "what"]
    return _table(header, len(header) - 2, body)


def _floors(result: Result) -> list[str]:
    """Return what the floors are, and their table."""
    rates = ", ".join(
        f"{floor.rate / 1e9:.0f} GFLOP/s on {floor.pictures.typical} pictures ({name})"
        for name, floor in result.floors.items()
    )
    needed = result.floors["needed"].pictures
    body = [
        (
            *(f"{f.updates_per_second(case):,.0f}" for f in result.floors.values()),
            *(f"{operations(case, f.pictures) / 1e6:.1f}" for f in result.floors.values()),
            case.work,
        )
        for case in result.works
    ]
    quantities = ("agent-updates/s", "MFLOP an update")
    header = [f"{quantity}, {name}" for quantity in quantities for name in result.floors]
    return [
        "The floor: the matrix products of an update alone, at the rate measured between the rows "
        f"on all threads at the sizes of the encoder's layers: {rates}. As written, each row of a "
        "batch is a picture and each of its pixels is multiplied; needed are the distinct ones "
        f"({needed.state:.1f} in s, {needed.both:.1f} in s and s', {needed.volume:.1f} with a "
        f"volume gradient), {needed.inputs:.0f} inputs of each that are not zero, and the target "
        "networks once in 1,000 updates. One agent alone uses one thread of the fused engine.",
        "",
        *_table([*header, "update"], len(header), body),
        "",
    ]
