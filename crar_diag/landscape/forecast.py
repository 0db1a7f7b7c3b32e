"""What a landscape would take: points that are left and their time, for `--dry-run`.

A few points of each surface are computed as the landscape itself computes them. Re-fits stop when
they gain no more, which nobody knows before; their time is that of the whole budget.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crar_diag.landscape.drawing import (
    Drawing,
    draw,
    draw_rewards,
    kept_rewards,
    kept_surface,
    refit_settings,
)
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.points import Points
from crar_diag.landscape.problem import Parameters
from crar_diag.landscape.views import Between, View

# As long as a surface is measured at least, unless all its points take less.
_SECONDS = 0.3
# Iterations of re-fits of which the difference tells the time of one; with fewer than
# `RefitSettings.patience` none stops early.
_FEW, _MORE = 2, 12
# Points of a first try, for each worker: a few pieces.
_FIRST_EVALUATED, _FIRST_REFITTED = 4, 8


@dataclass(frozen=True)
class Cost:
    """What one surface would take.

    Attributes:
        mode: of the view.
        kind: `frozen`, `unfrozen` or `scores`.
        points: of the grid.
        left: of them, which an interrupted call has not computed.
        numbers: that are kept of each point.
        seconds: for those that are left; of an unfrozen surface at most.
    """

    mode: str
    kind: str
    points: int
    left: int
    numbers: int
    seconds: float


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
            found.append(_of_rewards(view, between, drawing, silent, environments))
            continue
        for kind, grid in (("frozen", view.grid), ("unfrozen", view.coarse)):
            if kind in kinds and grid is not None:
                found.append(_of_surface(view, kind, grid, drawing, silent))
    return found


def _of_surface(view: View, kind: str, grid: Grid, drawing: Drawing, silent: Drawing) -> Cost:
    numbers = 0

    def compute(count: int, iterations: int | None = None) -> None:
        nonlocal numbers
        some = _Run(grid, count)
        refit = silent.refit if iterations is None else {**silent.refit, "iterations": iterations}
        part = replace(view, grid=some, coarse=some)
        surface = draw(part, [kind], replace(silent, refit=refit))[kind]
        numbers = len(surface.losses) + len(surface.errors)

    left = len(grid) - kept_surface(view, kind, drawing)
    if kind == "frozen":
        each = _seconds(compute, len(grid), _FIRST_EVALUATED * silent.workers)
        return Cost(view.mode, kind, len(grid), left, numbers, left * each)
    count = min(len(grid), _FIRST_REFITTED * silent.workers)
    if view.problem.looped:  # each is computed by itself, and takes long
        count = min(len(grid), silent.workers)
    compute(count, 1)  # what only the first call of all does
    few, more = (_timed(compute, count, iterations) for iterations in (_FEW, _MORE))
    iteration = max(0.0, more - few) / (_MORE - _FEW)
    beside = max(0.0, few - _FEW * iteration)
    each = (beside + refit_settings(view, drawing).iterations * iteration) / count
    return Cost(view.mode, kind, len(grid), left, numbers, left * each)


def _of_rewards(
    view: View, between: Between, drawing: Drawing, silent: Drawing, environments: int
) -> Cost:
    def compute(count: int) -> None:
        part = replace(view, grid=_Run(view.grid, count))
        draw_rewards(part, between, silent, environments=environments)

    total = len(view.grid)
    left = total - kept_rewards(view, drawing, environments=environments)
    each = _seconds(compute, total, 2)
    return Cost(view.mode, "scores", total, left, environments, left * each)


def _seconds(compute: Callable[[int], None], total: int, first: int) -> float:
    """Return the seconds that a point takes: of more and more of them, until that can be read."""
    count = min(first, total)
    compute(count)  # what only the first call of all does
    while True:
        seconds = _timed(compute, count)
        if seconds >= _SECONDS or count == total:
            return seconds / count
        count = min(4 * count, total)


def _timed(work: Callable[..., None], *arguments: int) -> float:
    start = time.monotonic()
    work(*arguments)
    return time.monotonic() - start
