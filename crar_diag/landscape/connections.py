"""Two agents joined by the straight segment and by a minimum-loss curve, and what differs.

With the dynamics frozen the encoder moves alone, and all points share one set of dynamics. With the
dynamics unfrozen encoder and dynamics move together, each end with the dynamics that are best at
its encoder: its own, re-fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from crar_diag.agent.loading import Agent
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.landscape.curve import Bezier
from crar_diag.landscape.grids import Grid, Line
from crar_diag.landscape.path_settings import PathSettings
from crar_diag.landscape.paths import Path, Progress, minimum_loss_curve
from crar_diag.landscape.problem import SUM, Parameters, Problem, evaluate
from crar_diag.landscape.profiles import Course, Profile, profile
from crar_diag.landscape.refit import RefitSettings, refit
from crar_diag.landscape.vectors import doubled
from crar_diag.landscape.views import Between

FROZEN, UNFROZEN = KINDS = ("frozen", "unfrozen")
STRAIGHT, CURVE = COURSES = ("straight", "curve")

END_REFIT: Final = RefitSettings(iterations=3000, tolerance=0.001)
"""Of the dynamics at the two ends, which barriers are measured from."""


@dataclass(frozen=True)
class EndRefit:
    """How the dynamics of an end were re-fitted.

    Attributes:
        before: the weighted sum with its own dynamics.
        after: with the re-fitted ones; not above it.
        iterations: of the re-fit.
        converged: whether it stopped because the sum improved no more.
    """

    before: float
    after: float
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Ends:
    """What is to be joined.

    Attributes:
        problem: gives the losses, and names what moves; its batch is in double precision.
        a: the moving parameters of A, float64.
        b: those of B.
        held: all others.
        refits: of A's and B's dynamics; empty where they are frozen.
    """

    problem: Problem
    a: Parameters
    b: Parameters
    held: Parameters
    refits: tuple[EndRefit, ...] = ()


@dataclass(frozen=True, eq=False)
class Connection:
    """Two ends, joined.

    Attributes:
        ends: which.
        path: how the curve was optimised.
        profiles: the losses along the `straight` segment and the `curve`.
    """

    ends: Ends
    path: Path
    profiles: dict[str, Profile]

    def course(self, name: str) -> Course:
        """Return the `straight` segment or the `curve` as a function of its coordinates."""
        ends = self.ends
        if name == STRAIGHT:
            return lambda ts: Line(ends.a, ends.b, ts)
        return lambda ts: Bezier(ends.a, ends.b, self.path.inner, ts)


def frozen_ends(between: Between) -> Ends:
    """Return two agents' encoders, with one set of dynamics.

    Raises:
        InputError: the encoders are the same.
    """
    a, b = between.pair()
    return Ends(between.problem, doubled(a), doubled(b), doubled(between.held))


def unfrozen_ends(
    between: Between,
    settings: RefitSettings = END_REFIT,
    interrupt: Callable[[], None] = lambda: None,
) -> Ends:
    """Return two agents whole, each with its own dynamics re-fitted to its encoder.

    Args:
        between: the agents.
        settings: when a re-fit stops.
        interrupt: called before each of its iterations; what it raises ends it.

    Raises:
        InputError: the encoders are the same.
    """
    between.pair()
    problem = replace(between.problem, moves=("*",), refits=())
    (a, first), (b, second) = (
        _at_their_best(between.problem, agent, settings, interrupt)
        for agent in between.ends.agents[:2]
    )
    return Ends(problem, a, b, {}, (first, second))


def _at_their_best(
    problem: Problem, agent: Agent, settings: RefitSettings, interrupt: Callable[[], None]
) -> tuple[Parameters, EndRefit]:
    """Re-fit an agent's dynamics to its encoder."""
    own = doubled(agent.parameters)
    start = problem.refitted(own)
    encoder = {name: p[None] for name, p in own.items() if name not in start}
    found = refit(problem, encoder, {}, start, settings, interrupt)
    fitted = own | {name: p[0] for name, p in found.parameters.items()}
    before, after = (_sum(problem, one) for one in (own, fitted))
    # The re-fit held the Q target; where the sum with its own is no lower, nothing is gained.
    best = fitted if after < before else own
    iterations, converged = int(found.iterations[0]), bool(found.converged[0])
    return best, EndRefit(before, min(after, before), iterations, converged)


def _sum(problem: Problem, parameters: Parameters) -> float:
    found = evaluate(problem, {name: p[None] for name, p in parameters.items()}, {}, at_once=1)
    return float(found.losses[SUM][0])


def connect(
    ends: Ends,
    settings: PathSettings | None = None,
    *,
    points: int = 61,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Connection:
    """Optimise the curve between two ends, and evaluate it and the straight segment.

    Args:
        ends: what to join.
        settings: of the optimisation.
        points: of each profile.
        workers: parts that are computed side by side, each on one thread.
        progress: told before each iteration; what it raises ends the search.

    Raises:
        InputError: fewer than 2 points.
    """
    path = minimum_loss_curve(
        ends.problem, ends.a, ends.b, ends.held, settings, workers=workers, progress=progress
    )
    found = Connection(ends, path, {})
    # Where a point costs a pass of many pictures, the interval around the highest one must do.
    subdivisions = 1 if ends.problem.looped else 8
    profiles = {
        name: profile(
            ends.problem,
            found.course(name),
            ends.held,
            points=points,
            subdivisions=subdivisions,
            workers=workers,
        )
        for name in COURSES
    }
    return replace(found, profiles=profiles)


def embeddings(problem: Problem, agent: Agent, grid: Grid) -> Tensor | None:
    """Return the abstract states of the simple maze at each point, `[G, 31, d]`.

    None for other environments and for spatial states.

    Args:
        problem: of the agent, with features.
        agent: tells what a state is.
        grid: points of which the encoder is a part.
    """
    if agent.metadata.environment != SIMPLE_MAZE or agent.architecture.spatial:
        return None
    with torch.no_grad():
        states: Tensor = torch.func.vmap(problem.seen)(grid.points(0, len(grid)))
    return states
