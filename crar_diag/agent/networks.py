"""The forward pass of an agent: pure functions of a dict of parameters.

Every function works on one agent (`dict[str, Tensor]`); `torch.func.vmap` lifts it over the
leading axis of a population.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from crar_diag.agent.architecture import Architecture, Conv, Dense, Layer, MaxPool
from crar_diag.agent.config import COMPONENTS

Parameters = dict[str, Tensor]
Value = TypeVar("Value")


def initialise(
    architecture: Architecture, rng: np.random.Generator, dtype: torch.dtype = torch.float32
) -> Parameters:
    """Draw a new agent with Keras' defaults: Glorot uniform weights, zero biases.

    Weights are drawn from U[-l, l] with l = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010),
    in double precision before they are rounded, so that the precision does not change the draw.

    Args:
        architecture: what to draw.
        rng: the generator; the same state gives the same agent on every platform.
        dtype: precision of the result.

    Returns:
        Parameters by name, in the shapes of `architecture.shapes()`.
    """
    parameters: Parameters = {}
    for name, shape in architecture.shapes().items():
        if name.endswith(".bias"):
            parameters[name] = torch.zeros(shape, dtype=dtype)
            continue
        field = math.prod(shape[2:])
        limit = math.sqrt(6.0 / (field * (shape[0] + shape[1])))
        parameters[name] = torch.from_numpy(rng.uniform(-limit, limit, shape)).to(dtype)
    return parameters


def component_of(name: str) -> str:
    """Return the component (`encoder`, `transition`, ...) that a parameter belongs to."""
    return name.partition(".")[0]


def of_component(parameters: Mapping[str, Value], *components: str) -> dict[str, Value]:
    """Return what `parameters` holds, by their names, of those of any of the components."""
    return {name: p for name, p in parameters.items() if component_of(name) in components}


def _linear(layer: Layer, prefix: str, parameters: Parameters, x: Tensor) -> Tensor:
    """Return a layer's values before its tanh."""
    if isinstance(layer, Dense):
        return F.linear(x, parameters[f"{prefix}.weight"], parameters[f"{prefix}.bias"])
    if isinstance(layer, Conv):
        before, after = (layer.kernel - 1) // 2, layer.kernel // 2
        if before != after:  # what is the same on all sides costs no copy inside the convolution
            x = F.pad(x, (0, 1, 0, 1))
        weight, bias = parameters[f"{prefix}.weight"], parameters[f"{prefix}.bias"]
        return F.conv2d(x, weight, bias, padding=before)
    if isinstance(layer, MaxPool):
        return F.max_pool2d(x, layer.size)
    if x.dim() == 4:
        x = x.permute(0, 2, 3, 1)
    return x.flatten(1)


def _tanh(x: Tensor) -> Tensor:
    """Return tanh(x); x, which no one else has, may be overwritten."""
    if not getattr(_WHERE, "values_only", False) or x.device.type != "cpu":
        return torch.tanh(x)
    values = x.numpy()
    np.tanh(values, out=values)
    return x


_WHERE = threading.local()


@contextmanager
def values_only() -> Iterator[None]:
    """Let NumPy compute tanh on the CPU, ten times as fast as PyTorch, in this thread.

    For values alone: inside, no derivative can be taken and no `vmap` be used, neither of which
    NumPy knows; both then raise an error.
    """
    before = getattr(_WHERE, "values_only", False)
    _WHERE.values_only = True
    try:
        with torch.no_grad():
            yield
    finally:
        _WHERE.values_only = before


def apply(architecture: Architecture, component: str, parameters: Parameters, x: Tensor) -> Tensor:
    """Run one component's layers on a batch.

    A maximum over tanh is taken before it, where it is the same: tanh then has fewer values.

    Args:
        architecture: the layers.
        component: which of the five.
        parameters: all of the agent's parameters, or at least this component's.
        x: the component's input, `[batch, ...]`.

    Returns:
        The component's raw output, `[batch, ...]`.
    """
    layers, waiting = architecture.layers(component), False
    for position, layer in enumerate(layers):
        following = layers[position + 1] if position + 1 < len(layers) else None
        x = _linear(layer, f"{component}.{position}", parameters, x)
        waiting = waiting or (isinstance(layer, Dense | Conv) and layer.tanh)
        if waiting and not isinstance(following, MaxPool):
            x, waiting = _tanh(x), False
    return x


