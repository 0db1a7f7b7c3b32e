"""The simple maze's exact losses at many points of a grid at once, without gradients.

The same numbers as `agent.exact.losses_of_embedding` gives of each point, to rounding; tests hold
one against the other in double precision. It stands beside the definition for one reason: by
`vmap` a plane takes six times as long. What makes the difference: states stand in columns, 32 of
them, so that products run on aligned rows; components that all points share are one product over
all points; a first layer is taken once a state and once an action instead of once a pair; and
NumPy's tanh, in place, takes a tenth of the time of PyTorch's.
"""

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.architecture import Architecture, Dense, Flatten
from crar_diag.agent.config import LOSSES
from crar_diag.agent.losses import PAIR_SQUARE_BOUNDS, VOLUME_LIMIT, LossSettings
from crar_diag.envs import simple_maze
from crar_diag.landscape.problem import Parameters, Values

_NEXT = torch.from_numpy(simple_maze.SUCCESSORS)
_STATES, _ACTIONS = _NEXT.shape
# The next state of all pairs, by action and then by state.
_FOLLOWING = _NEXT.T.flatten().contiguous()


def fits(architecture: Architecture) -> bool:
    """Return whether agents of an architecture are evaluated here: dense layers, flat states."""
    layers = [layer for layer in architecture.encoder if not isinstance(layer, Flatten)]
    return not architecture.spatial and all(isinstance(layer, Dense) for layer in layers)


def losses_of_points(
    architecture: Architecture,
    moving: Parameters,
    held: Parameters,
    pictures: Tensor,
    settings: LossSettings,
    q_target: Tensor | None = None,
) -> Values:
    """Return every loss at G points, `[G]` each; on a CPU.

    Args:
        architecture: one that `fits`.
        moving: the parameters that differ between the points, `[G, ...]`.
        held: all others.
        pictures: of the 31 states, `[31, c, h, w]`.
        settings: the losses' constants.
        q_target: what Q is to be at each point, `[G, 124]`, instead of the agent's own target.
    """
    agents = _Agents(architecture, moving, held)
    x = agents.states(pictures)
    following = x.index_select(2, _FOLLOWING).unflatten(2, (_ACTIONS, _STATES))
    step = x.unsqueeze(2) - following
    q = agents.apply("q", x)
    if q_target is None:
        best = q.amax(1).index_select(1, _FOLLOWING).unflatten(1, (_ACTIONS, _STATES))
        wanted = settings.discount_factor * best
    else:
        wanted = q_target.unflatten(1, (_STATES, _ACTIONS)).transpose(1, 2)
    change, reward, discount = (agents.of_pairs(c, x) for c in ("transition", "reward", "discount"))
    pairs = (x.unsqueeze(3) - x.unsqueeze(2)).square_().sum(1)
    found = {
        "transition": (change + step).square_().mean((1, 2, 3)),
        "reward": reward.square().mean((1, 2, 3)),
        "discount": (settings.discount_factor - discount).square_().mean((1, 2, 3)),
        "volume": (x.square().amax(1) - 1).clamp_(0, VOLUME_LIMIT).mean(1),
        "random_pairs": _repulsion(pairs, settings.pair_scale),
        "consecutive_pairs": _repulsion(step.square().sum(1), settings.pair_scale),
        "q": (q - wanted).square_().mean((1, 2)) / architecture.actions,
    }
    return {name: found[name] for name in LOSSES}


class _Agents:
    """G agents, of which components may be shared."""

    def __init__(self, architecture: Architecture, moving: Parameters, held: Parameters) -> None:
        self._architecture, self._moving, self._held = architecture, moving, held
        self._count = len(next(iter(moving.values())))

    def states(self, pictures: Tensor) -> Tensor:
        """Return the abstract states, `[G, d, 31]`."""
        # Keras' order of pixels, channels last; and one column more, for aligned rows.
        pixels = pictures.permute(0, 2, 3, 1).flatten(1)
        columns = torch.cat([pixels, pixels[:1]]).T.contiguous()
        return self.apply("encoder", columns.expand(self._count, -1, -1))[..., :_STATES]

    def apply(self, component: str, x: Tensor) -> Tensor:
        """Run a component on columns `[G, inputs, n]`; return `[G, outputs, n]`."""
        if self._own(component):
            return self._layers(component, x, 0)
        joined = self._layers(component, x.transpose(0, 1).flatten(1), 0)
        return joined.unflatten(1, (self._count, -1)).transpose(0, 1)

    def of_pairs(self, component: str, x: Tensor) -> Tensor:
        """Run a component on all (state, action) pairs; return `[G, outputs, 4, 31]`."""
        size = x.shape[1]
        weight, bias = self._parameters(component, 0)
        of_action = weight[..., size:] + bias.unsqueeze(-1)
        if self._own(component):
            of_state = torch.matmul(weight[..., :size], x)
            first = of_state.unsqueeze(2) + of_action.unsqueeze(3)
            found = self._layers(component, _tanh(first).flatten(2), 1)
        else:
            of_state = weight[:, :size] @ x.transpose(0, 1).flatten(1)
            of_state = of_state.view(-1, self._count, 1, _STATES)
            first = of_state + of_action[:, None, :, None]
            joined = self._layers(component, _tanh(first).flatten(1), 1)
            found = joined.unflatten(1, (self._count, -1)).transpose(0, 1)
        return found.unflatten(2, (_ACTIONS, _STATES))

    def _own(self, component: str) -> bool:
        return any(name.startswith(component + ".") for name in self._moving)

    def _parameters(self, component: str, position: int) -> tuple[Tensor, Tensor]:
        """Return a layer's weight and bias, `[G, ...]` where they are not shared."""
        names = [f"{component}.{position}.{kind}" for kind in ("weight", "bias")]
        if not self._own(component):
            return self._held[names[0]], self._held[names[1]]
        weight, bias = (
            self._moving[name]
            if name in self._moving
            else self._held[name].expand(self._count, *self._held[name].shape)
            for name in names
        )
        return weight, bias

    def _layers(self, component: str, x: Tensor, first: int) -> Tensor:
        for position, layer in enumerate(self._architecture.layers(component)):
            if isinstance(layer, Dense) and position >= first:
                weight, bias = self._parameters(component, position)
                multiply = torch.baddbmm if weight.dim() == 3 else torch.addmm
                x = multiply(bias.unsqueeze(-1), weight, x)
                if layer.tanh:
                    x = _tanh(x)
        return x


def _tanh(x: Tensor) -> Tensor:
    """Return tanh of a tensor that nobody else holds, in its memory."""
    array = x.numpy()
    np.tanh(array, out=array)
    return x


def _repulsion(square: Tensor, scale: float) -> Tensor:
    """Return the mean of exp(-C_d ||x - y||) over pairs, of squared distances `[G, ...]`."""
    distance = square.clamp_(*PAIR_SQUARE_BOUNDS).sqrt_()
    return distance.mul_(-scale).exp_().flatten(1).mean(1)
