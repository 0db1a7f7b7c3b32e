"""The report: one HDF5 file, netCDF-4 compatible, of groups of labelled data.

    /config /history /embedding /outcome /statistics
    /line/<name> /plane/<name> /hessian/<name> /path/<name>

Each group opens with `xarray.open_dataset(file, group=..., engine="h5netcdf")`, says in its
attributes what made it (`provenance`), and has its own dimensions: none is inherited from a group
around it, so that each can be replaced alone.

An addition copies the groups that stay and the new ones into a fresh file, because HDF5 neither
gives back the space of what is removed nor survives being killed. That file is made in memory,
because HDF5 brings the whole process down when a disk is full.
"""

import io
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr

from crar_diag.agent.storage import locked, reason, write_atomically
from crar_diag.errors import CrarDiagError, InputError, StorageError
from crar_diag.report import netcdf
from crar_diag.report.opening import KIND, SCHEMA_VERSION, load, opened
from crar_diag.report.provenance import Provenance
from crar_diag.version import __version__

LOCK_SECONDS: Final = 60
"""How long an addition waits for that of another process."""


def add_to_report(
    path: str | Path,
    groups: Mapping[str, xr.Dataset],
    provenance: Provenance,
    replace: bool = True,
) -> None:
    """Add groups to a report, or make a report of them; all or none, whatever happens.

    Additions of several processes wait for each other, by the lock `<name>.lock` beside the file.

    Args:
        path: the file; its folder exists.
        groups: name, such as `statistics/rates`, -> labelled data; every variable and coordinate
            has the attributes `units` and `long_name`.
        provenance: what made them, put on each; data that was read from a report loses the
            provenance that it came with.
        replace: take the place of groups that are there; groups within them stay.

    Raises:
        CrarDiagError: the data is not fit for a report.
        InputError: the file is not a report, or another process keeps it locked; or a group is
            there already and `replace` is False.
        StorageError: the file system refused; the report is as it was.
    """
    encoded = {
        name: netcdf.encode(name, dataset.assign_attrs(provenance.attributes()))
        for name, dataset in _named(groups).items()
    }
    if _exists(path):  # one that is not ours is refused before the lock file is made
        with opened(path):
            pass
    with _locked(path):
        write_atomically(path, _rebuilt(path, encoded, replace))


def read_report(path: str | Path, group: str) -> xr.Dataset:
    """Read one group into memory.

    Raises:
        InputError: the file is not a whole report, or has no such group.
    """
    with opened(path) as (file, stream):
        return load(path, group.strip("/"), file, stream)


def report_groups(path: str | Path) -> dict[str, Provenance | None]:
    """Return the groups that hold data, by name, each with what made it.

    None stands where somebody else has put a group into the file.

    Raises:
        InputError: the file is not a report.
    """
    with opened(path) as (file, _):
        return {
            group: Provenance.from_attributes(dict(file[group].attrs))
            for group in netcdf.groups(file)
        }


def check_report(path: str | Path) -> None:
    """Read all of a report and refuse it unless it is whole.

    Raises:
        InputError: no such file, not a report, damaged, or of a newer schema.
    """
    describe_report(path)


def describe_report(path: str | Path) -> dict[str, Any]:
    """Return what a report holds, after reading all of it; of types that JSON has.

    Returns:
        `kind`, `path`, `schema_version`, `crar_diag` (the version that wrote it last) and `groups`:
        name -> `provenance` (a dict, or None) and `variables`: name -> `dims` (name -> size),
        `units`, `long_name`, `type`, `coordinate` (whether it is one).

    Raises:
        InputError: as `check_report`.
    """
    with opened(path) as (file, stream):
        described = {}
        for group in netcdf.groups(file):
            dataset = load(path, group, file, stream)
            made = Provenance.from_attributes(dataset.attrs)
            described[group] = {
                "provenance": None if made is None else asdict(made),
                "variables": {
                    str(name): {
                        "dims": {str(dim): size for dim, size in variable.sizes.items()},
                        "units": str(variable.attrs.get("units", "")),
                        "long_name": str(variable.attrs.get("long_name", "")),
                        "type": "string" if variable.dtype.kind in "UOT" else str(variable.dtype),
                        "coordinate": name in dataset.coords,
                    }
                    for name, variable in dataset.variables.items()
                },
            }
        return {
            "kind": "report",
            "path": str(path),
            "schema_version": int(file.attrs["schema_version"]),
            "crar_diag": str(file.attrs["crar_diag"]),
            "groups": described,
        }


def _named(groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    named = {name.strip("/"): dataset for name, dataset in groups.items()}
    if len(named) < len(groups):
        raise CrarDiagError(f"expected each group once, found {', '.join(map(repr, groups))}")
    for name in named:
        for part in name.split("/"):
            netcdf.check_name(part, f"group '{name}' of a report")
    return named


def _rebuilt(path: str | Path, added: Mapping[str, bytes], replace: bool) -> bytes:
    """Return the file that holds the groups of the one at `path`, if there is one, and `added`."""
    memory, ids = io.BytesIO(), itertools.count()
    with h5py.File(memory, "w", track_order=True) as new:
        if _exists(path):
            with opened(path) as (old, _):
                there = set(netcdf.groups(old)) & set(added)
                if there and not replace:
                    raise InputError(f"report '{path}' has a group '{min(there)}' already")
                netcdf.merge(old, new, ids, skip=added)
        new.attrs["kind"] = KIND
        new.attrs["schema_version"] = np.int64(SCHEMA_VERSION)
        new.attrs["crar_diag"] = __version__
        for name, data in added.items():
            with h5py.File(io.BytesIO(data)) as part:
                _refuse_collisions(path, name, new, part)
                netcdf.merge(part, netcdf.subgroup(new, name), ids)
    return memory.getvalue()


def _refuse_collisions(path: str | Path, name: str, new: h5py.File, part: h5py.File) -> None:
    """Refuse a variable and a group of one name in one place, which HDF5 cannot hold."""
    parts = name.split("/")
    taken = ["/".join(parts[:k]) for k in range(1, len(parts) + 1)]
    taken = [place for place in taken if isinstance(new.get(place), h5py.Dataset)]
    taken += [f"{name}/{variable}" for variable in part if f"{name}/{variable}" in new]
    if taken:
        raise CrarDiagError(
            f"report '{path}': '{taken[0]}' would be a group and a variable or dimension at once"
        )


def _exists(path: str | Path) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StorageError(f"report '{path}' cannot be written: {reason(error)}") from None


@contextmanager
def _locked(path: str | Path) -> Iterator[None]:
    try:
        # Beside the file itself: one report may be reached by several links.
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():  # FileLock would make it, misspelt as it may be
            raise StorageError(
                f"report '{path}' cannot be written: '{target.parent}' is not a folder"
            )
    except (OSError, ValueError) as error:
        raise StorageError(f"report '{path}' cannot be written: {reason(error)}") from None
    with locked(target.with_name(target.name + ".lock"), f"report '{path}'", LOCK_SECONDS):
        yield
