"""The minimum-loss curve between two models: is there a barrier, or only one on the straight line?

A Bezier curve's inner control points are optimised by L-BFGS, its ends held. A first round lowers
the mean of the weighted sum over points of the curve (Garipov et al., 2018), all others a soft
maximum (`soft_maximum`), so that the highest point is pressed down; it is sharper the flatter the
curve is already. After each round the curve is searched for summits between these points, and they
join them (the exchange method of semi-infinite programming): it could bulge where it is not looked
at. What the losses take from the parameters without gradient (the Q target) is held during a round
as it was at its start.

A curve that is found bounds the barrier from above: there is a way that is no higher. That no lower
one was found does not show that there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.lifting import one_thread
from crar_diag.errors import InputError
from crar_diag.landscape.curve import Bezier, bernstein, evenly_along, evenly_spaced, flatten_points
from crar_diag.landscape.lbfgs import RefitSettings, lbfgs
from crar_diag.landscape.path_settings import PathSettings
from crar_diag.landscape.problem import SUM, Parameters, Problem
from crar_diag.landscape.soft_maximum import CurveLosses, soft_maximum
from crar_diag.landscape.surface import frozen_surface
from crar_diag.landscape.vectors import doubled, flatten, unflatten

Progress = Callable[[int, int], None]
"""Called with the number of iterations that are done, and of all that may come."""

# Into how many parts the curve between two points of the objective is divided for the search. They
# are of equal length: a curve could run over a summit between places that are evenly spaced in t.
_SEARCHED: Final = 8
# A curve that is longer than so many times the straight segment is searched more coarsely.
_LONGEST: Final = 8
# Sharper than this, a soft maximum of so few points is as good as the maximum, and has its kinks.
_SHARPEST: Final = 200.0
# A round ends early when so many iterations brought at most this share of all that it gained.
_PATIENCE, _GAIN = 20, 1e-3
# Pairs of steps that L-BFGS remembers.
_MEMORY: Final = 20


@dataclass(frozen=True, eq=False)
class Path:
    """An optimised curve.

    Attributes:
        inner: its inner control points, `[K, ...]`, float64.
        highest: the highest weighted sum on it at the start and after each round, as the search
            between rounds found it, `[R + 1]`. The curve is that of the least of these.
        iterations: of L-BFGS that were taken.
        converged: whether it stopped because further rounds gained no more, or because nothing on
            it was higher than an end.
    """

    inner: Parameters
    highest: np.ndarray
    iterations: int
    converged: bool


def minimum_loss_curve(
    problem: Problem,
    a: Parameters,
    b: Parameters,
    held: Parameters,
    settings: PathSettings | None = None,
    *,
    start: Parameters | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Return the curve from A to B whose highest weighted sum is the lowest that was found.

    It is computed in double precision, for which the problem's batch should be in it as well.

    Args:
        problem: gives the losses.
        a: the moving parameters at one end.
        b: those at the other.
        held: all others.
        settings: of the optimisation.
        start: inner control points to begin with, `[bends, ...]`; the straight segment by default.
        workers: parts of the curve's points that are computed side by side, each on one thread.
        progress: told before each iteration; what it raises ends the search.
    """
    settings = settings or PathSettings()
    a, b = doubled(a), doubled({name: b[name] for name in a})
    inner = start or evenly_spaced(a, b, settings.bends)
    with one_thread(), CurveLosses(problem, a, doubled(held), workers) as losses:
        search = _Search(problem, a, b, doubled(held), losses, settings, workers)
        return search.run(flatten_points({name: inner[name] for name in a}).double(), progress)


