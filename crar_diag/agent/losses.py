"""The seven losses of a CRAR agent, each a pure function of one shared forward pass.

The formulas are those of the paper's section 4.2 as its published code applies them to a batch: a
loss is the mean of its terms, one for each transition. `Forward` computes each quantity when a loss
first asks for it and keeps it, so that one loss costs only what it needs and seven losses share
what they have in common.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.config import LOSSES
from crar_diag.agent.networks import Parameters

Batch = Mapping[str, Tensor]
"""`observation`, `next_observation` `[batch, c, h, w]`, `action` (integer), `reward`, `terminal`
(0 or 1 in the precision of the networks) `[batch]`."""

# Bounds of the published code: on max(x^2) - 1 in the volume loss, on ||x - y||^2 in the pair
# losses. The lower one keeps the square root differentiable where two states coincide.
VOLUME_LIMIT = 100.0
PAIR_SQUARE_BOUNDS = (1e-6, 10.0)

# The components whose parameters a loss moves; the structure losses see the encoder alone.
LOSS_COMPONENTS: dict[str, tuple[str, ...]] = {
    "transition": ("encoder", "transition"),
    "reward": ("encoder", "reward"),
    "discount": ("encoder", "discount"),
    "volume": ("encoder",),
    "random_pairs": ("encoder",),
    "consecutive_pairs": ("encoder",),
    "q": ("encoder", "q"),
}


@dataclass(frozen=True)
class LossSettings:
    """The constants of the losses.

    Attributes:
        discount_factor: gamma, 0.9 in the paper.
        double_q: double DQN (labyrinth) instead of the plain maximum (simple maze).
        pair_scale: C_d = 5 in exp(-C_d ||x - y||).
    """

    discount_factor: float = 0.9
    double_q: bool = False
    pair_scale: float = 5.0


def volume(states: Tensor) -> Tensor:
    """Return L_d2 = clip(max_j x_j^2 - 1, 0, 100) of each row, which keeps the states in a cube.

    Args:
        states: `[batch, d]`, or `[batch, c, h, w]` with the maximum over channels at each position
            and the mean over positions.

    Returns:
        `[batch]`.
    """
    largest = (states * states).amax(dim=1)
    return (largest - 1.0).clamp(0.0, VOLUME_LIMIT).reshape(len(states), -1).mean(dim=1)


def pair_repulsion(states: Tensor, others: Tensor, scale: float) -> Tensor:
    """Return exp(-C_d ||x - y||) for each row, `[batch]`.

    The norm is that of the flattened difference, its square clipped to [1e-6, 10].

    Args:
        states: `[batch, *state_shape]`.
        others: `[batch, *state_shape]`.
        scale: C_d.
    """
    difference = (states - others).flatten(1)
    square = (difference * difference).sum(dim=1).clamp(*PAIR_SQUARE_BOUNDS)
    return torch.exp(-scale * square.sqrt())


class Forward:
    """One agent's forward pass on one batch, each quantity computed when first asked for.

    Args:
        architecture: the agent's layers.
        parameters: the agent; gradients flow into these.
        batch: see `Batch`.
        settings: constants of the losses.
        target: the target network, or None for the agent itself, detached (outside training).
        q_target: the Q target itself, `[batch]`, where it is held while the agent changes.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Parameters,
        batch: Batch,
        settings: LossSettings,
        target: Parameters | None = None,
        q_target: Tensor | None = None,
    ) -> None:
        self.architecture = architecture
        self.parameters = parameters
        self.batch = batch
        self.settings = settings
        self._target = target
        if q_target is not None:
            self.q_target = q_target

    @cached_property
    def states(self) -> Tensor:
        """e(s), `[batch, *state_shape]`."""
        return networks.encode(self.architecture, self.parameters, self.batch["observation"])

    @cached_property
    def next_states(self) -> Tensor:
        """e(s'), `[batch, *state_shape]`."""
        return networks.encode(self.architecture, self.parameters, self.batch["next_observation"])

    @cached_property
    def values(self) -> Tensor:
        """Q(x, .), `[batch, actions]`."""
        return networks.q_values(self.architecture, self.parameters, self.states)

    @cached_property
    def q_target(self) -> Tensor:
        """r + gamma (1 - terminal) max_a Q'(e'(s'), a), without gradient, `[batch]`.

        With double DQN (van Hasselt et al., 2016) the online networks choose the action.
        """
        if self._target is None:
            target = {name: p.detach() for name, p in self.parameters.items()}
            target_states = self.next_states.detach()
        else:
            target = self._target
            next_observation = self.batch["next_observation"]
            target_states = networks.encode(self.architecture, target, next_observation)
        values = networks.q_values(self.architecture, target, target_states)
        if self.settings.double_q:
            online = networks.q_values(self.architecture, self.parameters, self.next_states)
            best = values.gather(1, online.argmax(dim=1, keepdim=True)).squeeze(1)
        else:
            best = values.amax(dim=1)
        going_on = 1.0 - self.batch["terminal"]
        return (self.batch["reward"] + self.settings.discount_factor * going_on * best).detach()


