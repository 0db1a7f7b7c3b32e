"""What the commands that draw landscapes share: options, names of groups, weights."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crar_diag.errors import InputError, show

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


def group_name(files: Sequence[Path], name: str | None) -> str:
    """Return what a comparison's group is called: `<a>-to-<b>`, or the given name."""
    return name or "-to-".join(file.stem for file in files)
