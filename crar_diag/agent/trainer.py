"""The agents of a run, or of a shard of it, while they train: all that is computed of them.

Nothing here is written to a disk. Who holds a trainer decides when its state is taken, and where
that goes.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from crar_diag.agent import snapshots
from crar_diag.agent.assembly import loss_settings
from crar_diag.agent.checkpoint import Checkpoint
from crar_diag.agent.engine import LossTotals
from crar_diag.agent.job import Job
from crar_diag.agent.lifting import full_precision
from crar_diag.agent.probes import make_probe
from crar_diag.agent.streams import episode_streams
from crar_diag.envs.observer import Observer

_SLICE_SECONDS = 0.5
_SLICE_SECONDS_A_MEMBER = 0.02
_LONGEST_SLICE = 5.0


def slice_seconds(members: int) -> float:
    """Return how long a population trains before it looks whether it is to stop.

    With many members longer: each of them should have a good number of updates at a time, which
    share what its turn costs.
    """
    return min(max(_SLICE_SECONDS, _SLICE_SECONDS_A_MEMBER * members), _LONGEST_SLICE)


class Trainer:
    """A population in training, and what is recorded of it.

    Args:
        job: its members.
        threads: for the fused engine; None for as many as PyTorch uses.

    Attributes:
        keep: given each snapshot, and the name of its file.
        population: the members.
        history: what was recorded of them.
    """

    def __init__(self, job: Job, threads: int | None) -> None:
        config = job.config
        self.job, self.population, self.history = job, job.population, job.history()
        self.keep: Callable[[str, Checkpoint], None] = lambda name, checkpoint: None
        self._config = config
        self._engine = job.engine(threads)
        self._probe = make_probe(
            config.environment,
            self.population.architecture,
            Observer(config.environment, config.observation, config.domain),
            loss_settings(config),
            config.evaluation,
        )
        self._totals = LossTotals.zeros(len(self.population))
        self._epoch_began = time.monotonic()
        self._epoch_seconds = 0.0

    @property
    def finished(self) -> bool:
        """Whether all updates are applied."""
        return self.population.updates >= self._config.updates

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that another trainer of the same job needs to go on: tensors, JSON values."""
        tensors = {
            **{name: t.cpu() for name, t in self.population.state().items()},
            **self.history.arrays(),
            "totals.sums": torch.from_numpy(self._totals.sums),
            "totals.updates": torch.from_numpy(self._totals.updates),
        }
        seconds = self._epoch_seconds + time.monotonic() - self._epoch_began
        return tensors, {"epoch_seconds": seconds}

    def restore(self, tensors: dict[str, torch.Tensor], counters: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: it is the state of another population.
        """
        self.population.restore(tensors)
        self.history.restore(tensors)
        self._totals.sums[:] = tensors["totals.sums"].numpy()
        self._totals.updates[:] = tensors["totals.updates"].numpy()
        self._epoch_seconds = float(counters["epoch_seconds"])

    def begin(self) -> int | None:
        """Make the record before the first update, unless it is made; return its position."""
        if self.population.updates == 0 and math.isnan(self.history.losses[0, 0, 0]):
            return self._record()
        return None

    def pieces(self, longest: float = math.inf) -> Iterator[int | None]:
        """Train to the end, a piece at a time.

        Args:
            longest: seconds that a piece may take.

        Yields:
            After each piece, the position in `history.times` of the record that it ended with, or
            None.
        """
        stops = np.union1d(self.history.times, self.history.epochs)
        seconds_a_piece = min(slice_seconds(len(self.population)), longest)
        piece = 1
        while not self.finished:
            done = self.population.updates
            count = min(piece, int(stops[np.searchsorted(stops, done, side="right")]) - done)
            start = time.monotonic()
            self._engine.advance(self.population, self.job.replay, count, self._totals)
            seconds = time.monotonic() - start
            if count == piece:
                piece = max(1, min(2 * piece, int(piece * seconds_a_piece / max(seconds, 1e-6))))
            yield self._record() if self.population.updates in stops else None

    def checkpoints(self) -> dict[Any, Checkpoint]:
        """Return the agents that the run keeps, as they are now, by `config.agents()`."""
        final = self.history.losses[:, -1]
        kept = self.job.kept(final)
        return {agent: self.job.checkpoint(m, final[m]) for agent, m in kept.items()}

    @full_precision()
    def _record(self) -> int:
        """Record what belongs to the present number of updates, and take the snapshots.

        Before the state of these updates is saved: a run that is killed in between makes the record
        and the same snapshots again.
        """
        done, history = self.population.updates, self.history
        at = int(np.searchsorted(history.times, done))
        if at < len(history.times) and history.times[at] == done:
            self.job.before_record(history, at)
            reading = self._probe.read(self.population.agents())
            history.losses[:, at] = reading.losses
            history.losses_error[:, at] = reading.losses_error
            history.embedding[:, at] = reading.embedding
            history.prediction[:, at] = reading.prediction
        if snapshots.due(self._config, done):
            for name, checkpoint in snapshots.taken(self.job, history.losses[:, at]):
                self.keep(name, checkpoint)
        epoch = int(np.searchsorted(history.epochs, done))
        if epoch < len(history.epochs) and history.epochs[epoch] == done:
            self._end_epoch(epoch)
        return at

    def _end_epoch(self, epoch: int) -> None:
        history, every = self.history, self._config.evaluation.every
        history.training_losses[:, epoch] = self._totals.means()
        history.learning_rate[:, epoch] = self.population.rates(epoch)
        if every and ((epoch + 1) % every == 0 or epoch == len(history.epochs) - 1):
            streams = [episode_streams(seed, epoch) for seed in self.job.seeds]
            history.score[:, epoch] = self._probe.score(self.population.agents(), streams)
        now = time.monotonic()
        history.seconds[epoch] = self._epoch_seconds + now - self._epoch_began
        self._epoch_began, self._epoch_seconds = now, 0.0
        self._totals = LossTotals.zeros(len(self.population))
