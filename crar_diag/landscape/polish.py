"""From a point of a loss to a stationary point near by.

Newton's method in a trust region (Steihaug, 1983; scipy's `trust-ncg`): each step minimises the
loss' quadratic model within a radius by conjugate gradients on products with the Hessian, and
follows a direction of negative curvature to the edge. It only descends, in steps that begin at 1 %
of the parameters' norm, so that it keeps to the basin where it began; it ends at a saddle only
where it begins on the way that leads there.

Here it ends where L-BFGS-B does, in a third of the time and with a hundredth of the gradient;
`trust-krylov` does not give the same numbers twice.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from threadpoolctl import threadpool_limits

from crar_diag.agent.checks import check_counts
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.problem import SUM, Parameters, Problem
from crar_diag.landscape.vectors import doubled, flatten

CONVERGED = 1e-6
"""What may be left of the gradient's norm, as a share of what it was, or of loss / ||theta||."""

ITERATIONS = 200
"""The simple maze's encoder takes 25 to 75; with its dynamics free, no end was seen in 400."""

# Of the gradient's norm, in the same shares: Newton's last step is by far the best one.
_AIM = 1e-8
_FIRST_RADIUS = 0.01


@dataclass(frozen=True, eq=False)
class Polish:
    """The way to a stationary point.

    Attributes:
        parameters: all of the model's, those that move at the end of the way, float64.
        losses_before: each loss where it began, and the weighted sum.
        losses_after: the same where it ended.
        gradient_norm_before: of the weighted sum.
        gradient_norm_after: the same where it ended.
        distance: ||theta - theta_0|| over the parameters that move.
        relative_distance: the same over ||theta_0||; NaN where that is 0.
        iterations: steps tried.
        products: Hessian products taken.
        converged: whether the gradient's norm fell to `CONVERGED` of what it was, or of the loss
            over ||theta_0||, before the iterations were used up or rounding stopped the way.
    """

    parameters: Parameters
    losses_before: dict[str, float]
    losses_after: dict[str, float]
    gradient_norm_before: float
    gradient_norm_after: float
    distance: float
    relative_distance: float
    iterations: int
    products: int
    converged: bool


class _Objective:
    """The weighted sum as functions of one vector, as scipy.optimize takes them."""

    def __init__(self, problem: Problem, parameters: Parameters) -> None:
        self._problem, self.parameters = problem, parameters
        self.hessian = Hessian(problem, parameters)
        self._at = flatten(problem.moving(parameters)).numpy()
        self.products = 0

    def move(self, x: np.ndarray) -> Hessian:
        """Return the Hessian at x; the graph of the last point alone is kept."""
        if not np.array_equal(x, self._at):
            self._at = x.copy()
            self.parameters = self.parameters | self.hessian.split(torch.from_numpy(self._at))
            self.hessian = Hessian(self._problem, self.parameters)
        return self.hessian

    def value(self, x: np.ndarray) -> float:
        moved = self.parameters | self.hessian.split(torch.from_numpy(x.copy()))
        with torch.no_grad():
            found = self._problem.total(self._problem.values(moved)).item()
        return found if math.isfinite(found) else math.inf  # too far: the radius shrinks

    def gradient(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.move(x).gradient.numpy()
        return found

    def product(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        self.products += 1
        found: np.ndarray = self.move(x).product(torch.from_numpy(np.array(v))).numpy()
        return found


def polish(problem: Problem, parameters: Parameters, *, iterations: int = ITERATIONS) -> Polish:
    """Descend to a stationary point of the weighted sum near by.

    Args:
        problem: its `moves` say which parameters move.
        parameters: where it begins: all of the model's, any precision, and what is held constant
            (`Problem.anchored`).
        iterations: the budget.

    Raises:
        InputError: fewer than one iteration, or a loss or gradient that is not finite at a point
            of the way.
    """
    check_counts(iterations=iterations)
    start = doubled(parameters)
    objective = _Objective(problem, start)
    x0 = flatten(problem.moving(start)).numpy()
    before, size = objective.hessian, float(np.linalg.norm(x0))
    gradient = before.gradient.norm().item()
    scale = size or 1.0
    gradients = max(gradient, abs(before.losses[SUM]) / scale)
    end, tried = x0, 0
    if gradient > 0:
        options = {
            "initial_trust_radius": _FIRST_RADIUS * scale,
            "max_trust_radius": scale,
            "gtol": _AIM * gradients,
            "maxiter": iterations,
        }
        end, tried = _descend(objective, x0, options)
    after = objective.move(end)
    left, distance = after.gradient.norm().item(), float(np.linalg.norm(end - x0))
    return Polish(
        objective.parameters,
        before.losses,
        after.losses,
        gradient,
        left,
        distance,
        distance / size if size else math.nan,
        tried,
        objective.products,
        left <= CONVERGED * gradients,
    )


def _descend(
    objective: _Objective, start: np.ndarray, options: dict[str, float]
) -> tuple[np.ndarray, int]:
    """Return where scipy's descent ends, and after how many iterations."""
    with threadpool_limits(1, "blas"):  # scipy's vectors: the same sums on any number of cores
        found = optimize.minimize(
            objective.value,
            start,
            jac=objective.gradient,
            hessp=objective.product,
            method="trust-ncg",
            options=options,
        )
    return found.x, int(found.nit)
