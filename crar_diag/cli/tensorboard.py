"""TensorBoard logs of a run, an optional extra."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crar_diag.errors import InputError, StorageError

if TYPE_CHECKING:
    from crar_diag.agent.history import History


@contextmanager
def board(folder: Path | None, resume: bool) -> Iterator[Callable[["History", int], None]]:
    """Yield what writes a record of a history to TensorBoard; nothing where `folder` is None.

    Its folder is made with the first record, when the run itself has begun.

    Args:
        folder: where the logs go, one folder a run.
        resume: the run goes on in its folder. What was logged of updates that it does anew is
            purged from there: a process that is killed logs more than it saves.

    Raises:
        InputError: TensorBoard is not installed, or the path cannot become a folder.
    """
    if folder is None:
        yield lambda history, position: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs TensorBoard: pip install 'crar-diag[tensorboard]'"
        ) from None
    _check(folder)
    writer: Any = None

    def write(history: "History", position: int) -> None:
        nonlocal writer
        try:
            if writer is None:
                # Not in a fresh run: a purge would hide other runs' points in the same folder too.
                purge_step = int(history.times[position]) if resume else None
                writer = SummaryWriter(str(folder), purge_step=purge_step)
            _write(writer, history, position)
        except OSError as error:
            why = error.strerror or error
            raise StorageError(f"could not write to --tensorboard '{folder}': {why}") from error

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _check(folder: Path) -> None:
    """Refuse a path that cannot become a folder, before anything else is written."""
    existing = next((p for p in (folder, *folder.parents) if os.path.lexists(p)), Path())
    if not existing.is_dir():
        raise InputError(
            f"--tensorboard '{folder}': expected a folder, found the file '{existing}'"
        )
    if not os.access(existing, os.W_OK):
        raise InputError(f"--tensorboard '{folder}': the folder '{existing}' cannot be written")


def _write(writer: Any, history: "History", position: int) -> None:
    from crar_diag.agent.config import LOSSES

    update = int(history.times[position])
    ended = history.epochs == update
    for m, name in enumerate(history.labels.names or [f"seed{s}" for s in history.seeds]):
        values = dict(zip(LOSSES, history.losses[m, position], strict=True))
        if ended.any():
            values["score"] = history.score[m, ended.argmax()]
        for loss, value in values.items():
            # A score that was not measured is NaN, and so are losses of agents that diverged.
            if math.isfinite(value):
                writer.add_scalar(f"{loss}/{name}", value, update)
    writer.flush()
