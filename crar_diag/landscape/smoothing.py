"""The volume loss without its kinks.

L_d2 = mean(clip(max_j x_j^2 - 1, 0, 100)) has a kink wherever max_j |x_j| = 1 and wherever two
|x_j| tie at the maximum. Trained embeddings lie on both: this loss pushes states into the cube and
others push them out, up to the faces. There it has no second derivative, and the sum's gradient
does not vanish at a minimum. With a temperature T this takes

    T softplus((m - 1) / T),  m = T log sum_j exp(x_j^2 / T)

in place of max(max_j x_j^2 - 1, 0): for states of d coordinates never less and at most T log(2 d)
more, with derivatives of all orders below the upper end of the clip, where no trained state comes.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from crar_diag.agent.losses import VOLUME_LIMIT
from crar_diag.errors import InputError
from crar_diag.landscape.problem import Parameters, Problem, Values

TEMPERATURE = 0.01
"""The slope of the softplus rises from 1/4 to 3/4 within |x| = 1 -+ 0.0055; for states in the plane
the loss is at most 0.014 more."""


def smoothed_volume(states: Tensor, temperature: float) -> Tensor:
    """Return the smoothed volume loss of each state, `[batch]`.

    Args:
        states: `[batch, d]`, or `[batch, c, h, w]` with the soft maximum over the channels of each
            position and the mean over positions, as the volume loss has them.
        temperature: T > 0, in units of x^2.
    """
    largest = temperature * torch.logsumexp(states * states / temperature, dim=1)
    excess = temperature * F.softplus((largest - 1.0) / temperature)
    return excess.clamp(max=VOLUME_LIMIT).reshape(len(states), -1).mean(1)


def smoothing_bound(dimensions: int, temperature: float) -> float:
    """Return T log(2 d), by which the smoothed volume loss exceeds the exact one at most.

    Args:
        dimensions: d, the number of entries that the maximum is taken over.
        temperature: T.
    """
    return temperature * math.log(2 * dimensions)


def with_smooth_volume(problem: Problem, temperature: float) -> Problem:
    """Return an agent's problem with its volume loss smoothed.

    Args:
        problem: one of `landscape.agents.agent_problem`.
        temperature: T; 0 leaves the problem as it is, with the subgradient that automatic
            differentiation takes at a kink (the mean over tied entries; that from outside the cube
            at its faces) and without any curvature there.

    Raises:
        InputError: a temperature that is not a finite number of at least 0.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InputError(
            f"expected a temperature of at least 0, found {temperature}", arguments=["smoothing"]
        )
    if temperature == 0:
        return problem

    def losses(parameters: Parameters, seen: Any) -> Values:
        values = problem.losses(parameters, seen)
        states = seen["observation"] if isinstance(seen, Mapping) else seen
        terms = smoothed_volume(states, temperature)
        return values | {"volume": terms if values["volume"].dim() else terms.mean()}

    return replace(problem, losses=losses)
