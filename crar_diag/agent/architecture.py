"""What a CRAR agent's five networks are made of, as data: layers, shapes, parameter counts."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from crar_diag.agent.config import COMPONENTS
from crar_diag.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; weight `[outputs, inputs]`, bias `[outputs]`."""

    inputs: int
    outputs: int
    tanh: bool = True


@dataclass(frozen=True)
class Conv:
    """A 'same' convolution; weight `[outputs, inputs, kernel, kernel]`, bias `[outputs]`.

    Even kernels pad one more row and column at the bottom and the right, as Keras does.
    """

    inputs: int
    outputs: int
    kernel: int
    tanh: bool = True


@dataclass(frozen=True)
class MaxPool:
    """Maximum over disjoint `size x size` squares."""

    size: int


@dataclass(frozen=True)
class Flatten:
    """All but the batch axis in one; images channels-last, as Keras does."""


Layer = Dense | Conv | MaxPool | Flatten
_LAYERS = {kind.__name__: kind for kind in (Dense, Conv, MaxPool, Flatten)}


@dataclass(frozen=True)
class Architecture:
    """The layers of the five components of one agent.

    Attributes:
        name: how configurations and checkpoints call it.
        observation_shape: `(channels, height, width)` of one picture.
        state_shape: shape of one abstract state, `(d,)` or `(channels, height, width)`.
        actions: number of discrete actions.
        encoder: picture -> abstract state.
        transition: [state, action] -> change of state.
        reward: [state, action] -> scalar.
        discount: [state, action] -> scalar.
        q: state -> one value an action.
    """

    name: str
    observation_shape: tuple[int, ...]
    state_shape: tuple[int, ...]
    actions: int
    encoder: tuple[Layer, ...]
    transition: tuple[Layer, ...]
    reward: tuple[Layer, ...]
    discount: tuple[Layer, ...]
    q: tuple[Layer, ...]

    def bare(self) -> "Architecture":
        """Return the architecture without an encoder: an observation is its own abstract state."""
        return replace(self, encoder=(), observation_shape=self.state_shape)

    def layers(self, component: str) -> tuple[Layer, ...]:
        """Return the layers of one of the five components."""
        layers: tuple[Layer, ...] = getattr(self, component)
        return layers

    @property
    def spatial(self) -> bool:
        """Whether the abstract state is an image."""
        return len(self.state_shape) == 3

    @property
    def convolutional(self) -> bool:
        """Whether any component has a convolution."""
        return any(isinstance(layer, Conv) for c in COMPONENTS for layer in self.layers(c))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter, by its name `component.layer.weight|bias`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for component in COMPONENTS:
            for position, layer in enumerate(self.layers(component)):
                prefix = f"{component}.{position}"
                if isinstance(layer, Dense):
                    shapes[f"{prefix}.weight"] = (layer.outputs, layer.inputs)
                elif isinstance(layer, Conv):
                    size = layer.kernel
                    shapes[f"{prefix}.weight"] = (layer.outputs, layer.inputs, size, size)
                else:
                    continue
                shapes[f"{prefix}.bias"] = (layer.outputs,)
        return shapes

    def parameter_count(self) -> int:
        """Return the number of trainable scalars of all five components."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def spec(self) -> dict[str, Any]:
        """Return the architecture as plain lists, numbers and strings, for a file's header."""
        spec: dict[str, Any] = {
            "name": self.name,
            "observation_shape": list(self.observation_shape),
            "state_shape": list(self.state_shape),
            "actions": self.actions,
        }
        for component in COMPONENTS:
            spec[component] = [
                [type(layer).__name__, *asdict(layer).values()] for layer in self.layers(component)
            ]
        return spec

    @staticmethod
    def from_spec(spec: Mapping[str, Any]) -> "Architecture":
        """Build an architecture from what `spec` returned.

        Raises:
            InputError: if the description is not one that `spec` could have returned.
        """
        try:
            components = {
                component: tuple(_LAYERS[kind](*values) for kind, *values in spec[component])
                for component in COMPONENTS
            }
            return Architecture(
                name=str(spec["name"]),
                observation_shape=tuple(map(int, spec["observation_shape"])),
                state_shape=tuple(map(int, spec["state_shape"])),
                actions=int(spec["actions"]),
                **components,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the description of the architecture is broken: {error!r}") from error


def _mlp(*sizes: int) -> tuple[Layer, ...]:
    """Return tanh layers between the sizes, the last one linear."""
    last = len(sizes) - 2
    return tuple(Dense(n, m, tanh=i < last) for i, (n, m) in enumerate(pairwise(sizes)))


def _vector_heads(dimension: int, actions: int) -> dict[str, tuple[Layer, ...]]:
    joint = dimension + actions
    return {
        "transition": _mlp(joint, 10, 30, 30, 10, dimension),
        "reward": _mlp(joint, 10, 50, 20, 1),
        "discount": _mlp(joint, 10, 50, 20, 1),
        "q": _mlp(dimension, 20, 50, 20, actions),
    }


# The convolutions that the labyrinth's encoder and the simple maze's picture encoder share:
# 48 x 48 pixels -> 32 x 8 x 8, one position a tile.
_TRUNK: tuple[Layer, ...] = (
    Conv(1, 8, 2),
    Conv(8, 16, 2),
    MaxPool(2),
    Conv(16, 32, 3),
    MaxPool(3),
)


def _spatial_head(channels: int, outputs: int) -> tuple[Layer, ...]:
    return (
        Conv(channels, 16, 2),
        Conv(16, 32, 3),
        MaxPool(2),
        Conv(32, 16, 2),
        Conv(16, 4, 1),
        Flatten(),
        *_mlp(4 * 4 * 4, 200, 50, 20, outputs),
    )


SIMPLE_MAZE = Architecture(
    name="simple-maze-symbolic",
    observation_shape=(1, 8, 8),
    state_shape=(2,),
    actions=4,
    encoder=(Flatten(), *_mlp(64, 200, 100, 50, 10, 2)),
    **_vector_heads(2, 4),
)

SIMPLE_MAZE_PIXELS = Architecture(
    name="simple-maze-pixels",
    observation_shape=(1, 48, 48),
    state_shape=(2,),
    actions=4,
    encoder=(*_TRUNK, Flatten(), *_mlp(32 * 8 * 8, 200, 100, 50, 10, 2)),
    **_vector_heads(2, 4),
)


def _labyrinth(name: str, shape: tuple[int, ...], encoder: tuple[Layer, ...]) -> Architecture:
    return Architecture(
        name=name,
        observation_shape=shape,
        state_shape=(3, 8, 8),
        actions=4,
        encoder=(*encoder, Conv(32, 3, 1, tanh=False)),
        transition=(
            Conv(7, 16, 1),
            Conv(16, 32, 2),
            Conv(32, 64, 3),
            Conv(64, 32, 2),
            Conv(32, 16, 1),
            Conv(16, 3, 1, tanh=False),
        ),
        reward=_spatial_head(7, 1),
        discount=_spatial_head(7, 1),
        q=_spatial_head(3, 4),
    )


LABYRINTH = _labyrinth("labyrinth-pixels", (1, 48, 48), _TRUNK)

LABYRINTH_SYMBOLIC = _labyrinth(
    "labyrinth-symbolic",
    (1, 8, 8),
    # The trunk without its pooling: a symbolic picture has one value a tile already.
    tuple(layer for layer in _TRUNK if not isinstance(layer, MaxPool)),
)

_BY_TASK = {
    ("simple-maze", "symbolic"): SIMPLE_MAZE,
    ("simple-maze", "pixels"): SIMPLE_MAZE_PIXELS,
    ("labyrinth", "symbolic"): LABYRINTH_SYMBOLIC,
    ("labyrinth", "pixels"): LABYRINTH,
}


def architecture_for(environment: str, observation: str) -> Architecture:
    """Return the published architecture for an environment and a kind of observation.

    Args:
        environment: `simple-maze` or `labyrinth`.
        observation: `symbolic` (8 x 8) or `pixels` (48 x 48).

    Raises:
        InputError: if there is none for the pair.
    """
    found = _BY_TASK.get((environment, observation))
    if found is None:
        name = f"{environment}/{observation}"
        hint = did_you_mean(name, ("/".join(key) for key in _BY_TASK))
        raise InputError(f"no architecture for '{name}'{hint}")
    return found