def encode(architecture: Architecture, parameters: Parameters, observations: Tensor) -> Tensor:
    """Return the abstract states e(o), `[batch, *state_shape]`, of pictures `[batch, c, h, w]`."""
    return apply(architecture, "encoder", parameters, observations)


def encode_pieces(
    architecture: Architecture, parameters: Parameters, pieces: Iterable[Tensor]
) -> Tensor:
    """Return the abstract states of pictures that come, and are encoded, in pieces; see `encode`.

    Only one piece's values in the layers between are held at a time, unless gradients are taken.
    """
    return torch.cat([encode(architecture, parameters, piece) for piece in pieces])


def join(architecture: Architecture, states: Tensor, actions: Tensor) -> Tensor:
    """Return the input of transition, reward and discount: state and one-hot action.

    Vectors get the action behind the state, `[batch, d + actions]`; images get one plane an action
    before their channels, `[batch, actions + channels, h, w]` (the published layout).

    Args:
        architecture: tells vectors from images.
        states: abstract states `[batch, *state_shape]`.
        actions: integers `[batch]`.
    """
    choices = torch.arange(architecture.actions, device=actions.device)
    onehot = (actions.unsqueeze(-1) == choices).to(states.dtype)
    if not architecture.spatial:
        return torch.cat([states, onehot], dim=1)
    planes = onehot[:, :, None, None].expand(-1, -1, *states.shape[2:])
    return torch.cat([planes, states], dim=1)


def predict_state(
    architecture: Architecture, parameters: Parameters, states: Tensor, actions: Tensor
) -> Tensor:
    """Return x + p(x, a), the predicted next abstract states, `[batch, *state_shape]`."""
    return states + apply(
        architecture, "transition", parameters, join(architecture, states, actions)
    )


def predict_each_action(
    architecture: Architecture, parameters: Parameters, states: Tensor
) -> Tensor:
    """Return x + p(x, a) for every action, `[batch, actions, *state_shape]`."""
    count = architecture.actions
    actions = torch.arange(count, device=states.device).repeat(len(states))
    following = predict_state(
        architecture, parameters, states.repeat_interleave(count, dim=0), actions
    )
    return following.unflatten(0, (-1, count))


def predict_reward(
    architecture: Architecture, parameters: Parameters, states: Tensor, actions: Tensor
) -> Tensor:
    """Return r(x, a), `[batch]`."""
    return apply(architecture, "reward", parameters, join(architecture, states, actions)).squeeze(1)


def predict_discount(
    architecture: Architecture, parameters: Parameters, states: Tensor, actions: Tensor
) -> Tensor:
    """Return g(x, a), `[batch]`."""
    joined = join(architecture, states, actions)
    return apply(architecture, "discount", parameters, joined).squeeze(1)


def q_values(architecture: Architecture, parameters: Parameters, states: Tensor) -> Tensor:
    """Return Q(x, .), `[batch, actions]`."""
    return apply(architecture, "q", parameters, states)


def stack(agents: list[Parameters]) -> Parameters:
    """Return the population `[member, ...]` of agents with the same names and shapes."""
    return {name: torch.stack([agent[name] for agent in agents]) for name in agents[0]}


def member(population: Parameters, index: int) -> Parameters:
    """Return a copy of one member of a population."""
    return {name: p[index].clone() for name, p in population.items()}


__all__ = [
    "COMPONENTS",
    "Parameters",
    "apply",
    "component_of",
    "encode",
    "initialise",
    "join",
    "member",
    "of_component",
    "predict_discount",
    "predict_each_action",
    "predict_reward",
    "predict_state",
    "q_values",
    "stack",
]
