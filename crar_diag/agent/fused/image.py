"""Agents with convolutions, such as the labyrinth's, or with too many pictures for a table.

The networks are those of `convolution.py`; where pictures are made of tiles, the encoder's first
layers are those of `quads.py`, an exact saving, and else they are layers like all others.
"""

from typing import Any, NamedTuple

import numpy as np

from crar_diag.agent.fused import quads
from crar_diag.agent.fused.arithmetic import copy, norms, rmsprop
from crar_diag.agent.fused.compiling import borrowing, inlined, jit
from crar_diag.agent.fused.convolution import (
    AFTER,
    EDGE,
    INPUTS,
    OUTPUTS,
    backward,
    forward,
    numbers,
    patches,
)
from crar_diag.agent.fused.layout import ENCODER, Places, common_workspace


class ImageLayout(NamedTuple):
    """The five networks of an agent.

    Attributes:
        places: see `Places`.
        layers: for each component, its layers; see `convolution.KIND` and what follows it.
        trunk: the encoder's layers before its `layers`, where they work on quads.
        edge: of a state that is an image; 0 for a vector.
    """

    places: Places
    layers: tuple[Any, ...]
    trunk: quads.Trunk
    edge: int


class Pictures(NamedTuple):
    """What an encoder sees: pixels `[K, numbers]`, channels last, or the quads; not both."""

    pixels: Any
    quads: quads.Quads


class ImageWork(NamedTuple):
    """Scratch memory of one thread, beside that of all kinds of agents."""

    trunk: Any  # see `quads.TrunkWork`
    a: Any  # encoder activations [all layers, pictures]
    da: Any  # their derivatives
    head: Any  # head activations [all layers, batch]
    dhead: Any
    rows: Any  # unrolled patches
    drows: Any


@borrowing
def _outputs(layers: Any) -> int:
    return layers[-1, AFTER] ** 2 * layers[-1, OUTPUTS]


@jit
def workspace(layout: Any, theta: Any, table: Any, size: int) -> Any:
    """Return scratch memory for batches of `size` transitions."""
    n, pictures = 2 * size, max(len(table.pixels), len(table.quads.of_picture))
    scratch, deepest, outputs = patches(layout.layers[ENCODER], n), 0, 0
    for layers in layout.layers:
        scratch = max(scratch, patches(layers, size))
        deepest = max(deepest, numbers(layers))
        outputs = max(outputs, _outputs(layers))
    encoder, kind = numbers(layout.layers[ENCODER]), theta.dtype
    own = ImageWork(
        quads.trunk_workspace(theta, layout.trunk, table.quads, n),
        np.empty(encoder * n, kind),
        np.empty(encoder * n, kind),
        np.empty(deepest * size, kind),
        np.empty(deepest * size, kind),
        np.empty(scratch, kind),
        np.empty(scratch, kind),
    )
    return common_workspace(own, layout.places, theta, pictures, outputs, size)


@inlined
def _last(a: Any, layers: Any, n: int) -> Any:
    """Return the last layer of `a`, flat, channels last."""
    end = numbers(layers) * n
    return a[end - _outputs(layers) * n : end]


@borrowing
def _to_columns(last: Any, layers: Any, n: int, columns: Any) -> None:
    """Turn a last layer `[n, positions, channels]` into `[channels * positions, n]`, both flat."""
    positions, channels = layers[-1, AFTER] ** 2, layers[-1, OUTPUTS]
    for s in range(n):
        for p in range(positions):
            for c in range(channels):
                columns[(c * positions + p) * n + s] = last[(s * positions + p) * channels + c]


@borrowing
def _from_columns(columns: Any, layers: Any, n: int, last: Any) -> None:
    """Do `_to_columns` the other way round."""
    positions, channels = layers[-1, AFTER] ** 2, layers[-1, OUTPUTS]
    for s in range(n):
        for p in range(positions):
            for c in range(channels):
                last[(s * positions + p) * channels + c] = columns[(c * positions + p) * n + s]


@inlined
def _input(a: Any, layers: Any, n: int) -> Any:
    """Return the first layer of `a`, flat."""
    return a[: n * layers[0, EDGE] ** 2 * layers[0, INPUTS]]


@borrowing
def encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, work: Any) -> None:
    """Fill `work.x` with the states of the pictures `picks[:n]`."""
    layers, own = layout.layers[ENCODER], layout.trunk.parameters
    first = _input(work.own.a, layers, n)
    if own:
        quads.run(theta[:own], layout.trunk, table.quads, picks, n, first, work.own.trunk)
    else:
        size = table.pixels.shape[1]
        for c in range(n):
            copy(table.pixels[picks[c]], first[c * size : (c + 1) * size])
    forward(theta[own : layout.places.starts[1]], layers, n, work.own.a, work.own.rows)
    _to_columns(_last(work.own.a, layers, n), layers, n, work.x)


