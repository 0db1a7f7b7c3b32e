"""The seven losses of the fused update and their derivatives by the states.

Each is the twin of one function of `crar_diag.agent.losses`; what they compute is said there. They
are the same for every kind of agent: states are columns `[d, n]`, the numbers of a channel one
after the other.
"""

import math
from typing import Any

from crar_diag.agent.fused.agents import head_gradient, run_head
from crar_diag.agent.fused.compiling import borrowing
from crar_diag.agent.fused.layout import (
    CONSECUTIVE_PAIRS,
    ENCODER,
    GAMMA,
    HEAD_OF,
    PAIR_HIGH,
    PAIR_LOW,
    PAIR_SCALE,
    Q_LOSS,
    RANDOM_PAIRS,
    VOLUME_LIMIT,
    VOLUME_LOSS,
    Q,
)


@borrowing
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


@borrowing
def _volume_loss(x: Any, n: int, d: int, channels: int, columns: Any, dx: Any, hyper: Any) -> float:
    """Return mean clip(max x^2 - 1, 0, limit) and add its derivative to `dx`.

    The maximum is over the channels, the mean over the batch and the positions of an image.
    """
    total, positions = 0.0, d // channels
    count = columns.size * positions
    for position in range(positions):
        for j in range(columns.size):
            at = position * n + columns[j]
            largest = x[at] * x[at]
            for f in range(1, channels):
                k = (f * positions + position) * n + columns[j]
                if x[k] * x[k] > largest:
                    largest, at = x[k] * x[k], k
            excess = largest - 1.0
            if excess >= 0.0:
                total += min(excess, hyper[VOLUME_LIMIT])
                if excess <= hyper[VOLUME_LIMIT]:
                    dx[at] += 2 * x[at] / count
    return total / count


@borrowing
def _best_actions(q: Any, size: int, best: Any) -> None:
    """Put the action with the largest Q value, `[4, size]` flat, of each column into `best`."""
    for j in range(size):
        best[j] = 0
        for k in range(1, 4):
            if q[k * size + j] > q[best[j] * size + j]:
                best[j] = k


@borrowing
def _head_loss(
    theta: Any, layout: Any, loss: int, n: int, batch: Any, rule: Any, work: Any
) -> float:
    """Return one of the losses with a head; fill `work.dx` and the head's part of the gradient."""
    size, d = batch.actions.size, layout.places.dimension
    here, there = work.columns[0], work.columns[1]
    head, actions, x, out, dout = HEAD_OF[loss], batch.actions, work.x, work.out, work.dout
    if loss == Q_LOSS:
        actions = work.none
        if rule.double_q:
            run_head(theta, layout, Q, n, there, actions, work)
            _best_actions(out, size, work.picks)
    run_head(theta, layout, head, n, here, actions, work)
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
        dout[: 4 * size] = 0
        for j in range(size):
            if rule.double_q:
                value = work.next_q[work.picks[j], j]
            else:
                value = work.next_q[0, j]
                for b in range(1, 4):
                    value = max(value, work.next_q[b, j])
            wanted = batch.rewards[j] + rule.hyper[GAMMA] * batch.going_on[j] * value
            at = batch.actions[j] * size + j
            gap = out[at] - wanted
            total += gap * gap
            dout[at] = 2 * gap / (4 * size)
        total /= 4 * size
    trains_head, trains_encoder = rule.trainable[head], rule.trainable[ENCODER]
    if rule.weights[loss] > 0 and (trains_head or trains_encoder):
        head_gradient(theta, layout, head, n, here, actions, trains_head, trains_encoder, work)
    return total


@borrowing
def loss_derivative(
    theta: Any, layout: Any, loss: int, n: int, batch: Any, rule: Any, work: Any
) -> float:
    """Return a loss of the encoded batch, its derivatives in `work.dx` and a trainable head's."""
    d, x, dx = layout.places.dimension, work.x, work.dx
    dx[: d * n] = 0
    here, there, rolled = work.columns[0], work.columns[1], work.columns[2]
    if loss == VOLUME_LOSS:
        return _volume_loss(x, n, d, layout.places.channels, here, dx, rule.hyper)
    if loss == RANDOM_PAIRS:
        return _pair_loss(x, n, d, here, rolled, dx, rule.hyper)
    if loss == CONSECUTIVE_PAIRS:
        return _pair_loss(x, n, d, here, there, dx, rule.hyper)
    return _head_loss(theta, layout, loss, n, batch, rule, work)
