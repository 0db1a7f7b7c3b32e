"""How well agents play: the labyrinth's score.

It is the paper's validation score (figures 8, 10 and 18): epsilon-greedy on planned Q values, the
sum of rewards over 200 steps divided by the number of episodes.

An episode draws its maze and its exploration from a generator of its own, so that agents can be
compared on the same mazes; see `streams.episode_streams`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.checks import check_counts, check_observer
from crar_diag.agent.networks import Parameters
from crar_diag.agent.planning import population_q_values
from crar_diag.agent.streams import EpisodeStreams
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
    streams: Sequence[EpisodeStreams],
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

    What a member does in one environment depends on its own parameters and streams alone. (Where
    members are batched by `vmap`, on an accelerator, the last bit of a planned value may still
    depend on the batch's size.)

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`.
        observer: how the agents see the labyrinth.
        streams: for each member the generators of its episodes; a slot is an environment.
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
        architecture, population, observer, streams, environments, depth, epsilon, episode_cap
    )
    keys = np.zeros((len(streams), environments), dtype=np.int64)
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
    streams: Sequence[EpisodeStreams],
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
        streams: for each member the generators of its episodes, each the first of its slot.
        episodes: N.
        depth: planning depth D, 0 to 6.
        epsilon: probability of a uniformly random action.
        episode_cap: steps after which an episode is cut off.

    Raises:
        InputError: a number out of its range, or things that do not fit together.
    """
    check_counts(episodes=episodes, episode_cap=episode_cap)
    play = _play(
        architecture,
        population,
        observer,
        streams,
        episodes,
        depth,
        epsilon,
        episode_cap,
        again=False,
    )
    playing = np.ones((len(streams), episodes), dtype=bool)
    keys = np.zeros(playing.shape, dtype=np.int64)
    lengths = np.zeros_like(keys)
    # Whoever has finished goes on in its maze, unseen, until everyone has.
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
    streams: Sequence[EpisodeStreams],
    slots: int,
    depth: int,
    epsilon: float,
    episode_cap: int,
    *,
    again: bool = True,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, step by step, where a key was taken and where an episode ended, bool `[M, slots]`.

    With `again`, the next episode begins where one ended. A step of an episode draws two uniforms
    whether they are needed or not: the first is below epsilon where the second chooses the action.
    """
    check_observer(architecture, observer, LABYRINTH)
    some = next(iter(population.values()))
    if len(streams) != len(some):
        raise InputError(
            f"expected the streams of each of {len(some)} members, got those of {len(streams)}"
        )
    if not 0.0 <= epsilon <= 1.0:
        raise InputError(f"epsilon must be from 0 to 1, found {epsilon}")
    shape = (len(streams), slots)
    episodes = np.zeros(len(streams) * slots, dtype=np.int64)
    rngs = [stream(slot, 0) for stream in streams for slot in range(slots)]
    state = _draw_mazes(rngs)
    while True:
        tiles = labyrinth.tiles(state).reshape(*shape, GRID_SIZE, GRID_SIZE)
        pictures = observer(torch.from_numpy(tiles).to(some.device)).to(some.dtype)
        values = population_q_values(architecture, population, pictures, depth)
        best = values.argmax(dim=2).cpu().numpy().reshape(-1)
        explore, choice = np.array([rng.random(2) for rng in rngs]).T
        others = (choice * architecture.actions).astype(best.dtype)
        actions = np.where(explore < epsilon, others, best)
        state, rewards, terminals = labyrinth.step(state, actions)
        ended = terminals | labyrinth.truncated(state, terminals, episode_cap)
        yield (rewards > 0).reshape(shape), ended.reshape(shape)
        begin = np.flatnonzero(ended) if again else ended[:0]
        if begin.size:
            for at in begin.tolist():
                episodes[at] += 1
                rngs[at] = streams[at // slots](at % slots, int(episodes[at]))
            state = state.replaced(begin, _draw_mazes([rngs[at] for at in begin.tolist()]))


def _draw_mazes(rngs: Sequence[np.random.Generator]) -> LabyrinthState:
    """Draw one maze from each generator."""
    drawn = [generate(rng, 1) for rng in rngs]
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
