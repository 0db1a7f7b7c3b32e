"""The folder of a run: its configuration, its members' checkpoints, its state, and its lock.

    run.toml                     the resolved configuration, written first
    <name>-seed<S>.safetensors   one checkpoint a member; of transfers, one a transfer
    history.h5                   losses and scores over the updates, NaN where still to come
    snapshots/                   members as they were on the way, where asked for (`snapshots`)
    resume.safetensors           what a killed run needs to go on as if nothing had happened
    shards/                      the same of a run in shards, one file a shard (`distributed`)
    .lock                        held while a process writes here

Everything is written atomically. While the run goes on, its state and then its history are written
again and again: whoever looks in between finds a whole history, of the state's updates at most. A
folder without `run.toml` is either fresh or not ours.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import tomli_w
import torch
from filelock import FileLock, Timeout

from crar_diag.agent.config import TrainConfig, flatten
from crar_diag.agent.config_sources import from_toml, read_text, to_toml
from crar_diag.agent.history import History, write_history
from crar_diag.agent.sealing import FORMAT_VERSION, RESUME_STATE, seal, unseal
from crar_diag.agent.storage import is_leftover, reason, remove, remove_leftovers, write_atomically
from crar_diag.errors import InputError, StorageError

CONFIG_NAME: Final = "run.toml"
HISTORY_NAME: Final = "history.h5"
RESUME_NAME: Final = "resume.safetensors"
LOCK_NAME: Final = ".lock"
SNAPSHOTS_NAME: Final = "snapshots"
SHARDS_NAME: Final = "shards"

# In the folder of shards, once the run is over and they can go.
_OVER: Final = "over"

# Keys that came later: at these values a state's digest leaves them out, as older states do.
_LATER_KEYS: Final = {"snapshots_every": 0}


@dataclass(frozen=True)
class Run:
    """A run as a reader sees it: no lock, no writing.

    Attributes:
        path: the folder.
        config: what `run.toml` in it says.
    """

    path: Path
    config: TrainConfig

    @property
    def history_path(self) -> Path:
        """Where the run's history stands."""
        return self.path / HISTORY_NAME

    @property
    def snapshots_path(self) -> Path:
        """Where the run's snapshots stand."""
        return self.path / SNAPSHOTS_NAME

    @property
    def checkpoints(self) -> dict[Any, Path]:
        """The checkpoints that are written already, in the run's order.

        By seed in a run of base models, by name in one of transfers.
        """
        return {agent: path for agent, path in self.checkpoint_paths().items() if path.is_file()}

    @property
    def finished(self) -> bool:
        """Whether every member is written and no state is left to go on from.

        The last step of a run is to drop that state, so a run that is killed among its last
        checkpoints is not finished: it goes on from the state and writes them all again.
        """
        going_on = self._resume_path.exists() or self.in_shards
        return len(self.checkpoints) == len(self.config.agents()) and not going_on

    @property
    def in_shards(self) -> bool:
        """Whether the run is one in shards that is not finished."""
        if not self.shards_path.is_dir() or (self.shards_path / _OVER).exists():
            return False
        # Killed when all but the empty folder was dropped, it is over too.
        return bool(self.shard_states()) or len(self.checkpoints) < len(self.config.agents())

    def shard_states(self) -> list[Path]:
        """Return the states of a run in shards, in the order of their members."""
        return sorted(self.shards_path.glob("members-*.safetensors"))

    @property
    def shards_path(self) -> Path:
        """Where the states of a run in shards stand."""
        return self.path / SHARDS_NAME

    @property
    def updates_done(self) -> int:
        """How many updates every living member has behind it, by what is saved."""
        if self.finished:
            return self.config.updates
        if self.in_shards:
            return self._updates_of_shards()
        saved = self.read_resume()
        return 0 if saved is None else int(saved[0]["updates"])

    def _updates_of_shards(self) -> int:
        """Return the fewest updates of any member, 0 where a shard has none behind it."""
        members, fewest = 0, self.config.updates
        for path in self.shard_states():
            saved = self.read_state(path)
            if saved is not None:
                members += int(saved[1]["members"])
                fewest = min(fewest, int(saved[1]["updates"]))
        return fewest if members == self.config.member_count else 0

    def checkpoint_path(self, agent: Any) -> Path:
        """Return where the checkpoint of an agent stands, by its seed or name."""
        return self.checkpoint_paths()[agent]

    def checkpoint_paths(self) -> dict[Any, Path]:
        """Return where the checkpoint of each agent stands, or will."""
        return {agent: self.path / _file(stem) for agent, stem in self.config.agents().items()}

    def read_resume(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return what `RunFolder.write_resume` wrote last, or None where nothing is there.

        Raises:
            InputError: the file is damaged, or another run's.
        """
        return self.read_state(self._resume_path)

    def read_state(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the tensors and counters of a state of this run, or None where no file is.

        Raises:
            InputError: the file is damaged, or another run's.
        """
        if not path.exists():
            return None
        tensors, document = unseal(path, RESUME_STATE)
        if document.get("configuration_sha256") != self._configuration_sha256():
            raise InputError(
                f"resume state '{path}' belongs to a run of another configuration than the "
                f"{CONFIG_NAME} beside it"
            )
        if not isinstance(document.get("counters"), dict):
            raise InputError(f"resume state '{path}' holds no counters")
        return tensors, document["counters"]

    @property
    def _resume_path(self) -> Path:
        return self.path / RESUME_NAME

    def _configuration_sha256(self) -> str:
        document, later = self.config.model_dump(), _LATER_KEYS.items()
        text = tomli_w.dumps({key: v for key, v in document.items() if (key, v) not in later})
        return hashlib.sha256(text.encode()).hexdigest()


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
        if not (_holds_run(path) and LOCK_NAME in _names(path)):
            choose_config(
                path, config, resume
            )  # nobody writes here: refuse before the lock file is made
        with _locked(path):
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
        self.write_state(self._resume_path, tensors, counters)

    def write_state(
        self, path: Path, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]
    ) -> None:
        """Write what `read_state` returns, atomically; see `write_resume`."""
        document = {
            "format_version": FORMAT_VERSION,
            "configuration_sha256": self._configuration_sha256(),
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
        remove(self._resume_path)

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
        over = self.shards_path / _OVER
        write_atomically(over, b"")
        try:
            for path in self.shards_path.iterdir():
                if path != over:
                    path.unlink(missing_ok=True)
            over.unlink(missing_ok=True)
            self.shards_path.rmdir()
        except OSError as error:
            raise StorageError(f"could not remove '{over.parent}': {reason(error)}") from error


def read_run(path: str | Path, *, complete: bool = True) -> Run:
    """Read what a run's folder holds, without a lock and without writing.

    Args:
        path: the folder.
        complete: refuse a run of which members are missing.

    Raises:
        InputError: not a run's folder, or members are missing.
        StorageError: the folder cannot be read.
    """
    path = Path(path)
    if not path.is_dir() or CONFIG_NAME not in _names(path):
        raise InputError(f"'{path}' is not a run folder: expected a folder with a {CONFIG_NAME}")
    run = Run(path, _stored_config(path))
    agents, there = run.config.agents(), run.checkpoints
    missing = [_file(stem) for agent, stem in agents.items() if agent not in there]
    if complete and missing:
        names = ", ".join(missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(
            f"run folder '{path}' is not complete: expected {len(agents)} members, "
            f"missing {names}{more}"
        )
    return run


def _file(stem: str) -> str:
    return f"{stem}.safetensors"


def _stored_config(path: Path) -> TrainConfig:
    return from_toml(read_text(path / CONFIG_NAME), str(path / CONFIG_NAME))


def _names(path: Path) -> list[str]:
    """Return what the folder holds; nothing where there is none."""
    try:
        if not path.exists():
            return []
        if not path.is_dir():
            raise InputError(f"run folder '{path}': expected a folder, found a file")
        return [entry.name for entry in path.iterdir()]
    except OSError as error:
        raise StorageError(f"run folder '{path}' cannot be read: {reason(error)}") from None


def _holds_run(path: Path) -> bool:
    """Tell a run's folder from a fresh one; refuse what is neither."""
    names = _names(path)
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
    stored = _stored_config(path)
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path / LOCK_NAME, timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(f"run folder '{path}' is in use by another process") from None
    except (OSError, ValueError, NotImplementedError) as error:  # ValueError: a NUL in the name
        raise StorageError(f"run folder '{path}' cannot be written: {reason(error)}") from None
    try:
        yield
    finally:
        lock.release()
