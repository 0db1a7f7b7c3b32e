"""How the fused engine is compiled, and where the result is kept."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: Any = {
    "nogil": True,
    "error_model": "numpy",
    # No `nnan`, no `ninf`: with them a diverging member would go unnoticed.
    "fastmath": {"reassoc", "contract", "nsz"},
    "_nrt": True,  # said outright: else a borrowing caller's choice would be taken over
}

BORROWING: Any = {**OPTIONS, "_nrt": False}
"""Options of functions that count no references; see `borrowing`."""


def _cache_folder() -> Path | None:
    """Return a writable folder for compiled code, or None where there is none.

    Numba's own choice, beside the source, does not notice that a function's callee in another file
    has changed, and fails where neither that place nor the home is writable. The folder here is
    named after all sources together; without one, every process compiles for itself.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
        folder = folder / "crar-diag" / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder if os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):  # RuntimeError: no home
        return None


_FOLDER = _cache_folder()


def jit(function: Function) -> Function:
    """Compile a function for the arguments' types when it is first called."""
    return _compiled(function, OPTIONS)


def borrowing(function: Function) -> Function:
    """Compile a function that makes no array, without counting who holds those that it is given.

    Counting is atomic, and the threads of a population would wait for each other's counts of the
    layout that they share: it took a tenth of the time of an update and more. Whoever calls such a
    function must hold its arguments until it returns, which it does without an array of its own.
    """
    return _compiled(function, BORROWING)


def inlined(function: Function) -> Function:
    """Compile a function into those that call it: borrowers cannot return a part of an array."""
    return _compiled(function, {**BORROWING, "inline": "always"})


def _compiled(function: Function, options: dict[str, Any]) -> Function:
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    # Numba reads it when the function is decorated.
    numba.config.CACHE_DIR = str(_FOLDER)  # type: ignore[attr-defined]
    try:
        compiled = numba.njit(cache=_FOLDER is not None, **options)(function)
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]
    return cast(Function, compiled)
