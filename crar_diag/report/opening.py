"""Opening a report to read it, and refusing what is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np
import xarray as xr

from crar_diag.agent.sealing import open_regular
from crar_diag.agent.storage import reason
from crar_diag.errors import CrarDiagError, InputError, did_you_mean
from crar_diag.report import netcdf

SCHEMA_VERSION: Final = 1
KIND: Final = "crar-diag report"
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[h5py.File, BinaryIO]]:
    """Open a report for reading, having checked that it is one.

    Whatever HDF5 or xarray raise in the block is taken for the file's fault.

    Yields:
        The file as HDF5, and the stream that it is read from.

    Raises:
        InputError: no such file, not a report, damaged, or of a newer schema.
    """
    name = f"report '{path}'"
    with open_regular(Path(path), name) as stream:
        try:
            signature = stream.read(len(_SIGNATURE))
            if signature != _SIGNATURE:
                found = "another kind of file" if signature else "an empty one"
                raise InputError(f"{name}: expected an HDF5 file, found {found}")
            # By the open stream: the name may meanwhile stand for a newer file.
            with h5py.File(stream, "r") as file:
                _check_root(file, name)
                yield file, stream
        except CrarDiagError:
            raise
        except MemoryError:
            raise InputError(f"{name} does not fit into memory, or is damaged") from None
        except Exception as error:
            raise InputError(f"{name} is truncated or damaged: {reason(error)}") from None


def _check_root(file: h5py.File, name: str) -> None:
    kind, version = file.attrs.get("kind"), file.attrs.get("schema_version")
    if not isinstance(kind, str) or kind != KIND:
        raise InputError(
            f"{name} is an HDF5 file of another origin: expected the attribute kind = '{KIND}' "
            "on its root"
        )
    if not isinstance(version, np.integer) or version < 1:
        raise InputError(f"{name} is damaged: its root states no schema version")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{name} has schema version {version}, this crar-diag reads up to {SCHEMA_VERSION}: "
            "use a newer crar-diag"
        )


def load(path: str | Path, group: str, file: h5py.File, stream: BinaryIO) -> xr.Dataset:
    """Read one group of an opened report into memory.

    Raises:
        InputError: it has no such group.
    """
    item = file.get(group) if group else None
    if not isinstance(item, h5py.Group) or not netcdf.holds_data(item):
        known = netcdf.groups(file)
        hint = did_you_mean(group, known) if known else ": it is empty"
        raise InputError(f"report '{path}' has no group '{group}'{hint}")
    return xr.load_dataset(stream, group=group, engine="h5netcdf")
