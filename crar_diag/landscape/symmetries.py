"""Alignment of one tanh network to another by the symmetries of its hidden units.

A hidden layer's units can change places, and, tanh being odd, each can change its sign, if what
follows is changed along:

    W_l -> S P W_l,  b_l -> S P b_l,  W_(l+1) -> W_(l+1) P^T S.

The function stays what it was; the distance to another network does not. Matching the weights
(Ainsworth, Hayase and Srinivasa, 2023, "Git Re-Basin: merging models modulo permutation
symmetries", algorithm 1, here with signs) takes one hidden layer after the other, solves the linear
assignment that brings it nearest with all others held, and goes round until nothing changes. What
it finds is the best for each layer given the others, which need not be the best of all. So it
starts from three arrangements and keeps the nearest: the one that is there; the one that compares
what units see, from the first layer on; and the one that compares what sees them, from the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from crar_diag.agent.architecture import Architecture, Dense, Flatten
from crar_diag.errors import InputError
from crar_diag.landscape.problem import Parameters
from crar_diag.landscape.vectors import difference, doubled, norm

_KINDS: Final = ("weight", "bias")
# What of a unit is compared: what it sees, with its bias, and what sees it.
_INCOMING, _OUTGOING = _SIDES = ("incoming", "outgoing")

# Each round brings the networks nearer, and there are finitely many arrangements: it ends by
# itself after a handful of rounds.
_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class Alignment:
    """A network in the arrangement of its hidden units that is near another.

    Attributes:
        parameters: of the same function as before; what was not aligned is copied.
        distance_before: Euclidean, to the other network, over the aligned components.
        distance_after: the same afterwards; not larger.
        moved: hidden units that have another place or sign than before.
        units: hidden units in all.
    """

    parameters: Parameters
    distance_before: float
    distance_after: float
    moved: int
    units: int


def align(
    architecture: Architecture,
    reference: Parameters,
    parameters: Parameters,
    components: Sequence[str] = ("encoder",),
) -> Alignment:
    """Bring a network near another by permutations and signs of its hidden units.

    Args:
        architecture: the layers of both.
        reference: the one that stays.
        parameters: the one that is rearranged, of the same names and shapes.
        components: which of its networks.

    Raises:
        InputError: one of these has other layers than dense ones.
    """
    chains = [_chain(architecture, component) for component in components]
    found = {name: p.clone() for name, p in parameters.items()}
    moved = units = 0
    for chain in chains:
        best = min(
            (_matched(chain, reference, parameters, start) for start in (None, *_SIDES)),
            key=lambda one: _distance([chain], reference, one[0]),
        )
        found |= best[0]
        for places in best[1]:
            units += len(places)
            moved += int((places != np.arange(1, len(places) + 1)).sum())
    return Alignment(
        found,
        _distance(chains, reference, parameters),
        _distance(chains, reference, found),
        moved,
        units,
    )


def _chain(architecture: Architecture, component: str) -> list[str]:
    """Return the names of a component's dense layers, in order.

    Raises:
        InputError: it has others.
    """
    prefixes = []
    for position, layer in enumerate(architecture.layers(component)):
        if isinstance(layer, Dense):
            prefixes.append(f"{component}.{position}")
        elif not isinstance(layer, Flatten) or prefixes:
            raise InputError(
                f"only networks of dense layers can be aligned, found {layer} in the {component} "
                f"of '{architecture.name}': the maximum that pools a convolution's units is not "
                "symmetric under changes of their signs",
                arguments=["align"],
            )
    return prefixes


def _distance(chains: Sequence[Sequence[str]], a: Parameters, b: Parameters) -> float:
    names = [f"{prefix}.{kind}" for chain in chains for prefix in chain for kind in _KINDS]
    one, other = (doubled({name: p[name] for name in names}) for p in (a, b))
    return norm(difference(one, other))


def _matched(
    chain: list[str], reference: Parameters, parameters: Parameters, start: str | None
) -> tuple[Parameters, list[np.ndarray]]:
    """Rearrange the hidden layers of a chain, round by round, until nothing changes.

    Returns:
        The chain's parameters, and for each hidden layer, which unit stands in each place now: its
        number from 1 on, negative where its sign has changed.
    """
    found = {
        f"{prefix}.{k}": parameters[f"{prefix}.{k}"].clone() for prefix in chain for k in _KINDS
    }
    hidden = range(len(chain) - 1)
    places = [np.arange(1, len(found[f"{prefix}.bias"]) + 1) for prefix in chain[:-1]]

    def improve(layer: int, compared: Sequence[str]) -> bool:
        order, signs = _assignment(chain[layer : layer + 2], reference, found, compared)
        if (order == np.arange(len(order))).all() and (signs > 0).all():
            return False
        places[layer] = signs * places[layer][order]
        _rearrange(chain[layer : layer + 2], found, order, signs)
        return True

    if start is not None:
        for layer in hidden if start == _INCOMING else reversed(hidden):
            improve(layer, [start])
    for _ in range(_ROUNDS):
        changed = [improve(layer, _SIDES) for layer in hidden]
        if not any(changed):
            break
    return found, places


def _assignment(
    pair: list[str], reference: Parameters, parameters: Parameters, compared: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return which unit of a layer goes to each place, and with which sign, the others held.

    Args:
        pair: the layer, and the one that follows.
        reference: the network that stays.
        parameters: the other one.
        compared: of a unit, see above.
    """
    own, after = pair

    def units(of: Parameters) -> Tensor:
        parts = []
        if _INCOMING in compared:
            parts += [of[f"{own}.weight"], of[f"{own}.bias"][:, None]]
        if _OUTGOING in compared:
            parts += [of[f"{after}.weight"].T]
        return torch.cat([part.double() for part in parts], dim=1)

    products = (units(reference) @ units(parameters).T).cpu().numpy()
    size = np.arange(len(products))
    places, order = linear_sum_assignment(np.abs(products), maximize=True)
    gain = np.abs(products)[places, order].sum() - products[size, size].sum()
    if gain <= 1e-12 * np.abs(products).sum():  # rounding must not make it go round for ever
        return size, np.ones(len(size), int)
    return order, np.where(products[places, order] < 0, -1, 1)


def _rearrange(
    pair: list[str], parameters: Parameters, order: np.ndarray, signs: np.ndarray
) -> None:
    """Put unit `order[k]` in place k with that sign, and change what sees it along."""
    own, after = pair
    some = parameters[f"{own}.bias"]
    rows = torch.from_numpy(order).to(some.device)
    sign = torch.from_numpy(signs).to(some)
    parameters[f"{own}.weight"] = sign[:, None] * parameters[f"{own}.weight"][rows]
    parameters[f"{own}.bias"] = sign * some[rows]
    parameters[f"{after}.weight"] = parameters[f"{after}.weight"][:, rows] * sign
