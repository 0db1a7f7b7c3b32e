"""Snapshots: a run's agents as they were on the way, so that there is a trajectory of weights.

    <run>/snapshots/<name>-seed<S>-update<U>.safetensors    U padded with zeros: names sort

With `snapshots_every = N`, every agent is kept as it is before the first update, after every N
epochs and at the end. A snapshot is an ordinary checkpoint: the one that a run of so many updates
would have ended with, but for the number of updates in its configuration. An agent that diverged
has none after that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crar_diag.agent import checkpoint
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.job import Job
from crar_diag.agent.run import Run, read_run
from crar_diag.agent.runfolder import RunFolder
from crar_diag.agent.storage import reason, remove, write_atomically
from crar_diag.agent.transfer_config import restart_name
from crar_diag.errors import InputError, StorageError

_FILE = re.compile(r"(?P<member>.+)-update(?P<updates>[0-9]+)\.safetensors")


@dataclass(frozen=True)
class Snapshot:
    """One agent at one moment.

    Attributes:
        path: its checkpoint.
        updates: how many updates it has behind it.
    """

    path: Path
    updates: int


def due(config: TrainConfig, updates: int) -> bool:
    """Return whether snapshots are taken after so many updates."""
    if not config.snapshots_every:
        return False
    period = config.snapshots_every * config.updates_per_epoch
    return updates % period == 0 or updates == config.updates


def count(config: TrainConfig) -> int:
    """Return how many snapshots a run takes of each agent."""
    if not config.snapshots_every:
        return 0
    return 1 + -(-config.updates // (config.snapshots_every * config.updates_per_epoch))


def taken(job: Job, losses: np.ndarray) -> Iterator[tuple[str, checkpoint.Checkpoint]]:
    """Yield every living member as it is now, each after the name of its file.

    Args:
        job: its members.
        losses: their present ones, `[M, 7]`.
    """
    updates = job.population.updates
    alive = job.population.alive().tolist()
    for m, member in enumerate(job.names):
        if alive[m]:
            yield _file_name(job.config, member, updates), job.checkpoint(m, losses[m])


def write(folder: RunFolder, name: str, data: bytes) -> None:
    """Write a snapshot.

    Args:
        folder: of the run.
        name: of the file.
        data: the checkpoint.

    Raises:
        StorageError: the file system refused.
    """
    where = folder.snapshots_path
    try:
        where.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"folder '{where}' cannot be made: {reason(error)}") from None
    write_atomically(where / name, data)


def drop(folder: RunFolder) -> None:
    """Remove all snapshots of a run: before it begins anew.

    Raises:
        StorageError: the file system refused.
    """
    members = set(folder.config.members())
    for member, snapshot in _found(folder):
        if member in members:
            remove(snapshot.path)


def snapshot_files(run_folder: str | Path, member_name: str) -> tuple[Snapshot, ...]:
    """Return the snapshots of one agent that are written already, in the order of training.

    Args:
        run_folder: of a run, finished or not.
        member_name: what the agent's file is called, without `.safetensors`: `base-seed0`. Where a
            transfer has several restarts this names the one that was kept, and
            `<transfer>-restart<R>` any of them.

    Raises:
        InputError: not a run's folder, a run without snapshots or without that agent, the restart
            that is kept is not known yet, or none of its snapshots is there.
        StorageError: the folder cannot be read.
    """
    run = read_run(run_folder, complete=False)
    if not run.config.snapshots_every:
        raise InputError(
            f"run folder '{run_folder}' keeps no snapshots: its run.toml says snapshots_every = 0"
        )
    member = _member(run, member_name)
    found = [snapshot for name, snapshot in _found(run) if name == member]
    if not found:
        raise InputError(f"run folder '{run_folder}' has no snapshot of '{member}'")
    return tuple(sorted(found, key=lambda snapshot: snapshot.updates))


def _member(run: Run, name: str) -> str:
    """Return the name of the member that `name` stands for."""
    members = run.config.members()
    if name in members:
        return name
    if name not in run.config.agents().values():
        raise InputError(
            f"run folder '{run.path}' has no member '{name}': expected a name such as "
            f"'{members[0]}'"
        )
    path = run.checkpoint_path(name)
    if not path.is_file():
        raise InputError(
            f"run folder '{run.path}' is not finished: which restart of '{name}' is kept is not "
            "known yet"
        )
    return restart_name(name, checkpoint.load(path).metadata.configuration.get("restart", 0))


def _file_name(config: TrainConfig, member: str, updates: int) -> str:
    width = len(str(config.updates))
    return f"{member}-update{updates:0{width}}.safetensors"


def _found(run: Run) -> list[tuple[str, Snapshot]]:
    """Return what the folder of snapshots holds, each with the name of its member."""
    where = run.snapshots_path
    try:
        names = sorted(path.name for path in where.iterdir()) if where.exists() else []
    except OSError as error:
        raise StorageError(f"folder '{where}' cannot be read: {reason(error)}") from None
    matches = [match for name in names if (match := _FILE.fullmatch(name))]
    return [(m["member"], Snapshot(where / m[0], int(m["updates"]))) for m in matches]
