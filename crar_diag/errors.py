"""What can go wrong, each with one sentence for the user and an exit code for the shell."""

import difflib
from collections.abc import Iterable
from typing import Any


class CrarDiagError(Exception):
    """Base of every error that this package raises on purpose.

    The message is one sentence that names the file or argument, what was expected and what was
    found.

    Args:
        message: the sentence.
        arguments: the arguments of the caller's that the sentence is about or says to change. A
            program whose users know them by other names tells those besides: `crar-diag` adds
            `(--resume)` for `resume`.
    """

    exit_code = 1

    def __init__(self, message: str, *, arguments: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.arguments = tuple(arguments)


class InputError(CrarDiagError):
    """Wrong usage or input: an unknown name, a broken file, values that do not fit together."""

    exit_code = 2


class StorageError(CrarDiagError):
    """The file system refused: no space, no permission."""

    exit_code = 1


class PoolLostError(CrarDiagError):
    """Workers that computed for this process cannot be reached any more."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint for a misspelt `name`.

    Args:
        name: what the user wrote.
        choices: what would have been valid.

    Returns:
        `" (did you mean 'x'?)"` where a choice is close, else `" (choose from a, b, c)"`.
    """
    known = sorted(choices)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (choose from {', '.join(known)})"


def show(value: Any) -> str:
    """Return `value` as a message quotes it, at most 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
