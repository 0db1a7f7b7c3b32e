"""From a view to its surfaces: frozen, unfrozen or both, resumable."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from crar_diag.agent import networks
from crar_diag.agent.loading import Agent
from crar_diag.agent.storage import remove
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.partial import PartialSurface
from crar_diag.landscape.refit import RefitSettings
from crar_diag.landscape.reward import RewardSurface, reward_surface
from crar_diag.landscape.surface import Progress, Spread, Surface, frozen_surface, unfrozen_surface
from crar_diag.landscape.views import Between, View
from crar_diag.version import __version__

LINE_REFIT = RefitSettings(iterations=3000, tolerance=0.001)
"""A line has few points, and barriers are read off it."""
PLANE_REFIT = RefitSettings(tolerance=0.02)

# A frozen line's points are evaluated one by one: so its ends are, bit for bit, what `evaluate`
# prints of the two files.
_LINE_AT_ONCE = 1
# Points that are re-fitted together: small pieces share the work better and are saved more often.
REFITTED_AT_ONCE = 16
# Points of a plane that are evaluated together where their values do not depend on that
# (`Problem.many`); else as many as are re-fitted, so that the two compare to the last bit.
_EVALUATED_AT_ONCE = 128
# A point plays for seconds: on a CPU, more at once win little time and are saved less often.
_PLAYED_AT_ONCE = 2
_PLAYED_AT_ONCE_ON_A_GPU = 64


@dataclass(frozen=True)
class Drawing:
    """How surfaces are computed.

    Attributes:
        workers: pieces that are computed side by side.
        refit: what differs from `LINE_REFIT` or `PLANE_REFIT`.
        request: all else that the values depend on, of JSON's types.
        partial: where what an interrupted call had computed is kept: the beginning of the files'
            names; None to keep nothing.
        progress: told what is computed, and how many points are done and of all.
        interrupt: called often; what it raises ends the work, and what was done is kept.
        spread: computes the pieces instead of `workers` threads, such as a cluster; what it has
            begun is not interrupted.
    """

    workers: int = 1
    refit: Mapping[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    partial: Path | None = None
    progress: Callable[[str], Progress] = lambda what: lambda done, total: None
    interrupt: Callable[[], None] = lambda: None
    spread: Spread | None = None

    def forget(self, view: View) -> None:
        """Remove what was kept of a view, once it is in the report.

        Raises:
            StorageError: the file system refused.
        """
        if self.partial is not None:
            for kind in ("frozen", "unfrozen", "scores"):
                remove(_place(view, kind, self.partial))


def draw(view: View, dynamics: Collection[str], drawing: Drawing) -> dict[str, Surface]:
    """Return the surfaces of a view, `frozen`, `unfrozen` or both.

    Args:
        view: what to draw.
        dynamics: which of the two; a view in which nothing is left to be re-fitted has no unfrozen
            one.
        drawing: how.
    """
    at_once = evaluated_at_once(view)
    settings = refits_of(view, drawing)
    found: dict[str, Surface] = {}
    for kind in ("frozen", "unfrozen"):
        grid = view.grid if kind == "frozen" else view.coarse
        if kind not in dynamics or grid is None:
            continue
        partial = _partial(view, kind, settings, drawing)
        shared: dict[str, Any] = {
            "workers": drawing.workers,
            "spread": drawing.spread,
            "progress": drawing.progress(f"{kind} {view.mode}"),
            "before": None if partial is None else partial.load(),
        }
        if partial is not None:
            shared["save"] = partial.save
        with _keeping(partial):
            if kind == "frozen":
                found[kind] = frozen_surface(
                    view.problem, grid, view.held, at_once=at_once, **shared
                )
            else:
                found[kind] = unfrozen_surface(
                    view.problem,
                    grid,
                    view.held,
                    settings,
                    at_once=REFITTED_AT_ONCE,
                    evaluated_at_once=at_once,
                    interrupt=drawing.interrupt if drawing.spread is None else _never,
                    **shared,
                )
    return found


def draw_rewards(
    view: View, between: Between, drawing: Drawing, *, environments: int
) -> RewardSurface:
    """Return the planning policy's score over a view's grid, by the published protocol.

    Args:
        view: whose grid.
        between: which agents; the first gives the task.
        drawing: how.
        environments: that each point plays side by side.

    Raises:
        InputError: the task has no score.
    """
    partial = _partial(view, "scores", PLANE_REFIT, drawing, environments=environments)
    shared: dict[str, Any] = {"before": None if partial is None else partial.load()}
    if partial is not None:
        shared["save"] = partial.save
    with _keeping(partial):
        return reward_surface(
            between.ends.agents[0],
            view.grid,
            view.held,
            between.ends.domain,
            environments=environments,
            seed=int(drawing.request.get("seed", 0)),
            at_once=played_at_once(view),
            device=_device_of(view),
            spread=drawing.spread or map,
            progress=drawing.progress("score"),
            **shared,
        )


def evaluated_at_once(view: View) -> int:
    """Return how many points of a view's frozen surface are evaluated together."""
    if view.mode == "line":
        return _LINE_AT_ONCE
    return REFITTED_AT_ONCE if view.problem.many is None else _EVALUATED_AT_ONCE


