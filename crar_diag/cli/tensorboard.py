"""TensorBoard logs of a run, an optional extra."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.history import History


@contextmanager
def board(folder: Path | None) -> Iterator[Callable[["History", int], None]]:
    """Yield what writes a record of a history to TensorBoard; nothing where `folder` is None.

    Raises:
        InputError: TensorBoard is not installed.
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

    from crar_diag.agent.config import LOSSES

    writer = SummaryWriter(str(folder))

    def write(history: "History", position: int) -> None:
        if position >= len(history.times):
            return
        update = int(history.times[position])
        for m, seed in enumerate(history.seeds):
            for k, loss in enumerate(LOSSES):
                value = history.losses[m, position, k]
                writer.add_scalar(f"{loss}/seed{seed}", value, update)
        ended = history.epochs == update
        if ended.any():
            for m, seed in enumerate(history.seeds):
                value = history.score[m, ended.argmax()]
                if value == value:  # not recorded in tasks without reward
                    writer.add_scalar(f"score/seed{seed}", value, update)

    try:
        yield write
    finally:
        writer.close()
