"""Points and directions of parameter space: dicts of tensors as vectors.

Sums over all entries are taken in double precision, whatever the parameters' own.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from crar_diag.landscape.problem import Parameters


def dot(u: Mapping[str, Tensor], v: Mapping[str, Tensor]) -> float:
    """Return the inner product of two directions, over the names of the first."""
    # Not `sum`: a file's parameters come in any order, and the last bit must not depend on it.
    return math.fsum(torch.dot(u[n].flatten().double(), v[n].flatten().double()).item() for n in u)


def norm(u: Mapping[str, Tensor]) -> float:
    """Return the Euclidean length of a direction."""
    return dot(u, u) ** 0.5


def scaled(u: Mapping[str, Tensor], factor: float) -> Parameters:
    """Return factor times u."""
    return {name: factor * p for name, p in u.items()}


def added(a: Mapping[str, Tensor], u: Mapping[str, Tensor], factor: float = 1.0) -> Parameters:
    """Return a + factor u; parameters that u lacks stay."""
    return {name: p + factor * u[name] if name in u else p for name, p in a.items()}


def difference(b: Mapping[str, Tensor], a: Mapping[str, Tensor]) -> Parameters:
    """Return b - a, the direction that leads from a to b."""
    return {name: b[name] - a[name] for name in a}


def doubled(parameters: Mapping[str, Tensor]) -> Parameters:
    """Return the parameters in double precision, without gradients."""
    return {name: p.detach().double() for name, p in parameters.items()}


def flatten(parameters: Mapping[str, Tensor]) -> Tensor:
    """Return all entries as one vector, in the order of the names."""
    return torch.cat([p.flatten() for p in parameters.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> Parameters:
    """Return the parameters of a vector `[..., P]` that `flatten` made of ones shaped as `like`."""
    parts = vector.split([p.numel() for p in like.values()], dim=-1)
    shapes = [(*vector.shape[:-1], *p.shape) for p in like.values()]
    return {n: part.reshape(s) for n, part, s in zip(like, parts, shapes, strict=True)}
