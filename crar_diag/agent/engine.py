"""The population engine: advances M agents together, whatever they are trained for.

`ReferenceEngine` works for every architecture and device and is the definition of an update;
`crar_diag.agent.fused.engine.FusedEngine` is its fast twin on the CPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.lifting import full_precision, over_members
from crar_diag.agent.losses import LOSS_COMPONENTS, LOSS_FUNCTIONS, Batch, Forward, all_losses
from crar_diag.agent.networks import Parameters, of_component
from crar_diag.agent.optimizer import Step, apply_step
from crar_diag.agent.population import OPTIMIZER_OF, Population
from crar_diag.agent.replay import Replay


@dataclass
class LossTotals:
    """Sums of training losses, added update by update so that pauses do not change a bit of them.

    Attributes:
        sums: float64 `[M, 7]` in the order of `LOSSES`.
        updates: over how many updates, `[M]`.
    """

    sums: np.ndarray
    updates: np.ndarray

    @classmethod
    def zeros(cls, members: int) -> "LossTotals":
        """Return the totals of no updates."""
        return cls(np.zeros((members, len(LOSSES))), np.zeros(members, np.int64))

    def means(self) -> np.ndarray:
        """Return mean losses `[M, 7]`; NaN for members without updates."""
        return self.sums / np.where(self.updates > 0, self.updates, np.nan)[:, None]


class Engine(ABC):
    """Advances a population in place by a number of updates."""

    @full_precision()
    def advance(
        self,
        population: Population,
        replay: Replay,
        updates: int,
        totals: LossTotals | None = None,
    ) -> LossTotals:
        """Apply updates to every living member.

        Args:
            population: changed in place; its count of updates grows by `updates`.
            replay: data and batches of the same members.
            updates: how many; they may span epochs.
            totals: losses to add to, None for new ones.

        Returns:
            The totals, each member's over the updates that it lived through.
        """
        totals = totals or LossTotals.zeros(len(population))
        end = population.updates + updates
        while population.updates < end:
            epoch, done = divmod(population.updates, population.rule.updates_per_epoch)
            count = min(end - population.updates, population.rule.updates_per_epoch - done)
            alive_before = population.diverged_at.numpy() < 0
            self._advance(population, replay, count, epoch, totals.sums)
            died = population.diverged_at.numpy()
            lived = np.where(died < 0, count, died - population.updates)
            totals.updates += np.where(alive_before, lived, 0)
            population.updates += count
        return totals

    @abstractmethod
    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        """Apply updates of one epoch and add their losses to `sums`, `[M, 7]`."""


@dataclass(frozen=True)
class Epoch:
    """What is constant during an epoch, on the population's device: `[M]`, `[M, 7]`, `[M, 5]`."""

    rates: Tensor
    weights: Tensor
    trainable: dict[str, Tensor]

    @classmethod
    def of(cls, population: Population, epoch: int) -> "Epoch":
        """Return those of an epoch."""
        parameters, trainable = population.parameters, population.trainable()
        return cls(
            rates=torch.from_numpy(population.rates(epoch)).to(parameters),
            weights=torch.from_numpy(population.weights(epoch)).to(parameters),
            trainable={
                name: torch.from_numpy(trainable[:, k]).to(parameters.device)
                for k, name in enumerate(COMPONENTS)
            },
        )


@dataclass(frozen=True)
class Memory:
    """What an update reads and writes beside the population, on its device, at fixed places.

    Attributes:
        epoch: constants.
        rows: of the update's batches, int64 `[M, batch]`.
        number: of the update, int64 scalar.
        died: the update at which each member diverged, or -1, int64 `[M]`.
        sums: of the losses, float64 `[M, 7]`.
    """

    epoch: Epoch
    rows: Tensor
    number: Tensor
    died: Tensor
    sums: Tensor

    def take(self, other: "Memory") -> None:
        """Take the values of another memory of the same shapes."""
        mine, its = self.epoch.trainable, other.epoch.trainable
        pairs = [(self.epoch.rates, other.epoch.rates), (self.epoch.weights, other.epoch.weights)]
        pairs += [(mine[name], its[name]) for name in mine]
        pairs += [(getattr(self, n), getattr(other, n)) for n in ("rows", "number", "died", "sums")]
        for own, value in pairs:
            own.copy_(value)


