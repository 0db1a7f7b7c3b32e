"""The fused update of one low-dimensional agent on the CPU, compiled by Numba.

The same arithmetic as `crar_diag.agent.engine` on `crar_diag.agent.losses`, which is the reference
that the tests hold it against, for agents whose five components are dense networks. It is fast for
three reasons, none of which changes what is computed beyond rounding:

- a batch of 32 transitions shows few distinct pictures (31 in the simple maze), so the encoder runs
  once on each distinct picture and the derivatives of equal pictures are summed;
- the target network is constant for a thousand updates, so its Q values are a table;
- one member's weights and optimizer state stay in the cache while many updates are applied, and
  clipping, RMSprop and the update are two passes over memory.
"""

import math
from typing import Any

import numpy as np

from crar_diag.agent.fused.compiling import jit
from crar_diag.agent.fused.dense import CLIP, ONE_MINUS_RHO, norms, rmsprop
from crar_diag.agent.fused.encoding import (
    distinct_pictures,
    encode,
    encoder_gradient,
    target_values,
)
from crar_diag.agent.fused.layout import (
    CONSECUTIVE_PAIRS,
    ENCODER,
    HEAD_OF,
    JOINT,
    Q_LOSS,
    SEQUENTIAL,
    VOLUME_LOSS,
    Batch,
    workspace,
)
from crar_diag.agent.fused.losses import loss_derivative


@jit
def _step(
    theta: Any, v: Any, layout: Any, components: Any, slots: Any, rate: Any, rule: Any, work: Any
) -> bool:
    """Apply one optimizer step to the trainable ones of `components`; False if not finite."""
    # Zero in the agent's precision: a literal would make the whole step double.
    total = rate - rate
    for c in components:
        if c >= 0 and rule.trainable[c]:
            grad = work.grad[layout.starts[c] : layout.starts[c + 1]]
            count = norms(grad, layout.sizes[c], work.squares[c])
            for k in range(count):
                total += work.squares[c, k]
    if not math.isfinite(total):
        return False
    if not rule.clip_globally:
        total = -rule.hyper[CLIP]
    # A step moves a parameter by rate / sqrt(1 - rho) at most, so only absurd rates can carry one
    # beyond the finite numbers; then the step is taken back.
    absurd = rate > (1e30 if theta.itemsize == 4 else 1e300) * math.sqrt(rule.hyper[ONE_MINUS_RHO])
    before = theta.copy() if absurd else theta[:0]
    for k in range(len(components)):
        c = components[k]
        if c >= 0 and rule.trainable[c]:
            lo, hi = layout.starts[c], layout.starts[c + 1]
            rmsprop(
                theta[lo:hi],
                work.grad[lo:hi],
                v[slots[k] : slots[k] + hi - lo],
                layout.sizes[c],
                work.squares[c],
                total,
                rate,
                rule.hyper,
            )
    if absurd and not np.isfinite(theta).all():
        theta[:] = before
        return False
    return True


@jit
def _update(
    theta: Any,
    target: Any,
    v: Any,
    layout: Any,
    batch: Any,
    copy_target: bool,
    rule: Any,
    work: Any,
    losses: Any,
) -> bool:
    """Apply one update, put its seven losses into `losses`; False if one is not finite."""
    d = layout.sizes[ENCODER][-1]
    of_s, of_both = distinct_pictures(
        batch.first, batch.second, work.slots, work.picks, work.columns
    )
    work.distinct[:of_both] = work.picks[:of_both]
    source, n = theta, of_both
    if rule.mode != SEQUENTIAL:
        source = work.start
        source[:] = theta
        work.joint[:] = 0
        encode(source, layout, batch.table, work.distinct, n, work.a)
    for loss in range(7):
        if rule.mode == SEQUENTIAL:
            with_next = loss in (0, CONSECUTIVE_PAIRS) or (loss == Q_LOSS and rule.double_q)
            n = of_both if with_next else of_s
            encode(source, layout, batch.table, work.distinct, n, work.a)
        if loss == Q_LOSS and copy_target:
            target[:] = source
            target_values(target, layout, batch.table, batch.target_q, work)
        value = loss_derivative(source, layout, loss, n, batch, rule, work)
        if not math.isfinite(value):
            return False
        losses[loss] = value
        weight = rule.weights[loss]
        head = HEAD_OF[loss]
        if rule.mode == JOINT:
            if head >= 0:
                lo, hi = layout.starts[head], layout.starts[head + 1]
                if weight > 0:
                    work.grad[lo:hi] *= weight
                else:
                    work.grad[lo:hi] = 0
            if weight > 0:
                work.joint[: d * n] += weight * work.dx[: d * n]
        elif weight > 0:
            if rule.trainable[ENCODER]:
                encoder_gradient(source, layout, n, work.dx, loss == VOLUME_LOSS, work)
            rate = rule.rate * weight
            if not _step(theta, v, layout, (ENCODER, head), layout.slots[loss], rate, rule, work):
                return False
    if rule.mode == JOINT:
        if rule.trainable[ENCODER]:
            encoder_gradient(source, layout, n, work.joint, False, work)
        return _step(theta, v, layout, (0, 1, 2, 3, 4), layout.starts, rule.rate, rule, work)
    return True


@jit
def advance(
    theta: Any,
    target: Any,
    v: Any,
    layout: Any,
    table: Any,
    data: Any,
    draws: Any,
    start: int,
    period: int,
    rule: Any,
    losses: Any,
) -> int:
    """Apply `len(draws)` updates to one member, in place.

    Args:
        theta: flat parameters `[P]`.
        target: the target network's, `[P]`.
        v: running squares of all optimizers, flat.
        layout: a `Layout`.
        table: distinct pictures `[features, K]`.
        data: `Transitions`.
        draws: `[updates, batch]`, which transitions each update sees.
        start: number of updates that the member has behind it.
        period: updates between two copies of the target network.
        rule: a `Rule`.
        losses: `[7]`, to which the sums of the losses over the updates are added.

    Returns:
        The number of updates applied: fewer than asked for if a loss or a gradient was not finite,
        whose step was then not taken.
    """
    updates, size = draws.shape
    pictures = table.shape[1]
    work = workspace(theta, layout, size, pictures)
    target_q = np.empty((4, pictures), theta.dtype)
    if start % period != 0:
        target_values(target, layout, table, target_q, work)
    first, second = np.empty(size, np.int64), np.empty(size, np.int64)
    actions = np.empty(size, np.int64)
    rewards, going_on = np.empty(size, theta.dtype), np.empty(size, theta.dtype)
    values = np.empty(7)
    batch = Batch(table, target_q, first, second, actions, rewards, going_on)
    for u in range(updates):
        for j in range(size):
            t = draws[u, j]
            first[j], second[j] = data.first[t], data.second[t]
            actions[j], rewards[j], going_on[j] = data.actions[t], data.rewards[t], data.going_on[t]
        copy_target = (start + u) % period == 0
        if not _update(theta, target, v, layout, batch, copy_target, rule, work, values):
            return u
        losses += values
    return updates
