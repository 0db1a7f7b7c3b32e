"""From an architecture and its data to the fused update's memory, and back.

A member's flat parameters and running squares are reordered before the update and put back after
it; neither loses a bit, so that a run may pause anywhere.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from crar_diag.agent.architecture import Architecture, Conv, Dense, Flatten, Layer, MaxPool
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.fused import convolution, image, quads, vector
from crar_diag.agent.fused.compiling import jit
from crar_diag.agent.fused.layout import Orders, Places
from crar_diag.agent.population import OPTIMIZER_OF, OPTIMIZERS
from crar_diag.agent.replay import Transitions
from crar_diag.envs.tiles import TILE_CODES

# Up to so many inputs that are not zero, it is faster to go through them one by one.
FEW = 4


@dataclass(frozen=True, eq=False)
class Memory:
    """One way to lie in memory.

    Attributes:
        layout: what the update is told of it.
        orders: from the population's memory to the update's, and back.
        equal: `[pairs, 2]`, places of running squares that share one place in the update's.
    """

    layout: vector.VectorLayout | image.ImageLayout
    orders: Orders
    equal: np.ndarray

    def holds(self, squares: np.ndarray) -> bool:
        """Whether a member's running squares keep every bit: those of tied inputs must be equal."""
        # As integers: every bit counts, and floating-point units stumble over denormal numbers.
        bits = squares.view(np.int32 if squares.itemsize == 4 else np.int64)
        return bool(_all_equal(bits, self.equal))


@jit
def _all_equal(values: Any, pairs: Any) -> bool:
    different = 0
    for k in range(len(pairs)):
        different += values[pairs[k, 0]] != values[pairs[k, 1]]
    return different == 0


def _memory(found: vector.VectorLayout | image.ImageLayout, *orders: np.ndarray) -> Memory:
    own = Orders(*(order.astype(np.uint32) for order in orders))
    there_and_back = own.pick_squares[own.spread_squares]
    everything = np.arange(len(there_and_back), dtype=np.uint32)
    pairs = np.stack([everything, there_and_back], axis=1)
    return Memory(found, own, pairs[there_and_back != everything])


@dataclass(frozen=True, eq=False)
class _Order:
    """How one component's tensors lie in the update's memory; see `Orders`."""

    lengths: list[int]
    pick: np.ndarray
    spread: np.ndarray


def is_dense(architecture: Architecture) -> bool:
    """Whether `vector.py` can train it: dense networks on vectors, the last layer linear."""
    for component in COMPONENTS:
        layers = architecture.layers(component)
        if isinstance(layers[0], Flatten) != (component == "encoder"):
            return False
        rest = layers[1:] if component == "encoder" else layers
        for layer in rest:
            if not isinstance(layer, Dense) or layer.tanh == (layer is rest[-1]):
                return False
    return len(architecture.state_shape) == 1


