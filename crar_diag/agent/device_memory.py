"""Whether a population fits into the memory of an accelerator, before it is put there."""

import math
from typing import Final

import torch

from crar_diag.agent.architecture import Architecture, Conv, Dense, MaxPool
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.population import OPTIMIZERS
from crar_diag.agent.replay import TABLE_LIMIT
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.simple_maze import all_tiles
from crar_diag.errors import InputError

TRANSITION_BYTES: Final = 2 * 64 + 3 * 8 + 2 * 4
"""A labyrinth's transition is two grids of 64 bytes, two indices, an action and two scalars."""

# Of the pictures of a batch, each layer's values, their derivatives, and as much again for
# convolutions to work in.
_COPIES_OF_VALUES = 3
# Transitions for each picture that the labyrinth's show: 10 in 300, 28 in 2,000, 16 in 200,000.
_MOST_A_PICTURE, _FEWEST_A_PICTURE = 30, 8
# What is beside the population: kernels, libraries.
_BASE_BYTES = 1.5e9


def member_bytes(config: TrainConfig, architecture: Architecture) -> float:
    """Return about how many bytes each member takes: state, data and a batch on its way.

    Args:
        config: of the run.
        architecture: of the members.
    """
    number = torch.finfo(getattr(torch, config.precision)).bits // 8
    sizes = {name: math.prod(shape) for name, shape in architecture.shapes().items()}
    slots = OPTIMIZERS[config.optimizer.mode].values()
    squares = sum(n for own in slots for name, n in sizes.items() if name.partition(".")[0] in own)
    state = 2 * sum(sizes.values()) + squares
    pictures = 2 * config.batch_size * _values(architecture, "encoder")
    heads = config.batch_size * sum(
        _values(architecture, component) for component in ("transition", "reward", "discount", "q")
    )
    values = _COPIES_OF_VALUES * (pictures + heads)
    table = _pictures_kept(config) * math.prod(architecture.observation_shape)
    # While the members' tables are put behind each other they are there twice.
    return number * (state + values + 2 * table) + TRANSITION_BYTES * config.data.transitions


def _pictures_kept(config: TrainConfig) -> int:
    """Return how many pictures a member's data may keep: none where they show too many."""
    if config.environment == SIMPLE_MAZE:
        return len(all_tiles())
    transitions = config.data.transitions
    if transitions / _MOST_A_PICTURE > TABLE_LIMIT:
        return 0
    return min(TABLE_LIMIT, math.ceil(transitions / _FEWEST_A_PICTURE))


def _values(architecture: Architecture, component: str) -> int:
    """Return how many values all layers of a component have together, of one input."""
    shape = architecture.observation_shape if component == "encoder" else architecture.state_shape
    edge, found = shape[-1] if len(shape) == 3 else 1, 0
    for layer in architecture.layers(component):
        if isinstance(layer, Dense):
            found += layer.outputs
        elif isinstance(layer, Conv):
            found += layer.outputs * edge * edge
        elif isinstance(layer, MaxPool):
            edge //= layer.size
    return found


def check_fits(
    config: TrainConfig, architecture: Architecture, members: int, device: torch.device
) -> None:
    """Refuse a population that a CUDA device has no room for; of no other device is it asked.

    Raises:
        InputError: saying how many would fit.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps of a population before counts as used there.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        check_room(config, architecture, members, free, str(device))


def check_room(
    config: TrainConfig, architecture: Architecture, members: int, free: float, device: str
) -> None:
    """Refuse a population that needs more than so many bytes.

    Raises:
        InputError: saying how many members would fit.
    """
    each = member_bytes(config, architecture)
    if members * each + _BASE_BYTES <= free:
        return
    fitting = max(0, int((free - _BASE_BYTES) / each))
    hint = f"at most {fitting} fit" if fitting else "not one fits"
    raise InputError(
        f"{members} agents need about {(members * each + _BASE_BYTES) / 1e9:.1f} GB on '{device}', "
        f"which has {free / 1e9:.1f} GB free: {hint}",
        arguments=["shard_size"] if fitting else ["device"],
    )
