"""What `crar-diag landscape --dry-run` prints."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from crar_diag.cli import common, terminal

if TYPE_CHECKING:
    from crar_diag.landscape.forecast import Cost

# Of what is kept while it is computed, and of the report that it goes into.
_COPIES: Final = 2


def show_plan(
    costs: "Sequence[Cost]", workers: int, output: Path | None, as_json: bool, elsewhere: bool
) -> None:
    """Print the points and the time of each surface, and what all of them take.

    Args:
        costs: of the surfaces.
        workers: threads that compute them.
        output: the report, if one would be written.
        as_json: as one JSON object.
        elsewhere: whether the workers of a scheduler would compute them.
    """
    seconds = sum(cost.seconds for cost in costs)
    numbers = sum(cost.points * cost.numbers for cost in costs)
    disk = 0 if output is None else _COPIES * 8 * numbers
    memory = _largest_memory() + 8 * numbers
    if as_json:
        common.print_json(
            {
                "surfaces": [
                    {
                        "mode": cost.mode,
                        "kind": cost.kind,
                        "points": cost.points,
                        "left": cost.left,
                        "seconds": cost.seconds,
                    }
                    for cost in costs
                ],
                "seconds": seconds,
                "memory_bytes": memory,
                "disk_bytes": disk,
            }
        )
        return
    common.print_table(
        ["view", "surface", "points", "left", "time"],
        [
            [
                cost.mode,
                cost.kind,
                f"{cost.points:,}",
                f"{cost.left:,}",
                ("at most " if cost.kind == "unfrozen" else "") + terminal.duration(cost.seconds),
            ]
            for cost in costs
        ],
    )
    bound = "at most" if any(cost.kind == "unfrozen" for cost in costs) else "about"
    where = "nowhere: give -o to keep them" if output is None else f"into '{output}'"
    typer.echo(
        f"would compute {sum(cost.left for cost in costs):,} points {where}: {bound} "
        f"{terminal.duration(seconds)} on {workers} threads of this machine, measured now; "
        f"{common.size(memory)} of memory, {common.size(disk)} of disk"
    )
    if bound == "at most":
        typer.echo("a re-fit ends before its budget does once it gains no more")
    if elsewhere:
        typer.echo("the workers of the scheduler share the points: so many times less")


def _largest_memory() -> int:
    """Return the most bytes that this process has had, the measurement among it."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
