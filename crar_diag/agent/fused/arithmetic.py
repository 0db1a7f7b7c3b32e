"""What dense and convolutional networks share: tanh, and RMSprop on flat memory."""

import math
from typing import Any

import numpy as np

from crar_diag.agent.fused.compiling import borrowing, jit
from crar_diag.agent.fused.layout import CLIP, EPSILON, ONE_MINUS_RHO, RHO

# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8], minimax fit; absolute error below 3e-7 in single
# precision, and never above 1. Double precision uses the library's tanh.
_TANH_BOUND = np.float32(8.0)
_P0, _P1, _P2, _P3, _P4 = map(
    np.float32, (0.99999999, 0.134445176, 3.57162116e-3, 2.18950381e-5, 1.52309310e-8)
)
_Q1, _Q2, _Q3, _Q4 = map(np.float32, (0.467778449, 2.61645313e-2, 3.41132965e-4, 8.52265837e-7))
_ONE = np.float32(1.0)


@jit
def multiply(a: Any, b: Any, out: Any) -> None:
    """Fill `out` with the product of two matrices; for functions that cannot call `np.dot`."""
    np.dot(a, b, out)


@borrowing
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


@borrowing
def through_tanh(dy: Any, y: Any) -> None:
    """Multiply a derivative by tanh's, 1 - y^2 (both flat)."""
    for k in range(dy.size):
        dy[k] -= dy[k] * y[k] * y[k]


@borrowing
def add_bias(y: Any, bias: Any) -> None:
    """Add a bias `[outputs]` to each row of `y`, `[rows, outputs]`."""
    for r in range(len(y)):
        for o in range(bias.size):
            y[r, o] += bias[o]


@borrowing
def sum_rows(dy: Any, total: Any) -> None:
    """Fill `total`, the derivative by a bias, with the sum of the rows of `dy`."""
    total[:] = 0
    for r in range(len(dy)):
        for o in range(total.size):
            total[o] += dy[r, o]


@borrowing
def copy(source: Any, goal: Any) -> None:
    """Fill `goal` (flat) with the numbers of `source`."""
    for k in range(goal.size):
        goal[k] = source[k]


@borrowing
def copy_run(source: Any, of: int, goal: Any, to: int, length: int) -> None:
    """Copy `length` numbers from place `of` of a flat array to place `to` of another.

    Places are unsigned inside, here and in the next two functions: signed ones might count from
    the end, and the loops would not be vectorised.
    """
    first, last = np.uintp(of), np.uintp(to)
    for k in range(np.uintp(length)):
        goal[last + k] = source[first + k]


@borrowing
def add_run(source: Any, of: int, goal: Any, to: int, length: int) -> None:
    """Do the same, adding."""
    first, last = np.uintp(of), np.uintp(to)
    for k in range(np.uintp(length)):
        goal[last + k] += source[first + k]


@borrowing
def clear_run(goal: Any, to: int, length: int) -> None:
    """Zero `length` numbers from place `to` of a flat array on."""
    last = np.uintp(to)
    for k in range(np.uintp(length)):
        goal[last + k] = 0


@borrowing
def norms(grad: Any, tensors: Any, squares: Any) -> None:
    """Put the sum of squares of each tensor, one after the other in `grad`, into `squares`."""
    at = 0
    for k in range(tensors.size):
        part = grad[at : at + tensors[k]]
        total = part[0] * part[0]
        for c in range(1, part.size):
            total += part[c] * part[c]
        squares[k] = total
        at += tensors[k]


@borrowing
def _descend(p: Any, d: Any, s: Any, scale: Any, rate: Any, hyper: Any) -> None:
    rho, one_minus_rho, eps = hyper[RHO], hyper[ONE_MINUS_RHO], hyper[EPSILON]
    for c in range(p.size):
        g = d[c] * scale
        w = rho * s[c] + one_minus_rho * g * g
        s[c] = w
        p[c] -= rate * g / (math.sqrt(w) + eps)


@borrowing
def clip_scale(square: Any, clip: Any) -> Any:
    """Return what a gradient is multiplied by so that its norm is `clip` at most."""
    return clip / max(math.sqrt(square), clip)


@borrowing
def rmsprop(
    theta: Any, grad: Any, v: Any, tensors: Any, squares: Any, norm: Any, rate: Any, hyper: Any
) -> None:
    """Clip, then v = rho v + (1 - rho) g^2, theta -= rate g / (sqrt(v) + eps).

    norm: the square of the norm for global clipping, or negative for clipping tensor by tensor.
    """
    at, k = 0, 0
    while k < tensors.size:
        # Neighbours that are scaled alike are one long loop; usually nothing is clipped.
        scale = clip_scale(norm if norm >= 0 else squares[k], hyper[CLIP])
        end, moves = at, False
        while k < tensors.size and (norm >= 0 or clip_scale(squares[k], hyper[CLIP]) == scale):
            end += tensors[k]
            moves = moves or squares[k] > 0
            k += 1
        if moves:
            _descend(theta[at:end], grad[at:end], v[at:end], scale, rate, hyper)
        else:  # often so in the volume loss
            for c in range(at, end):
                v[c] *= hyper[RHO]
        at = end
