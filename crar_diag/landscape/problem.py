"""What a landscape is drawn of: losses of named parameters, and which of these move.

Nothing here knows of CRAR. A model takes part by a function `(parameters, batch) -> losses` and by
patterns for the names of its parameters: those that *move* (a line or plane leads through their
values), those that are *re-fitted* where the landscape is unfrozen, and all others, which are held.
`crar_diag.landscape.agents` makes such a problem of agents.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.clustered import clustered_error
from crar_diag.errors import InputError
from crar_diag.landscape.points import Points, count, made, pieces

Parameters = dict[str, Tensor]
"""One model, or `[G, ...]` of them."""
Values = dict[str, Tensor]
"""Each loss by name."""

SUM = "sum"
"""The name of the weighted sum among the losses."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Losses of named parameters.

    Attributes:
        losses: `(parameters, batch)` -> each loss by name: a scalar, or terms `[T]` of which the
            loss is the mean; differentiable by the parameters, and fit for `torch.func.vmap`.
        batch: what the losses are taken on: whatever `losses` and `features` understand.
        moves: patterns (as file names have them: `encoder.*`) of the parameters that move.
        refits: patterns of the parameters that an unfrozen landscape re-fits; none of them moves.
        weights: of the losses in the weighted sum; 1 for a loss that is not named.
        features: `(parameters, batch)` -> what stands for the batch in `losses` where given: all
            that depends on the moving parameters, as tensors in dicts, lists or tuples. A re-fit,
            which holds these, computes it once.
        constants: `(parameters, batch or features)` -> entries that stand beside the parameters
            while these change: what `losses` would else take from the parameters without gradient,
            such as the Q target. A re-fit, which changes them, computes it once, at its start.
        clusters: where losses have terms, which of them are not independent of each other: a
            number for each, int64 `[T]`; standard errors are those of a mean over clusters. Each
            term for itself by default.
        looped: evaluate many points one after the other instead of by `vmap`, with kernels laid
            out channels last (convolutions on a CPU are faster so).
        many: `(points, held)` -> each loss at several points, `[G]`, without gradients: the same
            numbers as `losses` gives by `vmap`, to rounding, where there is a faster way. They are
            not to depend on how many points there are.
        device: where `batch` lies: parameters are brought there. None where they lie there already.
    """

    losses: Callable[[Parameters, Any], Values]
    batch: Any
    moves: Sequence[str] = ("*",)
    refits: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    features: Callable[[Parameters, Any], Any] | None = None
    constants: Callable[[Parameters, Any], Parameters] | None = None
    clusters: Tensor | None = None
    looped: bool = False
    device: torch.device | str | None = None
    many: Callable[[Points, Parameters], Values] | None = None

    def moving(self, parameters: Parameters) -> Parameters:
        """Return the parameters that move.

        Raises:
            InputError: none does, or a pattern fits none.
        """
        _check_patterns(parameters, self.moves, "that moves")
        return matching(parameters, self.moves)

    def refitted(self, parameters: Parameters) -> Parameters:
        """Return the parameters that are re-fitted.

        Raises:
            InputError: none is, a pattern fits none, or one of them moves.
        """
        _check_patterns(parameters, self.refits, "to re-fit")
        found = matching(parameters, self.refits)
        both = found.keys() & matching(parameters, self.moves).keys()
        if both:
            raise InputError(f"parameter '{min(both)}' both moves and is re-fitted")
        return found

    def seen(self, parameters: Parameters) -> Any:
        """Return what the losses see: the batch, or its features."""
        return self.batch if self.features is None else self.features(parameters, self.batch)

    def anchored(self, parameters: Parameters) -> Parameters:
        """Return the entries that hold constant what depends on these parameters; maybe none."""
        if self.constants is None:
            return {}
        parameters = placed(self, parameters)
        return self.constants(parameters, self.seen(parameters))

    def values(self, parameters: Parameters) -> Values:
        """Return each loss of one model, scalars, with gradients."""
        parameters = placed(self, parameters)
        return means(self.losses(parameters, self.seen(parameters)))

    def total(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of losses, of the losses' shape."""
        return weighted_sum(values, self.weights)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The losses at G points.

    Attributes:
        losses: each by name, and their weighted sum as `sum`, `[G]`.
        errors: their standard errors, `[G]`, where the losses have terms; else empty.
    """

    losses: Values
    errors: Values


def matching(parameters: Mapping[str, Tensor], patterns: Sequence[str]) -> Parameters:
    """Return the parameters whose names any of the patterns fits, in their own order."""
    return {
        name: p
        for name, p in parameters.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def means(values: Mapping[str, Tensor]) -> Values:
    """Return the losses of which `values` has the terms, whose mean is in double precision."""
    return {name: v.double().mean() if v.dim() else v for name, v in values.items()}


def weighted_sum(values: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum of losses, each times its weight (1 unless named).

    Raises:
        InputError: a weight of a loss that is not there, or one that is not finite; or a loss that
            is itself called `sum`.
    """
    if SUM in values:
        raise InputError(f"no loss can be called '{SUM}': it is the name of their weighted sum")
    for name, weight in weights.items():
        if name not in values or not math.isfinite(weight):
            raise InputError(
                f"expected a finite weight of one of the losses {', '.join(values)}, found "
                f"{name}={weight}"
            )
    # One after the other: the last bit of a reduction would depend on how many points there are.
    return reduce(add, (weights.get(name, 1.0) * value for name, value in values.items()))


