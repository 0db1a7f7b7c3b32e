"""Repair of a turned or mirrored encoder: the orthogonal map that the frozen dynamics ask for.

An orthogonal map R of the embedding can be folded into the encoder's linear last layer, so a
transfer that has settled in the base's embedding turned or mirrored is repaired in one step. Which
map it is, the frozen transition loss tells; the true embedding need not be known. So a transfer
tries all maps of a grid at intervals, keeps one only if that loss falls clearly, and trains on. The
encoder runs once for all candidates: each is tried on states that are encoded already.
"""

import math
from dataclasses import dataclass
from itertools import permutations, product
from typing import Final

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture, Conv, Dense
from crar_diag.agent.checks import check_counts
from crar_diag.agent.lifting import PICTURES_IN_CACHE
from crar_diag.agent.networks import Parameters
from crar_diag.agent.replay import Transitions
from crar_diag.errors import InputError

# Transitions that the loss is measured on where pictures are too many for a table, or states are
# spatial: 48 maps of so many take the labyrinth's transition network 360 GFLOP.
SAMPLE_LIMIT: Final = 2000

# 3! 2^3 = 48 maps; one dimension more has 384, far too coarse a grid of O(4) for a vector.
_PERMUTED_DIMENSIONS: Final = 3
# 5! 2^5 = 3,840 maps; one channel more has 46,080.
_PERMUTED_CHANNELS: Final = 5

# Numbers in the widest layer of the transition network at once; of doubles, 32 MiB.
_NUMBERS_AT_ONCE: Final = 2**22


@dataclass(frozen=True, eq=False)
class Realignment:
    """A map that makes the frozen transition loss fall clearly.

    Attributes:
        map: R, float64 `[d, d]`, on channels where states are spatial; for `fold`.
        loss_before: the transition loss of the encoder as it is.
        loss_after: that of the encoder with R folded in.
        candidate: which of the candidates R is.
    """

    map: np.ndarray
    loss_before: float
    loss_after: float
    candidate: int


def candidate_maps(architecture: Architecture, angles: int = 64) -> np.ndarray:
    """Return the orthogonal maps that are tried, the identity first.

    For states in the plane: the rotations by 2 pi k / angles, then the reflections across the lines
    at pi k / angles, k = 0, ..., angles - 1. For other vectors, of at most 3 dimensions, and for
    the channels of spatial states, at most 5 and alike at every position: all signed permutations.

    Args:
        architecture: what a state is.
        angles: rotations in the plane, and as many reflections.

    Returns:
        float64 `[C, d, d]`: C = 2 angles, or d! 2^d. Quarter turns are exact.

    Raises:
        InputError: there are too many dimensions or channels, or fewer than one angle.
    """
    size = architecture.state_shape[0]
    if not architecture.spatial and size == 2:
        check_counts(angles=angles)
        return _plane(angles)
    kind, most = "dimensions", _PERMUTED_DIMENSIONS
    if architecture.spatial:
        kind, most = "channels", _PERMUTED_CHANNELS
    if size > most:
        raise InputError(
            f"expected abstract states of at most {most} {kind} to realign, found {size}"
        )
    pairs = product(permutations(range(size)), product((1.0, -1.0), repeat=size))
    return np.array([np.diag(signs)[:, order] for order, signs in pairs])


