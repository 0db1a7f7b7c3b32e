"""A shard of a run: some of its members, which train by themselves where they are sent.

Members do not depend on each other, so that a run in shards ends with the same checkpoints as one
of the whole population. (By the fused engine, bit for bit. The reference engine's batched products
depend in their last bit on how many members there are: there the same shard size gives the same
bits.) What is sent has all that a shard needs: no two machines have to share a disk.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from crar_diag.agent import checkpoint
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.device_memory import check_fits
from crar_diag.agent.job import Job
from crar_diag.agent.jobs import architecture_of, job_of
from crar_diag.agent.loading import Agent
from crar_diag.agent.trainer import Trainer
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.agent.versions import library_versions
from crar_diag.devices import device_named
from crar_diag.errors import InputError

State = tuple[dict[str, np.ndarray], dict[str, Any]]
"""What a trainer needs to go on: arrays, and counters of JSON values."""


@dataclass(frozen=True)
class Order:
    """What a worker is told of a shard.

    Attributes:
        run: tells this call of `train_in_shards` from all others.
        config: of the whole run.
        members: the shard's, first and behind the last.
        bases: of transfers, the base models of these; None for base models.
        device: auto, cpu or cuda.
        seconds: after which the shard's state comes back.
        versions: of the writer's libraries, which the worker's must equal.
    """

    run: str
    config: TrainConfig
    members: tuple[int, int]
    bases: Mapping[int, Agent] | None
    device: str
    seconds: float
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What comes back of a shard.

    Attributes:
        updates: that all living members have behind them.
        alive: how many have not diverged.
        state: to go on from; of a finished shard, its history alone.
        snapshots: that were taken on the way, files by name.
        checkpoints: of a finished shard, files by agent; else empty.
        worker: that has the shard now, as the pool calls it.
    """

    updates: int
    alive: int
    state: State
    snapshots: Mapping[str, bytes]
    checkpoints: Mapping[Any, bytes]
    worker: str | None


@dataclass(frozen=True)
class Place:
    """Where a shard trains.

    Attributes:
        name: of the worker, None in the writer's own process.
        threads: for the engine; None for as many as PyTorch uses.
        stop: asked after every piece; True brings the state back before its time.
    """

    name: str | None = None
    threads: int | None = None
    stop: Callable[[], bool] = lambda: False


def cut(config: TrainConfig, size: int) -> list[tuple[int, int]]:
    """Return the members of each shard, first and behind the last.

    The restarts of a transfer, of which one is kept, stay together.

    Args:
        config: of the run.
        size: agents in a shard; the last may have fewer.

    Raises:
        InputError: a size below 1.
    """
    if size < 1:
        raise InputError(
            f"a shard must have at least 1 agent, found {size}", arguments=["shard_size"]
        )
    if isinstance(config, TransferConfig):
        transfers = [len(list(own)) for _, own in groupby(t.name for t in config.transfers())]
    else:
        transfers = [1] * config.member_count
    ends = np.cumsum([0, *transfers])
    return [
        (int(ends[k]), int(ends[min(k + size, len(transfers))]))
        for k in range(0, len(transfers), size)
    ]


# One shard at a time trains in a process, whose threads it has all; the trainer is kept, so that
# the next order of the same shard need not send its state.
_turn = threading.Lock()
_kept: dict[tuple[str, tuple[int, int]], Trainer] = {}


def advance(order: Order, updates: int, state: State | None, place: Place) -> Outcome | None:
    """Train a shard for a while.

    Args:
        order: which.
        updates: that it has behind it.
        state: to go on from; None where the shard is new, or should be at this worker still.
        place: where.

    Returns:
        None where the state is needed, and neither came nor is here.

    Raises:
        InputError: this worker has other libraries than the writer, or no such device.
    """
    with _turn:
        check_versions(order.versions, place.name)
        key = order.run, order.members
        trainer, snapshots = _kept.pop(key, None), dict[str, bytes]()
        _kept.clear()
        if trainer is None or trainer.population.updates != updates:
            if updates and state is None:
                return None
            job = _job(order, device_named(order.device, _who(place.name)))
            trainer = Trainer(job, place.threads)
            if state is not None:
                trainer.restore(
                    {n: torch.from_numpy(x.copy()) for n, x in state[0].items()}, state[1]
                )
        trainer.keep = lambda name, own: snapshots.update({name: checkpoint.to_bytes(own)})
        _train(trainer, order.seconds, place.stop)
        if not trainer.finished:
            _kept[key] = trainer
        return _outcome(trainer, snapshots, place)


def forget() -> None:
    """Drop what is kept of shards whose next order will not come."""
    with _turn:
        _kept.clear()


@contextmanager
def turn() -> Iterator[None]:
    """Let nothing else that sets a process's threads run in it at the same time."""
    with _turn:
        yield


def _job(order: Order, device: torch.device) -> Job:
    config, (first, last) = order.config, order.members
    check_fits(config, architecture_of(config, order.bases), last - first, device)
    return job_of(config, device, slice(first, last), order.bases)


def _train(trainer: Trainer, seconds: float, stop: Callable[[], bool]) -> None:
    trainer.begin()
    end = time.monotonic() + seconds
    for _ in trainer.pieces(seconds):
        if time.monotonic() > end or stop():
            return


def _outcome(trainer: Trainer, snapshots: Mapping[str, bytes], place: Place) -> Outcome:
    tensors, counters = trainer.state()
    files = {}
    if trainer.finished:
        tensors = trainer.history.arrays()
        files = {agent: checkpoint.to_bytes(own) for agent, own in trainer.checkpoints().items()}
    return Outcome(
        updates=trainer.population.updates,
        alive=int(trainer.population.alive().sum()),
        # Copies: the trainer goes on in its own memory.
        state=({name: t.numpy().copy() for name, t in tensors.items()}, counters),
        snapshots=snapshots,
        checkpoints=files,
        worker=place.name,
    )


def check_versions(expected: Mapping[str, str], worker: str | None) -> None:
    """Refuse to compute for a writer of other versions, which might find other numbers.

    Raises:
        InputError: a library's version here is not the expected one.
    """
    for name, found in library_versions().items():
        wanted = expected.get(name)
        if found != wanted:
            raise InputError(
                f"{_who(worker)} has {name} {found}, expected {wanted} as here: only equal "
                "versions give equal numbers"
            )


def _who(worker: str | None) -> str:
    return "this process" if worker is None else f"worker '{worker}'"
