"""A report as plain tables, for spreadsheets and for whoever does not read HDF5."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from crar_diag.agent.storage import reason, replacing
from crar_diag.errors import StorageError
from crar_diag.report.store import read_report, report_groups


def tables_as_csv(path: str | Path, folder: str | Path) -> list[Path]:
    """Write every group of a report as CSV, a row an element: its coordinates, then its values.

    `line/a-b` becomes `line-a-b.csv`. Variables of other dimensions have a file of their own: in
    a group of several, the file's name goes on with the dimensions' (`history.member-epoch.csv`;
    `history.scalars.csv` for those without). A dimension without a coordinate gives its index,
    from 0. Numbers have as many digits as their type needs to be read back exactly; NaN is `nan`.
    A field is quoted where it must be; lines end in a line feed.

    Args:
        path: the report.
        folder: made where missing; files in it of the same names are replaced.

    Returns:
        The files, in the order of the groups.

    Raises:
        InputError: the file is not a whole report.
        StorageError: the folder cannot be made or written.
    """
    folder, groups = Path(folder), report_groups(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StorageError(f"folder '{folder}' cannot be made: {reason(error)}") from None
    written: list[Path] = []
    for group in groups:
        dataset = read_report(path, group)
        tables = tables_of(dataset)
        for dims, names in tables.items():
            suffix = f".{'-'.join(dims) or 'scalars'}" if len(tables) > 1 else ""
            file = _free(folder, group.replace("/", "-") + suffix, written)
            columns = columns_of(dataset, dims, names)
            with (
                replacing(file) as temporary,
                temporary.open("w", encoding="utf-8", newline="") as stream,
            ):
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(_rows(list(columns.values())))
            written.append(file)
    return written


def tables_of(dataset: xr.Dataset) -> dict[tuple[str, ...], list[str]]:
    """Return the variables of each table by its dimensions; coordinates that fit come besides."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, variable in dataset.data_vars.items():
        tables.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    for coordinate in dataset.coords.values():
        if not any(set(coordinate.dims) <= set(dims) for dims in tables):
            tables[tuple(map(str, coordinate.dims))] = []
    return tables


def columns_of(
    dataset: xr.Dataset, dims: tuple[str, ...], names: list[str]
) -> dict[str, np.ndarray]:
    """Return the columns of a table, each of the shape that the dimensions have."""
    sizes = {dim: dataset.sizes[dim] for dim in dims}
    others = [
        str(name)
        for name, coordinate in dataset.coords.items()
        if name not in dims and set(coordinate.dims) <= set(dims)
    ]
    # A dimension without a coordinate is its index, as xarray has it.
    variables = {name: dataset[name].variable for name in [*dims, *others, *names]}
    return {
        name: variable.set_dims(sizes).transpose(*dims).values
        for name, variable in variables.items()
    }


def _rows(columns: list[np.ndarray]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a table, the last dimension running fastest."""
    # Piece by piece: as text, all at once, a large array would take many times its memory.
    for piece in zip(*(c if c.ndim > 1 else c[None] for c in columns), strict=True):
        yield from zip(*(part.ravel().astype(str).tolist() for part in piece), strict=True)


def _free(folder: Path, name: str, taken: list[Path]) -> Path:
    """Return the file's place; `line/a` and a group that is called `line-a` get two."""
    file, number = folder / f"{name}.csv", 2
    while file in taken:
        file, number = folder / f"{name}-{number}.csv", number + 1
    return file
