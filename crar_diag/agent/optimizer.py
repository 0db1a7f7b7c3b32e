"""RMSprop with clipping, as Keras has it, on the members of a population at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crar_diag.agent.networks import Parameters, component_of

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


@torch.no_grad()
def apply_step(
    agents: Parameters,
    squares: Parameters,
    gradients: Parameters,
    step: Step,
    rule: "UpdateRule",
    alive: Tensor,
) -> Tensor:
    """Clip the gradients and take an RMSprop step, in place.

    g <- g min(1, c / ||g||), v <- rho v + (1 - rho) g^2, theta <- theta - rate g / (sqrt(v) + eps)

    Args:
        agents: parameters `[M, ...]` by name.
        squares: running squares of at least the parameters in `gradients`.
        gradients: derivatives `[M, ...]` by name.
        step: rates and masks.
        rule: rho, epsilon and clipping.
        alive: who may move, bool `[M]`.

    Returns:
        Who is alive after it, `[M]`: a member whose gradient or new parameters are not finite is
        not moved.
    """
    moves = {name: step.trainable[component_of(name)] & step.active for name in gradients}
    norms = {
        name: torch.where(moves[name], (g * g).flatten(1).sum(dim=1), 0.0)
        for name, g in gradients.items()
    }
    total = torch.stack(list(norms.values())).sum(dim=0)
    alive = alive & total.isfinite()
    after: dict[str, tuple[Tensor, Tensor]] = {}
    for name, gradient in gradients.items():
        square = total if rule.clip_scope == "global" else norms[name]
        scale = rule.clip_norm / square.sqrt().clamp_min(rule.clip_norm)
        shape = (-1, *[1] * (gradient.dim() - 1))
        g = gradient * scale.view(shape)
        v = rule.rho * squares[name] + (1 - rule.rho) * g * g
        p = agents[name] - step.rates.view(shape) * g / (v.sqrt() + rule.epsilon)
        after[name] = v, p
        alive = alive & (p.isfinite().flatten(1).all(dim=1) | ~moves[name])
    for name, (v, p) in after.items():
        mask = (moves[name] & alive).view(-1, *[1] * (p.dim() - 1))
        squares[name].copy_(torch.where(mask, v, squares[name]))
        agents[name].copy_(torch.where(mask, p, agents[name]))
    return alive
