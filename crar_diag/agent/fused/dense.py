"""Dense tanh networks and RMSprop on flat memory, compiled by Numba: forward, backward, update.

Activations are stored transposed, `[features, columns]`: with weights as `[outputs, inputs]` every
matrix product is then one that BLAS does at full speed.
"""

import math
from typing import Any

import numpy as np

from crar_diag.agent.fused.compiling import jit

# Hyperparameters, in this order in one array of the agent's precision.
RHO, ONE_MINUS_RHO, EPSILON, CLIP, GAMMA, PAIR_SCALE, PAIR_LOW, PAIR_HIGH, VOLUME_LIMIT = range(9)

# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8], minimax fit; absolute error below 3e-7 in single
# precision, and never above 1. Double precision uses the library's tanh.
_TANH_BOUND = np.float32(8.0)
_P0, _P1, _P2, _P3, _P4 = map(
    np.float32, (0.99999999, 0.134445176, 3.57162116e-3, 2.18950381e-5, 1.52309310e-8)
)
_Q1, _Q2, _Q3, _Q4 = map(np.float32, (0.467778449, 2.61645313e-2, 3.41132965e-4, 8.52265837e-7))
_ONE = np.float32(1.0)


@jit
def tanh(y: Any) -> None:
    """Replace `y` (flat) by its hyperbolic tangent."""
    if y.itemsize == 8:
        for k in range(y.size):
            y[k] = math.tanh(y[k])
    else:
        for k in range(y.size):
            x = y[k]
            # Comparisons that NaN fails, so that it stays what it is.
            x = _TANH_BOUND if x > _TANH_BOUND else x
            x = -_TANH_BOUND if x < -_TANH_BOUND else x
            u = x * x
            p = (((_P4 * u + _P3) * u + _P2) * u + _P1) * u + _P0
            q = (((_Q4 * u + _Q3) * u + _Q2) * u + _Q1) * u + _ONE
            y[k] = x * p / q


@jit
def forward(theta: Any, sizes: Any, n: int, a: Any) -> None:
    """Run a tanh network with linear output on n columns; a: every layer's `[size, n]` in turn."""
    weight, layer = 0, 0
    for k in range(sizes.size - 1):
        i, o = sizes[k], sizes[k + 1]
        matrix = theta[weight : weight + o * i].reshape(o, i)
        x = a[layer * n : (layer + i) * n].reshape(i, n)
        flat = a[(layer + i) * n : (layer + i + o) * n]
        y = flat.reshape(o, n)
        np.dot(matrix, x, y)
        weight += o * i
        for r in range(o):
            bias = theta[weight + r]
            for c in range(n):
                y[r, c] += bias
        if k < sizes.size - 2:
            tanh(flat)
        weight += o
        layer += i


@jit
def backward(
    theta: Any, sizes: Any, n: int, a: Any, da: Any, grad: Any, rows: Any, to_input: bool
) -> None:
    """Propagate derivatives back through `forward`.

    da: like `a`; its last layer holds the loss's derivative, the others are filled (the first only
    if `to_input`). grad: filled with the derivative by `theta`. rows: scratch.
    """
    weight, layer = grad.size, 0
    for k in range(sizes.size - 1):
        layer += sizes[k]
    for k in range(sizes.size - 2, -1, -1):
        i, o = sizes[k], sizes[k + 1]
        dy = da[layer * n : (layer + o) * n].reshape(o, n)
        layer -= i
        x = a[layer * n : (layer + i) * n].reshape(i, n)
        weight -= o
        for r in range(o):
            total = dy[r, 0]
            for c in range(1, n):
                total += dy[r, c]
            grad[weight + r] = total
        weight -= o * i
        xt = rows[: n * i].reshape(n, i)
        for r in range(i):
            for c in range(n):
                xt[c, r] = x[r, c]
        np.dot(dy, xt, grad[weight : weight + o * i].reshape(o, i))
        if k > 0 or to_input:
            matrix = theta[weight : weight + o * i].reshape(o, i)
            flat = da[layer * n : (layer + i) * n]
            np.dot(matrix.T, dy, flat.reshape(i, n))
            if k > 0:
                act = a[layer * n : (layer + i) * n]
                for c in range(flat.size):
                    flat[c] -= flat[c] * act[c] * act[c]


@jit
def norms(grad: Any, sizes: Any, squares: Any) -> int:
    """Put each tensor's sum of squares into `squares`; return the number of tensors."""
    at, tensor = 0, 0
    for k in range(sizes.size - 1):
        for length in (sizes[k] * sizes[k + 1], sizes[k + 1]):
            part = grad[at : at + length]
            total = part[0] * part[0]
            for c in range(1, length):
                total += part[c] * part[c]
            squares[tensor] = total
            at += length
            tensor += 1
    return tensor


@jit
def rmsprop(
    theta: Any, grad: Any, v: Any, sizes: Any, squares: Any, total: Any, rate: Any, hyper: Any
) -> None:
    """Clip, then v = rho v + (1 - rho) g^2, theta -= rate g / (sqrt(v) + eps).

    total: the squared norm for global clipping, or negative for clipping tensor by tensor.
    """
    rho, one_minus_rho, eps, clip = hyper[RHO], hyper[ONE_MINUS_RHO], hyper[EPSILON], hyper[CLIP]
    at, tensor = 0, 0
    for k in range(sizes.size - 1):
        for length in (sizes[k] * sizes[k + 1], sizes[k + 1]):
            square = total if total >= 0 else squares[tensor]
            scale = clip / max(math.sqrt(square), clip)
            p, d, s = theta[at : at + length], grad[at : at + length], v[at : at + length]
            for c in range(length):
                g = d[c] * scale
                w = rho * s[c] + one_minus_rho * g * g
                s[c] = w
                p[c] -= rate * g / (math.sqrt(w) + eps)
            at += length
            tensor += 1
