"""What an interrupted landscape had computed, kept beside the report that it will go into.

One file for each surface, written atomically at intervals, removed when the surface is done. It
says what it belongs to: a request that differs in anything that changes values starts anew.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from crar_diag.agent.storage import remove, write_atomically

SECONDS_BETWEEN: Final = 5.0
"""How often a surface that is being computed is saved."""


class PartialSurface:
    """Saves the values of a surface while it is computed.

    Args:
        path: the file.
        request: all that the values depend on, of JSON's types.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]) -> None:
        self._path = path
        text = json.dumps(request, sort_keys=True)
        self._key = hashlib.sha256(text.encode()).hexdigest()
        self._saved = time.monotonic()
        self._unsaved: Mapping[str, np.ndarray] | None = None

    def load(self) -> dict[str, np.ndarray] | None:
        """Return what an interrupted call of the same request saved; None where there is nothing.

        A file that is damaged or of another request counts as nothing: it will be replaced.
        """
        try:
            # From memory: of a damaged file NumPy would leave a handle open.
            stream = BytesIO(self._path.read_bytes())
            with np.load(stream, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
        except Exception:  # whatever the readers of its container and its arrays make of damage
            return None
        return values if str(values.pop("request", "")) == self._key else None

    def save(self, values: Mapping[str, np.ndarray], done: int) -> None:
        """Write the values, unless that was done a moment ago.

        Raises:
            StorageError: the file system refused.
        """
        self._unsaved = values
        if time.monotonic() - self._saved >= SECONDS_BETWEEN:
            self.flush()

    def flush(self) -> None:
        """Write what was not yet: before the work ends early.

        Raises:
            StorageError: the file system refused.
        """
        if self._unsaved is None:
            return
        stream = BytesIO()
        named: dict[str, Any] = {**self._unsaved, "request": np.array(self._key)}
        np.savez(stream, **named)
        write_atomically(self._path, stream.getvalue())
        self._saved, self._unsaved = time.monotonic(), None

    def remove(self) -> None:
        """Remove the file, once what it held is in the report."""
        remove(self._path)
