"""Networks of convolutions, pooling and dense layers on flat memory, compiled by Numba.

Activations are stored channels-last, `[samples, height, width, channels]`; a weight is
`[kernel, kernel, inputs, outputs]`. A convolution is then one matrix product on the unrolled
patches of some samples, a dense layer a convolution of images of one pixel, and flattening is
nothing at all.
"""

from typing import Any

import numpy as np

from crar_diag.agent.fused.arithmetic import (
    add_bias,
    add_run,
    clear_run,
    copy_run,
    sum_rows,
    tanh,
    through_tanh,
)
from crar_diag.agent.fused.compiling import jit

KIND, INPUTS, OUTPUTS, SIZE, TANH, EDGE, AFTER, WEIGHT = range(8)
"""What a row of `layers` says: which kind, its channels, the size of its kernel or pool, whether
tanh follows, the edge of its images before and after, and the place of its weight."""

CONVOLUTION, POOL = 0, 1

PATCHES = 1 << 16
"""Numbers in the unrolled patches of one matrix product, unless one sample has more: they stay in
the cache."""


@jit
def numbers(layers: Any) -> int:
    """Return how many numbers one sample has in all layers together."""
    total = layers[0, EDGE] ** 2 * layers[0, INPUTS]
    for k in range(len(layers)):
        total += layers[k, AFTER] ** 2 * layers[k, OUTPUTS]
    return total