@borrowing
def _any(values: Any) -> bool:
    """Return whether one of some numbers is not zero (NaN is not)."""
    found = False
    for k in range(values.size):
        found = found or values[k] != 0
    return found


@borrowing
def encoder_gradient(
    theta: Any, layout: Any, table: Any, n: int, dx: Any, sparse: bool, work: Any
) -> None:
    """Fill the encoder's part of the gradient from the derivative by the states last encoded.

    sparse: look first whether there is any derivative (in the volume loss there often is none).
    """
    layers, own = layout.layers[ENCODER], layout.trunk.parameters
    lo, hi = own, layout.places.starts[1]
    if sparse and not _any(dx[: layout.places.dimension * n]):
        work.grad[:hi] = 0
        return
    _from_columns(dx, layers, n, _last(work.own.da, layers, n))
    backward(
        theta[lo:hi],
        layers,
        n,
        work.own.a,
        work.own.da,
        work.grad[lo:hi],
        work.own.rows,
        work.own.drows,
        True,
        own > 0,
    )
    if own:
        out, dout = _input(work.own.a, layers, n), _input(work.own.da, layers, n)
        quads.gradient(
            theta[:own], layout.trunk, table.quads, n, out, dout, work.grad[:own], work.own.trunk
        )


@borrowing
def _place_of_state(layout: Any, actions: Any) -> int:
    """Return the channel at which the state begins in a head's input.

    Images have the action's planes before them, vectors the action behind (`networks.join`).
    """
    return 4 if layout.edge and actions.size else 0


@borrowing
def run_head(
    theta: Any, layout: Any, head: int, n: int, columns: Any, actions: Any, work: Any
) -> None:
    """Run a head on the states in `work.x` and, where `actions` is not empty, one-hot actions.

    Fills `work.out`, `[outputs, batch]` flat.
    """
    layers, batch, c = layout.layers[head], columns.size, layout.places.channels
    positions, state = layout.places.dimension // c, _place_of_state(layout, actions)
    action, width = 0 if state else c, layers[0, INPUTS]
    for j in range(batch):
        for p in range(positions):
            at = (j * positions + p) * width
            for f in range(c):
                work.own.head[at + state + f] = work.x[(f * positions + p) * n + columns[j]]
            if actions.size:
                for k in range(4):
                    work.own.head[at + action + k] = 1 if actions[j] == k else 0
    starts = layout.places.starts
    forward(theta[starts[head] : starts[head + 1]], layers, batch, work.own.head, work.own.rows)
    _to_columns(_last(work.own.head, layers, batch), layers, batch, work.out)


@borrowing
def head_gradient(
    theta: Any,
    layout: Any,
    head: int,
    n: int,
    columns: Any,
    actions: Any,
    to_weights: bool,
    to_states: bool,
    work: Any,
) -> None:
    """Take `work.dout` back through the head that ran last.

    Fills the head's part of the gradient if `to_weights`; adds to `work.dx` if `to_states`.
    """
    layers, batch, c = layout.layers[head], columns.size, layout.places.channels
    lo, hi = layout.places.starts[head], layout.places.starts[head + 1]
    _from_columns(work.dout, layers, batch, _last(work.own.dhead, layers, batch))
    backward(
        theta[lo:hi],
        layers,
        batch,
        work.own.head,
        work.own.dhead,
        work.grad[lo:hi],
        work.own.rows,
        work.own.drows,
        to_weights,
        to_states,
    )
    if to_states:
        positions, state = layout.places.dimension // c, _place_of_state(layout, actions)
        width = layers[0, INPUTS]
        for j in range(batch):
            for p in range(positions):
                at = (j * positions + p) * width + state
                for f in range(c):
                    work.dx[(f * positions + p) * n + columns[j]] += work.own.dhead[at + f]


@borrowing
def refresh_target(target: Any, layout: Any, table: Any, work: Any) -> None:
    """Do nothing: the target network's values are computed for each batch."""


@borrowing
def next_values_known(second: Any, work: Any, layout: Any) -> bool:
    """Return that they are not: the target network runs on every batch."""
    return False


@borrowing
def square_norms(layout: Any, component: int, grad: Any, squares: Any) -> None:
    """Fill `squares` with the squared norm of each tensor of a component's gradient."""
    norms(grad, layout.places.tensors[component], squares)


@jit
def sum_tied(theta: Any, layout: Any) -> None:
    """Do nothing: no inputs are tied."""


@borrowing
def descend(
    theta: Any,
    layout: Any,
    component: int,
    grad: Any,
    v: Any,
    squares: Any,
    norm: Any,
    rate: Any,
    hyper: Any,
) -> None:
    """Take an RMSprop step on a component's parameters; see `rmsprop`."""
    lo, hi = layout.places.starts[component], layout.places.starts[component + 1]
    rmsprop(theta[lo:hi], grad, v, layout.places.tensors[component], squares, norm, rate, hyper)
