"""The fused update of one agent on the CPU, compiled by Numba.

The same arithmetic as `crar_diag.agent.engine` on `crar_diag.agent.losses`, which is the reference
that the tests hold it against. It is fast for these reasons, none of which changes what is computed
beyond rounding:

- a batch of 32 transitions shows few distinct pictures (31 in the simple maze), so the encoder runs
  once on each distinct picture and the derivatives of equal pictures are summed;
- what an encoder's first layers have in common between pixels or tiles is computed once: see
  `vector.py` and `quads.py`;
- weights that are not trained, in a transfer all but the encoder's, have no derivative;
- the target network is constant for a thousand updates, so that the Q values of few pictures are a
  table;
- one member's weights and optimizer state stay in the cache while many updates are applied, and
  clipping, RMSprop and the update are two passes over memory.
"""

import math
from typing import Any

import numpy as np

from crar_diag.agent.fused.agents import (
    descend,
    encode,
    encoder_gradient,
    next_values_known,
    refresh_target,
    run_head,
    square_norms,
    sum_tied,
    workspace,
)
from crar_diag.agent.fused.arithmetic import copy
from crar_diag.agent.fused.compiling import borrowing, jit
from crar_diag.agent.fused.layout import (
    CLIP,
    CONSECUTIVE_PAIRS,
    ENCODER,
    HEAD_OF,
    JOINT,
    ONE_MINUS_RHO,
    Q_LOSS,
    SEQUENTIAL,
    VOLUME_LOSS,
    Batch,
    Q,
)
from crar_diag.agent.fused.losses import loss_derivative
from crar_diag.agent.fused.pictures import distinct_pictures


@borrowing
def _finite(values: Any) -> bool:
    found = True
    for k in range(values.size):
        found = found and math.isfinite(values[k])
    return found


@borrowing
def _any_positive(values: Any) -> bool:
    found = False
    for k in range(values.size):
        found = found or values[k] > 0
    return found


@borrowing
def _step(
    theta: Any, v: Any, layout: Any, components: Any, slots: Any, rate: Any, rule: Any, work: Any
) -> bool:
    """Apply one optimizer step to the trainable ones of `components`; False if not finite."""
    starts, tensors = layout.places.starts, layout.places.tensors
    # Zero in the agent's precision: a literal would make the whole step double.
    total = rate - rate
    for c in components:
        if c >= 0 and rule.trainable[c]:
            grad = work.grad[starts[c] : starts[c + 1]]
            square_norms(layout, c, grad, work.squares[c])
            for k in range(tensors[c].size):
                total += work.squares[c, k]
    if not math.isfinite(total):
        return False
    if not rule.clip_globally:
        total = -rule.hyper[CLIP]
    # A step moves a parameter by rate / sqrt(1 - rho) at most, so only absurd rates can carry one
    # beyond the finite numbers; then the step is taken back.
    absurd = rate > (1e30 if theta.itemsize == 4 else 1e300) * math.sqrt(rule.hyper[ONE_MINUS_RHO])
    if absurd:
        copy(theta, work.before)
    for k in range(len(components)):
        c = components[k]
        if c >= 0 and rule.trainable[c]:
            lo, hi = starts[c], starts[c + 1]
            squares, own = work.squares[c], v[slots[k] : slots[k] + hi - lo]
            descend(theta, layout, c, work.grad[lo:hi], own, squares, total, rate, rule.hyper)
    if absurd and not _finite(theta):
        copy(work.before, theta)
        return False
    return True


