"""What a landscape or a curvature would take, for `--dry-run`.

A little of each is computed as the whole would be. A re-fit stops when it gains no more, which
nobody knows before: its time is that of the whole budget. What an iteration of a minimum-loss curve
or of a polish takes grows on the way, several times: of these nothing is foretold.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crar_diag.agent.loading import Agent
from crar_diag.landscape.agent_curvature import agent_curvature
from crar_diag.landscape.curvature import CurvatureSettings
from crar_diag.landscape.drawing import (
    REFITTED_AT_ONCE,
    Drawing,
    draw,
    draw_rewards,
    evaluated_at_once,
    kept_rewards,
    kept_surface,
    played_at_once,
    refits_of,
)
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.points import Points
from crar_diag.landscape.problem import Parameters
from crar_diag.landscape.views import Between, View

# As long as points are measured at least, unless all of them take less.
_SECONDS = 0.3
# Iterations of re-fits of which the difference tells the time of one; with fewer than
# `RefitSettings.patience` none stops early. The same of Lanczos, whose steps may take seconds.
_REFIT_ITERATIONS = 2, 12
_LANCZOS_STEPS = 1, 4


@dataclass(frozen=True)
class Cost:
    """What one part of the work would take.

    Attributes:
        what: it is, in words.
        unit: what is counted.
        count: how many of these.
        left: of them, which an interrupted call has not computed.
        seconds: for those that are left.
        at_most: whether it may end before, and take less.
        numbers: that are kept of it; None where that is not known before.
    """

    what: str
    unit: str
    count: int
    left: int
    seconds: float
    at_most: bool
    numbers: int | None = None


@dataclass(frozen=True, eq=False)
class _Run(Grid):
    """Points of another grid that follow each other, from its middle."""

    whole: Grid
    count: int

    @property
    def axes(self) -> tuple[np.ndarray, ...]:  # type: ignore[override]
        return (np.arange(self.count, dtype=np.float64),)

    @property
    def _first(self) -> int:
        return (len(self.whole) - self.count) // 2

    def points(self, start: int, stop: int) -> Parameters:
        return self.whole.points(self._first + start, self._first + min(stop, self.count))

    def part(self, start: int, stop: int) -> Points:
        return self.whole.part(self._first + start, self._first + min(stop, self.count))


def forecast(
    views: Sequence[View],
    between: Between,
    kinds: Collection[str],
    drawing: Drawing,
    *,
    environments: int = 8,
) -> list[Cost]:
    """Return what each surface of some views would take.

    Args:
        views: as `draw` takes them.
        between: the agents.
        kinds: `frozen`, `unfrozen` or both.
        drawing: how they would be computed; nothing is kept, and nobody is told.
        environments: of each point's score.
    """
    silent = Drawing(workers=drawing.workers, refit=drawing.refit, request=drawing.request)
    found = []
    for view in views:
        if view.mode == "reward":
            kept = kept_rewards(view, drawing, environments=environments)
            found.append(_of_rewards(view, between, kept, silent, environments))
            continue
        for kind, grid in (("frozen", view.grid), ("unfrozen", view.coarse)):
            if kind in kinds and grid is not None:
                kept = kept_surface(view, kind, drawing)
                found.append(_of_surface(view, kind, grid, kept, silent))
    return found


def _of_surface(view: View, kind: str, grid: Grid, kept: int, silent: Drawing) -> Cost:
    """Return the cost of a surface, of which one piece for each worker is computed, or more."""

    def compute(count: int, iterations: int | None = None) -> None:
        some = _Run(grid, count)
        refit = silent.refit if iterations is None else {**silent.refit, "iterations": iterations}
        part = replace(view, grid=some, coarse=some)
        draw(part, [kind], replace(silent, refit=refit))

    total, refitted, looped = len(grid), kind == "unfrozen", view.problem.looped
    left = total - kept
    together = REFITTED_AT_ONCE if refitted else evaluated_at_once(view)
    first = min(total, silent.workers * (1 if looped else together))
    if not left:
        each = 0.0
    elif refitted:
        budget = refits_of(view, silent).iterations
        each = _extrapolated(lambda n: compute(first, n), budget, _REFIT_ITERATIONS) / first
    else:
        each = _seconds_a_point(compute, total, first)
    # Each loss and their sum, with standard errors where a sample is drawn.
    numbers = (len(view.problem.weights) + 1) * (1 if view.problem.clusters is None else 2)
    numbers += 2 if refitted else 0  # whether it converged, and after how many iterations
    what = f"{view.mode}, {kind}"
    return Cost(what, "points", total, left, left * each, refitted, total * numbers)


def _of_rewards(
    view: View, between: Between, kept: int, silent: Drawing, environments: int
) -> Cost:
    def compute(count: int) -> None:
        part = replace(view, grid=_Run(view.grid, count))
        draw_rewards(part, between, silent, environments=environments)

    total = len(view.grid)
    left = total - kept
    first = min(total, played_at_once(view))
    each = _seconds_a_point(compute, total, first) if left else 0.0
    return Cost("reward", "points", total, left, left * each, False, total * environments)


def forecast_curvature(
    name: str,
    agent: Agent,
    domain: str | None,
    *,
    settings: CurvatureSettings,
    places: int = 1,
    **options: Any,
) -> Cost:
    """Return what the spectra of an agent would take, in all of its spaces.

    Products are those of the encoder's space and, likewise, of that of all parameters; the exact
    spectrum of an embedding takes little.

    Args:
        name: of the agent.
        agent: any.
        domain: in which it is evaluated; its own by default.
        settings: how much is computed.
        places: where: 2 with a polish, whose own time is not in it.
        options: `kinds`, `weights`, `temperature` and `transitions` of `agent_curvature`.
    """

    def spectra(steps: int) -> None:
        few = CurvatureSettings(1, steps, 2, 0, settings.seed)
        agent_curvature(agent, domain, settings=few, **options)

    # Lanczos from two starts and, for the density, from each probe; the trace's probes; residuals.
    products = (2 + settings.density_probes) * settings.steps + settings.probes
    products += 2 * settings.eigenvalues
    # A step of the measurement is two products.
    seconds = places * _extrapolated(spectra, products / 2, _LANCZOS_STEPS)
    count = places * products
    return Cost(name, "Hessian products a space", count, count, seconds, False)


def _seconds_a_point(compute: Callable[[int], None], total: int, first: int) -> float:
    """Return the seconds that a point takes: of more and more of them, until that can be read."""
    count = min(first, total)
    compute(count)  # what only the first call of all does
    while True:
        seconds = _timed(compute, count)
        if seconds >= _SECONDS or count == total:
            return seconds / count
        count = min(4 * count, total)


def _extrapolated(compute: Callable[[int], None], steps: float, measured: tuple[int, int]) -> float:
    """Return the seconds of so many steps, from those of a few and of some more."""
    few, more = measured
    compute(few)  # what only the first call of all does
    short, long = _timed(compute, few), _timed(compute, more)
    each = max(0.0, long - short) / (more - few)
    return max(0.0, short - few * each) + steps * each


def _timed(work: Callable[[int], None], count: int) -> float:
    start = time.monotonic()
    work(count)
    return time.monotonic() - start
