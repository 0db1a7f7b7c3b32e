"""The folder of a run, for the one process that writes in it; `run` has what is there and reads it.

Everything is written atomically. A folder without `run.toml` is either fresh or not ours.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from crar_diag.agent.config import TrainConfig, flatten
from crar_diag.agent.config_sources import to_toml
from crar_diag.agent.history import History, write_history
from crar_diag.agent.run import (
    CONFIG_NAME,
    OVER_NAME,
    SNAPSHOTS_NAME,
    Run,
    names_in,
    stored_config,
)
from crar_diag.agent.sealing import FORMAT_VERSION, RESUME_STATE, seal
from crar_diag.agent.storage import (
    LOCK_NAME,
    is_leftover,
    locked,
    reason,
    remove,
    remove_leftovers,
    write_atomically,
)
from crar_diag.errors import InputError, StorageError


@dataclass(frozen=True)
class RunFolder(Run):
    """A run, to be written by the one process that holds the folder's lock; see `open`."""

    @classmethod
    @contextmanager
    def open(
        cls, path: str | Path, config: TrainConfig | None = None, resume: bool = False
    ) -> Iterator[Self]:
        """Create or enter the folder and hold its lock for the length of the block.

        Args:
            path: the folder; it and its parents are made where missing.
            config: the run's configuration; None, with `resume`, takes the folder's.
            resume: go on with the run that is there. Where none is there (the process may have been
                killed before it wrote anything), the run begins.

        Yields:
            The folder, with `run.toml` written and the leftovers of killed processes removed.

        Raises:
            InputError: not a folder of a run, in use by another process, holds a run although
                `resume` is False, or holds one of another configuration. Nothing is written then.
            StorageError: the folder cannot be made, read or written.
        """
        path = Path(path)
        if not (_holds_run(path) and LOCK_NAME in names_in(path)):
            choose_config(
                path, config, resume
            )  # nobody writes here: refuse before the lock file is made
        with locked(path / LOCK_NAME, f"run folder '{path}'"):
            # Decided under the lock: another process may have begun a run here in between.
            chosen = choose_config(path, config, resume)
            remove_leftovers(path)
            if (path / SNAPSHOTS_NAME).is_dir():
                remove_leftovers(path / SNAPSHOTS_NAME)
            if not _holds_run(path):
                write_atomically(path / CONFIG_NAME, to_toml(chosen).encode())
            folder = cls(path, chosen)
            if folder.shards_path.is_dir() and not folder.in_shards:
                folder.drop_shards()
            yield folder

    def write_resume(
        self, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]
    ) -> None:
        """Write the state that a killed run needs, atomically.

        Args:
            tensors: name -> tensor [...]: parameters, optimizers' and generators' states.
            counters: JSON values; tuples come back as lists.

        Raises:
            CrarDiagError: a tensor whose type the file cannot hold.
            StorageError: the file system refused; the previous state is unharmed.
        """
        self.write_state(self.resume_path, tensors, counters)

    def write_state(
        self, path: Path, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]
    ) -> None:
        """Write what `read_state` returns, atomically; see `write_resume`."""
        document = {
            "format_version": FORMAT_VERSION,
            "configuration_sha256": self.configuration_sha256(),
            "counters": dict(counters),
        }
        write_atomically(path, seal(tensors, document, RESUME_STATE))

    def write_history(self, history: History) -> None:
        """Write the run's `history.h5`, atomically.

        Raises:
            StorageError: the file system refused; the previous one is unharmed.
        """
        task = ("name", "environment", "observation", "domain")
        about = {key: getattr(self.config, key) for key in task}
        write_history(history, self.history_path, about)

    def drop_history(self) -> None:
        """Remove the history, if there is one: before a run begins anew.

        Raises:
            StorageError: the file system refused.
        """
        remove(self.history_path)

    def drop_resume(self) -> None:
        """Remove the resume state, once every member's checkpoint is written.

        Raises:
            StorageError: the file system refused.
        """
        remove(self.resume_path)

    def open_shards(self) -> list[Path]:
        """Make the folder of shards where it is missing; return the states that are in it.

        Raises:
            StorageError: the file system refused.
        """
        try:
            self.shards_path.mkdir(exist_ok=True)
            remove_leftovers(self.shards_path)
            return self.shard_states()
        except OSError as error:
            where = f"folder '{self.shards_path}'"
            raise StorageError(f"{where} cannot be made: {reason(error)}") from None

    def drop_shards(self) -> None:
        """Remove the folder of shards: once every member's checkpoint is written.

        Whenever the process is killed on the way, the run is known to be over.

        Raises:
            StorageError: the file system refused.
        """
        over = self.shards_path / OVER_NAME
        write_atomically(over, b"")
        try:
            for path in self.shards_path.iterdir():
                if path != over:
                    path.unlink(missing_ok=True)
            over.unlink(missing_ok=True)
            self.shards_path.rmdir()
        except OSError as error:
            raise StorageError(f"could not remove '{over.parent}': {reason(error)}") from error


def _holds_run(path: Path) -> bool:
    """Tell a run's folder from a fresh one; refuse what is neither."""
    names = names_in(path)
    if CONFIG_NAME in names:
        return True
    foreign = sorted(name for name in names if name != LOCK_NAME and not is_leftover(name))
    if foreign:
        raise InputError(
            f"run folder '{path}' must be new, empty or a run's, found '{foreign[0]}' in it "
            f"and no {CONFIG_NAME}"
        )
    return False


def choose_config(path: Path, config: TrainConfig | None, resume: bool) -> TrainConfig:
    """Return the configuration to run with in `path`: the caller's, or the one that is there.

    Raises:
        InputError: `path` does not go with `config` and `resume`; see `RunFolder.open`.
    """
    if not _holds_run(path):
        if config is None:
            raise InputError(
                f"run folder '{path}' holds no run to resume: expected a {CONFIG_NAME} in it, or a "
                "configuration to begin with"
            )
        return config
    if not resume:
        raise InputError(
            f"run folder '{path}' already holds a run: choose another folder, or resume it to go "
            "on",
            arguments=["resume"],
        )
    stored = stored_config(path)
    if config is not None and config != stored:
        there, here = flatten(stored), flatten(config)
        if there.keys() != here.keys():
            kinds = ("transfers", "base models")
            found, wanted = kinds if len(there) > len(here) else kinds[::-1]
            raise InputError(f"run folder '{path}' holds a run of {found}, not of {wanted}")
        key = next(key for key in there if there[key] != here[key])
        raise InputError(
            f"run folder '{path}' holds a run with {key} = {there[key]!r}, to be resumed with "
            f"{key} = {here[key]!r}: expected the same configuration"
        )
    return stored
