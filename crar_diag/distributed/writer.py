"""A run in shards: this process sends them out, and writes all that comes back.

It alone writes the run's folder, which ends as that of a run of the whole population does. On the
way each shard's state stands in `shards/`, and history.h5 has what has come back so far, NaN where
nothing has. Whatever dies, the same call with `resume` goes on from the states.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch

from crar_diag.agent import snapshots
from crar_diag.agent.bases import bases_of, bases_used
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.jobs import check, empty_history, without_device
from crar_diag.agent.loading import Agent
from crar_diag.agent.run import Run
from crar_diag.agent.runfolder import RunFolder
from crar_diag.agent.storage import write_atomically
from crar_diag.agent.training import Progress, RunInterruptedError, RunResult, Watch, finished
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.agent.versions import library_versions
from crar_diag.distributed.pools import Pool
from crar_diag.distributed.shards import Order, Outcome, State, cut
from crar_diag.envs.names import LABYRINTH
from crar_diag.errors import CrarDiagError, InputError, PoolLostError

INTERVAL = 60.0
"""Seconds after which a shard's state comes back: what a worker that is killed can cost."""

_LOOK_SECONDS = 0.5
# Writing the history may take this share of the time at most.
_WRITE_SHARE = 0.05
_WRITE_SECONDS = 10.0


def default_size(config: TrainConfig) -> int:
    """Return how many agents a shard has where no one says: one with pictures, else eight."""
    return 1 if config.environment == LABYRINTH else 8


@dataclass
class _Shard:
    members: tuple[int, int]
    path: Path
    bases: Mapping[int, Agent] | None
    alive: int
    updates: int = 0
    seconds: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def slice(self) -> slice:
        return slice(*self.members)

    @property
    def count(self) -> int:
        return self.members[1] - self.members[0]


def train_in_shards(
    config: TrainConfig | None,
    out: str | Path,
    pool: Pool,
    *,
    resume: bool = False,
    shard_size: int | None = None,
    interval: float = INTERVAL,
    device: str = "cpu",
    watch: Watch | None = None,
) -> RunResult:
    """Train the agents of a configuration, as `agent.training.train` does, but in shards.

    Args:
        config: what to train; None, with `resume`, takes the folder's own.
        out: the run folder.
        pool: where the shards train.
        resume: go on with the run in the folder.
        shard_size: agents in a shard; that of the states in the folder, or `default_size`, by
            default.
        interval: seconds after which a shard's state comes back.
        device: where each worker trains: auto, cpu or cuda.
        watch: progress, records (all at the end) and stopping; `save_every` is not used.

    Returns:
        The files and the final losses.

    Raises:
        InputError: the folder or the configuration will not do, the folder's run was begun in
            shards of another size or as a whole, or a worker has other libraries.
        StorageError: the file system refused; the last saved states are whole.
        RunInterruptedError: `watch.stop` said so; at most `interval` seconds of each shard are
            lost.
        PoolLostError: the workers cannot be reached any more; what came back is saved.
        CrarDiagError: a shard failed again and again; what came back is saved.
    """
    if config is not None:
        check(without_device(config))
    with RunFolder.open(out, config, resume) as folder:
        if folder.finished:
            return finished(folder)
        check(without_device(folder.config))
        if folder.read_resume() is not None:
            raise InputError(
                f"run folder '{folder.path}' holds a run that was begun as a whole: resume it "
                "without shards",
                arguments=["shard_size", "scheduler"],
            )
        writer = _Writer(folder, shard_size, pool, interval, device, watch or Watch())
        writer.restore()
        try:
            writer.go_on()
        except PoolLostError as error:
            raise PoolLostError(
                f"{error}; what came back is saved in '{folder.path}': resume it to go on",
                arguments=["resume"],
            ) from error
        return writer.finish()