def start_maps(architecture: Architecture, count: int) -> np.ndarray:
    """Return different orthogonal maps, far apart from each other, for encoders to start from.

    Begins with the identity and its negative: what an odd encoder gives on negated pictures, it
    gives turned by 180 degrees. In the plane the two mirrors of the axes and the quarter turns
    follow, then the diagonal mirrors, then the rotations and reflections halfway between all
    before, and so on; other states have their signed permutations, again from the beginning after
    the last.

    Args:
        architecture: what a state is.
        count: how many.

    Returns:
        float64 `[count, d, d]`.

    Raises:
        InputError: see `candidate_maps`; or no map is asked for.
    """
    check_counts(count=count)
    size = architecture.state_shape[0]
    if architecture.spatial or size != 2:
        maps = candidate_maps(architecture)
        negative = (maps == -np.eye(size)).all(axis=(1, 2))
        order = np.argsort(np.where(negative, 0.5, np.arange(len(maps))), kind="stable")
        return maps[order[np.arange(count) % len(maps)]]
    found: list[np.ndarray] = []
    angles = 4
    while len(found) < count:
        maps = candidate_maps(architecture, angles)
        first = [0, 2, 6, 4, 1, 3, 5, 7] if angles == 4 else range(1, 2 * angles, 2)
        found += [maps[k] for k in first]
        angles *= 2
    return np.array(found[:count])


def _plane(angles: int) -> np.ndarray:
    """Return rotations and reflections of the plane, `[2 angles, 2, 2]`."""
    turns = 2 * np.pi * np.arange(angles) / angles
    # Zero where rounding leaves 1e-16 of it, so that half a turn is exactly a change of signs.
    cosines, sines = (np.where(np.abs(v) < 1e-15, 0.0, v) for v in (np.cos(turns), np.sin(turns)))
    rotations = np.array([[cosines, -sines], [sines, cosines]])
    reflections = np.array([[cosines, sines], [sines, -cosines]])
    return np.concatenate([rotations, reflections], axis=2).transpose(2, 0, 1) + 0.0


def fold(architecture: Architecture, parameters: Parameters, map: np.ndarray) -> Parameters:
    """Return the agent whose states are R e(o), of channels at each position where spatial.

    Args:
        architecture: the agent's layers.
        parameters: one agent, without a member axis.
        map: R, `[d, d]`.

    Returns:
        New parameters; all but the encoder's last weight and bias are copies.

    Raises:
        InputError: if the encoder's last layer is not linear, or the map does not fit it.
    """
    layers = architecture.encoder
    last = layers[-1] if layers else None
    if not isinstance(last, Dense | Conv) or last.tanh:
        raise InputError(
            f"expected the encoder of '{architecture.name}' to end in a linear layer, found {last}"
        )
    if map.shape != (last.outputs, last.outputs):
        raise InputError(
            f"expected a map of shape {(last.outputs, last.outputs)} for the encoder of "
            f"'{architecture.name}', found {map.shape}"
        )
    folded = {name: p.clone() for name, p in parameters.items()}
    for kind in ("weight", "bias"):
        name = f"encoder.{len(layers) - 1}.{kind}"
        old = parameters[name]
        matrix = torch.as_tensor(map, dtype=torch.float64, device=old.device)
        folded[name] = torch.tensordot(matrix, old.double(), dims=1).to(old.dtype)
    return folded


