"""What is read off a population while it trains, depending on the environment.

A probe looks at fixed pictures with every member: all 31 states of the simple maze, where losses
are exact, or held-out labyrinths, where they come with a standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from crar_diag.agent.architecture import Architecture
from crar_diag.agent.config import LOSSES, EvaluationConfig
from crar_diag.agent.evaluation import evaluate_labyrinth
from crar_diag.agent.lifting import over_members
from crar_diag.agent.loss_evaluation import exact_evaluation, held_out_labyrinth, sampled_losses
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import Parameters, encode
from crar_diag.envs import simple_maze
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
    """

    losses: np.ndarray
    losses_error: np.ndarray
    embedding: np.ndarray


class Probe(Protocol):
    """Reads members; `shape` is that of one member's embedding, `(S, *state_shape)`."""

    shape: tuple[int, ...]

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""

    def score(self, population: Parameters, rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Return the validation score of every member, `[M]`."""


class SimpleMazeProbe:
    """Exact losses and the embedding of all 31 states."""

    def __init__(
        self, architecture: Architecture, observer: Observer, settings: LossSettings
    ) -> None:
        self._architecture, self._observer, self._settings = architecture, observer, settings
        self.shape = (len(simple_maze.STATES), *architecture.state_shape)

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""
        found = exact_evaluation(self._architecture, population, self._observer, self._settings)
        losses = np.stack([found.losses[name] for name in LOSSES], axis=1)
        return Reading(losses, np.zeros_like(losses), found.embedding)

    def score(self, population: Parameters, rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Refuse: the simple maze has no reward.

        Raises:
            InputError: always.
        """
        raise InputError("the simple maze has no reward and so no score: set evaluation.every to 0")


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
        self._data = held_out_labyrinth(HELD_OUT_TRANSITIONS)
        self._tiles = torch.from_numpy(self._data.tiles[:HELD_OUT_PICTURES])
        self.shape = (HELD_OUT_PICTURES, *architecture.state_shape)

    def read(self, population: Parameters) -> Reading:
        """Return losses and embedding of every member."""
        architecture = self._architecture
        found = sampled_losses(architecture, population, self._observer, self._data, self._settings)
        some = next(iter(population.values()))
        pictures = self._observer(self._tiles.to(some.device)).to(some.dtype)
        with torch.no_grad():
            states = over_members(
                architecture,
                lambda parameters: {"x": encode(architecture, parameters, pictures)},
                population,
                members_at_once=1,
            )["x"]
        return Reading(
            np.stack([found.mean[name] for name in LOSSES], axis=1),
            np.stack([found.standard_error[name] for name in LOSSES], axis=1),
            states.cpu().numpy(),
        )

    def score(self, population: Parameters, rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Return the validation score of every member, `[M]`."""
        how = self._evaluation
        return evaluate_labyrinth(
            self._architecture,
            population,
            self._observer,
            rngs,
            depth=how.depth,
            epsilon=how.epsilon,
            steps=how.steps,
            episode_cap=how.episode_cap,
            environments=how.episodes,
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
    if environment == "simple-maze":
        return SimpleMazeProbe(architecture, observer, settings)
    return LabyrinthProbe(architecture, observer, settings, evaluation or EvaluationConfig())