class _Writer:
    """One run in shards in progress."""

    def __init__(
        self,
        folder: RunFolder,
        size: int | None,
        pool: Pool,
        interval: float,
        device: str,
        watch: Watch,
    ) -> None:
        self.folder, self.pool, self.watch, config = folder, pool, watch, folder.config
        self.interval, self.device = interval, device
        self.run, self.versions = uuid4().hex, library_versions()
        self.checkpoint_paths = folder.checkpoint_paths()
        folder.open_shards()
        self.history, self.size = empty_history(config), choose_size(folder, size)
        self.shards = [
            _Shard(members, folder.shards_path / _file(members), bases, members[1] - members[0])
            for members, bases in _with_bases(config, cut(config, self.size))
        ]
        self.began = self.written_at = time.monotonic()
        self.write_took, self.unwritten = 0.0, True
        self.first = 0  # agent-updates that were done before

    def restore(self) -> None:
        """Take what the folder's states tell."""
        if not any(shard.path.exists() for shard in self.shards):
            self.folder.drop_history()
            snapshots.drop(self.folder)
        for shard in self.shards:
            saved = self.folder.read_state(shard.path)
            if saved is not None:
                tensors, counters = saved
                shard.updates, shard.alive = int(counters["updates"]), int(counters["alive"])
                self._tell(shard, {name: t.numpy() for name, t in tensors.items()})
        self.first = self._agent_updates()

    def go_on(self) -> None:
        """Send the shards out until all are done.

        Raises:
            RunInterruptedError: the caller asked to stop.
        """
        total = self.folder.config.updates
        waiting = deque(shard for shard in self.shards if shard.updates < total)
        sent: dict[Any, _Shard] = {}
        while waiting or sent:
            for _ in range(min(len(waiting), self.pool.workers() - len(sent))):
                self._send(sent, waiting.popleft(), with_state=True)
            back: Collection[Any] = ()
            if sent:
                back = self.pool.done(sent, _LOOK_SECONDS)
            else:  # there is no worker yet
                time.sleep(_LOOK_SECONDS)
            failed: CrarDiagError | None = None
            for one in back:
                shard = sent.pop(one)
                try:
                    outcome = self.pool.result(one)
                except PoolLostError:
                    raise
                except CrarDiagError as error:  # what came back beside it is taken first
                    failed = error
                    continue
                if outcome is None:  # the worker that had it is gone
                    self._send(sent, shard, with_state=True)
                    continue
                self._take(shard, outcome)
                if shard.updates < total:
                    self._send(sent, shard, worker=outcome.worker)
            if failed is not None:
                raise failed
            self._write_now_and_then()
            self._report()
            if self.watch.stop():
                if self.pool.recall():
                    for one, shard in sent.items():
                        outcome = self.pool.result(one)
                        if outcome is not None:
                            self._take(shard, outcome)
                raise RunInterruptedError(
                    f"stopped after {self._agent_updates():,} of "
                    f"{total * len(self.history.seeds):,} agent-updates; what came back is saved "
                    f"in '{self.folder.path}': resume it to go on",
                    arguments=["resume"],
                )

    def finish(self) -> RunResult:
        """Write the history, tell of its records, and drop the states."""
        self.folder.write_history(self.history)
        for position in range(len(self.history.times)):
            self.watch.recorded(self.history, position)
        self.folder.drop_shards()
        return finished(self.folder)

    def _send(
        self,
        sent: dict[Any, _Shard],
        shard: _Shard,
        worker: str | None = None,
        with_state: bool = False,
    ) -> None:
        order = Order(
            self.run,
            self.folder.config,
            shard.members,
            shard.bases,
            self.device,
            self.interval,
            self.versions,
        )
        state = self._state(shard) if with_state else None
        sent[self.pool.submit(order, shard.updates, state, worker)] = shard

    def _state(self, shard: _Shard) -> State | None:
        saved = self.folder.read_state(shard.path)
        if saved is None:
            return None
        return {name: t.numpy() for name, t in saved[0].items()}, saved[1]

    def _take(self, shard: _Shard, outcome: Outcome) -> None:
        """Write what came back: the state last, so that whatever is missing is made again."""
        for name, data in outcome.snapshots.items():
            snapshots.write(self.folder, name, data)
        for agent, data in outcome.checkpoints.items():
            write_atomically(self.checkpoint_paths[agent], data)
        arrays, counters = outcome.state
        shard.updates, shard.alive = outcome.updates, outcome.alive
        more = {
            "updates": outcome.updates,
            "alive": outcome.alive,
            "members": shard.count,
            "size": self.size,
        }
        tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
        self.folder.write_state(shard.path, tensors, {**counters, **more})
        self._tell(shard, arrays)

    def _tell(self, shard: _Shard, arrays: Mapping[str, np.ndarray]) -> None:
        """Put a shard's records into the history."""
        part = self.history.part(shard.slice)
        part.restore({name: torch.from_numpy(x) for name, x in arrays.items()})
        shard.seconds = part.seconds
        known = [one.seconds for one in self.shards if len(one.seconds)]
        if len(known) == len(self.shards):  # of all of them together
            self.history.seconds[:] = np.sum(known, axis=0)
        self.unwritten = True

    def _write_now_and_then(self) -> None:
        start = time.monotonic()
        pause = max(_WRITE_SECONDS, self.write_took / _WRITE_SHARE)
        if self.unwritten and start - self.written_at > pause:
            self.folder.write_history(self.history)
            self.written_at, self.unwritten = time.monotonic(), False
            self.write_took = self.written_at - start

    def _agent_updates(self) -> int:
        return sum(shard.updates * shard.count for shard in self.shards)

    def _report(self) -> None:
        done, members = self._agent_updates(), len(self.history.seeds)
        total = self.folder.config.updates
        seconds = time.monotonic() - self.began
        rate = (done - self.first) / seconds if done > self.first else math.nan
        left = (total * members - done) / rate
        alive = sum(shard.alive for shard in self.shards)
        self.watch.progress(Progress(done // members, total, alive, rate, left))


def _with_bases(
    config: TrainConfig, shards: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], Mapping[int, Agent] | None]]:
    """Yield each shard with the base models of its transfers, each read once; or with None."""
    if not isinstance(config, TransferConfig):
        yield from ((members, None) for members in shards)
        return
    agents, transfers = bases_of(config), config.transfers()
    for members in shards:
        yield members, {k: agents[k] for k in bases_used(transfers[slice(*members)])}


def _file(members: tuple[int, int]) -> str:
    return f"members-{members[0]:06}-{members[1] - 1:06}.safetensors"


def choose_size(run: Run | TrainConfig, size: int | None) -> int:
    """Return the size of a run's shards: that of the states in its folder, if it has any.

    Args:
        run: that was begun, or the configuration of one that was not.
        size: given; `default_size` by default.

    Raises:
        InputError: the states are of another size than the given one, or of none.
    """
    if isinstance(run, TrainConfig):
        return default_size(run) if size is None else size
    states = run.shard_states()
    if not states:
        return choose_size(run.config, size)
    saved = run.read_state(states[0])
    if saved is None or "size" not in saved[1]:
        raise InputError(f"resume state '{states[0]}' is not one of a shard")
    found = int(saved[1]["size"])
    if size in (None, found):
        return found
    raise InputError(
        f"run folder '{run.path}' holds shards of {found} agents, not of {size}: resume it with "
        "the same size",
        arguments=["shard_size"],
    )
