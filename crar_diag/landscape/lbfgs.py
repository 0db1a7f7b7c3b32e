"""L-BFGS on many independent functions side by side.

Nocedal and Wright (2006), "Numerical optimization", algorithms 7.4 and 7.5, with a line search that
accepts only a sufficient decrease (Armijo), so that no value rises above where it began. Each
function has its own step length and curvature and stops when it improves no more; those that go on
are evaluated together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from crar_diag.agent.checks import check_counts
from crar_diag.errors import InputError

# Sufficient decrease of a step (Nocedal and Wright suggest 1e-4), and how often it is shortened.
_ARMIJO = 1e-4
_SHORTENINGS = 12


@dataclass(frozen=True)
class RefitSettings:
    """When a re-fit stops.

    Attributes:
        iterations: the budget of each point.
        patience: over how many iterations it is judged whether a point still gains.
        tolerance: a point has converged when these brought at most this share of all that its sum
            fell by since the start. (Not of the sum itself, most of which may be losses that do not
            depend on what is re-fitted.)
        memory: pairs of steps that L-BFGS remembers.
    """

    iterations: int = 500
    patience: int = 20
    tolerance: float = 0.01
    memory: int = 10

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: naming the number.
        """
        check_counts(iterations=self.iterations, patience=self.patience, memory=self.memory)
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must be between 0 and 1, found {self.tolerance}")


@dataclass(frozen=True, eq=False)
class Minima:
    """Where `lbfgs` ended: `[G, P]`, and `[G]` each."""

    vectors: Tensor
    before: Tensor
    after: Tensor
    converged: Tensor
    iterations: Tensor


Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(vectors [n, P], rows [n])` -> values `[n]` and gradients `[n, P]` of the problems `rows`."""


def lbfgs(
    objective: Objective,
    start: Tensor,
    settings: RefitSettings,
    interrupt: Callable[[], None] = lambda: None,
) -> Minima:
    """Minimise G independent functions of vectors side by side.

    Args:
        objective: values and gradients of any of them.
        start: `[G, P]`.
        settings: when to stop.
        interrupt: called before each iteration.

    Returns:
        The best vectors; a value that is not finite at the start stays there, not converged.
    """
    vectors = start.clone()
    rows = torch.arange(len(start), device=start.device)
    values, gradients = objective(vectors, rows)
    before, after = values.clone(), values.clone()
    converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    iterations = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    state = _State(rows, vectors.clone(), values, gradients, settings.memory)
    state.keep(torch.isfinite(values) & torch.isfinite(gradients).all(1))
    earlier = [state.values.clone()]
    for _ in range(settings.iterations):
        if not len(state.rows):
            break
        interrupt()
        moved = state.step(objective)
        iterations[state.rows] += 1
        vectors[state.rows], after[state.rows] = state.vectors, state.values
        earlier.append(state.values.clone())
        stalled = ~moved
        if len(earlier) > settings.patience:
            was = earlier.pop(0)
            stalled |= was - state.values <= settings.tolerance * (
                before[state.rows] - state.values
            )
        converged[state.rows] = stalled
        state.keep(~stalled)
        earlier = [values[~stalled] for values in earlier]
    return Minima(vectors, before, after, converged, iterations)


class _State:
    """The problems that still go on, with their histories.

    Attributes:
        rows: which problems they are, `[n]`.
        vectors: where they are, `[n, P]`.
        values: of the objective there, `[n]`.
    """

    def __init__(
        self, rows: Tensor, vectors: Tensor, values: Tensor, gradients: Tensor, memory: int
    ) -> None:
        self.rows, self.vectors, self.values, self._gradients = rows, vectors, values, gradients
        self._memory = memory
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # s, y [n, P]; 1 / s.y [n] or 0

    def keep(self, which: Tensor) -> None:
        """Forget the other problems."""
        if bool(which.all()):
            return
        self.rows, self.vectors, self.values = (
            x[which] for x in (self.rows, self.vectors, self.values)
        )
        self._gradients = self._gradients[which]
        self._pairs = [tuple(x[which] for x in pair) for pair in self._pairs]  # type: ignore[misc]

    def step(self, objective: Objective) -> Tensor:
        """Take a step of every problem; return which of them found a lower value, bool `[n]`."""
        direction = self._direction()
        slope = (direction * self._gradients).sum(1)
        # Where rounding has spoilt the history, the steepest descent is a descent.
        uphill = slope >= 0
        direction[uphill] = -self._gradients[uphill]
        slope = (direction * self._gradients).sum(1)
        length = torch.ones_like(slope)
        if not self._pairs:
            length = (1 / self._gradients.norm(dim=1)).clamp(max=1.0)
        vectors, values, gradients = self.vectors.clone(), self.values.clone(), self._gradients
        gradients = gradients.clone()
        open_ = torch.arange(len(slope), device=slope.device)
        for _ in range(_SHORTENINGS):
            trial = self.vectors[open_] + length[open_, None] * direction[open_]
            value, gradient = objective(trial, self.rows[open_])
            limit = self.values[open_] + _ARMIJO * length[open_] * slope[open_]
            good = (value <= limit) & (value < self.values[open_]) & gradient.isfinite().all(1)
            done = open_[good]
            vectors[done], values[done], gradients[done] = trial[good], value[good], gradient[good]
            if bool(good.all()):
                open_ = open_[:0]
                break
            length[open_[~good]] *= _shorter(
                value[~good] - self.values[open_[~good]], length[open_[~good]] * slope[open_[~good]]
            )
            open_ = open_[~good]
        self._remember(vectors - self.vectors, gradients - self._gradients)
        self.vectors, self.values, self._gradients = vectors, values, gradients
        moved = torch.ones(len(slope), dtype=torch.bool, device=slope.device)
        moved[open_] = False
        return moved

    def _remember(self, s: Tensor, y: Tensor) -> None:
        product = (s * y).sum(1)
        fit = product > 1e-10 * s.norm(dim=1) * y.norm(dim=1)
        inverse = torch.where(fit, 1 / torch.where(fit, product, 1.0), 0.0)
        self._pairs.append((s, y, inverse))
        del self._pairs[: -self._memory]

    def _direction(self) -> Tensor:
        """Return minus the approximate inverse Hessian times the gradient, `[n, P]`."""
        q = self._gradients.clone()
        alphas = []
        scale = torch.ones_like(self.values)
        for s, y, inverse in reversed(self._pairs):
            alpha = inverse * (s * q).sum(1)
            q -= alpha[:, None] * y
            alphas.append(alpha)
        for _, y, inverse in self._pairs:  # the newest pair that fits decides
            square = (y * y).sum(1)
            fit = inverse > 0
            scale = torch.where(fit, 1 / torch.where(fit, inverse * square, 1.0), scale)
        q *= scale[:, None]
        for (s, y, inverse), alpha in zip(self._pairs, reversed(alphas), strict=True):
            beta = inverse * (y * q).sum(1)
            q += (alpha - beta)[:, None] * s
        return -q


def _shorter(rise: Tensor, slope: Tensor) -> Tensor:
    """Return by how much to shorten a step: to the least of the parabola, within 0.1 to 0.5."""
    factor = -slope / (2 * (rise - slope))
    return torch.where(factor.isfinite(), factor, 0.1).clamp(0.1, 0.5)
