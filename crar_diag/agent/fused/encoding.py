"""The encoder and the heads of the fused update, on the distinct pictures of a batch."""

from typing import Any

from crar_diag.agent.fused.compiling import jit
from crar_diag.agent.fused.dense import backward, forward
from crar_diag.agent.fused.layout import ENCODER, Q


@jit
def _copy_columns(table: Any, picks: Any, n: int, out: Any) -> None:
    """Put columns `picks[:n]` of `table` `[features, K]` into `out`, `[features, n]` flat."""
    for f in range(table.shape[0]):
        for c in range(n):
            out[f * n + c] = table[f, picks[c]]


@jit
def distinct_pictures(
    first: Any, second: Any, slots: Any, picks: Any, columns: Any
) -> tuple[int, int]:
    """Number the distinct pictures of a batch, those of s before those only in s'.

    slots: `[K]` of -1, restored at the end. picks: filled with the pictures in order.
    columns: `[3, batch]`, filled with each transition's column for s, s', and s rolled by one.
    Returns how many s shows, and how many s and s' show together.
    """
    n = 0
    for j in range(first.size):
        k = first[j]
        if slots[k] < 0:
            slots[k] = n
            picks[n] = k
            n += 1
        columns[0, j] = slots[k]
    for j in range(first.size):
        columns[2, j] = columns[0, j - 1]
    of_s = n
    for j in range(second.size):
        k = second[j]
        if slots[k] < 0:
            slots[k] = n
            picks[n] = k
            n += 1
        columns[1, j] = slots[k]
    for c in range(n):
        slots[picks[c]] = -1
    return of_s, n


@jit
def _head_input(x: Any, n: int, d: int, columns: Any, actions: Any, a: Any) -> None:
    """Put states and, where `actions` is not empty, one-hot actions into a head's first layer."""
    batch = columns.size
    for f in range(d):
        for j in range(batch):
            a[f * batch + j] = x[f * n + columns[j]]
    if actions.size:
        for f in range(d, d + 4):
            for j in range(batch):
                a[f * batch + j] = 1 if actions[j] == f - d else 0


@jit
def _keep_columns(a: Any, n: int, keep: Any, m: int, out: Any) -> None:
    """Copy columns `keep[:m]` of `a`, `[rows, n]` flat, to `out`, `[rows, m]` flat."""
    for f in range(a.size // n):
        for c in range(m):
            out[f * m + c] = a[f * n + keep[c]]


@jit
def encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, a: Any) -> None:
    """Run the encoder on `n` columns of the table; see `forward` for `a`."""
    _copy_columns(table, picks, n, a)
    forward(theta[: layout.starts[1]], layout.sizes[ENCODER], n, a)


@jit
def last_layer(a: Any, sizes: Any, n: int) -> Any:
    """Return the last layer of `a`, flat."""
    end = sizes.sum() * n
    return a[end - sizes[-1] * n : end]


@jit
def run_head(
    theta: Any, layout: Any, head: int, x: Any, n: int, columns: Any, actions: Any, work: Any
) -> Any:
    """Run a head on the batch; return its output, `[outputs * batch]`."""
    sizes = layout.sizes[head]
    _head_input(x, n, layout.sizes[ENCODER][-1], columns, actions, work.head)
    forward(theta[layout.starts[head] : layout.starts[head + 1]], sizes, columns.size, work.head)
    return last_layer(work.head, sizes, columns.size)


@jit
def target_values(target: Any, layout: Any, table: Any, values: Any, work: Any) -> None:
    """Fill `values`, `[4, K]`, with the target network's Q values of every picture of the table."""
    size = work.columns.shape[1]
    sizes, d = layout.sizes[Q], layout.sizes[ENCODER][-1]
    for first in range(0, table.shape[1], size):
        n = min(size, table.shape[1] - first)
        for c in range(n):
            work.picks[c] = first + c
        encode(target, layout, table, work.picks, n, work.compact)
        work.head[: d * n] = last_layer(work.compact, layout.sizes[ENCODER], n)
        forward(target[layout.starts[Q] : layout.starts[Q + 1]], sizes, n, work.head)
        out = last_layer(work.head, sizes, n)
        for k in range(4):
            for c in range(n):
                values[k, first + c] = out[k * n + c]


@jit
def encoder_gradient(theta: Any, layout: Any, n: int, dx: Any, sparse: bool, work: Any) -> None:
    """Fill the encoder's part of the gradient from the derivative by the states.

    sparse: leave out the columns without derivative (most of them, in the volume loss).
    """
    sizes = layout.sizes[ENCODER]
    grad = work.grad[: layout.starts[1]]
    d, end = sizes[-1], sizes.sum()
    a, m = work.a[: end * n], n
    if sparse:
        m = 0
        for c in range(n):
            for f in range(d):
                if dx[f * n + c] != 0:
                    work.picks[m] = c
                    m += 1
                    break
        if m == 0:
            grad[:] = 0
            return
        _keep_columns(a, n, work.picks, m, work.compact)
        a = work.compact[: end * m]
        _keep_columns(dx[: d * n], n, work.picks, m, work.da[(end - d) * m : end * m])
    else:
        work.da[(end - d) * n : end * n] = dx[: d * n]
    backward(theta[: layout.starts[1]], sizes, m, a, work.da, grad, work.rows, False)
