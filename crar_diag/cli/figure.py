"""`crar-diag figure`: the paper's figures, and further ones, drawn from a report alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.report.figures.selection import Report

EXAMPLE = (
    "Example: [bold]crar-diag figure 6 --from report.h5 -o figure6.pdf[/bold] draws figure 6 of "
    "the paper, [bold]crar-diag figure --list --from report.h5[/bold] says which a report allows."
)


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="FIGURE",
            help="3 to 18 as in the paper, or surfaces, barriers, paths, spectra, kinds, remedies.",
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Report (HDF5); 3, 4, 12 and 14 need none.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PDF, SVG or PNG by its ending.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Which run or comparison.", show_default="the first that fits"),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member", help="Which agent; repeatable.", show_default="the first that fits"
        ),
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="Of a landscape.", show_default="sum")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of figure 4's labyrinth.", show_default="0")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Name all figures, and whether the report allows them.")
    ] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Draw a figure of the paper, or a further one, from a report alone, ready for a paper.

    Vectors in the width of a column or a page, fonts embedded, colours that colour-blind readers
    tell apart. Where a report could show several agents, the first that fits is drawn; what was
    drawn is said.
    """
    from crar_diag.report.figures.selection import Report

    if listing:
        if name is not None or output is not None:
            raise InputError("--list names the figures and draws none: give no figure and no -o")
        _list(None if source is None else Report(source), as_json)
        return
    if name is None:
        raise InputError("expected a figure, such as 6; --list names them all")
    from crar_diag.report.figures.catalogue import entry_of, find
    from crar_diag.report.figures.selection import Choice
    from crar_diag.report.style import check_format, save_figure

    entry = entry_of(name)
    if output is None:
        raise InputError(f"figure {name} needs a file to be drawn in", arguments=["output"])
    check_format(output)
    report = None if source is None else Report(source)
    found = find(name, report, Choice(run, tuple(member or ()), loss, seed))
    save_figure(found.draw(), output)
    if as_json:
        shown = {"figure": name, "title": entry.title, "drawn": dict(found.words)}
        common.print_json({**shown, "from": source and str(source), "file": str(output)})
        return
    typer.echo(f"figure {name}, {entry.title}")
    for what, words in found.words.items():
        typer.echo(f"  {what}: {_text(words)}")
    typer.echo(f"written to '{output}'")


def _list(report: "Report | None", as_json: bool) -> None:
    """Print all figures; with a report, whether it has their data."""
    from crar_diag.report.figures.catalogue import ENTRIES, available

    missing = {} if report is None else available(report)
    rows: list[dict[str, Any]] = [
        {
            "figure": name,
            "title": entry.title,
            "needs": entry.needs,
            "command": entry.command,
            **({"available": not missing[name], "missing": missing[name]} if missing else {}),
        }
        for name, entry in ENTRIES.items()
    ]
    if as_json:
        common.print_json({"report": report and str(report.path), "figures": rows})
        return
    common.print_table(
        ["figure", "title", "needs" if report is None else "in the report"],
        [[row["figure"], row["title"], _state(row)] for row in rows],
    )


def _state(row: dict[str, Any]) -> str:
    """Return whether a report has the data, or, without one, which data that is."""
    if "available" not in row:
        return str(row["needs"]) or "nothing"
    if row["available"]:
        return "yes"
    reason = str(row["missing"]).partition(" needs ")[2] or str(row["missing"])
    return f"no: {reason}"


def _text(words: Any) -> str:
    several = words if isinstance(words, list | tuple) else [words]
    texts = [f"{one:,}" if isinstance(one, int) else str(one) for one in several]
    return ("; " if any(", " in text for text in texts) else ", ").join(texts)
