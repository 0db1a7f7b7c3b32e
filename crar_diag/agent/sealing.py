"""Files of named tensors and one JSON document, sealed with a digest over both.

A file is a safetensors container whose header has a single metadata entry: canonical JSON (sorted
keys, no spaces, ASCII), so that equal contents are equal bytes. The JSON carries a SHA-256 over
itself and over every tensor's name, type, shape and little-endian bytes. Reading runs no code from
the file: a pickle is recognised and refused.
"""

import hashlib
import io
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch

from crar_diag.agent.storage import reason
from crar_diag.errors import CrarDiagError, InputError

FORMAT_VERSION: Final = 1
# A header announces its own length: one that is absurd must not make the reader allocate it.
MAX_HEADER_BYTES: Final = 8 * 2**20


@dataclass(frozen=True)
class Kind:
    """A kind of sealed file.

    Attributes:
        key: the header entry that holds the document.
        title: what messages call such a file.
        dtypes: the tensor types that it may hold, by their safetensors names.
        max_bytes: a larger file is refused unread.
    """

    key: str
    title: str
    dtypes: Mapping[str, torch.dtype]
    max_bytes: int


_FLOATS: Final = {"F32": torch.float32, "F64": torch.float64}
_OTHERS: Final = {
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CHECKPOINT: Final = Kind("crar_diag", "checkpoint", _FLOATS, 2**30)
RESUME_STATE: Final = Kind("crar_diag_resume", "resume state", _FLOATS | _OTHERS, 2**34)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        TypeError: not made of JSON values.
        ValueError: a number that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(tensors: Mapping[str, torch.Tensor], document: Mapping[str, Any], kind: Kind) -> bytes:
    """Return a safetensors file of `tensors` and of `document` with a digest over both.

    Args:
        tensors: name -> tensor [...] of any device and memory format.
        document: JSON values; `format_version` is among them.
        kind: of file.

    Raises:
        CrarDiagError: a tensor of another type, or more than the file may hold.
    """
    held = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in kind.dtypes.values():
            expected = _listed(kind)
            raise CrarDiagError(f"tensor '{name}' must be {expected}, found {tensor.dtype}")
        # A copy each: safetensors refuses tensors that share their memory, as members' views do.
        held[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    text = canonical_json({**document, "digest": _digest(canonical_json(document), held)})
    data = safetensors.torch.save(held, metadata={kind.key: text})
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES or len(data) > kind.max_bytes:
        raise CrarDiagError(
            f"a {kind.title} must stay below {kind.max_bytes} bytes, {MAX_HEADER_BYTES} of them "
            f"for its header, found {len(data)}"
        )
    return data


def unseal(path: Path, kind: Kind) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `seal` made, refusing everything else.

    The file is read once; what is checked is what is returned.

    Args:
        path: the file.
        kind: what the file should be.

    Returns:
        The tensors, on the CPU, and the document without its digest.

    Raises:
        InputError: no such file, of another kind, damaged, or of a newer format.
    """
    name = f"{kind.title} '{path}'"
    with open_regular(path, name) as file:
        try:
            size = file.seek(0, io.SEEK_END)
            start = _read_header(file, size, name, kind)
            header = _parse_json(start[8:], name)
            text = _document_text(header, name, kind)
            end = len(start) + _data_bytes(header, name, kind)
            data = start + file.read() if size == end else start
        except OSError as error:
            raise InputError(f"{name} cannot be read: {reason(error)}") from None
    if len(data) != end:
        raise InputError(f"{name} is truncated or damaged: expected {end} bytes, found {size}")
    document = _parse_json(text.encode("utf-8", "surrogatepass"), name)
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise InputError(f"{name} is damaged: its header states no format version")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{name} has format version {version}, this crar-diag reads up to {FORMAT_VERSION}: "
            "use a newer crar-diag"
        )
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # whatever the container's reader raises, the file is at fault
        raise InputError(f"{name} is damaged: {reason(error)}") from None
    digest = document.pop("digest", None)
    if digest != _digest(_canonical_or_empty(document), tensors):
        raise InputError(f"{name} is damaged or was altered: its content does not match its digest")
    return tensors, document


def open_regular(path: Path, name: str) -> io.BufferedReader:
    """Open a regular file for reading; a pipe or a folder is refused, not waited for.

    Args:
        path: the file.
        name: what the message calls it.

    Raises:
        InputError: no such file, not a regular one, or not readable.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            found = "a folder" if stat.S_ISDIR(mode) else "something else"
            raise InputError(f"{name}: expected a regular file, found {found}")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name} cannot be read: {reason(error)}") from None


def _read_header(file: io.BufferedReader, size: int, name: str, kind: Kind) -> bytes:
    """Return the length field and the header, having allocated no more than these."""
    file.seek(0)
    head = file.read(9)
    file.seek(0)
    if size == 0:
        raise InputError(f"{name} is empty")
    length = int.from_bytes(head[:8], "little")
    if head[8:] == b"{":
        if length <= min(size - 8, MAX_HEADER_BYTES) and size <= kind.max_bytes:
            return file.read(8 + length)
        raise InputError(
            f"{name} is truncated or damaged: its header announces {length} bytes, the file has "
            f"{size} (at most {MAX_HEADER_BYTES} and {kind.max_bytes} are read)"
        )
    pickled = head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and any(head[2:8])
    if pickled or head[:4] == b"PK\x03\x04":
        raise InputError(
            f"{name} is a pickle or a zip archive, as torch.save writes them: expected a crar-diag "
            "safetensors file; pickles are never loaded, for they can run code"
        )
    raise InputError(f"{name} is not one of crar-diag's: expected a safetensors file")


def _parse_json(data: bytes, name: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ValueError("a key appears twice")
        return table

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        why = "nested too deeply" if isinstance(error, RecursionError) else reason(error)
        raise InputError(f"{name} is damaged: unreadable header ({why})") from None
    return value


def _document_text(header: dict[str, Any], name: str, kind: Kind) -> str:
    entries = header.get("__metadata__")
    if not isinstance(entries, dict) or not isinstance(entries.get(kind.key), str):
        raise InputError(
            f"{name} is not one of crar-diag's: expected a safetensors file with the header entry "
            f"'{kind.key}', found none"
        )
    if len(entries) > 1:
        other = min(entry for entry in entries if entry != kind.key)
        raise InputError(f"{name} has the unknown header entry {other!r:.60}")
    return entries[kind.key]


def _data_bytes(header: dict[str, Any], name: str, kind: Kind) -> int:
    """Return how many bytes the tensors take, having checked their types."""
    end = 0
    for tensor, entry in header.items():
        if tensor == "__metadata__":
            continue
        entry = entry if isinstance(entry, dict) else {}
        dtype, offsets = entry.get("dtype"), entry.get("data_offsets")
        if not isinstance(dtype, str) or dtype not in kind.dtypes:
            raise InputError(
                f"{name}: tensor {tensor!r:.60} must be {_listed(kind)}, found {dtype!r:.60}"
            )
        # That the offsets fit the shapes and tile the data is the container reader's to check.
        if not isinstance(offsets, list) or not all(type(offset) is int for offset in offsets):
            raise InputError(f"{name} is damaged: tensor {tensor!r:.60} has no place in the file")
        end = max(end, *(min(offset, kind.max_bytes) for offset in offsets), 0)
    return end


def _listed(kind: Kind) -> str:
    return " or ".join(str(dtype).removeprefix("torch.") for dtype in kind.dtypes.values())


def _canonical_or_empty(document: dict[str, Any]) -> str:
    try:
        return canonical_json(document)
    except ValueError:  # NaN, which no writer of ours has put there
        return ""


def _digest(document: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the document and over each tensor's name, type, shape and bytes, by name."""
    digest = hashlib.sha256(f"{len(document)}\n{document}\n".encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        head = canonical_json([name, str(tensors[name].dtype), list(array.shape)])
        digest.update(f"{head}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
