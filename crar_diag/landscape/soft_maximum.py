"""The losses of a curve's points as one number to be minimised: their mean, or a soft maximum.

With values L_i at n points, the soft maximum is the log-mean-exp

    (1 / beta) log((1 / n) sum_i exp(beta L_i)),

between the mean (beta to 0) and the maximum (beta to infinity). Its gradient by a control point c_k
of the curve sum_k w_ik c_k is sum_i w_ik softmax(beta L)_i grad L_i, so that one backward pass over
the points gives all.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import torch
from torch import Tensor

from crar_diag.landscape.problem import Parameters, Problem, means, placed
from crar_diag.landscape.vectors import unflatten


def soft_maximum(values: Tensor, beta: float) -> tuple[float, Tensor]:
    """Return the soft maximum of values and its derivative by each, `[n]`.

    Args:
        values: `[n]`.
        beta: its sharpness; 0 for the mean.
    """
    if beta == 0:
        return values.mean().item(), torch.full_like(values, 1 / len(values))
    top = values.max()
    soft = torch.log(torch.exp(beta * (values - top)).mean()) / beta
    return (top + soft).item(), torch.softmax(beta * values, 0)


class CurveLosses:
    """The weighted sum at points of parameter space, and its gradients; a context: it has threads.

    Args:
        problem: gives the losses.
        like: the moving parameters, whose names, shapes and order vectors have.
        held: all others.
        workers: parts of the points that are computed side by side, each on one thread.
        at_once: points in one pass at most; bounds the memory.
    """

    def __init__(
        self,
        problem: Problem,
        like: Parameters,
        held: Parameters,
        workers: int = 1,
        at_once: int = 64,
    ) -> None:
        self._problem, self._like, self._held = problem, like, placed(problem, held)
        self._workers, self._at_once = workers, 1 if problem.looped else at_once
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def constants(self, points: Tensor) -> Parameters:
        """Return what of points `[n, P]` is held constant while they move, `[n, ...]`; maybe none.

        See `Problem.constants`.
        """
        if self._problem.constants is None:
            return {}

        def anchored(vector: Tensor, _: Parameters) -> Parameters:
            return self._problem.anchored(self._parameters(vector))

        with torch.no_grad():
            parts = [self._each(anchored, part, {}) for part in points.split(self._at_once)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def __call__(self, points: Tensor, constants: Parameters) -> tuple[Tensor, Tensor]:
        """Return the weighted sum `[n]` at points `[n, P]`, and its gradients `[n, P]`.

        Args:
            points: vectors.
            constants: of these points.
        """
        size = min(self._at_once, -(-len(points) // self._workers))
        parts = [
            (points[k : k + size], {name: c[k : k + size] for name, c in constants.items()})
            for k in range(0, len(points), size)
        ]
        found = list(self._pool.map(lambda part: self._piece(*part), parts))
        return torch.cat([values for values, _ in found]), torch.cat([g for _, g in found])

    def _piece(self, points: Tensor, constants: Parameters) -> tuple[Tensor, Tensor]:
        def total(vector: Tensor, own: Parameters) -> Tensor:
            parameters = self._parameters(vector)
            seen = self._problem.seen(parameters)
            return self._problem.total(means(self._problem.losses(parameters | own, seen)))

        points = points.detach().requires_grad_()
        values = self._each(total, points, constants)
        (gradients,) = torch.autograd.grad(values.sum(), points)
        return values.detach(), gradients

    def _parameters(self, vector: Tensor) -> Parameters:
        return self._held | placed(self._problem, unflatten(vector, self._like))

    def _each(
        self, function: Callable[[Tensor, Parameters], Any], points: Tensor, own: Parameters
    ) -> Any:
        """Call a function for each of the points: by `vmap`, or for the only one."""
        if not self._problem.looped:
            return torch.func.vmap(function)(points, own)
        found = function(points[0], {name: p[0] for name, p in own.items()})
        if isinstance(found, Tensor):
            return found[None]
        return {name: value[None] for name, value in found.items()}