def transition_terms(forward: Forward) -> Tensor:
    """Return L_p = mean((x + p(x, a) - x')^2 (1 - terminal)), differentiable by both states."""
    predicted = networks.predict_state(
        forward.architecture, forward.parameters, forward.states, forward.batch["action"]
    )
    difference = (predicted - forward.next_states).flatten(1)
    return (difference * difference).mean(dim=1) * (1.0 - forward.batch["terminal"])


def reward_terms(forward: Forward) -> Tensor:
    """Return L_R = (r - r(x, a))^2."""
    predicted = networks.predict_reward(
        forward.architecture, forward.parameters, forward.states, forward.batch["action"]
    )
    return _square(forward.batch["reward"] - predicted)


def discount_terms(forward: Forward) -> Tensor:
    """Return L_gamma = (gamma (1 - terminal) - g(x, a))^2."""
    predicted = networks.predict_discount(
        forward.architecture, forward.parameters, forward.states, forward.batch["action"]
    )
    wanted = forward.settings.discount_factor * (1.0 - forward.batch["terminal"])
    return _square(wanted - predicted)


def volume_terms(forward: Forward) -> Tensor:
    """Return L_d2 of the batch's states; see `volume`."""
    return volume(forward.states)


def random_pairs_terms(forward: Forward) -> Tensor:
    """Return L_d1 = exp(-C_d ||e(s_i) - e(s_{i-1})||), the batch rolled by one."""
    states = forward.states
    return pair_repulsion(states, torch.roll(states, 1, dims=0), forward.settings.pair_scale)


def consecutive_pairs_terms(forward: Forward) -> Tensor:
    """Return L'_d1 = exp(-C_d ||e(s) - e(s')||)."""
    return pair_repulsion(forward.states, forward.next_states, forward.settings.pair_scale)


def q_terms(forward: Forward) -> Tensor:
    """Return L_Q = the mean over all actions of (Q(x, .) - target)^2.

    Actions not taken target their own prediction, so that the taken action's squared error is
    divided by the number of actions.
    """
    taken = forward.values.gather(1, forward.batch["action"].unsqueeze(1)).squeeze(1)
    return _square(taken - forward.q_target) / forward.architecture.actions


def _square(difference: Tensor) -> Tensor:
    # `F.mse_loss` would break forward-over-reverse derivatives.
    return difference * difference


LOSS_TERMS: dict[str, Callable[[Forward], Tensor]] = {
    "transition": transition_terms,
    "reward": reward_terms,
    "discount": discount_terms,
    "volume": volume_terms,
    "random_pairs": random_pairs_terms,
    "consecutive_pairs": consecutive_pairs_terms,
    "q": q_terms,
}
"""Each loss on every single transition of the batch, `[batch]`, by name."""


def _loss(name: str, forward: Forward) -> Tensor:
    return LOSS_TERMS[name](forward).mean()


LOSS_FUNCTIONS: dict[str, Callable[[Forward], Tensor]] = {
    name: partial(_loss, name) for name in LOSS_TERMS
}
"""Each loss by name: the mean of its terms over the batch."""


def all_losses(forward: Forward) -> dict[str, Tensor]:
    """Return every loss by name, in the order in which one update applies them."""
    return {name: LOSS_FUNCTIONS[name](forward) for name in LOSSES}


def exact_losses(
    forward: Forward, distinct_observations: Tensor, pairwise: bool = True
) -> dict[str, Tensor]:
    """Return the losses' exact expectation where the state set is finite (as in the simple maze).

    Args:
        forward: the pass on every (state, action) pair once, each equally likely.
        distinct_observations: every state's picture once, `[states, c, h, w]`; the random-pair loss
            is the mean over all `states x states` pairs, a state with itself among them, as the
            batch draws them.
        pairwise: False keeps the batch's own random-pair loss (held-out samples).
    """
    losses = all_losses(forward)
    if pairwise:
        states = networks.encode(forward.architecture, forward.parameters, distinct_observations)
        n = states.shape[0]
        first = states.repeat_interleave(n, dim=0)
        second = states.repeat(n, *[1] * (states.dim() - 1))
        losses["random_pairs"] = pair_repulsion(first, second, forward.settings.pair_scale).mean()
    return losses