@borrowing
def _update(
    theta: Any,
    target: Any,
    v: Any,
    layout: Any,
    table: Any,
    batch: Any,
    copy_target: bool,
    rule: Any,
    work: Any,
    losses: Any,
) -> bool:
    """Apply one update, put its seven losses into `losses`; False if one is not finite."""
    d, starts, size = layout.places.dimension, layout.places.starts, batch.first.size
    of_s, of_both = distinct_pictures(
        batch.first, batch.second, work.slots, work.picks, work.columns
    )
    copy(work.picks, work.distinct[:of_both])
    sequential = rule.mode == SEQUENTIAL
    source, n = theta, of_both
    if not sequential:
        source = work.start
        copy(theta, source)
        work.joint[:] = 0
    encoded = 0  # how many pictures' states are up to date
    for loss in range(7):
        if sequential:
            with_next = loss in (0, CONSECUTIVE_PAIRS) or (loss == Q_LOSS and rule.double_q)
            n = of_both if with_next else of_s
        if loss == (Q_LOSS if sequential else 0):
            if copy_target:
                copy(source, target)
                refresh_target(target, layout, table, work)
            if not next_values_known(batch.second, work, layout):
                encode(target, layout, table, batch.second, size, work)
                run_head(target, layout, Q, size, work.identity, work.none, work)
                copy(work.out, work.next_q.reshape(4 * size))
            encoded = 0  # the target network has used the same memory
        if encoded != n:
            encode(source, layout, table, work.distinct, n, work)
            encoded = n
        value = loss_derivative(source, layout, loss, n, batch, rule, work)
        if not math.isfinite(value):
            return False
        losses[loss] = value
        weight = rule.weights[loss]
        head = HEAD_OF[loss]
        if rule.mode == JOINT:
            if head >= 0 and rule.trainable[head]:
                lo, hi = starts[head], starts[head + 1]
                for k in range(lo, hi):
                    work.grad[k] = weight * work.grad[k] if weight > 0 else 0
            if weight > 0:
                for k in range(d * n):
                    work.joint[k] += weight * work.dx[k]
        elif weight > 0:
            if rule.trainable[ENCODER]:
                encoder_gradient(source, layout, table, n, work.dx, loss == VOLUME_LOSS, work)
            rate, slots = rule.rate * weight, layout.places.slots[loss]
            if not _step(theta, v, layout, (ENCODER, head), slots, rate, rule, work):
                return False
            if sequential and rule.trainable[ENCODER] and _any_positive(work.squares[ENCODER]):
                encoded = 0
    if rule.mode == JOINT:
        if rule.trainable[ENCODER]:
            encoder_gradient(source, layout, table, n, work.joint, False, work)
        return _step(theta, v, layout, (0, 1, 2, 3, 4), starts, rule.rate, rule, work)
    return True


@jit
def _reorder(values: Any, places: Any, out: Any) -> None:
    for k in range(places.size):
        out[k] = values[places[k]]


@jit
def advance(
    parameters: Any,
    target_parameters: Any,
    squares: Any,
    orders: Any,
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
        parameters: flat, as the population has them.
        target_parameters: the target network's.
        squares: running squares of all optimizers, flat.
        orders: how the three lie here, an `Orders`.
        layout: a `VectorLayout` or an `ImageLayout`.
        table: the distinct pictures, a `vector.Inputs` or an `image.Pictures`.
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
    theta = np.empty(orders.pick.size, parameters.dtype)
    target = np.empty(orders.pick.size, parameters.dtype)
    v = np.empty(orders.pick_squares.size, parameters.dtype)
    _reorder(parameters, orders.pick, theta)
    _reorder(target_parameters, orders.pick, target)
    _reorder(squares, orders.pick_squares, v)
    work = workspace(layout, theta, table, size)
    sum_tied(theta, layout)
    sum_tied(target, layout)
    refresh_target(target, layout, table, work)
    first, second = np.empty(size, np.int64), np.empty(size, np.int64)
    actions = np.empty(size, np.int64)
    rewards, going_on = np.empty(size, theta.dtype), np.empty(size, theta.dtype)
    values = np.empty(7)
    batch = Batch(first, second, actions, rewards, going_on)
    done = 0
    for u in range(updates):
        for j in range(size):
            t = draws[u, j]
            first[j], second[j] = data.first[t], data.second[t]
            actions[j], rewards[j], going_on[j] = data.actions[t], data.rewards[t], data.going_on[t]
        copy_target = (start + u) % period == 0
        if not _update(theta, target, v, layout, table, batch, copy_target, rule, work, values):
            break
        losses += values
        done += 1
    _reorder(theta, orders.spread, parameters)
    _reorder(target, orders.spread, target_parameters)
    _reorder(v, orders.spread_squares, squares)
    return done
