"""What a pickle of arrays may name, call and fill: arrays of numbers, made by our own functions.

Nothing of what a file names is imported. A name is a marker (`Name`), and what it makes is an empty
array, data type or wrapper of this module, which is filled from the file's numbers and bytes.
"""

import io
import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

_MAX_DIMENSIONS: Final = 32
_MAX_LENGTH: Final = 2**48
_NUMBER: Final = re.compile(r"b1|[iu][1248]|f[248]")


class RefusedError(Exception):
    """The file asks for what is not admitted; the message goes on after the file's name."""


class DamagedError(Exception):
    """The file ends too early or contradicts itself."""


class Name(Enum):
    """What a file may name."""

    ARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    WRAPPER = "joblib's NumpyArrayWrapper"
    RECONSTRUCT = "numpy's _reconstruct"
    FROM_BUFFER = "numpy's _frombuffer"
    RECONSTRUCTOR = "copyreg._reconstructor"  # old protocols make an empty wrapper by it
    OBJECT = "object"


_ADMITTED: Final[dict[tuple[str, str], Name]] = {
    ("numpy", "ndarray"): Name.ARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): Name.WRAPPER,
    ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("copy_reg", "_reconstructor"): Name.RECONSTRUCTOR,
    ("copyreg", "_reconstructor"): Name.RECONSTRUCTOR,
    ("__builtin__", "object"): Name.OBJECT,
    ("builtins", "object"): Name.OBJECT,
}
_MANY_FILES: Final = {
    ("joblib.numpy_pickle", "NDArrayWrapper"),
    ("joblib.numpy_pickle", "ZNDArrayWrapper"),
}
_WRAPPER_ENTRIES: Final = {"subclass", "shape", "order", "dtype", "allow_mmap"}
_ALIGNMENT: Final = "numpy_array_alignment_bytes"


@dataclass(eq=False)
class _Dtype:
    """A type of numbers: numpy's code without the byte order, and that."""

    code: str
    order: str = "="

    @property
    def size(self) -> int:
        return int(self.code[1:])


@dataclass(eq=False)
class _Array:
    """An array; without a `dtype` until its state has been read."""

    shape: tuple[int, ...] = ()
    order: str = "C"
    dtype: _Dtype | None = None
    data: bytes | bytearray | str = b""


class _Wrapper:
    """joblib's wrapper, before its state is read and the array's bytes behind that."""


def look_up(module: Any, name: Any) -> Name:
    """Return the marker of what a file names.

    Raises:
        RefusedError: it is not admitted.
    """
    # Only text is hashed or shown: a value may be nested so deeply that either would not end.
    if type(module) is not str or type(name) is not str:
        raise RefusedError("asks for something by what is no name")
    if (module, name) in _MANY_FILES:
        raise RefusedError("was written by joblib 0.9 or older, which puts arrays in other files")
    if (module, name) not in _ADMITTED:
        text = f"{module}.{name}"
        raise RefusedError(f"asks for '{text if text.isprintable() else ascii(text):.80}'")
    return _ADMITTED[module, name]


def make(name: Any, arguments: Any) -> Any:
    """Return what a call makes: an empty wrapper or array, a data type, or an array of a buffer.

    Raises:
        RefusedError: the call makes none of these.
        DamagedError: an array does not fit its data.
    """
    if type(arguments) is tuple:
        if name is Name.DTYPE and arguments:
            return _dtype(arguments[0])
        if name is Name.WRAPPER and not arguments:
            return _Wrapper()
        if name is Name.RECONSTRUCTOR and arguments == (Name.WRAPPER, Name.OBJECT, None):
            return _Wrapper()
        if name is Name.RECONSTRUCT and len(arguments) == 3:
            _check_class(arguments[0])
            return _Array()
        if name is Name.FROM_BUFFER and len(arguments) == 4:
            data, dtype, shape, order = arguments
            return _array(shape, order, dtype, data)
    what = f"'{name.value}'" if isinstance(name, Name) else "what is no function"
    raise RefusedError(f"calls {what} in a way that makes no array")


