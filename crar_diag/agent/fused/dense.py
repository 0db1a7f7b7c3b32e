"""Dense tanh networks on flat memory, compiled by Numba: forward and backward.

Activations are stored transposed, `[features, columns]`: with weights as `[outputs, inputs]` every
matrix product is then one that BLAS does at full speed.
"""

from typing import Any

from crar_diag.agent.fused.arithmetic import multiply, tanh, through_tanh
from crar_diag.agent.fused.compiling import borrowing, inlined


@borrowing
def forward(theta: Any, sizes: Any, n: int, a: Any) -> None:
    """Run a tanh network with linear output on n columns; a: every layer's `[size, n]` in turn."""
    weight, layer = 0, 0
    for k in range(sizes.size - 1):
        i, o = sizes[k], sizes[k + 1]
        matrix = theta[weight : weight + o * i].reshape(o, i)
        x = a[layer * n : (layer + i) * n].reshape(i, n)
        flat = a[(layer + i) * n : (layer + i + o) * n]
        y = flat.reshape(o, n)
        multiply(matrix, x, y)
        weight += o * i
        for r in range(o):
            bias = theta[weight + r]
            for c in range(n):
                y[r, c] += bias
        if k < sizes.size - 2:
            tanh(flat)
        weight += o
        layer += i


@borrowing
def transpose(x: Any, out: Any) -> None:
    """Fill `out` with the transpose of `x`."""
    for r in range(len(x)):
        for c in range(x.shape[1]):
            out[c, r] = x[r, c]


@borrowing
def backward(
    theta: Any,
    sizes: Any,
    n: int,
    a: Any,
    inputs: Any,
    da: Any,
    grad: Any,
    rows: Any,
    to_weights: bool,
    to_input: bool,
) -> None:
    """Propagate derivatives back through `forward`.

    inputs: the input once more, `[n, size]`. da: like `a`; its last layer holds the loss's
    derivative, the others are filled (the first only if `to_input`). grad: filled with the
    derivative by `theta` if `to_weights`. rows: scratch.
    """
    weight, layer = theta.size, 0
    for k in range(sizes.size - 1):
        layer += sizes[k]
    for k in range(sizes.size - 2, -1, -1):
        i, o = sizes[k], sizes[k + 1]
        dy = da[layer * n : (layer + o) * n].reshape(o, n)
        layer -= i
        x = a[layer * n : (layer + i) * n].reshape(i, n)
        weight -= o
        if to_weights:
            for r in range(o):
                total = dy[r, 0]
                for c in range(1, n):
                    total += dy[r, c]
                grad[weight + r] = total
        weight -= o * i
        if to_weights:
            xt = inputs[:n]
            if k > 0:
                xt = rows[: n * i].reshape(n, i)
                transpose(x, xt)
            multiply(dy, xt, grad[weight : weight + o * i].reshape(o, i))
        if k > 0 or to_input:
            matrix = theta[weight : weight + o * i].reshape(o, i)
            flat = da[layer * n : (layer + i) * n]
            multiply(matrix.T, dy, flat.reshape(i, n))
            if k > 0:
                through_tanh(flat, a[layer * n : (layer + i) * n])


@inlined
def last_layer(a: Any, sizes: Any, n: int) -> Any:
    """Return the last layer of `a`, flat."""
    end = sizes.sum() * n
    return a[end - sizes[-1] * n : end]
