"""RMSprop with clipping, as Keras has it, on the members of a population at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crar_diag.agent.networks import Parameters

if TYPE_CHECKING:
    from crar_diag.agent.population import UpdateRule


@dataclass(frozen=True)
class Step:
    """One optimizer step's values for each member.

    Attributes:
        rates: learning rate times the weight of the loss, `[M]`.
        active: who takes the step at all, bool `[M]`.
        trainable: which components move, bool `[M]` each.
    """

    rates: Tensor
    active: Tensor
    trainable: dict[str, Tensor]


@dataclass(frozen=True)
class Block:
    """A component's tensors in an optimizer step, flat and one behind the other.

    So all of them are one operation: launching thousands of kernels on small tensors would take an
    accelerator longer than their work.

    Attributes:
        component: whose they are.
        sizes: how many numbers each tensor has, by name, in order.
        parameters: of the members, `[M, numbers]`; a step changes them in place.
        squares: the optimizer's running squares, the same.
    """

    component: str
    sizes: dict[str, int]
    parameters: Tensor
    squares: Tensor

    def flat(self, tensors: Parameters) -> Tensor:
        """Return tensors `[M, ...]` by name as `[M, numbers]`."""
        return torch.cat([tensors[name].flatten(1) for name in self.sizes], dim=1)

    def each(self, values: Tensor) -> Tensor:
        """Return a value for each tensor, `[M, tensors]`, as one for each number."""
        columns = zip(values.split(1, dim=1), self.sizes.values(), strict=True)
        return torch.cat([column.expand(-1, size) for column, size in columns], dim=1)


@torch.no_grad()
def apply_step(
    blocks: Sequence[Block], gradients: Parameters, step: Step, rule: "UpdateRule", alive: Tensor
) -> Tensor:
    """Clip the gradients and take an RMSprop step, in place.

    g <- g min(1, c / ||g||), v <- rho v + (1 - rho) g^2, theta <- theta - rate g / (sqrt(v) + eps)

    Args:
        blocks: what moves; different components.
        gradients: derivatives `[M, ...]` by name, of all tensors in the blocks.
        step: rates and masks.
        rule: rho, epsilon and clipping.
        alive: who may move, bool `[M]`.

    Returns:
        Who is alive after it, `[M]`: a member whose gradient or new parameters are not finite is
        not moved.
    """
    moves = [step.trainable[block.component] & step.active for block in blocks]
    flat = [block.flat(gradients) for block in blocks]
    norms = [
        torch.where(own[:, None], _square_norms(block, g), 0.0)
        for block, own, g in zip(blocks, moves, flat, strict=True)
    ]
    total = torch.cat(norms, dim=1).sum(dim=1)
    alive = alive & total.isfinite()
    after = []
    for block, own, g, squares in zip(blocks, moves, flat, norms, strict=True):
        if rule.clip_scope == "global":
            scale = _scale(total[:, None], rule.clip_norm)
        else:
            scale = block.each(_scale(squares, rule.clip_norm))
        g = g * scale
        v = rule.rho * block.squares + (1 - rule.rho) * g * g
        p = block.parameters - step.rates[:, None] * g / (v.sqrt() + rule.epsilon)
        after.append((v, p))
        alive = alive & (p.isfinite().all(dim=1) | ~own)
    for block, own, (v, p) in zip(blocks, moves, after, strict=True):
        mask = (own & alive)[:, None]
        block.squares.copy_(torch.where(mask, v, block.squares))
        block.parameters.copy_(torch.where(mask, p, block.parameters))
    return alive


def _square_norms(block: Block, gradient: Tensor) -> Tensor:
    """Return the squared norm of each tensor, `[M, tensors]`."""
    squares = (gradient * gradient).split(list(block.sizes.values()), dim=1)
    return torch.stack([one.sum(dim=1) for one in squares], dim=1)


def _scale(square: Tensor, clip_norm: float) -> Tensor:
    """Return what gradients of such squared norms are multiplied by."""
    return clip_norm / square.sqrt().clamp_min(clip_norm)
