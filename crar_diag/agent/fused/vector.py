"""Agents with dense networks that see few different pictures, such as the simple maze's.

All matrix products but the encoder's first are those of `dense.py`. The first layer is special, for
its pictures are:

- Pixels that are equal to each other in all pictures (the simple maze's walls) are tied: their
  weights have equal gradients and so take equal steps. They are one input, whose weights are the
  sums of theirs; their own follow behind the parameters, pixel by pixel.
- Where few inputs are not zero (in the simple maze two: walls and player), only those are
  multiplied. The weights are therefore `[inputs, outputs]`, and activations `[pictures, outputs]`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from crar_diag.agent.fused.arithmetic import (
    add_bias,
    clip_scale,
    copy,
    multiply,
    norms,
    rmsprop,
    sum_rows,
    tanh,
    through_tanh,
)
from crar_diag.agent.fused.compiling import borrowing, jit
from crar_diag.agent.fused.dense import backward, forward, last_layer, transpose
from crar_diag.agent.fused.layout import CLIP, ENCODER, EPSILON, Places, Q, common_workspace


class VectorLayout(NamedTuple):
    """The five networks of an agent with dense layers.

    Attributes:
        places: see `Places`.
        sizes: for each component, its layer sizes, inputs and outputs included; the encoder's
            without its input.
        inputs: of the encoder.
        tied: `[groups, 2]`, an input of the encoder that stands for several pixels, and how many.
    """

    places: Places
    sizes: tuple[Any, ...]
    inputs: int
    tied: Any


class Inputs(NamedTuple):
    """The distinct pictures of a data set.

    Attributes:
        dense: `[K, inputs]`.
        places: `[K, few]`, the inputs that are not zero; of no length where they are many.
        values: `[K, few]`, what they are.
    """

    dense: Any
    places: Any
    values: Any


class VectorWork(NamedTuple):
    """Scratch memory of one thread, beside that of all kinds of agents."""

    first: Any  # [columns, outputs], the encoder's first layer
    dfirst: Any
    pixels: Any  # [columns, inputs]
    a: Any  # encoder activations from there on [all layers, columns]
    da: Any  # their derivatives
    compact: Any  # activations of a part of the columns
    compact_first: Any
    head: Any  # head activations [all layers, batch]
    dhead: Any
    rows: Any
    target_q: Any  # [4, K], the target network's Q values of every picture
    encoded: Any  # [columns], the pictures last encoded


@jit
def workspace(layout: Any, theta: Any, table: Any, size: int) -> Any:
    """Return scratch memory for batches of `size` transitions."""
    n, pictures = 2 * size, len(table.dense)
    outputs = layout.sizes[ENCODER][0]
    features = layout.sizes[ENCODER].sum()
    widest, deepest, most = layout.inputs, features, 0
    for sizes in layout.sizes:
        widest = max(widest, sizes.max())
        deepest = max(deepest, sizes.sum())
        most = max(most, sizes[-1])
    kind = theta.dtype
    own = VectorWork(
        np.empty((n, outputs), kind),
        np.empty((n, outputs), kind),
        np.empty((n, layout.inputs), kind),
        np.empty(features * n, kind),
        np.empty(features * n, kind),
        np.empty(features * n, kind),
        np.empty((n, outputs), kind),
        np.empty(deepest * size, kind),
        np.empty(deepest * size, kind),
        np.empty(widest * n, kind),
        np.empty((4, pictures), kind),
        np.empty(n, np.int64),
    )
    return common_workspace(own, layout.places, theta, pictures, most, size)


@borrowing
def _first_layer(theta: Any, layout: Any, table: Any, picks: Any, n: int, work: Any) -> None:
    """Run the encoder's first layer on pictures `picks[:n]`, into `work.own.first`."""
    outputs, size = layout.sizes[ENCODER][0], layout.places.tensors[ENCODER][0]
    weights, bias = theta[:size].reshape(layout.inputs, outputs), theta[size : size + outputs]
    first, places, values = work.own.first[:n], table.places, table.values
    few = places.shape[1]
    if few == 0:
        for c in range(n):
            copy(table.dense[picks[c]], work.own.pixels[c])
        multiply(work.own.pixels[:n], weights, first)
        add_bias(first, bias)
    else:
        for c in range(n):
            for r in range(outputs):
                first[c, r] = bias[r]
            for k in range(few):
                value, own = values[picks[c], k], places[picks[c], k]
                for r in range(outputs):
                    first[c, r] += value * weights[own, r]
    tanh(first.reshape(n * outputs))