def fill(target: Any, state: Any, stream: io.BytesIO) -> Any:
    """Return what was made empty with its state; a wrapper becomes the array that it stands for.

    Args:
        target: what `make` returned.
        state: as the file has it.
        stream: at the bytes of a wrapper's array, which are read.

    Raises:
        RefusedError: it has no such state.
        DamagedError: an array does not fit its data.
    """
    if isinstance(target, _Dtype):
        # (version, byte order, subtype, names, fields, size, alignment, flags[, metadata])
        if state[2:5] != (None, None, None) or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("holds a structured array: expected arrays of numbers")
        target.order = state[1]
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, data = state
        built = _array(shape, "F" if fortran is True else "C", dtype, data)
        vars(target).update(vars(built))  # the file may refer to this very object again
    elif isinstance(target, _Wrapper):
        return _unwrapped(state, stream)
    else:
        raise RefusedError("sets the state of what is no array")
    return target


def finish(value: Any, max_bytes: int) -> list[np.ndarray]:
    """Return the arrays of a list, in the byte order of this machine, each with its own memory.

    Args:
        value: what the file holds.
        max_bytes: of all arrays together.

    Raises:
        RefusedError: it is no list of arrays, or they are too large.
    """
    if type(value) not in (list, tuple):
        raise RefusedError(f"holds {_kind(value)}: expected a list of arrays")
    total = 0
    for position, item in enumerate(value, 1):
        if not isinstance(item, _Array) or item.dtype is None:
            raise RefusedError(f"holds {_kind(item)} at place {position}: expected arrays alone")
        total += len(item.data)
    if total > max_bytes:
        raise RefusedError(f"holds arrays of {total} bytes: at most {max_bytes} are read")
    return [_as_numpy(item, item.dtype) for item in value]


def _dtype(code: Any) -> _Dtype:
    text = code if type(code) is str else ""
    if text.startswith("O"):
        raise RefusedError("holds an array of objects: expected arrays of numbers")
    if not _NUMBER.fullmatch(text):
        raise RefusedError(f"holds an array of type {text!a:.20}: expected arrays of numbers")
    return _Dtype(text)


def _unwrapped(state: Any, stream: io.BytesIO) -> _Array:
    """Return a wrapper's array: its bytes follow, behind padding in joblib 1.2 and later."""
    if type(state) is not dict or state.keys() - {_ALIGNMENT} != _WRAPPER_ENTRIES:
        raise RefusedError("wraps an array in a way that this version does not know")
    _check_class(state["subclass"])
    shape, dtype = _checked(state["shape"], state["dtype"])
    if state.get(_ALIGNMENT) is not None:
        stream.seek(stream.read(1)[0], io.SEEK_CUR)
    data = stream.read(math.prod(shape) * dtype.size)
    return _array(shape, state["order"], dtype, data)


def _check_class(kind: Any) -> None:
    if kind is not Name.ARRAY:
        raise RefusedError("holds an array of a class of its own: expected numpy.ndarray")


def _checked(shape: Any, dtype: Any) -> tuple[tuple[int, ...], _Dtype]:
    proper = type(shape) is tuple and len(shape) <= _MAX_DIMENSIONS
    if not proper or not all(type(n) is int and 0 <= n < _MAX_LENGTH for n in shape):
        raise DamagedError("an array has no proper shape")
    if not isinstance(dtype, _Dtype):
        raise DamagedError("an array has no type")
    return shape, dtype


def _array(shape: Any, order: Any, dtype: Any, data: Any) -> _Array:
    shape, dtype = _checked(shape, dtype)
    if not isinstance(data, bytes | bytearray | str) or order not in ("C", "F"):
        raise DamagedError("an array has no data or no order")
    wanted = math.prod(shape) * dtype.size
    if len(data) != wanted:
        raise DamagedError(f"expected {wanted} bytes of an array, found {len(data)}")
    return _Array(shape, order, dtype, data)


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, _Array) else f"a value of type {type(value).__name__}"


def _as_numpy(array: _Array, dtype: _Dtype) -> np.ndarray:
    # Python 2 wrote bytes as a string, which is read as Latin-1.
    data = array.data.encode("latin-1") if isinstance(array.data, str) else array.data
    stored = np.frombuffer(data, dtype.order + dtype.code) if len(data) else np.empty(0)
    shaped = stored.reshape(array.shape, order="F" if array.order == "F" else "C")
    return shaped.astype(dtype.code, order="C")
