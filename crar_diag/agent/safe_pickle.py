"""A list of arrays from a pickle, read by a machine that can do nothing else.

A pickle is a program for a stack machine that may call whatever can be imported. This machine knows
the instructions for lists, tuples, dicts, text, bytes and whole numbers, and the few names of
`pickled_arrays`; every other instruction or name ends the reading. (`pickle.Unpickler` cannot stop
where joblib puts the bytes of an array into its stream; joblib builds on a private class.)
"""

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from crar_diag.agent.pickled_arrays import DamagedError, RefusedError, fill, finish, look_up, make

MAX_INSTRUCTIONS: Final = 100_000
"""An agent's networks take about 2,000. Each costs memory, whatever its size in the file."""


@dataclass(eq=False)
class _Machine:
    """What lies on the stack, what was put aside at each mark, what was memorised."""

    stream: io.BytesIO
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Take some values off the stack, the last one last."""
        if len(self.stack) < count:
            raise DamagedError("it takes more off its stack than lies there")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """Take everything since the last mark off the stack."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def extend(self, values: list[Any]) -> None:
        """Append to the list on top."""
        if type(self.stack[-1]) is not list:
            raise DamagedError("it appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Set entries, keys and values in turn, of the dict on top."""
        if type(self.stack[-1]) is not dict:
            raise DamagedError("it sets entries of what is no dict")
        self.stack[-1].update(_dict(values))

    def build(self) -> None:
        """Give the value below the top the state on top."""
        target, state = self.pop(2)
        self.push(fill(target, state, self.stream))

    def memorise(self, place: int) -> None:
        self.memo[place] = self.stack[-1]


def read_arrays(stream: io.BytesIO, max_bytes: int) -> list[np.ndarray]:
    """Return the arrays of the pickled list or tuple at the stream's position, and go behind it.

    Args:
        stream: all of the file, in memory.
        max_bytes: of all arrays together.

    Returns:
        Arrays of numbers in the byte order of this machine, each with its own memory.

    Raises:
        RefusedError: anything else than a list of arrays of numbers, or too much of it.
        DamagedError: it ends too early or contradicts itself.
    """
    machine = _Machine(stream)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file's odd escapes
            for count, (code, argument, _) in enumerate(pickletools.genops(stream)):
                if count == MAX_INSTRUCTIONS:
                    raise RefusedError(f"has more than {MAX_INSTRUCTIONS:,} instructions")
                _step(machine, code.name, argument)
        (value,) = machine.stack
        return finish(value, max_bytes)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise DamagedError(" ".join(str(error).split())[:120] or "it ends too early") from error


def _step(machine: _Machine, name: str, argument: Any) -> None:
    """Do what one instruction says."""
    if name in _VALUES:
        machine.push(argument)
    elif name in _CONSTANTS:
        machine.push(_CONSTANTS[name])
    elif name in _ACTIONS:
        _ACTIONS[name](machine, argument)
    elif name not in ("PROTO", "FRAME", "STOP"):
        raise RefusedError(f"uses the instruction {name}")


def _dict(values: list[Any]) -> dict[str, Any]:
    # A key of nested tuples can be hashed neither in time nor within the stack.
    if not all(type(key) is str for key in values[::2]):
        raise RefusedError("has a dict with keys that are no text")
    return dict(zip(values[::2], values[1::2], strict=True))


_VALUES: Final = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ACTIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "MARK": lambda m, _: m.mark(),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "LIST": lambda m, _: m.push(m.to_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.to_mark())),
    "DICT": lambda m, _: m.push(_dict(m.to_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "APPEND": lambda m, _: m.extend(m.pop(1)),
    "APPENDS": lambda m, _: m.extend(m.to_mark()),
    "SETITEM": lambda m, _: m.set_items(m.pop(2)),
    "SETITEMS": lambda m, _: m.set_items(m.to_mark()),
    "GLOBAL": lambda m, names: m.push(look_up(*names.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.push(look_up(*m.pop(2))),
    "REDUCE": lambda m, _: m.push(make(*m.pop(2))),
    "NEWOBJ": lambda m, _: m.push(make(*m.pop(2))),
    "BUILD": lambda m, _: m.build(),
    "PUT": lambda m, place: m.memorise(place),
    "BINPUT": lambda m, place: m.memorise(place),
    "LONG_BINPUT": lambda m, place: m.memorise(place),
    "MEMOIZE": lambda m, _: m.memorise(len(m.memo)),
    "GET": lambda m, place: m.push(m.memo[place]),
    "BINGET": lambda m, place: m.push(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.push(m.memo[place]),
}