@jit
def together(layer: Any, n: int) -> int:
    """Return on how many of n samples one matrix product of a layer works."""
    return min(n, max(1, PATCHES // (layer[EDGE] ** 2 * layer[SIZE] ** 2 * layer[INPUTS])))


@jit
def patches(layers: Any, n: int) -> int:
    """Return how much scratch memory `forward` and `backward` need for n samples."""
    most = 0
    for k in range(len(layers)):
        one = layers[k, EDGE] ** 2 * layers[k, SIZE] ** 2 * layers[k, INPUTS]
        most = max(most, together(layers[k], n) * one)
    return most


@jit
def _unroll(x: Any, start: int, n: int, edge: int, channels: int, kernel: int, rows: Any) -> None:
    """Put the patch of every position of n samples, `[kernel, kernel, channels]`, into `rows`.

    Patches are zero outside of the image. x: flat, the samples from `start` on.
    """
    before, at, line = (kernel - 1) // 2, 0, kernel * channels
    for s in range(start, start + n):
        for y in range(edge):
            for column in range(edge):
                left = max(0, before - column)
                right = min(kernel, edge + before - column)
                for row in range(y - before, y - before + kernel):
                    if 0 <= row < edge:
                        source = ((s * edge + row) * edge + column + left - before) * channels
                        clear_run(rows, at, left * channels)
                        copy_run(x, source, rows, at + left * channels, (right - left) * channels)
                        clear_run(rows, at + right * channels, (kernel - right) * channels)
                    else:
                        clear_run(rows, at, line)
                    at += line


@jit
def _roll(rows: Any, n: int, edge: int, channels: int, kernel: int, x: Any, start: int) -> None:
    """Add every patch in `rows` to where `_unroll` took it from."""
    before, at, line = (kernel - 1) // 2, 0, kernel * channels
    for s in range(start, start + n):
        for y in range(edge):
            for column in range(edge):
                left = max(0, before - column)
                right = min(kernel, edge + before - column)
                for row in range(y - before, y - before + kernel):
                    if 0 <= row < edge:
                        goal = ((s * edge + row) * edge + column + left - before) * channels
                        add_run(rows, at + left * channels, x, goal, (right - left) * channels)
                    at += line


@jit
def _place(k: int, place: int, size: int, after: int) -> int:
    """Return the pixel at a place of the square that the k-th pixel after a pool is made of."""
    row, column = (k // after) * size + place // size, (k % after) * size + place % size
    return row * after * size + column


@jit
def _pool(x: Any, size: int, after: int, y: Any) -> None:
    """Take the maximum over squares. x: `[pixels, channels]` of all samples; y: the same after."""
    for k in range(len(y)):
        y[k] = x[_place(k, 0, size, after)]
        for place in range(1, size * size):
            pixel = _place(k, place, size, after)
            for c in range(y.shape[1]):
                larger = x[pixel, c] > y[k, c] or x[pixel, c] != x[pixel, c]
                y[k, c] = x[pixel, c] if larger else y[k, c]


@jit
def _unpool(dy: Any, y: Any, x: Any, size: int, after: int, dx: Any) -> None:
    """Give the derivative by each maximum to the first number that is it; `dy` is used up."""
    zero = dy[0, 0] - dy[0, 0]
    for k in range(len(y)):
        for place in range(size * size):
            pixel = _place(k, place, size, after)
            for c in range(y.shape[1]):
                found = x[pixel, c] == y[k, c]
                dx[pixel, c] = dy[k, c] if found else zero
                dy[k, c] = zero if found else dy[k, c]


@jit
def forward(theta: Any, layers: Any, n: int, a: Any, rows: Any) -> None:
    """Run a network on n samples.

    theta: its parameters. a: every layer's numbers in turn, of which the input is given. rows:
    scratch, see `patches`.
    """
    at = 0
    for k in range(len(layers)):
        i, o, size = layers[k, INPUTS], layers[k, OUTPUTS], layers[k, SIZE]
        edge, after, weight = layers[k, EDGE], layers[k, AFTER], layers[k, WEIGHT]
        middle = at + n * edge * edge * i
        x, flat = a[at:middle], a[middle : middle + n * after * after * o]
        at = middle
        if layers[k, KIND] == POOL:
            _pool(x.reshape(n * edge * edge, i), size, after, flat.reshape(n * after * after, o))
            continue
        fan, pixels = size * size * i, edge * edge
        matrix = theta[weight : weight + fan * o].reshape(fan, o)
        y = flat.reshape(n * pixels, o)
        if size == 1:
            np.dot(x.reshape(n * pixels, i), matrix, y)
        else:
            some = together(layers[k], n)
            for s in range(0, n, some):
                m = min(some, n - s)
                _unroll(x, s, m, edge, i, size, rows)
                patch = rows[: m * pixels * fan].reshape(m * pixels, fan)
                np.dot(patch, matrix, y[s * pixels : (s + m) * pixels])
        add_bias(y, theta[weight + fan * o : weight + fan * o + o])
        if layers[k, TANH]:
            tanh(flat)


@jit
def backward(
    theta: Any,
    layers: Any,
    n: int,
    a: Any,
    da: Any,
    grad: Any,
    rows: Any,
    drows: Any,
    to_weights: bool,
    to_input: bool,
) -> None:
    """Propagate derivatives back through `forward`.

    da: like `a`; its last layer holds the loss's derivative, the others are filled (the first only
    if `to_input`). grad: filled with the derivative by `theta` if `to_weights`. rows, drows:
    scratch.
    """
    end = numbers(layers) * n
    for k in range(len(layers) - 1, -1, -1):
        i, o, size = layers[k, INPUTS], layers[k, OUTPUTS], layers[k, SIZE]
        edge, after, weight = layers[k, EDGE], layers[k, AFTER], layers[k, WEIGHT]
        middle = end - n * after * after * o
        at = middle - n * edge * edge * i
        x, flat, dflat = a[at:middle], a[middle:end], da[middle:end]
        end = middle
        dx, goes_on = da[at:middle], k > 0 or to_input
        if layers[k, KIND] == POOL:
            if goes_on:
                y, dy = flat.reshape(n * after * after, o), dflat.reshape(n * after * after, o)
                shape = (n * edge * edge, i)
                _unpool(dy, y, x.reshape(shape), size, after, dx.reshape(shape))
            continue
        if layers[k, TANH]:
            through_tanh(dflat, flat)
        fan, pixels = size * size * i, edge * edge
        dy = dflat.reshape(n * pixels, o)
        matrix = theta[weight : weight + fan * o].reshape(fan, o)
        dmatrix = grad[weight : weight + fan * o].reshape(fan, o)
        if to_weights:
            sum_rows(dy, grad[weight + fan * o : weight + fan * o + o])
        if size == 1:
            if to_weights:
                np.dot(x.reshape(n * pixels, i).T, dy, dmatrix)
            if goes_on:
                np.dot(dy, matrix.T, dx.reshape(n * pixels, i))
            continue
        if goes_on:
            dx[:] = 0
        if to_weights:
            dmatrix[:] = 0
        part = np.empty((fan, o), theta.dtype)
        some = together(layers[k], n)
        for s in range(0, n, some):
            m = min(some, n - s)
            shape = (m * pixels, fan)
            own = dy[s * pixels : (s + m) * pixels]
            if to_weights:
                _unroll(x, s, m, edge, i, size, rows)
                np.dot(rows[: m * pixels * fan].reshape(shape).T, own, part)
                dmatrix += part
            if goes_on:
                np.dot(own, matrix.T, drows[: m * pixels * fan].reshape(shape))
                _roll(drows, m, edge, i, size, dx, s)