def evaluate(
    problem: Problem,
    moving: Points,
    held: Parameters,
    at_once: int = 64,
) -> Evaluation:
    """Return the losses at many points, without gradients.

    Args:
        problem: what is evaluated.
        moving: the parameters that differ between the points, `[G, ...]`, and maybe constants.
        held: all others, of one model.
        at_once: points in one pass; bounds the memory. The last bit of a product batched by `vmap`
            depends on the size of the batch: with 1, a point's values do not depend on what stands
            beside it, and are those that `agent.assessment` finds.
    """
    held = placed(problem, held)

    def single(own: Parameters) -> tuple[Values, Values]:
        parameters = held | own
        values = problem.losses(parameters, problem.seen(parameters))
        losses, errors = means(values), _errors(values, problem)
        return losses | {SUM: problem.total(losses)}, errors

    parts: list[tuple[Values, ...]] = []
    with torch.no_grad():
        for own in pieces(moving, 1 if problem.looped else at_once):
            if problem.many is not None and at_once > 1:
                values = problem.many(own, held)
                parts.append((values | {SUM: problem.total(values)}, {}))
                continue
            models = made(own)
            if count(own) == 1:
                # In memory of its own: a product's last bit may depend on where its factors lie.
                models = {name: p.clone() for name, p in models.items()}
            if problem.looped:
                with networks.values_only():
                    found = single(placed(problem, {name: p[0] for name, p in models.items()}))
                parts.append(tuple({n: v[None] for n, v in one.items()} for one in found))
            else:
                parts.append(torch.func.vmap(single)(placed(problem, models)))
    losses, errors = (
        {name: torch.cat([part[k][name] for part in parts]) for name in parts[0][k]}
        for k in range(2)
    )
    return Evaluation(losses, errors)


def placed(problem: Problem, parameters: Parameters) -> Parameters:
    """Return parameters of one model, or points, where and how the problem's losses want them."""
    if problem.device is not None:
        parameters = {name: p.to(problem.device) for name, p in parameters.items()}
    if problem.looped:
        return {
            # As `contiguous(memory_format=torch.channels_last)`, which `vmap` does not know.
            name: p.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if p.dim() == 4 else p
            for name, p in parameters.items()
        }
    return parameters


def _check_patterns(parameters: Parameters, patterns: Sequence[str], what: str) -> None:
    names = ", ".join(parameters)
    if not patterns:
        raise InputError(f"expected names of the parameters {what}, found none: there are {names}")
    for pattern in patterns:
        if not matching(parameters, [pattern]):
            raise InputError(f"no parameter {what} is called '{pattern}': the names are {names}")


def _errors(values: Values, problem: Problem) -> Values:
    """Return the standard errors of losses that have terms, and of their sum."""
    terms = {name: value for name, value in values.items() if value.dim()}
    if not terms:
        return {}
    total = sum(problem.weights.get(name, 1.0) * value for name, value in terms.items())
    terms[SUM] = torch.as_tensor(total)
    return {name: clustered_error(value, problem.clusters) for name, value in terms.items()}
