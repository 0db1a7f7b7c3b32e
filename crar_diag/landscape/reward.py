"""Reward surfaces: how well the labyrinth's planning policy plays at each point of a grid.

The score is the paper's (figures 8, 10 and 18): epsilon-greedy on planned Q values, the sum of
rewards over `steps` steps divided by the number of episodes, here in several environments side by
side, whose spread gives a standard error. Every point meets the same mazes and explores at the same
steps of them (`agent.streams.episode_streams`), so that points differ less by chance than their own
standard errors say; `scores` allows to compare them environment by environment.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from crar_diag.agent.evaluation import evaluate_labyrinth
from crar_diag.agent.loading import Agent
from crar_diag.agent.streams import episode_streams
from crar_diag.envs import labyrinth
from crar_diag.envs.names import LABYRINTH
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from crar_diag.landscape.grids import Grid
from crar_diag.landscape.problem import Parameters
from crar_diag.landscape.surface import Spread

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RewardSurface:
    """The score at the points of a grid, float64, reward an episode.

    Attributes:
        scores: in each environment, `[*shape, E]`, of the grid's shape.
        mean: over environments, `[*shape]`.
        standard_error: of that mean, over the draw of environments, `[*shape]`.
    """

    scores: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray


def reward_surface(
    agent: Agent,
    grid: Grid,
    held: Parameters,
    domain: str,
    *,
    depth: int = 3,
    epsilon: float = 0.1,
    steps: int = 200,
    episode_cap: int = labyrinth.EVALUATION_STEPS,
    environments: int = 8,
    seed: int = 0,
    at_once: int = 64,
    device: torch.device | str = "cpu",
    spread: Spread = map,
    progress: Callable[[int, int], None] = lambda done, total: None,
    before: Arrays | None = None,
    save: Callable[[Arrays, int], None] = lambda values, done: None,
) -> RewardSurface:
    """Return the score at every point of a grid; see `crar_diag.agent.evaluation`.

    Args:
        agent: gives task and architecture.
        grid: points of the parameters that move.
        held: all other parameters, those of planning among them.
        domain: how the agents see the labyrinth.
        depth: planning depth, 0 to 6.
        epsilon: share of random actions.
        steps: in each environment.
        episode_cap: steps after which an episode is cut off.
        environments: E, at least 2.
        seed: of mazes and exploration, the same at every point.
        at_once: points that play side by side; bounds the memory.
        device: where to compute.
        spread: what computes the pieces, one after the other by default.
        progress: called with the number of points that are done and of all, 0 done included.
        before: what `save` was given when an earlier call of the same arguments was interrupted:
            its points are taken from there.
        save: called after each piece with all scores so far and the number of points done.

    Raises:
        InputError: an agent of the simple maze, which has no reward; an unknown domain; a number
            out of its range; or what was saved is of another grid.
    """
    check_reward(agent, environments)
    observer = Observer(LABYRINTH, agent.metadata.observation, domain)

    total = len(grid)

    def play(start: int) -> np.ndarray:
        stop = min(start + at_once, total)
        points = {name: p.to(device) for name, p in grid.points(start, stop).items()}
        whole = {
            name: p.to(device).expand(stop - start, *p.shape)
            for name, p in held.items()
            if name not in points
        }
        return evaluate_labyrinth(
            agent.architecture,
            whole | points,
            observer,
            [episode_streams(seed)] * (stop - start),
            depth=depth,
            epsilon=epsilon,
            steps=steps,
            episode_cap=episode_cap,
            environments=environments,
        ).scores

    scores, done = _begin(before, total, environments)
    progress(done, total)
    for played in spread(play, range(done, total, at_once)):
        scores[done : done + len(played)] = played
        done += len(played)
        save({"score": scores, "done": np.array(done)}, done)
        progress(done, total)
    shaped = scores.reshape(*grid.shape, environments)
    error = shaped.std(axis=-1, ddof=1) / np.sqrt(environments)
    return RewardSurface(shaped, shaped.mean(axis=-1), error)


def check_reward(agent: Agent, environments: int = 2) -> None:
    """Refuse what has no reward surface.

    Raises:
        InputError: an agent of the simple maze, or fewer than 2 environments.
    """
    if agent.metadata.environment != LABYRINTH:
        raise InputError(
            f"checkpoint '{agent.path}' is of the task {agent.metadata.environment}, which has no "
            f"reward: a reward surface needs agents of the task {LABYRINTH}"
        )
    if environments < 2:
        raise InputError(
            "a reward surface needs at least 2 environments, whose spread is its standard error, "
            f"found {environments}",
            arguments=["environments"],
        )


def _begin(before: Arrays | None, total: int, environments: int) -> tuple[np.ndarray, int]:
    """Return scores `[G, E]`, those from before filled in, and how many points these are."""
    if before is None:
        return np.full((total, environments), np.nan), 0
    scores, done = before["score"], int(before["done"])
    if scores.shape != (total, environments):
        raise InputError(
            f"expected saved scores of {total} points in {environments} environments, found "
            f"{' x '.join(map(str, scores.shape))}"
        )
    return scores.copy(), done