def map_losses(
    architecture: Architecture,
    parameters: Parameters,
    states: Tensor,
    next_states: Tensor,
    actions: Tensor,
    going_on: Tensor,
    maps: np.ndarray,
) -> np.ndarray:
    """Return L_p = mean((R x + p(R x, a) - R x')^2 (1 - terminal)) for each map R.

    Args:
        architecture: the agent's layers.
        parameters: one agent, or at least its transition network.
        states: x, `[T, *state_shape]`, encoded.
        next_states: x', `[T, *state_shape]`, encoded.
        actions: integers `[T]`.
        going_on: 1 - terminal, or any other weight of each transition, `[T]`.
        maps: `[C, d, d]`, such as `candidate_maps`.

    Returns:
        float64 `[C]`, of the states' precision.
    """
    widest = max(
        (layer.outputs for layer in architecture.transition if isinstance(layer, Dense | Conv)),
        default=architecture.state_shape[0],
    )
    pairs_at_once = max(1, _NUMBERS_AT_ONCE // (widest * math.prod(architecture.state_shape[1:])))
    matrices = torch.as_tensor(maps).to(states)
    count = len(states)
    errors = []
    with torch.no_grad():
        for pairs in torch.arange(len(maps) * count, device=states.device).split(pairs_at_once):
            chosen, rows = matrices[pairs // count], pairs % count
            x = torch.einsum("nij,nj...->ni...", chosen, states[rows])
            following = torch.einsum("nij,nj...->ni...", chosen, next_states[rows])
            predicted = networks.predict_state(architecture, parameters, x, actions[rows])
            errors.append((predicted - following).square().flatten(1).mean(dim=1))
        weighted = torch.cat(errors).unflatten(0, (len(maps), count)) * going_on
    return weighted.double().mean(dim=1).cpu().numpy()


def propose(
    architecture: Architecture,
    parameters: Parameters,
    data: Transitions,
    maps: np.ndarray,
    factor: float = 0.5,
    rows: Tensor | None = None,
) -> Realignment | None:
    """Return the map of the least transition loss on the data, if the loss falls clearly by it.

    Args:
        architecture: the agent's layers.
        parameters: one agent, without a member axis.
        data: what it is trained on.
        maps: `candidate_maps`, the identity first.
        factor: how far below the present loss counts as clear: loss after <= factor * loss before.
        rows: the transitions to measure on, `[n]`, in random order; all by default. Where states
            are spatial or the data have no table of their pictures, at most 2,000 are measured on:
            the first of `rows`, or at equal intervals of all.

    Returns:
        The best map, or None where no map but the identity is good enough or the present loss is
        not finite.

    Raises:
        InputError: if the factor is not above 0 and at most 1, the first map is not the identity,
            or `rows` is empty.
    """
    if not 0 < factor <= 1:
        raise InputError(f"factor must be above 0 and at most 1, found {factor}")
    if not len(maps) or not np.array_equal(maps[0], np.eye(architecture.state_shape[0])):
        raise InputError("expected the identity as the first of the maps")
    chosen = _rows(architecture, data, rows)
    if not len(chosen):
        raise InputError("rows must hold at least 1 transition, found none")
    losses = map_losses(
        architecture, parameters, *_encoded(architecture, parameters, data, chosen), maps
    )
    best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
    if best == 0 or not losses[best] <= factor * losses[0]:
        return None
    return Realignment(maps[best].copy(), float(losses[0]), float(losses[best]), best)


def _rows(architecture: Architecture, data: Transitions, rows: Tensor | None) -> Tensor:
    """Return the transitions that the loss is measured on, `[n]`."""
    device = data.actions.device
    limited = architecture.spatial or data.table is None
    if rows is not None:
        return rows.to(device)[: SAMPLE_LIMIT if limited else None]
    count = min(len(data), SAMPLE_LIMIT) if limited else len(data)
    return torch.arange(count, device=device) * len(data) // count


def _encoded(
    architecture: Architecture, parameters: Parameters, data: Transitions, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x, x', a and weight of the distinct transitions among `rows`; encode pictures once.

    A weight is 1 - terminal times how often the transition occurs, over the mean of that number:
    the weighted mean over the distinct transitions is the mean over the rows.
    """
    columns = (data.first, data.second, data.actions, data.terminals.long())
    each = torch.stack([column[rows] for column in columns], dim=1)
    distinct, counts = torch.unique(each, dim=0, return_counts=True)
    first, second, actions, terminals = distinct.unbind(dim=1)
    pictures, places = torch.unique(torch.cat([first, second]), return_inverse=True)
    some = next(iter(parameters.values()))
    pieces = (data.observe(piece).to(some) for piece in pictures.split(PICTURES_IN_CACHE))
    with torch.no_grad():
        encoded = networks.encode_pieces(architecture, parameters, pieces)
    states, next_states = encoded[places].chunk(2)
    weights = (1 - terminals) * counts / counts.double().mean()
    return states, next_states, actions, weights.to(some)
