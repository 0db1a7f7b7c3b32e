"""Lists of arrays that `joblib.dump` wrote, read without running anything that the file says.

`joblib.load` unpickles, and a pickle can run code. Here the file is read into memory, decompressed
up to a bound, and its pickle is followed by a machine that can make arrays of numbers and nothing
else (`safe_pickle`).
"""

import bz2
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from crar_diag.agent.pickled_arrays import DamagedError, RefusedError
from crar_diag.agent.safe_pickle import read_arrays
from crar_diag.agent.sealing import open_regular
from crar_diag.agent.storage import reason
from crar_diag.errors import InputError

MAX_BYTES: Final = 64 * 2**20
"""Of the file, of what it decompresses to, and of its arrays together. The largest published
network, the simple maze's from pictures in double precision, takes 3.6 MB."""

# xz's highest preset takes 65 MiB to decompress; the header of a bomb may ask for 4 GiB.
_LZMA_MEMORY: Final = 128 * 2**20

# How a file begins, and what decompresses it: those that joblib has itself.
_COMPRESSED: Final[dict[bytes, tuple[str, Callable[[], Any]]]] = {
    b"\x78": ("zlib", zlib.decompressobj),
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)),
    b"BZ": ("bz2", bz2.BZ2Decompressor),
    b"\x5d\x00": ("lzma", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY)),
    b"\xfd7zXZ": ("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _LZMA_MEMORY)),
}
_ADMITTED: Final = (
    "only lists and tuples of numpy arrays of numbers are read, and nothing in the file is run"
)


@dataclass(frozen=True, eq=False)
class Dump:
    """What a file holds.

    Attributes:
        arrays: in the file's order, C-contiguous, in the byte order of this machine.
        sha256: of the file's bytes.
    """

    arrays: tuple[np.ndarray, ...]
    sha256: str


def read_dump(path: str | Path) -> Dump:
    """Read a list or tuple of arrays that `joblib.dump` wrote, compressed or not.

    Raises:
        InputError: no such file, too large, damaged, or anything else than such a list; the
            sentence says what it asks for instead.
    """
    name = f"file '{path}'"
    with open_regular(Path(path), name) as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {reason(error)}") from None
    if not data:
        raise InputError(f"{name} is empty: expected a joblib dump of arrays")
    if len(data) > MAX_BYTES:
        raise InputError(f"{name} is too large: at most {MAX_BYTES} bytes are read")
    stream = io.BytesIO(_decompressed(data, name))
    try:
        arrays = read_arrays(stream, MAX_BYTES)
    except RefusedError as error:
        raise InputError(f"{name} {error}; {_ADMITTED}") from error
    except DamagedError as error:
        raise InputError(
            f"{name} is no joblib dump of arrays, or is truncated or damaged: {error}"
        ) from error
    if stream.read(1):
        raise InputError(f"{name} is no joblib dump of arrays, or is damaged: it goes on behind it")
    return Dump(tuple(arrays), hashlib.sha256(data).hexdigest())


def _decompressed(data: bytes, name: str) -> bytes:
    """Return what a compressed file holds; another one is returned as it is.

    Raises:
        InputError: it holds too much, is damaged, or is compressed in a way that is not read.
    """
    if data.startswith(b"\x04\x22\x4d\x18"):
        raise InputError(f"{name} is compressed by lz4: expected zlib, gzip, bz2, lzma, xz or none")
    if data.startswith(b"ZF"):
        raise InputError(f"{name} was written by joblib 0.9 or older, whose files are not read")
    starts = [start for start in _COMPRESSED if data.startswith(start)]
    if not starts:
        return data
    method, make = _COMPRESSED[starts[0]]
    try:
        decompressor = make()
        found: bytes = decompressor.decompress(data, MAX_BYTES + 1)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise InputError(f"{name} is damaged: {method} says '{reason(error)}'") from None
    if len(found) > MAX_BYTES:
        raise InputError(
            f"{name} decompresses ({method}) to more than the {MAX_BYTES} bytes that are read"
        )
    if not decompressor.eof:
        raise InputError(f"{name} is truncated: its {method} data has no end")
    if decompressor.unused_data:
        raise InputError(f"{name} is damaged: it goes on behind its {method} data")
    return found
