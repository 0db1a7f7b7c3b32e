"""`crar-diag report`: runs gathered into one file, its tables as CSV, and its page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, places
from crar_diag.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.report.runs import Gathered

EXAMPLE = (
    "Example: [bold]crar-diag report runs/base runs/transfer -o report.h5 --html page.html[/bold] "
    "gathers two runs and draws their page, and [bold]crar-diag report report.h5 --csv tables "
    "--html page.html[/bold] writes what a report holds as CSV and as a page."
)


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Run folders, of base models and of transfers; or one report."),
    ],
    output: common.ReportOption = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Folder for the report's tables as CSV.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Page of the report: one file that opens offline."),
    ] = None,
    seed: common.ResamplingSeedOption = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Gather runs into a report: configurations, histories, embeddings, outcomes, statistics.

    Outcomes and statistics are those of all transfers in this call. What a report holds already
    stays, but for groups of the same name: landscape, curvature, path and others add theirs with
    -o. Figures and the page are drawn from a report alone.
    """
    given = csv is not None or html is not None
    if html is not None:
        _check_page(html)
    if len(paths) == 1 and not places.is_folder(paths[0]) and (given or places.is_hdf5(paths[0])):
        _export(paths[0], output, csv, html, as_json)
        return
    for path in paths:
        if path.exists() and not places.is_folder(path):
            raise InputError(
                f"'{path}' is a file: expected run folders, or one report together with --csv or "
                "--html"
            )
    if output is None:
        raise InputError("a report of runs needs a file to be written to", arguments=["output"])
    places.check_report_place(output)
    from crar_diag.report.runs import gather

    gathered = gather(paths, seed)
    groups = gathered.groups()
    places.add_to_report(output, groups, seed)
    files, size = _tables(output, csv), _page(output, html)
    if as_json:
        common.print_json(_as_json(gathered, groups, output, files) | _written(html, size))
        return
    _print(gathered, groups)
    typer.echo(f"{len(groups)} groups written to '{output}'")
    _print_written(files, csv, html, size)


def _export(
    path: Path, output: Path | None, csv: Path | None, html: Path | None, as_json: bool
) -> None:
    """Write the tables and the page of a report that is there."""
    if csv is None and html is None:
        raise InputError(
            f"'{path}' is a report: expected run folders, or --csv DIR to write its tables, or "
            "--html FILE to draw its page"
        )
    if output is not None:
        raise InputError(
            "-o goes with run folders: the tables and the page of a report go where --csv and "
            "--html say"
        )
    files, size = _tables(path, csv), _page(path, html)
    if as_json:
        found = {"report": str(path), "csv": [str(file) for file in files]}
        common.print_json(found | _written(html, size))
        return
    _print_written(files, csv, html, size)


def _check_page(html: Path) -> None:
    """Refuse, before any work, a page that cannot be written."""
    from crar_diag.report.page.place import check_page_place

    check_page_place(html)
    places.check_folder(html.parent, f"page '{html}'")


def _page(report: Path, html: Path | None) -> int:
    """Write the page, if one is asked for; return its size, bytes."""
    if html is None:
        return 0
    from crar_diag.report.page.assembly import write_page

    return write_page(report, html)


def _written(html: Path | None, size: int) -> dict[str, Any]:
    return {"html": None if html is None else str(html), "html_bytes": size or None}


def _tables(report: Path, folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    from crar_diag.report.tables import tables_as_csv

    return tables_as_csv(report, folder)


def _print_written(files: list[Path], folder: Path | None, html: Path | None, size: int) -> None:
    if folder is not None:
        typer.echo(f"{len(files)} tables written to '{folder}'")
    if html is not None:
        typer.echo(f"page written to '{html}', {common.size(size)}")


def _runs(gathered: "Gathered", groups: "dict[str, xr.Dataset]") -> list[dict[str, Any]]:
    """Return what is said of each run."""
    from crar_diag.report.records import kind_of

    found = []
    for label, run in gathered.runs.items():
        states = groups[f"embedding/{label}/states"]
        found.append(
            {
                "run": label,
                "path": str(run.path),
                "holds": kind_of(run.config),
                "environment": run.config.environment,
                "members": int(states.sizes["member"]),
                "updates": run.config.updates,
                "records": str(states.attrs["records"]),
            }
        )
    return found


def _conditions(gathered: "Gathered") -> list[dict[str, Any]]:
    """Return how often the transfers of each condition succeeded."""
    if gathered.study is None:
        return []
    rates = gathered.study.statistics["rates"]
    return [
        {
            "condition": str(condition),
            "successes": int(rates.successes[c].sum()),
            "runs": int(rates.runs[c].sum()),
            "mean_rate": float(rates.mean_rate[c]),
            "interval": [float(rates.mean_low[c]), float(rates.mean_high[c])],
        }
        for c, condition in enumerate(rates.condition.values)
    ]


def _as_json(
    gathered: "Gathered", groups: "dict[str, xr.Dataset]", output: Path, files: list[Path]
) -> dict[str, Any]:
    return {
        "report": str(output),
        "runs": _runs(gathered, groups),
        "conditions": _conditions(gathered),
        "groups": list(groups),
        "csv": [str(file) for file in files],
    }


def _print(gathered: "Gathered", groups: "dict[str, xr.Dataset]") -> None:
    common.print_table(
        ["run", "holds", "environment", "members", "updates", "records of embeddings"],
        [
            [
                one["run"],
                one["holds"],
                one["environment"],
                str(one["members"]),
                f"{one['updates']:,}",
                one["records"],
            ]
            for one in _runs(gathered, groups)
        ],
    )
    typer.echo()
    for one in _conditions(gathered):
        typer.echo(
            f"{one['condition']}: {one['successes']} of {one['runs']} transfers have succeeded, "
            f"a mean rate over bases of {one['mean_rate']:.2f}"
        )
