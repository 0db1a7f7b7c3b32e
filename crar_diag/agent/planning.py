"""Planned Q values: a short tree in the abstract state space, averaged over its depths.

    Q^0(x, a) = Q(x, a)
    Q^d(x, a) = r(x, a) + g(x, a) max_{a' in top-b(x')} Q^{d-1}(x', a'),   x' = x + p(x, a)
    planned(x, a) = 1 / (D + 1) sum_{d=0}^{D} Q^d(x, a)

(Francois-Lavet et al., 2019, section 3.3). The root tries every action; an inner node tries the b
actions that Q prefers there.
"""

import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.lifting import over_members, pictures_at_once, share
from crar_diag.agent.networks import Parameters
from crar_diag.errors import InputError

MAX_DEPTH = 6

# How many nodes of a tree's widest level are held at once, over all members of a vmapped pass. A
# node of the labyrinth takes 64 x 8 x 8 numbers inside the transition network (16 KiB).
NODES_AT_ONCE = 2048


def planned_q_values(
    architecture: Architecture,
    parameters: Parameters,
    states: Tensor,
    depth: int,
    branching: int = 2,
    *,
    nodes_at_once: int = NODES_AT_ONCE,
) -> Tensor:
    """Return the mean of Q^0 .. Q^D at abstract states, `[batch, actions]`.

    Which actions a node tries depends on Q alone and not on the depth still to go, so the trees of
    all depths are nested: one tree is expanded, level by level, and every depth is read off it.

    Args:
        architecture: the agent's layers.
        parameters: one agent; `torch.func.vmap` lifts the function over a population.
        states: abstract states `[batch, *state_shape]`.
        depth: D, from 0 (the Q network alone) to 6.
        branching: b, the actions tried below the root.
        nodes_at_once: bound on the nodes of one level; the batch is split to keep it (memory).

    Raises:
        InputError: a depth outside 0..6 or a branching below 1.
    """
    _check(depth, branching)
    branching = min(branching, architecture.actions)
    widest = architecture.actions * branching ** (depth - 1) if depth else 1
    pieces = states.split(max(1, nodes_at_once // widest))
    planned = [_plan(architecture, parameters, piece, depth, branching) for piece in pieces]
    return torch.cat(planned)


def population_q_values(
    architecture: Architecture,
    population: Parameters,
    observations: Tensor,
    depth: int,
    branching: int = 2,
) -> Tensor:
    """Return every member's planned Q values at its own pictures, `[member, batch, actions]`.

    No gradient is recorded.

    Args:
        architecture: the layers that all members share.
        population: parameters `[member, ...]`.
        observations: pictures `[member, batch, c, h, w]`, on the population's device and in its
            precision.
        depth: D, from 0 to 6.
        branching: b, the actions tried below the root.

    Raises:
        InputError: a depth outside 0..6, a branching below 1, or pictures of another shape.
    """
    _check(depth, branching)
    members = next(iter(population.values())).shape[0]
    shape = tuple(observations.shape)
    if shape[:1] + shape[2:] != (members, *architecture.observation_shape):
        expected = ", ".join(map(str, architecture.observation_shape))
        raise InputError(
            f"observations must have the shape ({members}, batch, {expected}), found {shape}"
        )
    together = pictures_at_once(architecture, population)
    nodes_at_once = share(architecture, population, NODES_AT_ONCE)

    def plan(parameters: Parameters, pictures: Tensor) -> Tensor:
        states = networks.encode_pieces(architecture, parameters, pictures.split(together))
        return planned_q_values(
            architecture, parameters, states, depth, branching, nodes_at_once=nodes_at_once
        )

    with torch.no_grad():
        planned: Tensor = over_members(architecture, plan, population, observations)
    return planned


def _check(depth: int, branching: int) -> None:
    if not 0 <= depth <= MAX_DEPTH:
        raise InputError(f"the planning depth must be from 0 to {MAX_DEPTH}, found {depth}")
    if branching < 1:
        raise InputError(f"the planning's branching must be at least 1, found {branching}")


def _plan(
    architecture: Architecture, parameters: Parameters, roots: Tensor, depth: int, branching: int
) -> Tensor:
    """Expand one tree a root and return the mean over its depths, `[batch, actions]`."""
    states = roots
    q = networks.q_values(architecture, parameters, states)
    planned = q
    actions = torch.arange(architecture.actions, device=q.device).expand(q.shape[0], -1)
    rewards: list[Tensor] = []  # r and g of the edges below each level, `[nodes, edges]`
    discounts: list[Tensor] = []
    greedy: list[Tensor] = []  # max_a Q at the nodes of each level but the root, `[nodes]`
    for _ in range(depth):
        parents = states.repeat_interleave(actions.shape[1], dim=0)
        choices = actions.flatten()
        rewards.append(
            networks.predict_reward(architecture, parameters, parents, choices).view_as(actions)
        )
        discounts.append(
            networks.predict_discount(architecture, parameters, parents, choices).view_as(actions)
        )
        states = networks.predict_state(architecture, parameters, parents, choices)
        q = networks.q_values(architecture, parameters, states)
        greedy.append(q.amax(dim=1))
        actions = q.topk(branching, dim=1).indices

    # Back up from the leaves. `values[d]` holds max_a Q^d at the nodes of one level, for every
    # depth that the tree below them allows.
    values: list[Tensor] = []
    for level in reversed(range(depth)):
        values.insert(0, greedy[level])
        reward, discount = rewards[level], discounts[level]
        edges = [reward + discount * value.view_as(reward) for value in values]
        if level == 0:
            planned = planned + sum(edges)
        else:
            values = [edge.amax(dim=1) for edge in edges]
    return planned / (depth + 1)
