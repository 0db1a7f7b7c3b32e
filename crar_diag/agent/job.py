"""What a run trains: its members, what trains them, and what becomes of them at the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.assembly import build, choose_engine
from crar_diag.agent.checkpoint import Checkpoint, CheckpointMetadata
from crar_diag.agent.config import COMPONENTS, LOSSES, TrainConfig, flatten
from crar_diag.agent.engine import Engine
from crar_diag.agent.history import History, Labels
from crar_diag.agent.population import Population
from crar_diag.agent.probes import embedding_shape
from crar_diag.agent.replay import Replay
from crar_diag.agent.versions import library_versions
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.errors import InputError

# Hundreds of times what the published runs need; with more, a slip of the keyboard, the history
# would not fit into memory.
MAX_EPOCHS = 100_000


@dataclass(frozen=True)
class Origin:
    """What a member's checkpoint says beyond its parameters and losses.

    Attributes:
        seed: of its data and batches.
        configuration: of the run, as far as it is this member's.
        frozen: the components that training held fixed.
        base: the checkpoint that a transfer began from; None for a base model.
        base_sha256: of that file.
    """

    seed: int
    configuration: dict[str, Any]
    frozen: tuple[str, ...] = ()
    base: str | None = None
    base_sha256: str | None = None


class Job:
    """The training of base models, one a seed; `transfer.TransferJob` is that of transfers.

    Args:
        config: of the run.
        device: where it runs.
        members: which of the run's members; all by default.

    Attributes:
        seeds: of each member's data.
        names: of the members.
        population: the members, untrained.
        replay: their data.
    """

    def __init__(
        self, config: TrainConfig, device: torch.device, members: slice = slice(None)
    ) -> None:
        self.config, self._members = config, members
        self.seeds = self.seeds_of(config)[members]
        self.names = config.members()[members]
        self.population, self.replay = self._build(device)

    def _build(self, device: torch.device) -> tuple[Population, Replay]:
        return build(self.config.model_copy(update={"seeds": self.seeds}), device)

    def engine(self, threads: int | None) -> Engine:
        """Return what trains the members.

        Raises:
            InputError: the configuration asks for an engine that cannot.
        """
        architecture = self.population.architecture
        return choose_engine(self.config.engine, architecture, self.replay, threads)

    @staticmethod
    def seeds_of(config: Any) -> tuple[int, ...]:
        """Return the seed of each of the run's members."""
        seeds: tuple[int, ...] = config.seeds
        return seeds

    @staticmethod
    def labels(config: Any, members: slice = slice(None)) -> Labels:
        """Return what the history says of each member."""
        return Labels()

    @staticmethod
    def map_size(config: Any, architecture: Architecture) -> int:
        """Return the size of the maps that a history records; 0 where none are made."""
        return 0

    @classmethod
    def empty_history(
        cls, config: TrainConfig, architecture: Architecture, members: slice = slice(None)
    ) -> History:
        """Return a history with room for some of the run's members, or for all."""
        return History.empty(
            cls.seeds_of(config)[members],
            config.updates,
            config.updates_per_epoch,
            embedding_shape(config.environment, architecture),
            cls.map_size(config, architecture),
            cls.labels(config, members),
        )

    def history(self) -> History:
        """Return an empty history of the members."""
        return self.empty_history(self.config, self.population.architecture, self._members)

    def before_record(self, history: History, position: int) -> None:
        """Do what is to be done to the members before a record; nothing here.

        Args:
            history: of the run.
            position: of the record in its `times`.
        """

    def kept(self, losses: np.ndarray) -> dict[Any, int]:
        """Return which member is written for each of `config.agents()` that are among them.

        Args:
            losses: the final ones, `[M, 7]`.
        """
        return {key: m for m, key in enumerate(list(self.config.agents())[self._members])}

    def origin(self, member: int) -> Origin:
        """Return what a member's checkpoint says of where it comes from."""
        seed = self.seeds[member]
        # Its own seed alone, so that equal agents are equal bytes whoever trained beside.
        own = self.config.model_copy(update={"seeds": (seed,)})
        frozen = tuple(c for c in COMPONENTS if c not in self.config.trainable)
        return Origin(seed, own.model_dump(mode="json"), frozen)

    def checkpoint(self, member: int, losses: np.ndarray) -> Checkpoint:
        """Return a member as it is now, as its file holds it.

        Args:
            member: which.
            losses: its present ones, `[7]`.
        """
        population, origin = self.population, self.origin(member)
        diverged = int(population.diverged_at[member])
        metadata = CheckpointMetadata(
            environment=self.config.environment,
            observation=self.config.observation,
            domain=self.config.domain,
            architecture=population.architecture.spec(),
            configuration=origin.configuration,
            seed=origin.seed,
            updates=population.updates if diverged < 0 else diverged,
            base=origin.base,
            base_sha256=origin.base_sha256,
            frozen=origin.frozen,
            losses=dict(zip(LOSSES, map(float, losses), strict=True)),
            diverged_at=None if diverged < 0 else diverged,
            versions=library_versions(),
        )
        own = {name: p[member].cpu().clone() for name, p in population.agents().items()}
        return Checkpoint(own, metadata)


def check_numbers(config: TrainConfig) -> None:
    """Refuse a configuration whose numbers would fail on the way.

    Raises:
        InputError: naming the key, what was expected and what was found.
    """
    if config.environment == SIMPLE_MAZE and config.evaluation.every:
        raise InputError(
            "evaluation.every must be 0 in the simple maze, which has no reward and so no score, "
            f"found {config.evaluation.every}"
        )
    epochs = -(-config.updates // config.updates_per_epoch)
    if epochs > MAX_EPOCHS:
        raise InputError(
            f"updates / updates_per_epoch must be at most {MAX_EPOCHS} epochs, found {epochs}"
        )
    largest = torch.finfo(getattr(torch, config.precision)).max
    for key, value in flatten(config).items():
        for number in _numbers(value):
            if number > largest:
                raise InputError(
                    f"{key} must be at most {largest:.3g} in {config.precision}, found {number}"
                )


def _numbers(value: Any) -> Iterator[float]:
    """Yield the floats in a value and in its lists."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
