"""What can be said of agents on their own: losses and score, in any visual domain of their task."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from crar_diag.agent import networks
from crar_diag.agent.config import LOSSES, EvaluationConfig
from crar_diag.agent.evaluation import evaluate_episodes, evaluate_labyrinth
from crar_diag.agent.loading import Agent, load_agents
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.probes import make_probe
from crar_diag.agent.streams import episode_streams
from crar_diag.envs.domains import get_domain
from crar_diag.envs.names import LABYRINTH
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError


@dataclass(frozen=True)
class Play:
    """How the score is measured; None takes the published value.

    Attributes:
        depth: planning depth, 0 to 6 (3).
        epsilon: share of random actions (0.1).
        steps: of the published score (200).
        episodes: play so many whole episodes instead, and average their returns.
        episode_cap: steps after which an episode is cut off (50).
        environments: in which the published score is measured side by side, and averaged (1).
    """

    depth: int | None = None
    epsilon: float | None = None
    steps: int | None = None
    episodes: int | None = None
    episode_cap: int | None = None
    environments: int | None = None


@dataclass(frozen=True)
class Assessment:
    """One agent's losses and score.

    Attributes:
        path: its file.
        environment: its task.
        domain: how it saw the task here.
        seed: of its training.
        updates: of its training.
        losses: exact (simple maze) or on held-out mazes, by name.
        losses_error: standard errors, 0 where exact.
        score: see `crar_diag.agent.evaluation`; None in tasks without reward.
        score_error: its standard error; None where there is one environment only.
    """

    path: Path
    environment: str
    domain: str
    seed: int
    updates: int
    losses: dict[str, float]
    losses_error: dict[str, float]
    score: float | None = None
    score_error: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "path": str(self.path)}


def assess(
    paths: Sequence[str | Path],
    domain: str | None = None,
    play: Play | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Assessment]:
    """Evaluate checkpoints, each on its own task.

    Args:
        paths: checkpoint files.
        domain: how the agents see the task; None for the domain that each was trained in.
        play: how the score is measured.
        seed: of mazes and exploration, the same for every agent: `streams.episode_streams`.
        device: where to compute.
        progress: called with the number of agents that are done and of all, 0 done included.

    Raises:
        InputError: a file or the domain will not do, `play` contradicts itself, or is given for
            agents whose task has no score.
    """
    play = play or Play()
    for name in ("steps", "environments"):
        if getattr(play, name) is not None and play.episodes is not None:
            raise InputError(
                f"{name} and episodes exclude each other: give one of them",
                arguments=[name, "episodes"],
            )
    agents = load_agents(paths)
    rewarded = [a for a in agents if a.metadata.environment == LABYRINTH]
    if not rewarded:
        given = [name for name, value in asdict(play).items() if value is not None]
        if given:
            raise InputError(
                f"{given[0]} belongs to the score, which the simple maze does not have: it has no "
                "reward",
                arguments=given[:1],
            )
    if domain is not None:
        get_domain(domain)
    found: list[Assessment] = []
    progress(0, len(agents))
    for agent in agents:
        found.append(_assess(agent, domain, play, seed, torch.device(device)))
        progress(len(found), len(agents))
    return found


def settings_of(agent: Agent) -> LossSettings:
    """Return the constants of the losses that an agent was trained with.

    Raises:
        InputError: if its file's configuration lacks them.
    """
    configuration = agent.metadata.configuration
    try:
        return LossSettings(
            float(configuration["discount_factor"]),
            bool(configuration["double_q"]),
            float(configuration["pair_scale"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"checkpoint '{agent.path}': its configuration must hold discount_factor, double_q and "
            f"pair_scale, which the losses need: {error!r}"
        ) from error


def _assess(
    agent: Agent, domain: str | None, play: Play, seed: int, device: torch.device
) -> Assessment:
    metadata = agent.metadata
    seen = domain or metadata.domain
    try:
        observer = Observer(metadata.environment, metadata.observation, seen)
    except InputError as unknown:  # a domain of the user's own that is not registered here
        raise InputError(f"checkpoint '{agent.path}': {unknown}") from unknown
    population = {n: p.unsqueeze(0).to(device) for n, p in agent.parameters.items()}
    probe = make_probe(metadata.environment, agent.architecture, observer, settings_of(agent))
    reading = probe.read(population)
    score = error = None
    if metadata.environment == LABYRINTH:
        score, error = _score(agent, population, observer, play, seed)
    return Assessment(
        path=agent.path,
        environment=metadata.environment,
        domain=seen,
        seed=metadata.seed,
        updates=metadata.updates,
        losses=dict(zip(LOSSES, map(float, reading.losses[0]), strict=True)),
        losses_error=dict(zip(LOSSES, map(float, reading.losses_error[0]), strict=True)),
        score=score,
        score_error=error,
    )


def _score(
    agent: Agent, population: networks.Parameters, observer: Observer, play: Play, seed: int
) -> tuple[float, float | None]:
    streams = [episode_streams(seed)]
    chosen = {name: value for name, value in asdict(play).items() if value is not None}
    how = EvaluationConfig().model_copy(update=chosen)
    if play.episodes is None:
        found = evaluate_labyrinth(
            agent.architecture,
            population,
            observer,
            streams,
            depth=how.depth,
            epsilon=how.epsilon,
            steps=how.steps,
            episode_cap=how.episode_cap,
            environments=how.environments,
        )
        mean, error = float(found.mean[0]), float(found.standard_error[0])
    else:
        returns = evaluate_episodes(
            agent.architecture,
            population,
            observer,
            streams,
            episodes=play.episodes,
            depth=how.depth,
            epsilon=how.epsilon,
            episode_cap=how.episode_cap,
        )
        mean, error = float(returns.mean[0]), float(returns.standard_error[0])
    return mean, None if math.isnan(error) else error
