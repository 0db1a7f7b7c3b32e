"""Re-fits: at each point of a landscape, the best that the other parameters can do.

The moving parameters of many points are held, and others are trained at all points together, each
for itself, from one common start until the weighted sum stops improving (`lbfgs`), so that the sum
at a point never rises above where it began. What the losses take from the parameters without
gradient (the Q target) is held as it was at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crar_diag.landscape.lbfgs import RefitSettings, lbfgs
from crar_diag.landscape.problem import Parameters, Problem, means, placed
from crar_diag.landscape.vectors import flatten, unflatten


@dataclass(frozen=True, eq=False)
class Refit:
    """Re-fitted parameters of G points.

    Attributes:
        parameters: `[G, ...]`.
        constants: what was held of the start, `[G, ...]`; may be empty.
        before: the weighted sum where the re-fit began, `[G]`.
        after: where it ended, `[G]`; nowhere above `before`.
        converged: whether it stopped because the sum improved no more, bool `[G]`.
        iterations: taken, int64 `[G]`.
    """

    parameters: Parameters
    constants: Parameters
    before: Tensor
    after: Tensor
    converged: Tensor
    iterations: Tensor


def refit(
    problem: Problem,
    moving: Parameters,
    held: Parameters,
    start: Parameters,
    settings: RefitSettings | None = None,
    interrupt: Callable[[], None] = lambda: None,
) -> Refit:
    """Minimise the weighted sum over some parameters, at each point for itself.

    Args:
        problem: gives losses and weights.
        moving: the parameters of the points, `[G, ...]`; held.
        held: those of one model that all points share; held.
        start: those that are re-fitted, of one model: where every point begins.
        settings: when to stop.
        interrupt: called before each iteration; what it raises ends the re-fit.
    """
    settings = settings or RefitSettings()
    # What trains here trains no one else's tensors.
    start = {name: p.detach() for name, p in placed(problem, start).items()}
    if problem.looped:
        count = len(next(iter(moving.values())))
        single = [{name: p[g : g + 1] for name, p in moving.items()} for g in range(count)]
        return _joined([_refit(problem, one, held, start, settings, interrupt) for one in single])
    return _refit(problem, moving, held, start, settings, interrupt)


def _refit(
    problem: Problem,
    moving: Parameters,
    held: Parameters,
    start: Parameters,
    settings: RefitSettings,
    interrupt: Callable[[], None],
) -> Refit:
    count = len(next(iter(moving.values())))

    def seen_by(own: Parameters) -> tuple[Any, Parameters]:
        parameters = placed(problem, held | start | own)
        seen = problem.seen(parameters)
        constants = {} if problem.constants is None else problem.constants(parameters, seen)
        # The batch itself is the same at all points, and anything that the losses understand.
        return {} if problem.features is None else seen, constants

    with torch.no_grad():
        device = next(iter(start.values())).device
        moving = {name: p.detach().to(device) for name, p in moving.items()}
        seen, constants = _over_points(problem, seen_by)(moving)

    def total(vector: Tensor, own: Parameters, features: Any, constants: Parameters) -> Tensor:
        parameters = placed(problem, held | own | unflatten(vector, start)) | constants
        seen = problem.batch if problem.features is None else features
        return problem.total(means(problem.losses(parameters, seen)))

    lifted = _over_points(problem, total)

    def objective(vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        inputs = _rows((moving, seen, constants), rows)
        vectors = vectors.detach().requires_grad_()
        with torch.enable_grad():
            values = lifted(vectors, *inputs)
            (gradient,) = torch.autograd.grad(values.sum(), vectors)
        return values.detach(), gradient

    begin = flatten(start).expand(count, -1).clone()
    found = lbfgs(objective, begin, settings, interrupt)
    parameters = unflatten(found.vectors, start)
    return Refit(
        parameters, constants, found.before, found.after, found.converged, found.iterations
    )


def _over_points(problem: Problem, function: Callable[..., Any]) -> Callable[..., Any]:
    """Lift a function of one point over points: by `vmap`, or over the only one."""
    if not problem.looped:
        return torch.func.vmap(function)

    def alone(*inputs: Any) -> Any:
        return _mapped(lambda x: x[None], function(*(_mapped(lambda x: x[0], i) for i in inputs)))

    return alone


def _rows(inputs: Any, rows: Tensor) -> Any:
    """Return the inputs of some points."""
    return _mapped(lambda x: x[rows], inputs)


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to every tensor of what features may be: tensors in dicts, lists, tuples."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: _mapped(function, entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_mapped(function, entry) for entry in value]
    return tuple(_mapped(function, entry) for entry in value)


def _joined(parts: list[Refit]) -> Refit:
    def joined(attribute: str) -> Tensor:
        return torch.cat([getattr(part, attribute) for part in parts])

    def named(kind: str) -> Parameters:
        dicts = [getattr(part, kind) for part in parts]
        return {name: torch.cat([one[name] for one in dicts]) for name in dicts[0]}

    return Refit(
        named("parameters"),
        named("constants"),
        joined("before"),
        joined("after"),
        joined("converged"),
        joined("iterations"),
    )
