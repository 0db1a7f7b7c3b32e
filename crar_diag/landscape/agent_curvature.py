"""The curvature of an agent's losses in each of its spaces, at its checkpoint and polished."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from crar_diag.agent.loading import Agent
from crar_diag.errors import InputError
from crar_diag.landscape.curvature import (
    Curvature,
    CurvatureSettings,
    exact_curvature,
    krylov_curvature,
)
from crar_diag.landscape.polish import Polish, polish
from crar_diag.landscape.smoothing import TEMPERATURE, smoothing_bound
from crar_diag.landscape.spaces import KINDS, TRANSITIONS, Space, agent_spaces


@dataclass(frozen=True, eq=False)
class Analysis:
    """One space.

    Attributes:
        points: the curvature at the `checkpoint` and, if it was polished, where that ended,
            `polished`.
        states: the abstract states at each of them, `[S, *state_shape]`.
        polish: the way from the one to the other, if there is one.
    """

    points: dict[str, Curvature]
    states: dict[str, Tensor]
    polish: Polish | None = None

    @property
    def embedding_distance(self) -> float:
        """How far a polish moved the abstract states: the mean Euclidean distance; else NaN."""
        if self.polish is None:
            return math.nan
        moved = self.states["polished"] - self.states["checkpoint"]
        return moved.flatten(1).norm(dim=1).mean().item()


@dataclass(frozen=True, eq=False)
class AgentCurvature:
    """One agent.

    Attributes:
        analyses: by space: `embedding` (simple maze), `frozen`, `unfrozen`.
        domain: the visual domain.
        weights: of the losses in the sum.
        temperature: of the smoothed volume loss; 0 for the exact one.
        bound: by which the smoothed volume loss exceeds the exact one at most.
        transitions: size of the held-out sample; None where losses are exact.
        settings: how much was computed.
        polish_iterations: budget of the polish; None without one.
    """

    analyses: dict[str, Analysis]
    domain: str
    weights: dict[str, float]
    temperature: float
    bound: float
    transitions: int | None
    settings: CurvatureSettings
    polish_iterations: int | None


def agent_curvature(
    agent: Agent,
    domain: str | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    weights: Mapping[str, float] | None = None,
    temperature: float = TEMPERATURE,
    settings: CurvatureSettings | None = None,
    polish_iterations: int | None = None,
    transitions: int = TRANSITIONS,
    progress: Callable[[int, int], None] | None = None,
) -> AgentCurvature:
    """Analyse one agent.

    Args:
        agent: any.
        domain: in which it is evaluated; its own by default.
        kinds: `frozen`, `unfrozen` or both. `frozen` brings the embedding with it.
        weights: of some losses in the sum; else those of the agent's training.
        temperature: of the smoothed volume loss; 0 for the exact one.
        settings: how much is computed.
        polish_iterations: polish by so many iterations at most; None for not at all.
        transitions: of the labyrinth's held-out sample, drawn by the settings' seed.
        progress: called with how many of all spectra are done.

    Raises:
        InputError: an unknown kind, loss or domain, a temperature below 0, or losses that are not
            finite.
    """
    settings = settings or CurvatureSettings()
    seen = domain or agent.metadata.domain
    spaces = agent_spaces(
        agent,
        seen,
        kinds=kinds,
        weights=weights,
        temperature=temperature,
        transitions=transitions,
        seed=settings.seed,
    )
    total = len(spaces) * (1 if polish_iterations is None else 2)
    analyses: dict[str, Analysis] = {}
    done = -1

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    count()
    for name, space in spaces.items():
        try:
            analyses[name] = analyse(space, settings, polish_iterations, count)
        except InputError as error:
            raise InputError(f"checkpoint '{agent.path}', {name}: {error}") from error
    problem = next(iter(spaces.values())).problem
    return AgentCurvature(
        analyses,
        domain=seen,
        weights=dict(problem.weights),
        temperature=temperature,
        bound=smoothing_bound(agent.architecture.state_shape[0], temperature),
        transitions=None if problem.clusters is None else transitions,
        settings=settings,
        polish_iterations=polish_iterations,
    )


def analyse(
    space: Space,
    settings: CurvatureSettings,
    polish_iterations: int | None = None,
    count: Callable[[], None] = lambda: None,
) -> Analysis:
    """Return the curvature at the start of a space and, if asked for, where a polish from it ends.

    Args:
        space: what varies.
        settings: how much is computed.
        polish_iterations: of the polish at most; None for no polish.
        count: called after each of the two.

    Raises:
        InputError: losses that are not finite.
    """
    curvature = exact_curvature if space.exact else krylov_curvature
    points = {"checkpoint": curvature(space.problem, space.start, settings)}
    states = {"checkpoint": space.states(space.start)}
    count()
    if polish_iterations is None:
        return Analysis(points, states)
    way = polish(space.problem, space.start, iterations=polish_iterations)
    points["polished"] = curvature(space.problem, way.parameters, settings)
    states["polished"] = space.states(way.parameters)
    count()
    return Analysis(points, states, way)
