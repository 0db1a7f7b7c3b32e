"""The seven losses of the fused update and their derivatives by the states.

Each is the twin of one function of `crar_diag.agent.losses`; what they compute is said there.
"""

import math
from typing import Any

from crar_diag.agent.fused.compiling import jit
from crar_diag.agent.fused.dense import (
    GAMMA,
    PAIR_HIGH,
    PAIR_LOW,
    PAIR_SCALE,
    VOLUME_LIMIT,
    backward,
)
from crar_diag.agent.fused.encoding import last_layer, run_head
from crar_diag.agent.fused.layout import (
    CONSECUTIVE_PAIRS,
    ENCODER,
    HEAD_OF,
    Q_LOSS,
    RANDOM_PAIRS,
    VOLUME_LOSS,
    Q,
)


@jit
def _pair_loss(x: Any, n: int, d: int, left: Any, right: Any, dx: Any, hyper: Any) -> float:
    """Return mean exp(-C ||x_l - x_r||) over the pairs and add its derivative to `dx`."""
    scale, low, high = hyper[PAIR_SCALE], hyper[PAIR_LOW], hyper[PAIR_HIGH]
    total = 0.0
    for j in range(left.size):
        p, q = left[j], right[j]
        square = x[p] - x[p]
        for f in range(d):
            gap = x[f * n + p] - x[f * n + q]
            square += gap * gap
        bounded = min(max(square, low), high)
        norm = math.sqrt(bounded)
        value = math.exp(-scale * norm)
        total += value
        if square == bounded:
            factor = -scale * value / (norm * left.size)
            for f in range(d):
                push = factor * (x[f * n + p] - x[f * n + q])
                dx[f * n + p] += push
                dx[f * n + q] -= push
    return total / left.size


@jit
def _volume_loss(x: Any, n: int, d: int, columns: Any, dx: Any, hyper: Any) -> float:
    """Return mean clip(max x^2 - 1, 0, limit) over the batch and add its derivative to `dx`."""
    total = 0.0
    for j in range(columns.size):
        c = columns[j]
        largest, at = x[c] * x[c], 0
        for f in range(1, d):
            square = x[f * n + c] * x[f * n + c]
            if square > largest:
                largest, at = square, f
        excess = largest - 1.0
        if excess >= 0.0:
            total += min(excess, hyper[VOLUME_LIMIT])
            if excess <= hyper[VOLUME_LIMIT]:
                dx[at * n + c] += 2 * x[at * n + c] / columns.size
    return total / columns.size


@jit
def _head_loss(
    theta: Any, layout: Any, loss: int, x: Any, n: int, batch: Any, rule: Any, work: Any
) -> float:
    """Return one of the losses with a head; fill `work.dx` and the head's part of the gradient."""
    size = batch.actions.size
    d = layout.sizes[ENCODER][-1]
    here, there = work.columns[0], work.columns[1]
    head, actions = HEAD_OF[loss], batch.actions
    if loss == Q_LOSS:
        actions = work.none
        if rule.double_q:
            online = run_head(theta, layout, Q, x, n, there, actions, work)
            for j in range(size):
                best = 0
                for k in range(1, 4):
                    if online[k * size + j] > online[best * size + j]:
                        best = k
                work.picks[j] = best
    sizes = layout.sizes[head]
    out = run_head(theta, layout, head, x, n, here, actions, work)
    dout = last_layer(work.dhead, sizes, size)
    total = 0.0
    if loss == 0:
        for f in range(d):
            for j in range(size):
                gap = x[f * n + here[j]] + out[f * size + j] - x[f * n + there[j]]
                weighted = gap * batch.going_on[j]
                total += gap * weighted
                push = 2 * weighted / (size * d)
                dout[f * size + j] = push
                work.dx[f * n + here[j]] += push
                work.dx[f * n + there[j]] -= push
        total /= size * d
    elif loss < 3:
        for j in range(size):
            wanted = batch.rewards[j] if loss == 1 else rule.hyper[GAMMA] * batch.going_on[j]
            gap = out[j] - wanted
            total += gap * gap
            dout[j] = 2 * gap / size
        total /= size
    else:
        dout[:] = 0
        for j in range(size):
            k = batch.second[j]
            if rule.double_q:
                value = batch.target_q[work.picks[j], k]
            else:
                value = batch.target_q[0, k]
                for b in range(1, 4):
                    value = max(value, batch.target_q[b, k])
            wanted = batch.rewards[j] + rule.hyper[GAMMA] * batch.going_on[j] * value
            at = batch.actions[j] * size + j
            gap = out[at] - wanted
            total += gap * gap
            dout[at] = 2 * gap / (4 * size)
        total /= 4 * size
    lo, hi = layout.starts[head], layout.starts[head + 1]
    if rule.weights[loss] > 0 and (rule.trainable[head] or rule.trainable[ENCODER]):
        backward(
            theta[lo:hi],
            sizes,
            size,
            work.head,
            work.dhead,
            work.grad[lo:hi],
            work.rows,
            rule.trainable[ENCODER],
        )
        if rule.trainable[ENCODER]:
            for f in range(d):
                for j in range(size):
                    work.dx[f * n + here[j]] += work.dhead[f * size + j]
    return total


@jit
def loss_derivative(
    theta: Any, layout: Any, loss: int, n: int, batch: Any, rule: Any, work: Any
) -> float:
    """Return a loss of the encoded batch, its derivatives in `work.dx` and the head's gradient."""
    encoder = layout.sizes[ENCODER]
    d = encoder[-1]
    x = last_layer(work.a, encoder, n)
    dx = work.dx
    dx[: d * n] = 0
    here, there, rolled = work.columns[0], work.columns[1], work.columns[2]
    if loss == VOLUME_LOSS:
        return _volume_loss(x, n, d, here, dx, rule.hyper)
    if loss == RANDOM_PAIRS:
        return _pair_loss(x, n, d, here, rolled, dx, rule.hyper)
    if loss == CONSECUTIVE_PAIRS:
        return _pair_loss(x, n, d, here, there, dx, rule.hyper)
    return _head_loss(theta, layout, loss, x, n, batch, rule, work)
