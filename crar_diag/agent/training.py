"""Training and transfers: from a configuration to a run folder, resumable at any instant."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crar_diag.agent import checkpoint, snapshots
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.history import History
from crar_diag.agent.jobs import check, job_of
from crar_diag.agent.runfolder import RunFolder
from crar_diag.agent.trainer import Trainer
from crar_diag.errors import CrarDiagError, InputError

# Saving may take this share of the time at most, however large the state.
_SAVE_SHARE = 0.05


class RunInterruptedError(CrarDiagError):
    """The run was asked to stop; its state is saved and `resume` goes on from there."""

    exit_code = 130


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        updates: applied to every member so far.
        total: of the whole run.
        members: how many are alive.
        rate: agent-updates a second since this process began, NaN at the beginning.
        seconds_left: estimated, NaN at the beginning.
    """

    updates: int
    total: int
    members: int
    rate: float
    seconds_left: float


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Attributes:
        path: the run folder.
        checkpoints: each agent's file, by its seed, or by its name in a run of transfers.
        losses: each agent's final losses by name, exact or on held-out mazes.
        diverged: the update at which a loss or gradient of an agent was not finite.
    """

    path: Path
    checkpoints: dict[Any, Path]
    losses: dict[Any, dict[str, float]]
    diverged: dict[Any, int]


@dataclass(frozen=True)
class Watch:
    """What the caller wants to hear of a run, and how it stops one.

    Attributes:
        progress: called about twice a second, in large populations every few seconds.
        recorded: called after every record with the history and the record's position in `times`.
        stop: asked as often; True saves and raises `RunInterruptedError`.
        save_every: seconds of training between two saves of the state and the history; more where
            saving itself takes long.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    recorded: Callable[[History, int], None] = lambda history, position: None
    stop: Callable[[], bool] = lambda: False
    save_every: float = 10.0


class _Run:
    """One run in progress: its trainer, and when what of it is saved."""

    def __init__(
        self, folder: RunFolder, device: torch.device, threads: int | None, watch: Watch
    ) -> None:
        self.config, self.folder, self.watch = folder.config, folder, watch
        self.trainer = Trainer(job_of(folder.config, device), threads)
        # Not a method of this object: nothing that the trainer holds must wait for a cycle to be
        # found before its memory on a device is free.
        self.trainer.keep = lambda name, own: snapshots.write(
            folder, name, checkpoint.to_bytes(own)
        )
        self.population, self.history = self.trainer.population, self.trainer.history
        self.began = self.saved_at = time.monotonic()
        self.save_took = 0.0
        self.unwritten = True  # whether the history has records that its file lacks
        self.first_update = 0

    def restore(self) -> None:
        """Go on from the folder's resume state, if there is one."""
        saved = self.folder.read_resume()
        if saved is None:
            # A member's checkpoint, or the state itself, was deleted: all is trained again, and a
            # history or snapshots of the end would be ahead of it.
            self.folder.drop_history()
            snapshots.drop(self.folder)
            return
        self.trainer.restore(*saved)
        self.first_update = self.population.updates

    def save(self) -> None:
        """Write the resume state, and after it the history, if it has new records.

        In this order: whenever the process is killed, the history on disk tells of nothing that a
        resumed run has still before it.
        """
        start = time.monotonic()
        self.folder.write_resume(*self.trainer.state())
        if self.unwritten:  # between two records the file would come out the same
            self.folder.write_history(self.history)
            self.unwritten = False
        self.saved_at = time.monotonic()
        self.save_took = self.saved_at - start

    def go_on(self) -> None:
        """Train to the end, recording and saving on the way.

        Raises:
            RunInterruptedError: the caller asked to stop; the state is saved.
        """
        self._recorded(self.trainer.begin())
        self.save()
        self._report()  # a sign of life before the first update, which may have to be compiled
        warm = False
        for position in self.trainer.pieces(self.watch.save_every):
            if not warm:  # the rate leaves compilation out
                warm, self.began = True, time.monotonic()
                self.first_update = self.population.updates
            self._recorded(position)
            self._report()
            if self.watch.stop():
                self.save()
                raise RunInterruptedError(
                    f"stopped after {self.population.updates} of {self.config.updates} updates; "
                    f"the state is saved in '{self.folder.path}': resume it to go on",
                    arguments=["resume"],
                )
            pause = max(self.watch.save_every, self.save_took / _SAVE_SHARE)
            if time.monotonic() - self.saved_at > pause:
                self.save()

    def finish(self) -> RunResult:
        """Write the history and the checkpoints, and drop the resume state."""
        self.save()
        for agent, own in self.trainer.checkpoints().items():
            checkpoint.save(own, self.folder.checkpoint_path(agent))
        self.folder.drop_resume()
        return finished(self.folder)

    def _recorded(self, position: int | None) -> None:
        if position is not None:
            self.unwritten = True
            self.watch.recorded(self.history, position)

    def _report(self) -> None:
        done, total = self.population.updates, self.config.updates
        seconds = time.monotonic() - self.began
        living = int(self.population.alive().sum())
        updates = done - self.first_update
        rate = updates * len(self.population) / seconds if updates else math.nan
        left = (total - done) * len(self.population) / rate
        self.watch.progress(Progress(done, total, living, rate, left))


def train(
    config: TrainConfig | None,
    out: str | Path,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    watch: Watch | None = None,
) -> RunResult:
    """Train the agents of a configuration, all as one population, into a run folder.

    Args:
        config: what to train, base models or (`TransferConfig`) transfers; None, with `resume`,
            takes the folder's own.
        out: the run folder; see `crar_diag.agent.runfolder`.
        resume: go on with the run in it. However it ended, the result is bit for bit that of an
            uninterrupted run (same kind of processor and number of threads).
        device: where to train.
        threads: for the fused engine; None for as many as PyTorch uses.
        watch: progress, records and stopping.

    Returns:
        The files and the final losses.

    Raises:
        InputError: the folder or the configuration will not do; nothing is written.
        StorageError: the file system refused; the last saved state is whole.
        RunInterruptedError: `watch.stop` said so; the state is saved.
    """
    if config is not None:
        check(config, device)
    with RunFolder.open(out, config, resume) as folder:
        if folder.finished:
            return finished(folder)
        if folder.in_shards:
            raise InputError(
                f"run folder '{folder.path}' holds a run that was begun in shards: resume it in "
                "shards",
                arguments=["shard_size", "scheduler"],
            )
        check(folder.config, device)
        run = _Run(folder, torch.device(device), threads, watch or Watch())
        run.restore()
        run.go_on()
        return run.finish()


def finished(folder: RunFolder) -> RunResult:
    """Return the result of a run whose checkpoints are all written."""
    losses, diverged = {}, {}
    for agent, path in folder.checkpoints.items():
        metadata = checkpoint.load(path).metadata
        losses[agent] = {n: math.nan if x is None else x for n, x in metadata.losses.items()}
        if metadata.diverged_at is not None:
            diverged[agent] = metadata.diverged_at
    return RunResult(folder.path, folder.checkpoints, losses, diverged)
