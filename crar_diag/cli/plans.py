"""What `--dry-run` of `landscape` and `curvature` prints."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crar_diag.cli import common, terminal

if TYPE_CHECKING:
    from crar_diag.landscape.forecast import Cost

DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Compute a little, and say how long all would take; keep none."),
]

# Of what is kept while it is computed, and of the report that it goes into.
_COPIES: Final = 2


def show_plan(costs: "Sequence[Cost]", output: Path | None, as_json: bool, note: str = "") -> None:
    """Print each part of the work with its time, and what all of them take.

    Args:
        costs: of the parts.
        output: the report, if one would be written.
        as_json: as one JSON object.
        note: a last line.
    """
    seconds = sum(cost.seconds for cost in costs)
    known = [cost.numbers for cost in costs if cost.numbers is not None]
    disk = _COPIES * 8 * sum(known) if len(known) == len(costs) else None
    found: dict[str, Any] = {
        "seconds": seconds,
        "memory_bytes": _largest_memory() + 8 * sum(known),
        "disk_bytes": 0 if output is None else disk,
        "note": note,
    }
    if as_json:
        names = ("what", "unit", "count", "left", "seconds", "at_most")
        work = [{name: getattr(cost, name) for name in names} for cost in costs]
        common.print_json({"work": work, **found})
        return
    common.print_table(
        ["what", "how much", "left", "time"],
        [
            [
                cost.what,
                f"{cost.count:,} {cost.unit}",
                f"{cost.left:,}",
                _bound(cost.at_most) + terminal.duration(cost.seconds),
            ]
            for cost in costs
        ],
    )
    typer.echo("")
    bound = _bound(any(cost.at_most for cost in costs))
    kept = "" if output is None else f" for '{output}'"
    on_disk = f", {common.size(found['disk_bytes'])} of disk" if found["disk_bytes"] else ""
    typer.echo(
        f"would compute this{kept} in {bound}{terminal.duration(seconds)} on this machine, "
        f"measured now, and {common.size(found['memory_bytes'])} of main memory{on_disk}"
    )
    if any(cost.at_most for cost in costs):
        typer.echo("at most: what gains no more ends before its budget")
    if note:
        typer.echo(note)


def _bound(at_most: bool) -> str:
    return "at most " if at_most else "about "


def _largest_memory() -> int:
    """Return the most bytes that this process has had, the measurement among it."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
