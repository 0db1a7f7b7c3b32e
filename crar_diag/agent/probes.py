"""What is read off a population while it trains, depending on the environment.

A probe looks at fixed pictures with every member: all 31 states of the simple maze, where losses
are exact, or held-out labyrinths, where they come with a standard error.

Members are read one by one, in memory of their own, so that a member's numbers are the same bit for
bit whoever trains beside it: the last bit of a batched product depends on the size of the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.config import LOSSES, EvaluationConfig
from crar_diag.agent.evaluation import evaluate_labyrinth
from crar_diag.agent.lifting import one_thread
from crar_diag.agent.loss_evaluation import exact_evaluation, held_out_labyrinth, sampled_losses
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import Parameters, encode, member, predict_each_action
from crar_diag.agent.streams import EpisodeStreams
from crar_diag.envs import simple_maze
from crar_diag.envs.data import TransitionData
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

HELD_OUT_TRANSITIONS = 512
HELD_OUT_PICTURES = 8


@dataclass(frozen=True)
class Reading:
    """One look at M members.

    Attributes:
        losses: `[M, 7]` in the order of `LOSSES`.
        losses_error: their standard errors, 0 where exact, `[M, 7]`.
        embedding: abstract states of the probe's pictures, `[M, S, *state_shape]`.
        prediction: x + p(x, a) for each of them and each action, `[M, S, actions, *state_shape]`.
    """

    losses: np.ndarray
    losses_error: np.ndarray
    embedding: np.ndarray
    prediction: np.ndarray


class Probe(Protocol):
    """Reads members; `shape` is that of one member's embedding, `(S, *state_shape)`."""

    shape: tuple[int, ...]

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""

    def score(self, population: Parameters, streams: Sequence[EpisodeStreams]) -> np.ndarray:
        """Return the validation score of every member, `[M]`."""


class SimpleMazeProbe:
    """Exact losses and the embedding of all 31 states."""

    def __init__(
        self, architecture: Architecture, observer: Observer, settings: LossSettings
    ) -> None:
        self._architecture, self._observer, self._settings = architecture, observer, settings
        self.shape = embedding_shape(SIMPLE_MAZE, architecture)

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""
        values, embedding, predictions = [], [], []
        with one_thread():
            for one in _one_by_one(population):
                found = exact_evaluation(self._architecture, one, self._observer, self._settings)
                values.append([found.losses[name][0] for name in LOSSES])
                embedding.append(found.embedding[0])
                states = torch.from_numpy(found.embedding[0])
                predictions.append(_predict(self._architecture, one, states))
        losses = np.array(values)
        return Reading(losses, np.zeros_like(losses), np.stack(embedding), np.stack(predictions))

    def score(self, population: Parameters, streams: Sequence[EpisodeStreams]) -> np.ndarray:
        """Refuse: the simple maze has no reward.

        Raises:
            InputError: always.
        """
        raise InputError("the simple maze has no reward and so no score")


class LabyrinthProbe:
    """Losses on held-out mazes, the embedding of a few of them, and the validation score."""

    def __init__(
        self,
        architecture: Architecture,
        observer: Observer,
        settings: LossSettings,
        evaluation: EvaluationConfig,
    ) -> None:
        self._architecture, self._observer, self._settings = architecture, observer, settings
        self._evaluation = evaluation
        self.shape = embedding_shape(observer.environment, architecture)

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""
        architecture, data = self._architecture, held_out(HELD_OUT_TRANSITIONS)
        some = next(iter(population.values()))
        tiles = torch.from_numpy(data.tiles[:HELD_OUT_PICTURES]).to(some.device)
        pictures = self._observer(tiles).to(some.dtype)

        def read(one: Parameters) -> tuple[np.ndarray, ...]:
            found = sampled_losses(architecture, one, self._observer, data, self._settings)
            with torch.no_grad():
                states = encode(architecture, member(one, 0), pictures)
            return (
                np.array([found.mean[name][0] for name in LOSSES]),
                np.array([found.standard_error[name][0] for name in LOSSES]),
                states.cpu().numpy(),
                _predict(architecture, one, states),
            )

        each = _at_once(read, list(_one_by_one(population)))
        return Reading(*map(np.stack, zip(*each, strict=True)))

    def score(self, population: Parameters, streams: Sequence[EpisodeStreams]) -> np.ndarray:
        """Return the validation score of every member, `[M]`."""
        some = next(iter(population.values()))
        if some.device.type != "cpu":  # step by step, an accelerator wants all members at once
            return self._score(population, streams)
        each = zip(_one_by_one(population), streams, strict=True)
        return np.concatenate(_at_once(lambda one: self._score(one[0], [one[1]]), list(each)))

    def _score(self, population: Parameters, streams: Sequence[EpisodeStreams]) -> np.ndarray:
        how = self._evaluation
        return evaluate_labyrinth(
            self._architecture,
            population,
            self._observer,
            streams,
            depth=how.depth,
            epsilon=how.epsilon,
            steps=how.steps,
            episode_cap=how.episode_cap,
            environments=how.environments,
        ).mean


def make_probe(
    environment: str,
    architecture: Architecture,
    observer: Observer,
    settings: LossSettings,
    evaluation: EvaluationConfig | None = None,
) -> Probe:
    """Return the probe of an environment.

    Args:
        environment: `simple-maze` or `labyrinth`.
        architecture: the members' layers.
        observer: how they see it.
        settings: constants of the losses.
        evaluation: how the score is measured; the published way by default.
    """
    if environment == SIMPLE_MAZE:
        return SimpleMazeProbe(architecture, observer, settings)
    return LabyrinthProbe(architecture, observer, settings, evaluation or EvaluationConfig())


def embedding_shape(environment: str, architecture: Architecture) -> tuple[int, ...]:
    """Return the shape of one member's embedding in a reading, `(S, *state_shape)`."""
    pictures = len(simple_maze.STATES) if environment == SIMPLE_MAZE else HELD_OUT_PICTURES
    return (pictures, *architecture.state_shape)


@cache
def held_out(transitions: int) -> TransitionData:
    """Return the held-out sample, drawn once: it takes 200 steps for each transition."""
    return held_out_labyrinth(transitions)


def _predict(architecture: Architecture, one: Parameters, states: torch.Tensor) -> np.ndarray:
    """Return a lone member's predictions from some of its states, for every action."""
    agent = member(one, 0)
    states = states.to(next(iter(agent.values())).device)
    with torch.no_grad():
        return predict_each_action(architecture, agent, states).cpu().numpy()


def _at_once(work: Callable[[Any], Any], members: Sequence[Any]) -> list[Any]:
    """Return what some work gives for each member, several at a time, each on one thread.

    So small a member's pictures gain nothing from PyTorch's own threads, which wait for each other
    actively: on a busy machine a score took ten times as long.
    """
    workers = min(len(members), torch.get_num_threads())
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, members))


def _one_by_one(population: Parameters) -> Iterator[Parameters]:
    """Yield each member as a population of one, in memory of its own."""
    for m in range(len(next(iter(population.values())))):
        yield {name: p[m : m + 1].clone() for name, p in population.items()}