class ReferenceEngine(Engine):
    """The update in PyTorch, for every architecture and device, by `lifting.over_members`.

    Per-member gradients come from one backward pass through the sum of the members' losses: each
    member's loss depends on its own parameters alone. Nothing in an update waits for the device.
    """

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        device, first = population.parameters.device, population.updates
        draws = np.stack([replay.draws(m, first, updates) for m in range(len(population))], axis=1)
        rows = torch.from_numpy(draws).to(replay.device)
        memory = self._place(
            population,
            replay,
            Memory(
                epoch=Epoch.of(population, epoch),
                rows=rows[0].clone(),
                number=torch.tensor(first, device=device),
                died=population.diverged_at.to(device, copy=True),
                sums=torch.from_numpy(sums).to(device, copy=True),
            ),
        )
        self._run(population, replay, rows, first, memory)
        population.diverged_at.copy_(memory.died)
        sums[:] = memory.sums.cpu().numpy()

    def _place(self, population: Population, replay: Replay, memory: Memory) -> Memory:
        """Return the memory that updates use, with these values in it."""
        return memory

    def _run(
        self, population: Population, replay: Replay, rows: Tensor, first: int, memory: Memory
    ) -> None:
        """Apply an update for each of the rows `[updates, M, batch]`."""
        for u in range(len(rows)):
            memory.rows.copy_(rows[u])
            self._update(population, replay, copies_target(population, first + u), memory)

    def _update(
        self, population: Population, replay: Replay, copy_target: bool, memory: Memory
    ) -> None:
        """Apply one update, in place of everything that it changes."""
        sequential = population.rule.mode == "sequential"
        update = self._sequential if sequential else self._from_one_point
        batch, died = replay.batches(memory.rows), memory.died
        alive, losses = update(population, batch, copy_target, memory.epoch, died < 0)
        memory.sums.add_(torch.where(alive.unsqueeze(1), losses, 0.0).double())
        died.copy_(torch.where((died < 0) & ~alive, memory.number, died))
        memory.number.add_(1)

    def _sequential(
        self,
        population: Population,
        batch: Batch,
        copy_target: bool,
        epoch: Epoch,
        alive: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Apply one update; return who is alive after it `[M]` and the losses `[M, 7]`."""
        values = []
        agents, targets = population.agents(), population.targets()
        for k, loss in enumerate(LOSSES):
            if loss == "q" and copy_target:
                population.target.copy_(_where(alive, population.parameters, population.target))
            leaves = _leaves(agents)
            value = _values(population, LOSS_FUNCTIONS[loss], leaves, targets, batch)
            values.append(value.detach())
            gradients = _gradients(value, leaves, LOSS_COMPONENTS[loss])
            step = Step(epoch.rates * epoch.weights[:, k], epoch.weights[:, k] > 0, epoch.trainable)
            blocks = population.blocks(OPTIMIZER_OF[loss], LOSS_COMPONENTS[loss])
            alive = alive & value.isfinite()
            alive = apply_step(blocks, gradients, step, population.rule, alive)
        return alive, torch.stack(values, dim=1)

    def _from_one_point(
        self,
        population: Population,
        batch: Batch,
        copy_target: bool,
        epoch: Epoch,
        alive: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Do the same with all gradients taken at one point: `simultaneous` and `joint`."""
        if copy_target:
            population.target.copy_(_where(alive, population.parameters, population.target))
        leaves = _leaves(population.agents())

        def stacked(forward: Forward) -> Tensor:
            return torch.stack(list(all_losses(forward).values()))

        values = _values(population, stacked, leaves, population.targets(), batch)
        alive = alive & values.isfinite().all(dim=1)
        everyone = torch.ones_like(alive)
        if population.rule.mode == "joint":
            total = (values * epoch.weights).sum(dim=1)
            gradients = _gradients(total, leaves, tuple(epoch.trainable))
            step = Step(epoch.rates, everyone, epoch.trainable)
            blocks = population.blocks("joint", tuple(epoch.trainable))
            alive = apply_step(blocks, gradients, step, population.rule, alive)
            return alive, values.detach()
        # All gradients are taken before the first step moves the leaves' memory.
        each = [
            _gradients(values[:, k], leaves, LOSS_COMPONENTS[loss], retain=True)
            for k, loss in enumerate(LOSSES)
        ]
        for k, loss in enumerate(LOSSES):
            step = Step(epoch.rates * epoch.weights[:, k], epoch.weights[:, k] > 0, epoch.trainable)
            blocks = population.blocks(OPTIMIZER_OF[loss], LOSS_COMPONENTS[loss])
            alive = apply_step(blocks, each[k], step, population.rule, alive)
        return alive, values.detach()


def copies_target(population: Population, update: int) -> bool:
    """Return whether the target networks are copied in an update."""
    return update % population.rule.target_period == 0


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Choose whole members by a mask `[M]`."""
    return torch.where(mask.view(-1, *[1] * (yes.dim() - 1)), yes, no)


def _leaves(agents: Parameters) -> Parameters:
    """Return the parameters as leaves that share the population's memory."""
    return {name: p.detach().requires_grad_() for name, p in agents.items()}


def _gradients(
    values: Tensor, leaves: Parameters, components: tuple[str, ...], retain: bool = False
) -> Parameters:
    """Return the derivative of each member's value by its own parameters, `[M, ...]` by name."""
    moving = of_component(leaves, *components)
    found = torch.autograd.grad(
        values.sum(), list(moving.values()), retain_graph=retain, materialize_grads=True
    )
    return dict(zip(moving, found, strict=True))


def _values(
    population: Population,
    function: Callable[[Forward], Tensor],
    leaves: Parameters,
    targets: Parameters,
    batch: Batch,
) -> Tensor:
    """Return what a function gives on each member's forward pass, `[M]` or `[M, 7]`."""
    architecture, settings = population.architecture, population.rule.settings

    def one(parameters: Parameters, target: Parameters, own: Batch) -> Tensor:
        return function(Forward(architecture, parameters, own, settings, target))

    values: Tensor = over_members(architecture, one, leaves, targets, batch)
    return values
