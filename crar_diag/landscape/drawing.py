"""From a view to its surfaces: frozen, unfrozen or both, resumable."""

from collections.abc import Callable, Collection, Mapping
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
from crar_diag.landscape.partial import PartialSurface
from crar_diag.landscape.refit import RefitSettings
from crar_diag.landscape.reward import RewardSurface, reward_surface
from crar_diag.landscape.surface import Progress, Surface, frozen_surface, unfrozen_surface
from crar_diag.landscape.views import Between, View
from crar_diag.version import __version__

LINE_REFIT = RefitSettings(iterations=3000, tolerance=0.001)
"""A line has few points, and barriers are read off it."""
PLANE_REFIT = RefitSettings()

# A frozen line's points are evaluated one by one: so its ends are, bit for bit, what `evaluate`
# prints of the two files.
_LINE_AT_ONCE = 1
_PLANE_AT_ONCE = 64
# Re-fits are slower: small pieces share the work better and are saved more often.
_REFITTED_AT_ONCE = 16


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
    """

    workers: int = 1
    refit: Mapping[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    partial: Path | None = None
    progress: Callable[[str], Progress] = lambda what: lambda done, total: None

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
    is_line = view.mode == "line"
    at_once = _LINE_AT_ONCE if is_line else _PLANE_AT_ONCE
    settings = replace(LINE_REFIT if is_line else PLANE_REFIT, **drawing.refit)
    found: dict[str, Surface] = {}
    for kind in ("frozen", "unfrozen"):
        grid = view.grid if kind == "frozen" else view.coarse
        if kind not in dynamics or grid is None:
            continue
        partial = _partial(view, kind, settings, drawing)
        shared: dict[str, Any] = {
            "workers": drawing.workers,
            "progress": drawing.progress(f"{kind} {view.mode}"),
            "before": None if partial is None else partial.load(),
        }
        if partial is not None:
            shared["save"] = partial.save
        if kind == "frozen":
            found[kind] = frozen_surface(view.problem, grid, view.held, at_once=at_once, **shared)
        else:
            found[kind] = unfrozen_surface(
                view.problem,
                grid,
                view.held,
                settings,
                at_once=_REFITTED_AT_ONCE,
                evaluated_at_once=at_once,
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
    return reward_surface(
        between.ends.agents[0],
        view.grid,
        view.held,
        between.ends.domain,
        environments=environments,
        seed=int(drawing.request["seed"]),
        progress=drawing.progress("score"),
        **shared,
    )


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
        "about": {name: str(value) for name, value in view.about.items()},
        "refit": vars(settings) if kind == "unfrozen" else None,
    }
    return PartialSurface(_place(view, kind, drawing.partial), request)


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
