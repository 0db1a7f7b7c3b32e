"""What the commands that draw landscapes share: options, names of groups, weights, stopping."""

import glob
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from crar_diag.cli import places
from crar_diag.errors import CrarDiagError, InputError, PoolLostError, show

LONGEST_NAME: Final = 150
"""Letters of a group's name: names of files are made of it, of which none takes more than 255."""

DomainOption = Annotated[
    str | None,
    typer.Option(
        "--domain",
        help="Visual domain in which all are evaluated.",
        show_default="the one that they share",
    ),
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        help="loss=value: its weight in the sum; repeatable.",
        show_default="the steps' ratios in training",
    ),
]
TransitionsOption = Annotated[
    int, typer.Option("--transitions", min=2, help="Held-out ones, in the labyrinth.")
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Of the group in the report.", show_default="the files' names"),
]
FigureOption = Annotated[
    Path | None, typer.Option("--figure", help="Draw a picture: PDF, SVG or PNG by its ending.")
]


def weights(given: Sequence[str] | None) -> dict[str, float]:
    """Return the weights that `loss=value` options name.

    Raises:
        InputError: not of this form, or a loss named twice.
    """
    found: dict[str, float] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        try:
            number = float(value) if equals else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise InputError(
                f"--weight: expected loss=value with a value of at least 0, found {show(text)}"
            )
        if name in found:
            raise InputError(f"--weight: '{name}' is given twice")
        found[name] = number
    return found


class StoppedError(CrarDiagError):
    """The user stopped the command."""

    exit_code = 130


@contextmanager
def stopping(output: Path | None, partial: Path | None) -> Iterator[None]:
    """Say, where the user or lost workers end the block, what becomes of what it had computed.

    Args:
        output: the report, if one is written.
        partial: the beginning of the names of the files that keep it.

    Raises:
        StoppedError: in place of KeyboardInterrupt.
        PoolLostError: the workers that computed it are lost.
    """
    try:
        yield
    except (KeyboardInterrupt, PoolLostError) as ended:
        if output is None or partial is None:
            kept = "nothing is kept: with -o the same call would go on"
        elif any(partial.parent.glob(f"{glob.escape(partial.name)}.*.partial")):
            kept = f"what was computed is kept beside '{output}': the same call goes on from there"
        else:
            kept = "too early for anything to be kept: the same call begins anew"
        if isinstance(ended, PoolLostError):
            raise PoolLostError(f"{ended}: {kept}") from ended
        raise StoppedError(f"interrupted, {kept}") from None


def check_places(output: Path | None, name: str | None, figure: Path | None) -> None:
    """Refuse, before any work, a report or figure that cannot be written.

    Raises:
        InputError: naming it, or a name of a group without a report.
    """
    if figure is not None:
        from crar_diag.report.style import check_format

        check_format(figure)
        places.check_folder(figure.parent, f"figure '{figure}'")
    if output is not None:
        places.check_report_place(output)
    elif name is not None:
        raise InputError("--name is that of a group in a report: give -o, too")


def group_name(stems: Sequence[str], name: str | None) -> str:
    """Return what a comparison's group is called: `<a>-to-<b>`, or the given name.

    Args:
        stems: the files' names without their suffix.
        name: given by the user, if any.

    Raises:
        InputError: a report cannot have a group of that name.
    """
    from crar_diag.report.netcdf import check_name

    found = "-to-".join(stems) if name is None else name
    which = "the files' names, joined" if name is None else "--name"
    try:
        check_name(found, which)
        if len(found) > LONGEST_NAME:
            raise InputError(
                f"{which}: expected at most {LONGEST_NAME} letters, found {len(found)}"
            )
    except CrarDiagError as error:
        raise InputError(f"{error}{'; give one by --name' if name is None else ''}") from None
    return found