@borrowing
def _first_gradient(layout: Any, table: Any, picks: Any, n: int, work: Any) -> None:
    """Fill the first layer's part of the gradient from `work.own.dfirst`, before its tanh."""
    outputs, size = layout.sizes[ENCODER][0], layout.places.tensors[ENCODER][0]
    weights = work.grad[:size].reshape(layout.inputs, outputs)
    bias = work.grad[size : size + outputs]
    dfirst, places, values = work.own.dfirst, table.places, table.values
    few = places.shape[1]
    if few == 0:
        for c in range(n):
            copy(table.dense[picks[c]], work.own.pixels[c])
        multiply(work.own.pixels[:n].T, dfirst[:n], weights)
    else:
        weights[:] = 0
    sum_rows(dfirst[:n], bias)
    for c in range(n):
        for k in range(few):
            value, own = values[picks[c], k], places[picks[c], k]
            for r in range(outputs):
                weights[own, r] += value * dfirst[c, r]


@borrowing
def _rest(layout: Any) -> int:
    """Return where the encoder's second layer begins."""
    return layout.places.tensors[ENCODER][0] + layout.places.tensors[ENCODER][1]


@borrowing
def _encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, a: Any, work: Any) -> None:
    """Run the encoder on pictures `picks[:n]`; the last layer of `a` are the states, `[d, n]`."""
    _first_layer(theta, layout, table, picks, n, work)
    sizes = layout.sizes[ENCODER]
    transpose(work.own.first[:n], a[: sizes[0] * n].reshape(sizes[0], n))
    forward(theta[_rest(layout) : layout.places.starts[1]], sizes, n, a)


@borrowing
def encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, work: Any) -> None:
    """Fill `work.x` with the states of the pictures `picks[:n]`."""
    copy(picks, work.own.encoded[:n])
    _encode(theta, layout, table, picks, n, work.own.a, work)
    states = last_layer(work.own.a, layout.sizes[ENCODER], n)
    copy(states, work.x[: states.size])


