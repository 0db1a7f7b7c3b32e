"""Losses over a grid: the result of a landscape, frozen or unfrozen, and how it is computed.

Frozen: the moving parameters are those of the grid's points, all others are held. Unfrozen: at each
point the re-fitted parameters are trained from where they were, so that the surface is the loss
minimised over them, as a profile likelihood is (`refit`). Points are taken piece by piece, in the
order of the grid, so that memory is bounded by the piece and an interrupted surface can go on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crar_diag.agent.checks import check_counts
from crar_diag.agent.lifting import one_thread
from crar_diag.errors import InputError
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.points import Points, beside, made
from crar_diag.landscape.problem import SUM, Parameters, Problem, evaluate
from crar_diag.landscape.refit import RefitSettings, refit

Arrays = dict[str, np.ndarray]
Progress = Callable[[int, int], None]
"""Called with the number of points that are done, and of all."""
Saving = Callable[[Arrays, int], None]
"""Called after each piece with all values so far, `[G]` each, and the number of points done."""
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterator[Any]]
"""Calls a function for every number, wherever, and yields what it finds in their order."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The losses at the points of a grid.

    Attributes:
        losses: each loss by name, and their weighted sum as `sum`, float64, of the grid's shape.
        errors: their standard errors where losses are means over a sample; else empty.
        converged: where re-fitting stopped because the sum improved no more, bool, of the grid's
            shape; None for a frozen surface.
        iterations: of the re-fit at each point; None for a frozen surface.
    """

    losses: Arrays
    errors: Arrays
    converged: np.ndarray | None = None
    iterations: np.ndarray | None = None


def frozen_surface(
    problem: Problem,
    grid: Grid,
    held: Parameters,
    *,
    at_once: int = 128,
    workers: int = 1,
    spread: Spread | None = None,
    progress: Progress = lambda done, total: None,
    before: Arrays | None = None,
    save: Saving = lambda values, done: None,
) -> Surface:
    """Evaluate the losses at every point, all other parameters held.

    Args:
        problem: what is evaluated.
        grid: points of the parameters that move.
        held: all others.
        at_once: points in one pass; 1 gives each the last bit of the model by itself.
        workers: pieces that are computed side by side, each on one thread; they change no value.
            The problem's functions are then called from several threads at once, for which
            `torch.func.functional_call` on one module is not made.
        spread: what computes the pieces instead of `workers` threads, such as a cluster.
        progress: told how far it is.
        before: what `save` was given when an earlier call was interrupted: its points are taken
            from there.
        save: told what is done after each piece.

    Raises:
        InputError: a number below 1, or what was saved has more points than the grid.
    """

    def piece(points: Points) -> Arrays:
        found = evaluate(problem, points, held, at_once)
        return _arrays(found.losses, "loss") | _arrays(found.errors, "error")

    return _by_pieces(grid, piece, problem.looped, at_once, workers, spread, progress, before, save)


def unfrozen_surface(
    problem: Problem,
    grid: Grid,
    held: Parameters,
    settings: RefitSettings,
    *,
    at_once: int = 64,
    evaluated_at_once: int = 64,
    workers: int = 1,
    spread: Spread | None = None,
    progress: Progress = lambda done, total: None,
    interrupt: Callable[[], None] = lambda: None,
    before: Arrays | None = None,
    save: Saving = lambda values, done: None,
) -> Surface:
    """Re-fit the parameters that `problem.refits` names at every point, and evaluate there.

    Args:
        problem: what is evaluated.
        grid: points of the parameters that move.
        held: all others; where re-fits begin.
        settings: of the re-fit.
        at_once: points that are re-fitted together.
        evaluated_at_once: points in one pass of the evaluation after it. Where both are as the
            `at_once` of `frozen_surface`, or this and that are 1, or the problem has `many`, the
            result compares to the frozen surface's to the last bit: a loss that does not depend on
            what is re-fitted is the same, and the sum nowhere larger.
        workers: as for `frozen_surface`.
        spread: as for `frozen_surface`.
        progress: told how far it is.
        interrupt: called before each iteration of a re-fit; what it raises ends the surface at
            once, not only after a piece.
        before: as for `frozen_surface`.
        save: as for `frozen_surface`.

    Raises:
        InputError: nothing to re-fit, a number below 1, or what was saved has more points than the
            grid.
    """
    check_counts(evaluated_at_once=evaluated_at_once)
    start = problem.refitted(held)
    fixed = {name: p for name, p in held.items() if name not in start}

    def piece(points: Points) -> Arrays:
        found = refit(problem, made(points), fixed, start, settings, interrupt)
        frozen = evaluate(problem, points, held, evaluated_at_once)
        own = beside(points, found.parameters | found.constants)
        unfrozen = evaluate(problem, own, fixed, evaluated_at_once)
        # What a re-fit gains may be less than the rounding of another way of batching.
        better = unfrozen.losses[SUM] <= frozen.losses[SUM]
        values = _arrays(frozen.losses, "loss") | _arrays(frozen.errors, "error")
        others = _arrays(unfrozen.losses, "loss") | _arrays(unfrozen.errors, "error")
        chosen = {name: np.where(better.cpu(), others[name], values[name]) for name in values}
        return chosen | {
            "converged": found.converged.cpu().numpy(),
            "iterations": found.iterations.cpu().numpy(),
        }

    return _by_pieces(grid, piece, problem.looped, at_once, workers, spread, progress, before, save)


def _by_pieces(
    grid: Grid,
    piece: Callable[[Points], Arrays],
    looped: bool,
    at_once: int,
    workers: int,
    spread: Spread | None,
    progress: Progress,
    before: Arrays | None,
    save: Saving,
) -> Surface:
    check_counts(at_once=at_once, workers=workers)
    if looped:  # each point is computed by itself, so that workers may share them all
        at_once = 1
    values = {name: array.copy() for name, array in (before or {}).items()}
    done = int(values.pop("done")) if values else 0
    total = len(grid)
    if done > total:
        raise InputError(f"what was saved has {done} points, the grid only {total}")
    progress(done, total)
    starts = range(done, total, at_once)
    # Threads of PyTorch's own wait for each other actively, which on a busy machine takes most of
    # the time; pieces do not wait.
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        try:
            each = spread or pool.map
            found = each(lambda start: piece(grid.part(start, start + at_once)), starts)
            for start, part in zip(starts, found, strict=True):
                done = min(start + at_once, total)
                for name, own in part.items():
                    if name not in values:
                        values[name] = np.zeros(total, own.dtype)
                    values[name][start:done] = own
                save({**values, "done": np.array(done)}, done)
                progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    shaped = {name: array.reshape(grid.shape) for name, array in values.items()}
    return Surface(
        losses={n.removeprefix("loss/"): v for n, v in shaped.items() if n.startswith("loss/")},
        errors={n.removeprefix("error/"): v for n, v in shaped.items() if n.startswith("error/")},
        converged=shaped.get("converged"),
        iterations=shaped.get("iterations"),
    )


def _arrays(values: Mapping[str, torch.Tensor], prefix: str) -> Arrays:
    return {f"{prefix}/{name}": value.double().cpu().numpy() for name, value in values.items()}
