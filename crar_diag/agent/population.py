"""A population: M agents, their target networks and optimizers in four flat arrays.

Everything that trains (base models, transfers, restarts, re-fits of a landscape's points) is one.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.config import COMPONENTS, LOSSES, MODES
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import Parameters, of_component
from crar_diag.agent.optimizer import Block
from crar_diag.errors import InputError, did_you_mean

OPTIMIZERS: dict[str, dict[str, tuple[str, ...]]] = {
    mode: {
        "transition": ("encoder", "transition"),
        "reward_discount": ("encoder", "reward", "discount"),
        "volume": ("encoder",),
        "random_pairs": ("encoder",),
        "consecutive_pairs": ("encoder",),
        "q": ("encoder", "q"),
    }
    for mode in ("sequential", "simultaneous")
} | {"joint": {"joint": COMPONENTS}}
"""For each update mode, its RMSprop states and the components that each has running squares of."""

OPTIMIZER_OF = {loss: loss for loss in LOSSES} | {
    "reward": "reward_discount",
    "discount": "reward_discount",
}
"""The RMSprop that applies a loss in the two per-loss modes: reward and discount share one."""


@dataclass(frozen=True)
class UpdateRule:
    """What all members of a population share about an update.

    Attributes:
        mode: `sequential` (one step a loss, each seeing the step before; the published code),
            `simultaneous` (all per-loss gradients taken at one point) or `joint` (one optimizer on
            the weighted sum).
        rho: decay of RMSprop's running squares.
        epsilon: RMSprop's constant outside the square root.
        clip_norm: gradients of a larger norm are scaled to it.
        clip_scope: `tensor` (each tensor alone) or `global` (all trainable tensors of a step).
        target_period: updates between two copies of the target network, taken before the Q step.
        updates_per_epoch: learning rates and loss weights change between epochs only.
        settings: constants of the losses.
    """

    mode: str = "sequential"
    rho: float = 0.9
    epsilon: float = 1e-4
    clip_norm: float = 1.0
    clip_scope: str = "tensor"
    target_period: int = 1000
    updates_per_epoch: int = 5000
    settings: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        """Refuse unknown modes and scopes.

        Raises:
            InputError: naming the value and the choices.
        """
        if self.mode not in MODES:
            raise InputError(f"unknown update mode '{self.mode}'{did_you_mean(self.mode, MODES)}")
        if self.clip_scope not in ("tensor", "global"):
            hint = did_you_mean(self.clip_scope, ("tensor", "global"))
            raise InputError(f"unknown clip scope '{self.clip_scope}'{hint}")


@dataclass(frozen=True)
class MemberRule:
    """What one member has for itself.

    Attributes:
        learning_rate: at epoch 0.
        learning_rate_decay: factor between epochs.
        loss_weights: for each loss its `(first epoch, weight)` pairs, the first at epoch 0. A
            weight scales the step in the per-loss modes (RMSprop would cancel a scaled gradient)
            and the gradient in the joint one; in the per-loss modes a loss of weight 0 takes no
            step and leaves its optimizer untouched.
        trainable: the components that move; the others stay bit for bit.
    """

    learning_rate: float
    learning_rate_decay: float = 1.0
    loss_weights: dict[str, tuple[tuple[int, float], ...]] = field(
        default_factory=lambda: dict.fromkeys(LOSSES, ((0, 1.0),))
    )
    trainable: frozenset[str] = frozenset(COMPONENTS)

    def rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        return self.learning_rate * self.learning_rate_decay**epoch

    def weight_at(self, loss: str, epoch: int) -> float:
        """Return a loss's weight in an epoch."""
        return [w for first, w in self.loss_weights[loss] if first <= epoch][-1]


