"""Training and transfers: from a configuration to a run folder, resumable at any instant."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crar_diag.agent import checkpoint, snapshots
from crar_diag.agent.assembly import loss_settings
from crar_diag.agent.config import LOSSES, TrainConfig
from crar_diag.agent.engine import LossTotals
from crar_diag.agent.history import History, write_history
from crar_diag.agent.probes import Probe, make_probe
from crar_diag.agent.runfolder import RunFolder
from crar_diag.agent.streams import episode_streams
from crar_diag.agent.tasks import check, task_of
from crar_diag.envs.observer import Observer
from crar_diag.errors import CrarDiagError

_SLICE_SECONDS = 0.5
_SLICE_SECONDS_A_MEMBER = 0.02
_LONGEST_SLICE = 5.0
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


def slice_seconds(members: int) -> float:
    """Return how long a population trains before it looks whether it is to stop.

    With many members longer: each of them should have a good number of updates at a time, which
    share what its turn costs.
    """
    return min(max(_SLICE_SECONDS, _SLICE_SECONDS_A_MEMBER * members), _LONGEST_SLICE)


class _Run:
    """One run in progress: the population and everything that is recorded and saved of it."""

    def __init__(
        self, folder: RunFolder, device: torch.device, threads: int | None, watch: Watch
    ) -> None:
        config = folder.config
        self.config, self.folder, self.watch = config, folder, watch
        self.task = task_of(config, device)
        self.population, self.replay = self.task.population, self.task.replay
        self.architecture = self.population.architecture
        observer = Observer(config.environment, config.observation, config.domain)
        self.engine = self.task.engine(threads)
        self.probe: Probe = make_probe(
            config.environment,
            self.architecture,
            observer,
            loss_settings(config),
            config.evaluation,
        )
        self.history = History.empty(
            self.task.seeds,
            config.updates,
            config.updates_per_epoch,
            self.probe.shape,
            self.task.map_size,
            self.task.labels(),
        )
        self.totals = LossTotals.zeros(len(self.population))
        self.began = self.epoch_began = self.saved_at = time.monotonic()
        self.save_took = 0.0
        self.unwritten = True  # whether the history has records that its file lacks
        self.first_update = 0
        self.epoch_seconds = 0.0

    def restore(self) -> None:
        """Go on from the folder's resume state, if there is one."""
        saved = self.folder.read_resume()
        if saved is None:
            # A member's checkpoint, or the state itself, was deleted: all is trained again, and a
            # history or snapshots of the end would be ahead of it.
            self.folder.drop_history()
            snapshots.drop(self.folder)
            return
        tensors, counters = saved
        self.population.restore(tensors)
        self.history.restore(tensors)
        self.totals.sums[:] = tensors["totals.sums"].numpy()
        self.totals.updates[:] = tensors["totals.updates"].numpy()
        self.epoch_seconds = float(counters["epoch_seconds"])
        self.first_update = self.population.updates

    def save(self) -> None:
        """Write the resume state, and after it the history, if it has new records.

        In this order: whenever the process is killed, the history on disk tells of nothing that a
        resumed run has still before it.
        """
        start = time.monotonic()
        tensors = {
            **{name: t.cpu() for name, t in self.population.state().items()},
            **self.history.arrays(),
            "totals.sums": torch.from_numpy(self.totals.sums),
            "totals.updates": torch.from_numpy(self.totals.updates),
        }
        seconds = self.epoch_seconds + start - self.epoch_began
        self.folder.write_resume(tensors, {"epoch_seconds": seconds})
        if self.unwritten:  # between two records the file would come out the same
            task = ("name", "environment", "observation", "domain")
            about = {key: getattr(self.config, key) for key in task}
            write_history(self.history, self.folder.history_path, about)
            self.unwritten = False
        self.saved_at = time.monotonic()
        self.save_took = self.saved_at - start

    def record(self) -> None:
        """Record what belongs to the present number of updates, and take the snapshots.

        Before the state of these updates is saved: a run that is killed in between makes the record
        and the same snapshots again.
        """
        done, history = self.population.updates, self.history
        at = int(np.searchsorted(history.times, done))
        if at < len(history.times) and history.times[at] == done:
            self.task.before_record(history, at)
            reading = self.probe.read(self.population.agents())
            history.losses[:, at] = reading.losses
            history.losses_error[:, at] = reading.losses_error
            history.embedding[:, at] = reading.embedding
            history.prediction[:, at] = reading.prediction
        if snapshots.due(self.config, done):
            snapshots.write(self.folder, self.task, history.losses[:, at])
        epoch = int(np.searchsorted(history.epochs, done))
        if epoch < len(history.epochs) and history.epochs[epoch] == done:
            self._end_epoch(epoch)
        self.unwritten = True
        self.watch.recorded(history, at)

    def _end_epoch(self, epoch: int) -> None:
        history, config = self.history, self.config
        history.training_losses[:, epoch] = self.totals.means()
        history.learning_rate[:, epoch] = self.population.rates(epoch)
        every = config.evaluation.every
        if every and ((epoch + 1) % every == 0 or epoch == len(history.epochs) - 1):
            streams = [episode_streams(seed, epoch) for seed in self.task.seeds]
            history.score[:, epoch] = self.probe.score(self.population.agents(), streams)
        now = time.monotonic()
        history.seconds[epoch] = self.epoch_seconds + now - self.epoch_began
        self.epoch_began, self.epoch_seconds = now, 0.0
        self.totals = LossTotals.zeros(len(self.population))

    def go_on(self) -> None:
        """Train to the end, recording and saving on the way.

        Raises:
            RunInterruptedError: the caller asked to stop; the state is saved.
        """
        stops = np.union1d(self.history.times, self.history.epochs)
        piece = 1
        seconds_a_piece = min(slice_seconds(len(self.population)), self.watch.save_every)
        if self.population.updates == 0 and math.isnan(self.history.losses[0, 0, 0]):
            self.record()
        self.save()
        self._report()  # a sign of life before the first update, which may have to be compiled
        warm = False
        while self.population.updates < self.config.updates:
            done = self.population.updates
            count = min(piece, int(stops[np.searchsorted(stops, done, side="right")]) - done)
            start = time.monotonic()
            self.engine.advance(self.population, self.replay, count, self.totals)
            seconds = time.monotonic() - start
            if not warm:  # the rate leaves compilation out
                warm, self.began = True, time.monotonic()
                self.first_update = self.population.updates
            if count == piece:
                piece = max(1, min(2 * piece, int(piece * seconds_a_piece / max(seconds, 1e-6))))
            if self.population.updates in stops:
                self.record()
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
        final = self.history.losses[:, -1]
        losses: dict[Any, dict[str, float]] = {}
        diverged: dict[Any, int] = {}
        for agent, m in self.task.kept(final).items():
            losses[agent] = dict(zip(LOSSES, map(float, final[m]), strict=True))
            if self.population.diverged_at[m] >= 0:
                diverged[agent] = int(self.population.diverged_at[m])
            checkpoint.save(self.task.checkpoint(m, final[m]), self.folder.checkpoint_path(agent))
        self.folder.drop_resume()
        return RunResult(self.folder.path, self.folder.checkpoints, losses, diverged)

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
            return _finished(folder)
        check(folder.config, device)
        run = _Run(folder, torch.device(device), threads, watch or Watch())
        run.restore()
        run.go_on()
        return run.finish()


def _finished(folder: RunFolder) -> RunResult:
    """Return the result of a run that is complete already."""
    losses, diverged = {}, {}
    for agent, path in folder.checkpoints.items():
        metadata = checkpoint.load(path).metadata
        losses[agent] = {n: math.nan if x is None else x for n, x in metadata.losses.items()}
        if metadata.diverged_at is not None:
            diverged[agent] = metadata.diverged_at
    return RunResult(folder.path, folder.checkpoints, losses, diverged)
