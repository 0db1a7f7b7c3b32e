"""Writing files so that a reader sees the old file or the new one, whole, and nothing between.

A file is written under a temporary name in its own folder, brought to the disk, renamed over the
old one, and the folder is brought to the disk too. A process that is killed on the way leaves the
old file and a temporary one, which `remove_leftovers` clears.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from crar_diag.errors import InputError, StorageError

LEFTOVER_PREFIX: Final = ".crar-diag-tmp-"
LOCK_NAME: Final = ".lock"

# Some network file systems cannot sync a folder; the rename itself is still atomic there.
_NO_FOLDER_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, or leave whatever is there unharmed.

    Raises:
        StorageError: the file system refused (no space, no permission, no such folder).
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file name that becomes `path` when the block ends without an error.

    For writers that need a file name (`h5netcdf`, `savefig`). The name has the suffix of `path` and
    does not exist yet; the block creates the file and closes it. A symbolic link at `path` is
    followed, so that the link stays. On any exception the temporary file is removed.

    Raises:
        StorageError: the file system refused, inside the block or after it.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target = Path(os.path.realpath(target))
        if target.exists() and not target.is_file():
            raise StorageError(
                f"could not write '{path}': expected a file or a new name, found "
                f"{'a folder' if target.is_dir() else 'something that is no regular file'}"
            )
        temporary = target.with_name(LEFTOVER_PREFIX + secrets.token_hex(8) + target.suffix)
        yield temporary
        _sync(temporary, os.O_RDWR)
        temporary.replace(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, ValueError) and temporary is not None:
            raise
        kept = "the previous file is unharmed" if _is_file(target) else "no file was written"
        raise StorageError(f"could not write '{path}': {reason(error)}; {kept}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise StorageError(
            f"wrote '{path}', but its folder could not be synced: {reason(error)}"
        ) from error


@contextmanager
def locked(file: Path, what: str, seconds: int = 0) -> Iterator[None]:
    """Hold a lock for the length of the block.

    Args:
        file: of the lock; its folder is made where missing.
        what: it is the lock of, as messages begin.
        seconds: to wait for another process that holds it.

    Raises:
        InputError: another process holds it.
        StorageError: the file cannot be made.
    """
    try:
        lock = FileLock(file, timeout=seconds)
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        waited = f": another process has kept it locked for {seconds} s"
        raise InputError(
            f"{what} is in use{waited if seconds else ' by another process'}"
        ) from None
    except (OSError, ValueError, NotImplementedError) as error:  # ValueError: a NUL in the name
        raise StorageError(f"{what} cannot be written: {reason(error)}") from None
    try:
        yield
    finally:
        lock.release()


def remove(path: str | Path) -> None:
    """Remove a file, if it is there, and bring its folder to the disk.

    Raises:
        StorageError: the file system refused.
    """
    path = Path(path)
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"could not remove '{path}': {reason(error)}") from error


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files that killed processes left in `folder`.

    Call it only while no other process writes there.

    Raises:
        StorageError: the folder cannot be read or a file in it cannot be removed.
    """
    try:
        for entry in Path(folder).iterdir():
            if is_leftover(entry.name):
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"could not tidy the folder '{folder}': {reason(error)}") from error


def is_leftover(name: str) -> bool:
    """Tell whether `name` is that of a temporary file of this module."""
    return name.startswith(LEFTOVER_PREFIX)


def reason(error: Exception) -> str:
    """Return why the operating system refused, in its own words, on one line."""
    # The number, not `strerror`: HDF5 puts its whole call there, over several lines.
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return " ".join(str(error).split())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder on the way forbids to look, or the name is too long
        return False


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    try:
        _sync(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