@borrowing
def _keep_columns(a: Any, n: int, keep: Any, m: int, out: Any) -> None:
    """Copy columns `keep[:m]` of `a`, `[rows, n]` flat, to `out`, `[rows, m]` flat."""
    for f in range(a.size // n):
        for c in range(m):
            out[f * m + c] = a[f * n + keep[c]]


@borrowing
def encoder_gradient(
    theta: Any, layout: Any, table: Any, n: int, dx: Any, sparse: bool, work: Any
) -> None:
    """Fill the encoder's part of the gradient from the derivative by the states last encoded.

    sparse: leave out the columns without derivative (most of them, in the volume loss).
    """
    sizes, lo, hi = layout.sizes[ENCODER], _rest(layout), layout.places.starts[1]
    d, end = sizes[-1], sizes.sum()
    a, first, pictures, m = work.own.a[: end * n], work.own.first, work.own.encoded, n
    if sparse:
        m = 0
        for c in range(n):
            for f in range(d):
                if dx[f * n + c] != 0:
                    work.picks[m] = c
                    m += 1
                    break
        if m == 0:
            work.grad[:hi] = 0
            return
        _keep_columns(a, n, work.picks, m, work.own.compact)
        _keep_columns(dx[: d * n], n, work.picks, m, work.own.da[(end - d) * m : end * m])
        for c in range(m):
            copy(first[work.picks[c]], work.own.compact_first[c])
            work.picks[c] = pictures[work.picks[c]]
        a, first, pictures = work.own.compact[: end * m], work.own.compact_first, work.picks
    else:
        copy(dx, last_layer(work.own.da, sizes, n))
    backward(
        theta[lo:hi], sizes, m, a, first, work.own.da, work.grad[lo:hi], work.own.rows, True, True
    )
    dfirst = work.own.dfirst[:m]
    transpose(work.own.da[: sizes[0] * m].reshape(sizes[0], m), dfirst)
    through_tanh(dfirst.reshape(m * sizes[0]), first[:m].reshape(m * sizes[0]))
    _first_gradient(layout, table, pictures, m, work)


@borrowing
def run_head(
    theta: Any, layout: Any, head: int, n: int, columns: Any, actions: Any, work: Any
) -> None:
    """Run a head on the states in `work.x` and, where `actions` is not empty, one-hot actions.

    Fills `work.out`, `[outputs, batch]` flat.
    """
    sizes, d, batch = layout.sizes[head], layout.places.dimension, columns.size
    for f in range(d):
        for j in range(batch):
            work.own.head[f * batch + j] = work.x[f * n + columns[j]]
    if actions.size:
        for f in range(d, d + 4):
            for j in range(batch):
                work.own.head[f * batch + j] = 1 if actions[j] == f - d else 0
    starts = layout.places.starts
    forward(theta[starts[head] : starts[head + 1]], sizes, batch, work.own.head)
    copy(last_layer(work.own.head, sizes, batch), work.out[: sizes[-1] * batch])


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
    sizes, d, batch = layout.sizes[head], layout.places.dimension, columns.size
    lo, hi = layout.places.starts[head], layout.places.starts[head + 1]
    copy(work.dout, last_layer(work.own.dhead, sizes, batch))
    inputs = work.own.rows[: batch * sizes[0]].reshape(batch, sizes[0])
    if to_weights:
        transpose(work.own.head[: sizes[0] * batch].reshape(sizes[0], batch), inputs)
    rest = work.own.rows[inputs.size :]
    grad = work.grad[lo:hi]
    backward(
        theta[lo:hi],
        sizes,
        batch,
        work.own.head,
        inputs,
        work.own.dhead,
        grad,
        rest,
        to_weights,
        to_states,
    )
    if to_states:
        for f in range(d):
            for j in range(batch):
                work.dx[f * n + columns[j]] += work.own.dhead[f * batch + j]


@borrowing
def refresh_target(target: Any, layout: Any, table: Any, work: Any) -> None:
    """Note what the target network, which has changed, says of every picture of the table."""
    size = work.columns.shape[1]
    sizes, d = layout.sizes[Q], layout.places.dimension
    starts = layout.places.starts
    for first in range(0, len(table.dense), size):
        n = min(size, len(table.dense) - first)
        for c in range(n):
            work.picks[c] = first + c
        _encode(target, layout, table, work.picks, n, work.own.compact, work)
        copy(last_layer(work.own.compact, layout.sizes[ENCODER], n), work.own.head[: d * n])
        forward(target[starts[Q] : starts[Q + 1]], sizes, n, work.own.head)
        out = last_layer(work.own.head, sizes, n)
        for k in range(4):
            for c in range(n):
                work.own.target_q[k, first + c] = out[k * n + c]


@borrowing
def next_values_known(second: Any, work: Any, layout: Any) -> bool:
    """Fill `work.next_q` with the target network's Q values of the pictures `second`."""
    for k in range(4):
        for j in range(second.size):
            work.next_q[k, j] = work.own.target_q[k, second[j]]
    return True


@borrowing
def square_norms(layout: Any, component: int, grad: Any, squares: Any) -> None:
    """Fill `squares` with the squared norm of each tensor of a component's gradient."""
    norms(grad, layout.places.tensors[component], squares)
    if component == ENCODER:
        outputs = layout.sizes[ENCODER][0]
        for t in range(len(layout.tied)):
            own, pixels = layout.tied[t]
            once = grad[0] - grad[0]
            for k in range(own * outputs, (own + 1) * outputs):
                once += grad[k] * grad[k]
            squares[0] += (pixels - 1) * once


@borrowing
def _move_and_sum(pixels: Any, step: Any, total: Any) -> None:
    """Add a step to the weights of some pixels, `[pixels, outputs]`, and sum them up."""
    total[:] = 0
    for p in range(len(pixels)):
        for r in range(step.size):
            moved = pixels[p, r] + step[r]
            pixels[p, r] = moved
            total[r] += moved


@borrowing
def _move_tied(theta: Any, layout: Any, steps: Any) -> None:
    """Add the steps of tied inputs to their pixels' weights, and sum those up anew.

    steps: in the order of the first layer's weights.
    """
    outputs, at = layout.sizes[ENCODER][0], layout.places.starts[5]
    for t in range(len(layout.tied)):
        own, pixels = layout.tied[t]
        weights = theta[at : at + pixels * outputs].reshape(pixels, outputs)
        lo, hi = own * outputs, (own + 1) * outputs
        _move_and_sum(weights, steps[lo:hi], theta[lo:hi])
        at += pixels * outputs


@jit
def sum_tied(theta: Any, layout: Any) -> None:
    """Set the weights of the inputs that stand for several pixels to the sums of those pixels'."""
    _move_tied(theta, layout, np.zeros(layout.inputs * layout.sizes[ENCODER][0], theta.dtype))


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
    starts = layout.places.starts
    own = theta[starts[component] : starts[component + 1]]
    rmsprop(own, grad, v, layout.places.tensors[component], squares, norm, rate, hyper)
    if component == ENCODER and len(layout.tied) and squares[0] > 0:
        outputs = layout.sizes[ENCODER][0]
        scale = clip_scale(norm if norm >= 0 else squares[0], hyper[CLIP])
        for t in range(len(layout.tied)):
            first = layout.tied[t, 0] * outputs
            for k in range(first, first + outputs):  # the gradient is not needed any more
                grad[k] = -rate * (grad[k] * scale) / (math.sqrt(v[k]) + hyper[EPSILON])
        _move_tied(theta, layout, grad)
