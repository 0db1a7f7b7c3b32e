"""A run as whoever reads it sees it: its configuration, and which of its files are there.

The files of its folder:

    run.toml                     the resolved configuration, written first
    <name>-seed<S>.safetensors   one checkpoint a member; of transfers, one a transfer
    history.h5                   losses and scores over the updates, NaN where still to come
    snapshots/                   members as they were on the way, where asked for (`snapshots`)
    resume.safetensors           what a killed run needs to go on as if nothing had happened
    shards/                      the same of a run in shards, one file a shard (`distributed`)
    .lock                        held while a process writes here

While a run goes on, its state and then its history are written again and again: whoever looks in
between finds a whole history, of the state's updates at most.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w
import torch

from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import from_toml, read_text
from crar_diag.agent.sealing import RESUME_STATE, unseal
from crar_diag.agent.storage import reason
from crar_diag.errors import InputError, StorageError

CONFIG_NAME: Final = "run.toml"
HISTORY_NAME: Final = "history.h5"
RESUME_NAME: Final = "resume.safetensors"
SNAPSHOTS_NAME: Final = "snapshots"
SHARDS_NAME: Final = "shards"

# In the folder of shards, once the run is over and they can go.
OVER_NAME: Final = "over"

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
        going_on = self.resume_path.exists() or self.in_shards
        return len(self.checkpoints) == len(self.config.agents()) and not going_on

    @property
    def in_shards(self) -> bool:
        """Whether the run is one in shards that is not finished."""
        if not self.shards_path.is_dir() or (self.shards_path / OVER_NAME).exists():
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
        return self.read_state(self.resume_path)

    def read_state(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the tensors and counters of a state of this run, or None where no file is.

        Raises:
            InputError: the file is damaged, or another run's.
        """
        if not path.exists():
            return None
        tensors, document = unseal(path, RESUME_STATE)
        if document.get("configuration_sha256") != self.configuration_sha256():
            raise InputError(
                f"resume state '{path}' belongs to a run of another configuration than the "
                f"{CONFIG_NAME} beside it"
            )
        if not isinstance(document.get("counters"), dict):
            raise InputError(f"resume state '{path}' holds no counters")
        return tensors, document["counters"]

    @property
    def resume_path(self) -> Path:
        """Where the state of a run that is not finished stands."""
        return self.path / RESUME_NAME

    def configuration_sha256(self) -> str:
        """Return the digest of the configuration, which a state of the run has."""
        document, later = self.config.model_dump(), _LATER_KEYS.items()
        text = tomli_w.dumps({key: v for key, v in document.items() if (key, v) not in later})
        return hashlib.sha256(text.encode()).hexdigest()


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
    if not path.is_dir() or CONFIG_NAME not in names_in(path):
        raise InputError(f"'{path}' is not a run folder: expected a folder with a {CONFIG_NAME}")
    run = Run(path, stored_config(path))
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


def stored_config(path: Path) -> TrainConfig:
    """Return the configuration in a run's folder."""
    return from_toml(read_text(path / CONFIG_NAME), str(path / CONFIG_NAME))


def names_in(path: Path) -> list[str]:
    """Return what the folder holds; nothing where there is none."""
    try:
        if not path.exists():
            return []
        if not path.is_dir():
            raise InputError(f"run folder '{path}': expected a folder, found a file")
        return [entry.name for entry in path.iterdir()]
    except OSError as error:
        raise StorageError(f"run folder '{path}' cannot be read: {reason(error)}") from None