def has_trunk(architecture: Architecture) -> bool:
    """Whether the encoder begins with the layers of `quads.py`."""
    if len(architecture.encoder) <= 5:
        return False
    edge = quads.GRID * quads.TILE
    one, two, pool, three, last, *_ = architecture.encoder
    return (
        architecture.observation_shape == (1, edge, edge)
        and isinstance(one, Conv)
        and isinstance(two, Conv)
        and isinstance(three, Conv)
        and (one.kernel, two.kernel, three.kernel) == (2, 2, 3)
        and one.tanh
        and two.tanh
        and three.tanh
        and (pool, last) == (MaxPool(2), MaxPool(quads.TILE // 2))
    )


def vector_memory(architecture: Architecture, mode: str, groups: np.ndarray) -> Memory:
    """Return the memory of dense networks.

    Args:
        architecture: one that `is_dense`.
        mode: of the update, which decides on the optimizers.
        groups: `[features]`, for each pixel the number of its input; see `group_pixels`.
    """
    members = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    orders, sizes = {}, []
    for component in COMPONENTS:
        dense = [layer for layer in architecture.layers(component) if isinstance(layer, Dense)]
        lengths = [x for layer in dense for x in (layer.inputs * layer.outputs, layer.outputs)]
        everything = np.arange(sum(lengths))
        orders[component] = _Order(lengths, everything, everything)
        sizes.append(np.array([dense[0].inputs, *(layer.outputs for layer in dense)]))
    pixels, outputs = sizes[0][0], sizes[0][1]
    weights = np.arange(pixels * outputs).reshape(outputs, pixels).T
    first = weights[[m[0] for m in members]]
    old = orders["encoder"]
    # Where each pixel's weights are found, were it not for the tied ones.
    inputs = np.arange(first.size).reshape(-1, outputs)[groups].T
    rest = np.arange(sum(old.lengths[1:]))
    orders["encoder"] = _Order(
        [first.size, *old.lengths[1:]],
        np.concatenate([first.ravel(), weights.size + rest]),
        np.concatenate([inputs.ravel(), first.size + rest]),
    )
    places, pick, spread, *squares = _together(architecture, mode, orders)
    tied = [(g, m) for g, m in enumerate(members) if len(m) > 1]
    behind = np.concatenate([np.empty(0, np.int64), *(weights[m].ravel() for _, m in tied)])
    spread[behind] = len(pick) + np.arange(len(behind))
    pairs = np.array([(g, len(m)) for g, m in tied], np.int64).reshape(-1, 2)
    found = vector.VectorLayout(places, (sizes[0][1:], *sizes[1:]), len(members), pairs)
    return _memory(found, np.concatenate([pick, behind]), spread, *squares)


def vector_inputs(table: np.ndarray, groups: np.ndarray) -> vector.Inputs:
    """Return distinct pictures as the encoder's inputs.

    Args:
        table: pictures `[K, features]`.
        groups: `[features]`, for each pixel the number of its input.
    """
    dense = np.ascontiguousarray(table[:, np.unique(groups, return_index=True)[1]])
    few = max(np.count_nonzero(dense, axis=1).max(), 1)
    if few > FEW:
        return vector.Inputs(dense, np.empty((len(dense), 0), np.int64), dense[:, :0].copy())
    # A picture with fewer is filled up with inputs of value zero.
    places = np.argsort(dense == 0, axis=1, kind="stable")[:, :few].copy()
    return vector.Inputs(dense, places, np.take_along_axis(dense, places, axis=1))


def group_pixels(table: np.ndarray) -> np.ndarray:
    """Return a number for each pixel, the same for pixels that are equal in every picture.

    Args:
        table: distinct pictures `[K, features]`.

    Returns:
        `[features]`, 0, 1, ... in the order in which they first occur.
    """
    _, first, inverse = np.unique(table.T, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    found: np.ndarray = rank[inverse.reshape(-1)]
    return found


@cache
def image_memory(architecture: Architecture, mode: str, tiled: bool) -> Memory:
    """Return the memory of networks with convolutions.

    Args:
        architecture: whose layers can be anything.
        mode: of the update, which decides on the optimizers.
        tiled: pictures are made of tiles, so that the encoder's first layers work on quads.
    """
    orders = {component: _channels_last(architecture, component) for component in COMPONENTS}
    places, *rest = _together(architecture, mode, orders)
    layers = [_rows(architecture, component) for component in COMPONENTS]
    trunk = quads.Trunk(0, 0, 0, 0)
    if tiled and has_trunk(architecture):
        channels = [int(layers[0][k, convolution.OUTPUTS]) for k in (0, 1, 3)]
        trunk = quads.Trunk(
            channels[0], channels[1], channels[2], sum(orders["encoder"].lengths[:6])
        )
        layers[0] = layers[0][5:].copy()
        layers[0][:, convolution.WEIGHT] -= trunk.parameters
    edge = architecture.state_shape[-1] if architecture.spatial else 0
    return _memory(image.ImageLayout(places, tuple(layers), trunk, edge), *rest)


def _channels_last(architecture: Architecture, component: str) -> _Order:
    """Return the order in which weights are `[kernel, kernel, inputs, outputs]`."""
    lengths, picks, at = [], [], 0
    for name, shape in architecture.shapes().items():
        if name.startswith(f"{component}."):
            size = int(np.prod(shape))
            places = np.arange(at, at + size).reshape(shape)
            axes = (*range(2, len(shape)), 1, 0) if len(shape) > 1 else (0,)
            picks.append(places.transpose(axes).ravel())
            lengths.append(size)
            at += size
    pick = np.concatenate(picks)
    return _Order(lengths, pick, np.argsort(pick))


def _rows(architecture: Architecture, component: str) -> np.ndarray:
    """Return a component's layers as `convolution.forward` wants them."""
    if component == "encoder":
        channels, edge = architecture.observation_shape[0], architecture.observation_shape[-1]
    elif architecture.spatial:
        channels, edge = architecture.state_shape[0], architecture.state_shape[-1]
    else:
        channels, edge = architecture.state_shape[0], 1
    if component in ("transition", "reward", "discount"):
        channels += architecture.actions
    rows, weight = [], 0
    for layer in architecture.layers(component):
        if isinstance(layer, Flatten):
            channels, edge = channels * edge * edge, 1
            continue
        outputs, size, tanh, after = _shape_of(layer, channels, edge)
        kind = convolution.POOL if isinstance(layer, MaxPool) else convolution.CONVOLUTION
        rows.append((kind, channels, outputs, size, tanh, edge, after, weight))
        if kind == convolution.CONVOLUTION:
            weight += (size * size * channels + 1) * outputs
        channels, edge = outputs, after
    return np.array(rows, np.int64)


def _shape_of(layer: Layer, channels: int, edge: int) -> tuple[int, int, bool, int]:
    """Return a layer's outputs, the size of its kernel or pool, its tanh, and the edge after it."""
    if isinstance(layer, MaxPool):
        return channels, layer.size, False, edge // layer.size
    if isinstance(layer, Conv):
        return layer.outputs, layer.kernel, layer.tanh, edge
    assert isinstance(layer, Dense)  # flattening has been taken out
    return layer.outputs, 1, layer.tanh, 1


def _together(
    architecture: Architecture, mode: str, orders: dict[str, _Order]
) -> tuple[Places, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join the components' orders to those of all parameters and of all running squares."""
    old, new = {}, {}
    at_old, at_new = 0, 0
    for component in COMPONENTS:
        old[component], new[component] = at_old, at_new
        at_old += len(orders[component].spread)
        at_new += len(orders[component].pick)
    picks = [old[c] + orders[c].pick for c in COMPONENTS]
    spreads = [new[c] + orders[c].spread for c in COMPONENTS]
    starts = np.array([*new.values(), at_new])

    slots = np.zeros((len(LOSSES), 2), np.int64)
    pick_squares, spread_squares = [], []
    at_old, at_new = 0, 0
    for optimizer, components in OPTIMIZERS[mode].items():
        losses = [k for k, loss in enumerate(LOSSES) if OPTIMIZER_OF[loss] == optimizer]
        for component in (c for c in COMPONENTS if c in components):
            for k in losses:
                if component in ("encoder", LOSSES[k]):
                    slots[k, int(component != "encoder")] = at_new
            pick_squares.append(at_old + orders[component].pick)
            spread_squares.append(at_new + orders[component].spread)
            at_old += len(orders[component].spread)
            at_new += len(orders[component].pick)
    places = Places(
        tuple(np.array(orders[c].lengths) for c in COMPONENTS),
        starts,
        slots,
        int(np.prod(architecture.state_shape)),
        architecture.state_shape[0],
    )
    return (
        places,
        np.concatenate(picks),
        np.concatenate(spreads),
        np.concatenate(pick_squares),
        np.concatenate(spread_squares),
    )


def find_quads(data: Transitions) -> quads.Quads:
    """Return a data set's pictures by their quads.

    Args:
        data: seen through an observer that is tilewise, in tiles of 6 x 6 pixels.
    """
    tiles = data.tiles.numpy().astype(np.int64)
    outside = TILE_CODES
    padded = np.pad(tiles, ((0, 0), (0, 1), (0, 1)), constant_values=outside)
    code = np.zeros_like(tiles)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        code = code * (outside + 1) + padded[:, y : y + quads.GRID, x : x + quads.GRID]
    different, inverse = np.unique(code, return_inverse=True)
    corners = np.stack([different // (outside + 1) ** k % (outside + 1) for k in (3, 2, 1, 0)])
    sprites = np.concatenate([data.observer.table, np.zeros((1, quads.TILE, quads.TILE))])
    upper = np.concatenate([sprites[corners[0]], sprites[corners[1]]], axis=2)
    lower = np.concatenate([sprites[corners[2]], sprites[corners[3]]], axis=2)
    seen = np.concatenate([upper, lower], axis=1)[:, : quads.SEEN, : quads.SEEN]
    return quads.Quads(
        inverse.reshape(len(tiles), -1),
        np.ascontiguousarray(seen).astype(data.rewards.numpy().dtype),
        np.stack([corners[1] != outside, corners[2] != outside], axis=1),
    )
