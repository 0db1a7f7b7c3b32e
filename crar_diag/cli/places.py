"""Where commands read and write: checkpoints and runs, folders, reports and their provenance."""

import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from crar_diag.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

_arguments: ContextVar[Sequence[str] | None] = ContextVar("arguments", default=None)


@contextmanager
def as_command(arguments: Sequence[str]) -> Iterator[None]:
    """Let the block be a command with these arguments, where one command runs another."""
    token = _arguments.set(tuple(arguments))
    try:
        yield
    finally:
        _arguments.reset(token)


def command_line() -> str:
    """Return this command as it was typed, for the provenance of what it writes."""
    arguments = _arguments.get()
    return shlex.join(["crar-diag", *(sys.argv[1:] if arguments is None else arguments)])


def add_to_report(
    output: Path,
    groups: "Mapping[str, xr.Dataset]",
    seed: int,
    device: "torch.device | str" = "cpu",
) -> None:
    """Add groups to a report, with this command as what made them."""
    from crar_diag.report import store
    from crar_diag.report.provenance import provenance

    made = provenance(command=command_line(), seeds=[seed], device=str(device))
    store.add_to_report(output, groups, made)


def check_report_place(output: Path) -> None:
    """Refuse, before any work, a file that no report can be added to.

    Raises:
        InputError: it is there and is no whole report, or its folder is not there or takes no
            files.
    """
    from crar_diag.agent.storage import reason
    from crar_diag.report.store import check_report

    if not is_folder(output.parent):
        raise InputError(f"report '{output}': there is no folder '{output.parent}'")
    try:
        output.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"report '{output}' cannot be written: {reason(error)}") from None
    else:
        check_report(output)
    check_folder(output.parent, f"report '{output}'")


def check_folder(folder: Path, what: str) -> None:
    """Refuse, before any work, a folder in which no file can be made.

    Raises:
        InputError: it is such a folder; the message begins with `what` was to be made there.
    """
    from crar_diag.agent.storage import reason

    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{what}: expected a folder that takes files, found '{folder}': {reason(error)}"
        ) from None


def checkpoint_files(paths: Sequence[Path]) -> list[Path]:
    """Return checkpoint files, those of run folders among the paths included.

    Raises:
        InputError: a folder that is not a run, or one with members missing.
    """
    from crar_diag.agent.run import read_run

    files: list[Path] = []
    for path in paths:
        files.extend(read_run(path).checkpoints.values() if is_folder(path) else [path])
    return files


def is_hdf5(path: Path) -> bool:
    """Tell an HDF5 file by its first bytes from everything else."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Tell a folder from everything else, what cannot be looked at included."""
    try:
        return path.is_dir()
    except OSError:
        return False
