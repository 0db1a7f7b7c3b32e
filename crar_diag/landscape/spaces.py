"""The spaces in which an agent's losses are curved: what varies, and what is held.

- `embedding`: the coordinates of the simple maze's 31 states themselves, the dynamics frozen; no
  parametrisation blurs their curvature;
- `frozen`: the encoder's parameters, the dynamics frozen;
- `unfrozen`: all parameters.

The Q target is held as it is at the checkpoint, all along a polish too: so it is one function that
is descended and whose curvature is taken where the descent ends.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from crar_diag.agent.loading import Agent
from crar_diag.errors import InputError, did_you_mean
from crar_diag.landscape.agents import DYNAMICS, ENCODER, agent_problem
from crar_diag.landscape.problem import Parameters, Problem
from crar_diag.landscape.smoothing import TEMPERATURE, with_smooth_volume
from crar_diag.landscape.vectors import doubled

KINDS: Final = ("frozen", "unfrozen")
EMBEDDING: Final = "embedding"

TRANSITIONS: Final = 128
"""Of the labyrinth's held-out sample: the gradient's graph takes 1.2 GB then."""


@dataclass(frozen=True, eq=False)
class Space:
    """What varies, and from where.

    Attributes:
        problem: in double precision, the volume loss smoothed.
        start: the checkpoint's parameters, and the Q target.
        states: `(parameters)` -> the abstract states that they give, `[S, *state_shape]`.
        exact: whether all eigenvalues are wanted.
    """

    problem: Problem
    start: Parameters
    states: Callable[[Parameters], Tensor]
    exact: bool = False


def agent_spaces(
    agent: Agent,
    domain: str,
    *,
    kinds: Sequence[str] = KINDS,
    weights: Mapping[str, float] | None = None,
    temperature: float = TEMPERATURE,
    transitions: int = TRANSITIONS,
    seed: int = 0,
) -> dict[str, Space]:
    """Return an agent's spaces by name; see `agent_curvature`.

    Raises:
        InputError: no kind or an unknown one, an unknown loss or domain, or a temperature below 0.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"unknown dynamics '{kind}'{did_you_mean(kind, KINDS)}")
    if not kinds:
        raise InputError(f"expected dynamics {' or '.join(KINDS)} or both, found none")
    problem = with_smooth_volume(
        agent_problem(
            agent, domain, weights=weights, transitions=transitions, seed=seed, dtype=torch.float64
        ),
        temperature,
    )
    start = doubled(agent.parameters)
    with torch.no_grad():
        start |= problem.anchored(start)

    def states(parameters: Parameters) -> Tensor:
        with torch.no_grad():
            found = problem.seen(parameters)
        return found["observation"] if isinstance(found, Mapping) else found

    found = {}
    if "frozen" in kinds:
        if problem.clusters is None:
            found[EMBEDDING] = embedding_space(problem, start)
        found["frozen"] = Space(replace(problem, moves=ENCODER, refits=()), start, states)
    if "unfrozen" in kinds:
        everything = replace(problem, moves=ENCODER + DYNAMICS, refits=())
        found["unfrozen"] = Space(everything, start, states)
    return found


def embedding_space(problem: Problem, start: Parameters) -> Space:
    """Return the same losses as functions of what the encoder makes of the batch.

    Args:
        problem: whose features are one tensor, `[S, *state_shape]`.
        start: where that tensor is taken.

    Raises:
        InputError: the features are not one tensor.
    """
    with torch.no_grad():
        embedding = problem.seen(start)
    if problem.features is None or not isinstance(embedding, Tensor):
        raise InputError("expected a problem whose features are one tensor")
    inner = replace(
        problem,
        losses=lambda parameters, _: problem.losses(parameters, parameters[EMBEDDING]),
        batch=None,
        moves=(EMBEDDING,),
        refits=(),
        features=None,
        constants=None,
    )
    return Space(inner, start | {EMBEDDING: embedding}, lambda own: own[EMBEDDING], exact=True)
