"""Points of a landscape: models side by side, or sums of a few models that are yet to be made.

Every point of a plane is a sum of three models. Who knows this need not make a point's weights
where all points see the same input: a layer's products with that input add up as its weights do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from crar_diag.agent.networks import Parameters


@dataclass(frozen=True, eq=False)
class Combination:
    """G points, each a sum of the same K models: `sum_k coefficients[g, k] models[k]`.

    Attributes:
        models: float64 `[K, ...]`.
        coefficients: float64 `[G, K]`, on the CPU.
        dtypes: precision of the points, by name.
        beside: what else differs between the points, `[G, ...]`.
    """

    models: Parameters
    coefficients: Tensor
    dtypes: Mapping[str, torch.dtype]
    beside: Parameters = field(default_factory=dict)

    def made(self) -> Parameters:
        """Return the points, `[G, ...]`, added up in double precision and rounded once."""
        found = {}
        for name, models in self.models.items():
            sums = self.coefficients.to(models.device) @ models.reshape(len(models), -1)
            shape = (len(self.coefficients), *models.shape[1:])
            found[name] = sums.to(self.dtypes[name]).reshape(shape)
        return found | self.beside


Points = Parameters | Combination
"""`[G, ...]`."""


def count(points: Points) -> int:
    """Return the number of points."""
    if isinstance(points, Combination):
        return len(points.coefficients)
    return len(next(iter(points.values())))


def made(points: Points) -> Parameters:
    """Return the points as models side by side, `[G, ...]`."""
    return points.made() if isinstance(points, Combination) else points


def beside(points: Points, more: Parameters) -> Points:
    """Return the points with more parameters, or constants, of their own, `[G, ...]`."""
    if isinstance(points, Combination):
        return replace(points, beside=points.beside | more)
    return points | more


def pieces(points: Points, at_once: int) -> Iterator[Points]:
    """Yield at most so many of the points at a time."""
    for start in range(0, count(points), at_once):
        rows = slice(start, start + at_once)
        if isinstance(points, Combination):
            own = {name: p[rows] for name, p in points.beside.items()}
            yield replace(points, coefficients=points.coefficients[rows], beside=own)
        else:
            yield {name: p[rows] for name, p in points.items()}