@dataclass(frozen=True, eq=False)
class _Search:
    """The rounds; a curve is its inner control points as vectors, `[K, P]`."""

    problem: Problem
    a: Parameters
    b: Parameters
    held: Parameters
    losses: CurveLosses
    settings: PathSettings
    workers: int

    def run(self, control: Tensor, progress: Progress) -> Path:
        best, done, total = control, 0, self.settings.iterations
        places, summits, top, end = self._searched(control)
        highest = [top]
        control = control + self._nudge(control)
        progress(0, total)
        while done < total and not self._converged(highest, end):
            budget = min(self.settings.per_round, total - done)
            told = partial(_tell, progress, done, total)
            every = np.union1d(places, summits)
            control, taken = self._round(control, every, self._sharpness(highest), budget, told)
            done += max(taken, 1)
            progress(done, total)
            places, found, top, _ = self._searched(control)
            # Those of earlier rounds stay, or the next one would run over them again.
            summits = np.union1d(summits, found)
            if top < min(highest):
                best = control
            highest.append(top)
        inner = unflatten(best, self.a)
        return Path(inner, np.array(highest), done, self._converged(highest, end))

    def _converged(self, highest: list[float], end: float) -> bool:
        """Tell whether the last rounds gained no more, or nothing is higher than the ends."""
        patience, least = self.settings.patience, min(highest)
        if least <= end:
            return True
        if len(highest) < patience + 2:  # the first of them lowers the mean
            return False
        gain = min(highest[:-patience]) - least
        return gain <= self.settings.tolerance * (highest[0] - least)

    def _sharpness(self, highest: list[float]) -> float:
        """Return the sharpness of the next round: 0, which means the mean, of the first."""
        first, rounds = self.settings.sharpness, len(highest) - 2
        return 0.0 if rounds < 0 else min(first * self.settings.sharpening**rounds, _SHARPEST)

    def _nudge(self, control: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed)
        step = torch.randn(control.shape, generator=generator, dtype=torch.float64).to(control)
        distance = (flatten(self.b) - flatten(self.a)).norm()
        return self.settings.nudge * distance * step / step.norm(dim=1, keepdim=True)

    def _at(self, control: Tensor, places: np.ndarray) -> Tensor:
        """Return points of a curve as vectors, `[n, P]`."""
        ends = [flatten(end)[None] for end in (self.a, self.b)]
        weights = torch.from_numpy(bernstein(places, len(control) + 1)).to(control.device)
        return weights @ torch.cat([ends[0], control, ends[1]])

    def _searched(self, control: Tensor) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Search a curve for summits of the sum.

        Returns:
            Places, evenly spaced, without the ends; those of the summits; the highest sum; the sum
            at the worse end.

        Raises:
            InputError: the sum is not finite everywhere.
        """
        a, b = (flatten(end) for end in (self.a, self.b))
        steps = self.settings.points * _SEARCHED
        everything = torch.cat([a[None], control, b[None]])
        places = evenly_along(everything, (b - a).norm().item() / steps, _LONGEST * steps)
        curve = Bezier(self.a, self.b, unflatten(control, self.a), places)
        values = frozen_surface(self.problem, curve, self.held, workers=self.workers).losses[SUM]
        if not np.isfinite(values).all():
            raise InputError(
                "expected losses that are finite along the path, found some that are not"
            )
        inside, before, after = values[1:-1], values[:-2], values[2:]
        summits = places[1:-1][(inside >= before) & (inside > after)]
        end = max(values[0], values[-1])
        return places[_SEARCHED:-1:_SEARCHED], summits, float(values.max()), float(end)

    def _round(
        self,
        control: Tensor,
        places: np.ndarray,
        sharpness: float,
        budget: int,
        told: Callable[[int], None],
    ) -> tuple[Tensor, int]:
        """Lower the mean or the soft maximum; return the curve and the iterations taken."""
        weights = torch.from_numpy(bernstein(places, len(control) + 1))[:, 1:-1].to(control.device)
        points = self._at(control, places)
        constants = self.losses.constants(points)
        values, _ = self.losses(points, constants)
        # In units of the spread, the optimiser's tolerances and the sharpness mean the same always.
        spread = (values.max() - values.min()).item() or 1.0
        begun = 0

        def objective(vectors: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            points = self._at(vectors.reshape(control.shape), places)
            values, gradients = self.losses(points, constants)
            value, shares = soft_maximum(values / spread, sharpness)
            slope = (weights * shares[:, None]).T @ (gradients / spread)
            return vectors.new_tensor([value]), slope.reshape(1, -1)

        def before_each() -> None:
            nonlocal begun
            if begun:
                told(begun)
            begun += 1

        limits = RefitSettings(budget, _PATIENCE, _GAIN, _MEMORY)
        found = lbfgs(objective, control.reshape(1, -1), limits, before_each)
        return found.vectors.reshape(control.shape), int(found.iterations[0])


def _tell(progress: Progress, done: int, total: int, taken: int) -> None:
    progress(done + taken, total)
