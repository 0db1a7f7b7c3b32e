"""The simple maze's losses as exact expectations over its 31 states and 124 (state, action) pairs.

They depend on the encoder through the 31 abstract states alone, so that an agent's exact losses
cost 31 encodings, and can be studied as functions of where the states lie.
"""

from typing import Final

import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.losses import Forward, LossSettings, exact_losses
from crar_diag.agent.networks import Parameters
from crar_diag.envs import simple_maze

STEP_WEIGHTS: Final[dict[str, float]] = {
    "transition": 1.0,
    "reward": 1.0,
    "discount": 1.0,
    "volume": 1.0,
    "random_pairs": 1.0,
    "consecutive_pairs": 0.2,
    "q": 1.0,
}
"""The weights of the losses in a sum: the ratios of the paper's steps in the simple maze (the
preset `paper`), whatever an agent itself was trained with."""


def losses_of_embedding(
    architecture: Architecture,
    parameters: Parameters,
    embedding: Tensor,
    settings: LossSettings | None = None,
    q_target: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the exact losses as functions of where the 31 states lie, without an encoder.

    They are differentiable by the embedding: expectations over the 124 (state, action) pairs and,
    for the random pairs, over 31 x 31. The Q target is the agent's own, without derivative.

    Args:
        architecture: the agent's layers.
        parameters: one agent, or at least its transition, reward, discount and Q networks.
        embedding: the states in the order of `simple_maze.STATES`, `[31, d]`.
        settings: the losses' constants; the paper's by default.
        q_target: what Q is to be, `[124]`, instead of the agent's own target (`q_targets`).
    """
    forward = _forward(architecture, parameters, embedding, settings, q_target)
    return exact_losses(forward, embedding)


def q_targets(
    architecture: Architecture,
    parameters: Parameters,
    embedding: Tensor,
    settings: LossSettings | None = None,
) -> Tensor:
    """Return the agent's own Q target of all (state, action) pairs, without gradient, `[124]`."""
    return _forward(architecture, parameters, embedding, settings).q_target


def _forward(
    architecture: Architecture,
    parameters: Parameters,
    embedding: Tensor,
    settings: LossSettings | None,
    q_target: Tensor | None = None,
) -> Forward:
    states, next_states, actions = (index.to(embedding.device) for index in state_action_pairs())
    nothing = embedding.new_zeros(len(actions))  # the maze has no reward and no end
    batch = {
        "observation": embedding[states],
        "next_observation": embedding[next_states],
        "action": actions,
        "reward": nothing,
        "terminal": nothing,
    }
    settings = settings or LossSettings()
    # Each state is in four pairs, and the next state of as many: its values are taken once.
    values = networks.q_values(architecture, parameters, embedding)
    if q_target is None:  # the agent's own, for which double DQN and plain DQN are the same
        q_target = settings.discount_factor * values.detach().amax(dim=1)[next_states]
    forward = Forward(architecture.bare(), parameters, batch, settings, q_target=q_target)
    forward.values = values[states]
    return forward


def state_action_pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Return state, next state and action of all (state, action) pairs, int64 `[124]` each."""
    next_states = torch.from_numpy(simple_maze.SUCCESSORS)
    states, actions = torch.meshgrid(*map(torch.arange, next_states.shape), indexing="ij")
    return states.flatten(), next_states.flatten(), actions.flatten()