def played_at_once(view: View) -> int:
    """Return how many points of a view's scores are played together."""
    return _PLAYED_AT_ONCE if _device_of(view).type == "cpu" else _PLAYED_AT_ONCE_ON_A_GPU


def _device_of(view: View) -> torch.device:
    return torch.device(view.problem.device or "cpu")


def refits_of(view: View, drawing: Drawing) -> RefitSettings:
    """Return when the re-fits of a view stop."""
    return replace(LINE_REFIT if view.mode == "line" else PLANE_REFIT, **drawing.refit)


def kept_surface(view: View, kind: str, drawing: Drawing) -> int:
    """Return how many points of a surface an interrupted call of the same request has kept."""
    return _points_of(_partial(view, kind, refits_of(view, drawing), drawing))


def kept_rewards(view: View, drawing: Drawing, *, environments: int) -> int:
    """Return the same of a view's scores."""
    return _points_of(_partial(view, "scores", PLANE_REFIT, drawing, environments=environments))


def _points_of(partial: PartialSurface | None) -> int:
    before = None if partial is None else partial.load()
    return 0 if before is None else int(before["done"])


def _never() -> None:
    """Interrupt nothing."""


@contextmanager
def _keeping(partial: PartialSurface | None) -> Iterator[None]:
    """Keep all that was done where the block ends early."""
    try:
        yield
    except BaseException:
        if partial is not None:
            partial.flush()
        raise


def _place(view: View, kind: str, beginning: Path) -> Path:
    return beginning.with_name(f"{beginning.name}.{view.mode}-{kind}.partial")


def _partial(
    view: View, kind: str, settings: RefitSettings, drawing: Drawing, **more: Any
) -> PartialSurface | None:
    if drawing.partial is None:
        return None
    grid = view.coarse if kind == "unfrozen" else view.grid
    assert grid is not None
    request = {
        **drawing.request,
        **more,
        "version": __version__,
        "mode": view.mode,
        "kind": kind,
        "weights": dict(view.problem.weights),
        "axes": [axis.tolist() for axis in grid.axes],
        "parameters": _digest(view, grid),
        "refit": vars(settings) if kind == "unfrozen" else None,
    }
    return PartialSurface(_place(view, kind, drawing.partial), request)


def _digest(view: View, grid: Grid) -> str:
    """Return a hash of the held parameters and of the grid's corners, which make it."""
    found = hashlib.sha256()
    for start in (0, grid.shape[-1] - 1, len(grid) - 1):
        for own in (view.held, grid.points(start, start + 1)):
            for name in sorted(own):
                found.update(name.encode())
                found.update(own[name].cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def line_embedding(between: Between, view: View, agent: Agent) -> torch.Tensor | None:
    """Return the abstract states of the simple maze at each point of a line, `[G, 31, d]`.

    None for other environments and for spatial states.
    """
    metadata, architecture = agent.metadata, agent.architecture
    if metadata.environment != SIMPLE_MAZE or architecture.spatial:
        return None
    observer = Observer(metadata.environment, metadata.observation, between.ends.domain)
    points = view.grid.points(0, len(view.grid))
    some = next(iter(points.values()))
    pictures = observer(torch.from_numpy(simple_maze.all_tiles())).to(some.dtype)
    with torch.no_grad():
        return torch.func.vmap(lambda own: networks.encode(architecture, own, pictures))(points)


def line_predictions(between: Between, states: torch.Tensor, agent: Agent) -> torch.Tensor:
    """Return where the frozen dynamics lead from the states of a line, x + p(x, a).

    Args:
        between: whose dynamics all points of the line have.
        states: at each point, `[G, states, d]`.
        agent: gives the architecture.

    Returns:
        `[G, states, actions, d]`.
    """
    held, architecture = between.held, agent.architecture
    with torch.no_grad():
        found = networks.predict_each_action(architecture, held, states.flatten(0, 1))
    return found.unflatten(0, states.shape[:2])
