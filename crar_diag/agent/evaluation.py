"""How well agents play: the labyrinth's score.

It is the paper's validation score (figures 8, 10 and 18): epsilon-greedy on planned Q values, the
sum of rewards over 200 steps divided by the number of episodes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.checks import check_counts, check_observer
from crar_diag.agent.networks import Parameters
from crar_diag.agent.planning import population_q_values
from crar_diag.envs import labyrinth
from crar_diag.envs.mazes import LabyrinthState, generate
from crar_diag.envs.names import LABYRINTH
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import GRID_SIZE
from crar_diag.errors import InputError


@dataclass(frozen=True, eq=False)
class LabyrinthScores:
    """The score of M agents in E labyrinths each, side by side.

    Attributes:
        scores: sum of rewards / number of episodes, `[M, E]`.
        mean: over environments, `[M]`.
        standard_error: of that mean, `[M]`; NaN for one environment.
        episodes: how many were begun, `[M, E]`.
        keys: keys taken an episode, `[M, E]`.
        lengths: steps an episode, `[M, E]`.
    """

    scores: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    episodes: np.ndarray
    keys: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True, eq=False)
class EpisodeReturns:
    """What M agents collected in N whole episodes each.

    Attributes:
        returns: sum of the rewards of an episode, `[M, N]`.
        mean: over episodes, `[M]`.
        standard_error: of that mean, `[M]`; NaN for one episode.
        keys: keys taken, `[M, N]`.
        lengths: steps, `[M, N]`.
    """

    returns: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    keys: np.ndarray
    lengths: np.ndarray


def evaluate_labyrinth(
    architecture: Architecture,
    population: Parameters,
    observer: Observer,
    rngs: Sequence[np.random.Generator],
    *,
    depth: int = 3,
    epsilon: float = 0.1,
    steps: int = 200,
    episode_cap: int = labyrinth.EVALUATION_STEPS,
    environments: int = 1,
) -> LabyrinthScores:
    """Return the paper's validation score of every member.

    An episode ends when all keys are taken or after `episode_cap` steps, and a fresh maze follows.
    The episode that the end of the steps cuts off counts as one, so that an agent that takes no key
    in 200 steps scores -5.

    A member's score depends on its own parameters and generator alone. Each step it draws
    `environments` uniforms, as many random actions, whether they are needed or not, and then the
    mazes of its environments that begin anew. (Where members are batched by `vmap`, on an
    accelerator, the last bit of a planned value may still depend on the batch's size.)

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`.
        observer: how the agents see the labyrinth.
        rngs: one generator a member; they are advanced.
        depth: planning depth D, 0 to 6.
        epsilon: probability of a uniformly random action.
        steps: steps in each environment.
        episode_cap: steps after which an episode is cut off.
        environments: E, played side by side; 1 is the published protocol.

    Raises:
        InputError: a number out of its range, or things that do not fit together.
    """
    check_counts(steps=steps, episode_cap=episode_cap, environments=environments)
    play = _play(
        architecture, population, observer, rngs, environments, depth, epsilon, episode_cap
    )
    keys = np.zeros((len(rngs), environments), dtype=np.int64)
    finished = np.zeros_like(keys)
    for _ in range(steps):
        taken, ended = next(play)
        keys += taken
        finished += ended
    # The last episode was cut off unless its own end fell on the last step.
    episodes = finished + ~ended
    scores = _rewards(keys, steps) / episodes
    mean, error = _mean_and_error(scores)
    return LabyrinthScores(scores, mean, error, episodes, keys / episodes, steps / episodes)


def evaluate_episodes(
    architecture: Architecture,
    population: Parameters,
    observer: Observer,
    rngs: Sequence[np.random.Generator],
    *,
    episodes: int,
    depth: int = 3,
    epsilon: float = 0.1,
    episode_cap: int = labyrinth.EVALUATION_STEPS,
) -> EpisodeReturns:
    """Play N fresh mazes once each, to their end or `episode_cap` steps, for every member.

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`.
        observer: how the agents see the labyrinth.
        rngs: one generator a member, not to be used again: how far it is advanced depends on the
            member that plays longest.
        episodes: N.
        depth: planning depth D, 0 to 6.
        epsilon: probability of a uniformly random action.
        episode_cap: steps after which an episode is cut off.

    Raises:
        InputError: a number out of its range, or things that do not fit together.
    """
    check_counts(episodes=episodes, episode_cap=episode_cap)
    play = _play(architecture, population, observer, rngs, episodes, depth, epsilon, episode_cap)
    playing = np.ones((len(rngs), episodes), dtype=bool)
    keys = np.zeros(playing.shape, dtype=np.int64)
    lengths = np.zeros_like(keys)
    # Whoever has finished goes on in another maze, unseen, until everyone has.
    while playing.any():
        taken, ended = next(play)
        keys += taken & playing
        lengths += playing
        playing &= ~ended
    returns = _rewards(keys, lengths)
    return EpisodeReturns(returns, *_mean_and_error(returns), keys, lengths)


def _play(
    architecture: Architecture,
    population: Parameters,
    observer: Observer,
    rngs: Sequence[np.random.Generator],
    lanes: int,
    depth: int,
    epsilon: float,
    episode_cap: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, step by step, where a key was taken and where an episode ended, bool `[M, lanes]`."""
    check_observer(architecture, observer, LABYRINTH)
    some = next(iter(population.values()))
    if len(rngs) != len(some):
        raise InputError(f"expected one generator for each of {len(some)} members, got {len(rngs)}")
    if not 0.0 <= epsilon <= 1.0:
        raise InputError(f"epsilon must be from 0 to 1, found {epsilon}")
    shape = (len(rngs), lanes)
    state = _draw_mazes(rngs, [lanes] * len(rngs))
    while True:
        tiles = labyrinth.tiles(state).reshape(*shape, GRID_SIZE, GRID_SIZE)
        pictures = observer(torch.from_numpy(tiles).to(some.device)).to(some.dtype)
        values = population_q_values(architecture, population, pictures, depth)
        actions = values.argmax(dim=2).cpu().numpy()
        for m, rng in enumerate(rngs):
            explore = rng.random(lanes) < epsilon
            actions[m] = np.where(
                explore, rng.integers(architecture.actions, size=lanes), actions[m]
            )
        state, rewards, terminals = labyrinth.step(state, actions.reshape(-1))
        ended = terminals | (state.steps >= episode_cap)
        yield (rewards > 0).reshape(shape), ended.reshape(shape)
        if ended.any():
            state = state.replaced(ended, _draw_mazes(rngs, ended.reshape(shape).sum(axis=1)))


def _draw_mazes(rngs: Sequence[np.random.Generator], counts: Sequence[int]) -> LabyrinthState:
    """Draw each member's number of mazes from its own generator, one member after the other."""
    drawn = [generate(rng, int(n)) for rng, n in zip(rngs, counts, strict=True) if n]
    return LabyrinthState(
        walls=np.concatenate([one.walls for one in drawn]),
        keys=np.concatenate([one.keys for one in drawn]),
        player=np.concatenate([one.player for one in drawn]),
        steps=np.concatenate([one.steps for one in drawn]),
    )


def _rewards(keys: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
    """Return the sum of rewards; from counts, because the sum of many 0.1 is not exact."""
    total: np.ndarray = labyrinth.KEY_REWARD * keys + labyrinth.STEP_REWARD * (steps - keys)
    return total


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the columns of `[M, n]` and its standard error, `[M]` each."""
    members, n = values.shape
    if n == 1:
        return values[:, 0], np.full(members, np.nan)
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(n)
