"""The folder of a study: what it is of, what each step printed, and its lock.

    study.json             study, preset, environment, base models
    steps/<name>.txt       what a finished step ran and printed
    base/, transfers/, ... run folders
    report.h5              everything that was found
    figures/, page.html    drawn from the report

A step is done when its file says so and what it made is there. Killed at any instant, a study goes
on with the step that it was at; runs and landscapes go on within it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crar_diag.agent.storage import LOCK_NAME, locked, reason, write_atomically
from crar_diag.errors import InputError, StorageError
from crar_diag.study.recipe import Recipe, Step

STUDY_NAME: Final = "study.json"
STEPS_NAME: Final = "steps"

_PROMPT: Final = "$ crar-diag "
SKIPPED: Final = "skipped: "


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study that this process writes; see `open_folder`."""

    path: Path

    def printed(self, step: Step, arguments: Sequence[str]) -> str | None:
        """Return what a step printed when it was last done; None where it is to be done.

        Args:
            step: of the study.
            arguments: that it would have now, `OUT` in them.
        """
        try:
            text = self._file(step).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"'{self._file(step)}' cannot be read: {reason(error)}") from None
        head, _, printed = text.partition("\n")
        if head != _PROMPT + " ".join(arguments):
            return None
        made = printed.startswith(SKIPPED) or all(
            (self.path / product).exists() for product in step.products
        )
        return printed if made else None

    def keep(self, step: Step, arguments: Sequence[str], printed: str) -> None:
        """Note that a step is done.

        Raises:
            StorageError: the file system refused.
        """
        text = f"{_PROMPT}{' '.join(arguments)}\n{printed}"
        write_atomically(self._file(step), text.encode())

    def _file(self, step: Step) -> Path:
        return self.path / STEPS_NAME / f"{step.name}.txt"


@contextmanager
def open_folder(path: str | Path, recipe: Recipe, resume: bool) -> Iterator[StudyFolder]:
    """Create or enter the folder of a study and hold its lock for the length of the block.

    Args:
        path: the folder; it and its parents are made where missing.
        recipe: the study.
        resume: go on with the study that is there; where none is there, it begins.

    Raises:
        InputError: in use by another process, holds a study although `resume` is False or holds
            another one, or holds other files. Nothing is written then.
        StorageError: the folder cannot be made, read or written.
    """
    path = Path(path)
    _check(path, recipe, resume)
    with locked(path / LOCK_NAME, f"study '{path}'"):
        _check(path, recipe, resume)  # another process may have begun one in between
        try:
            (path / STEPS_NAME).mkdir(exist_ok=True)
            (path / "figures").mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"study '{path}' cannot be written: {reason(error)}") from None
        write_atomically(path / STUDY_NAME, json.dumps(_about(recipe), indent=2).encode())
        yield StudyFolder(path)


def _about(recipe: Recipe) -> dict[str, Any]:
    return {
        "study": recipe.study,
        "preset": recipe.preset,
        "environment": recipe.environment,
        "bases": list(recipe.bases),
    }


def _check(path: Path, recipe: Recipe, resume: bool) -> None:
    """Refuse a folder in which this study cannot be made.

    Raises:
        InputError: see `open_folder`.
    """
    try:
        names = {entry.name for entry in path.iterdir()} - {LOCK_NAME}
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"study '{path}' is no folder to write in: {reason(error)}") from None
    if not names:
        return
    if STUDY_NAME not in names:
        raise InputError(f"folder '{path}' holds files and no study: expected an empty or new one")
    stored = _read(path / STUDY_NAME)
    if not resume:
        raise InputError(
            f"folder '{path}' holds the study {stored.get('study')}: go on with it, or give "
            "another folder",
            arguments=["resume"],
        )
    for key, value in _about(recipe).items():
        if stored.get(key) != value:
            raise InputError(
                f"folder '{path}' holds a study with {key} = {stored.get(key)!r}, found {value!r}"
            )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{file}' is not the description of a study: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"'{file}' is not the description of a study: expected a JSON object")
    return found