class Population:
    """M agents of one architecture with all that their training needs to go on.

    Args:
        architecture: the layers of every member.
        agents: the members' parameters `[M, ...]` by name; copied.
        rule: what the members share.
        members: what each has for itself.

    Attributes:
        parameters: flat, `[M, P]`, in the order of `architecture.shapes()`.
        target: the target networks, `[M, P]`.
        squares: RMSprop's running squares, `[M, V]`, one optimizer after the other.
        updates: how many updates every living member has behind it.
        diverged_at: `[M]`, the update at which a loss or gradient was not finite, or -1. That
            member's last finite parameters are kept and it is not updated any more.

    Raises:
        InputError: if names, shapes or numbers do not fit the architecture.
    """

    def __init__(
        self,
        architecture: Architecture,
        agents: Parameters,
        rule: UpdateRule,
        members: Sequence[MemberRule],
    ) -> None:
        shapes = architecture.shapes()
        found = {name: tuple(p.shape[1:]) for name, p in agents.items()}
        if found != shapes or len(next(iter(agents.values()))) != len(members) or not members:
            raise InputError(
                f"the parameters do not fit {len(members)} members of '{architecture.name}'"
            )
        self.architecture = architecture
        self.rule = rule
        self.members = tuple(members)
        self.shapes = shapes
        self.parameters = torch.cat([agents[name].flatten(1) for name in shapes], dim=1)
        self.target = self.parameters.clone()
        self.slots = _slots(shapes, OPTIMIZERS[rule.mode])
        self._places = _slots(shapes, {"all": COMPONENTS})["all"]
        width = max(end for slot in self.slots.values() for _, end in slot.values())
        self.squares = self.parameters.new_zeros((len(members), width))
        self.updates = 0
        self.diverged_at = torch.full((len(members),), -1, dtype=torch.int64)

    def __len__(self) -> int:
        """Return the number of members, M."""
        return len(self.members)

    def part(self, members: slice) -> "Population":
        """Return some members as a population that shares the memory of this one."""
        own = copy(self)
        own.members = self.members[members]
        for name in ("parameters", "target", "squares", "diverged_at"):
            setattr(own, name, getattr(self, name)[members])
        return own

    def agents(self) -> Parameters:
        """Return the parameters by name as views `[M, ...]` into the flat array."""
        return self._views(self.parameters, self._places)

    def targets(self) -> Parameters:
        """Return the target networks by name as views `[M, ...]` into the flat array."""
        return self._views(self.target, self._places)

    def running_squares(self, optimizer: str) -> Parameters:
        """Return one optimizer's running squares by parameter name as views `[M, ...]`."""
        return self._views(self.squares, self.slots[optimizer])

    def blocks(self, optimizer: str, components: Sequence[str]) -> list[Block]:
        """Return what an optimizer moves in a step on some of its components."""
        return [
            Block(
                component,
                {name: end - start for name, (start, end) in slots.items()},
                self.parameters[:, _whole(of_component(self._places, component))],
                self.squares[:, _whole(slots)],
            )
            for component in components
            for slots in [of_component(self.slots[optimizer], component)]
        ]

    def alive(self) -> Tensor:
        """Return which members have not diverged, bool `[M]`, on the population's device."""
        return (self.diverged_at < 0).to(self.parameters.device)

    def rates(self, epoch: int) -> np.ndarray:
        """Return every member's learning rate in an epoch, float64 `[M]`."""
        return np.array([m.rate_at(epoch) for m in self.members])

    def weights(self, epoch: int) -> np.ndarray:
        """Return every member's loss weights in an epoch, float64 `[M, 7]`."""
        return np.array([[m.weight_at(loss, epoch) for loss in LOSSES] for m in self.members])

    def trainable(self) -> np.ndarray:
        """Return which components of which member move, bool `[M, 5]`."""
        return np.array([[c in m.trainable for c in COMPONENTS] for m in self.members])

    def state(self) -> dict[str, Tensor]:
        """Return all that is needed to go on, by name; the arrays themselves, not copies."""
        return {
            "parameters": self.parameters,
            "target": self.target,
            "squares": self.squares,
            "diverged_at": self.diverged_at,
            "updates": torch.tensor(self.updates, dtype=torch.int64),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: if it belongs to a population of another size, precision or rule.
        """
        for name, own in self.state().items():
            other = state.get(name)
            if other is None or other.shape != own.shape or other.dtype != own.dtype:
                raise InputError(f"the saved state does not fit this population at '{name}'")
        for name in ("parameters", "target", "squares", "diverged_at"):
            getattr(self, name).copy_(state[name])
        self.updates = int(state["updates"])

    def to(self, device: torch.device | str) -> "Population":
        """Move the arrays to a device, in place, and return the population."""
        self.parameters = self.parameters.to(device)
        self.target = self.target.to(device)
        self.squares = self.squares.to(device)
        return self

    def _views(self, flat: Tensor, places: dict[str, tuple[int, int]]) -> Parameters:
        return {
            name: flat[:, start:end].unflatten(1, self.shapes[name])
            for name, (start, end) in places.items()
        }


def _whole(places: dict[str, tuple[int, int]]) -> slice:
    """Return where neighbours begin and end together."""
    return slice(min(start for start, _ in places.values()), max(e for _, e in places.values()))


def _slots(
    shapes: dict[str, tuple[int, ...]], optimizers: dict[str, tuple[str, ...]]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return for each optimizer and parameter where its running squares begin and end."""
    at = 0
    slots: dict[str, dict[str, tuple[int, int]]] = {}
    for optimizer, components in optimizers.items():
        slots[optimizer] = {}
        for name, shape in of_component(shapes, *components).items():
            size = int(np.prod(shape))
            slots[optimizer][name] = (at, at + size)
            at += size
    return slots
