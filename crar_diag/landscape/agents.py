"""CRAR agents as a problem: what their losses are taken on, and which agents can be compared.

In the simple maze the losses are exact: expectations over all 31 states and 124 (state, action)
pairs. In the labyrinth they are means over a fixed sample of transitions from mazes that training
never saw, with standard errors clustered by maze. The Q target is the agent's own, held fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.assessment import settings_of
from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.exact import losses_of_embedding, q_targets
from crar_diag.agent.lifting import PICTURES_IN_CACHE
from crar_diag.agent.loading import Agent
from crar_diag.agent.loss_evaluation import (
    encode_sample,
    held_out_labyrinth,
    losses_of_rows,
    maze_of,
)
from crar_diag.agent.losses import Batch, Forward
from crar_diag.agent.networks import of_component
from crar_diag.agent.probes import HELD_OUT_TRANSITIONS
from crar_diag.agent.replay import Transitions
from crar_diag.agent.variants import omitted
from crar_diag.envs import simple_maze
from crar_diag.envs.domains import get_domain
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError, did_you_mean
from crar_diag.landscape.exact_grid import fits, losses_of_points
from crar_diag.landscape.points import Combination, Points
from crar_diag.landscape.problem import Parameters, Problem

ENCODER = ("encoder.*",)
DYNAMICS = tuple(f"{component}.*" for component in COMPONENTS if component != "encoder")

Q_TARGET = "q_target"
"""The constant that stands for the agent's own Q target while its parameters change."""

# Pictures of the labyrinth that many points, side by side on a device, encode together.
_PICTURES_OF_EACH_POINT = 128


@dataclass(frozen=True, eq=False)
class Endpoints:
    """Agents that can be compared, in the order in which they were named.

    Attributes:
        agents: of one task and architecture.
        domain: the visual domain in which all of them are evaluated.
        sha256: of each one's file.
    """

    agents: tuple[Agent, ...]
    domain: str
    sha256: tuple[str, ...]


def comparable(agents: Sequence[Agent], domain: str | None = None) -> Endpoints:
    """Check that agents can be ends of one landscape.

    Args:
        agents: in order.
        domain: in which all of them are evaluated; None for the one that they share.

    Raises:
        InputError: two of them are the same file, or differ in task, architecture, the constants
            of the losses, or (where none is given) domain; or the domain is unknown.
    """
    first = agents[0]
    shas = tuple(file_sha256(agent.path) for agent in agents)
    for k, sha in enumerate(shas):
        if sha in shas[:k]:
            raise InputError(
                f"checkpoint '{agents[k].path}' is the same as '{agents[shas.index(sha)].path}': "
                "there is no landscape between an agent and itself"
            )
    for other in agents[1:]:
        check_same_task(first, other)
        own, its = first.metadata.domain, other.metadata.domain
        if domain is None and own != its:
            raise InputError(
                f"checkpoints '{first.path}' and '{other.path}' were trained in the visual domains "
                f"'{own}' and '{its}': name the one in which both are evaluated",
                arguments=["domain"],
            )
    if domain is None:
        domain = first.metadata.domain
        try:
            get_domain(domain)
        except InputError as unknown:  # a domain of the user's own that is not registered here
            raise InputError(f"checkpoint '{first.path}': {unknown}") from unknown
    get_domain(domain)
    return Endpoints(tuple(agents), domain, shas)


def check_same_task(first: Agent, other: Agent) -> None:
    """Refuse two agents whose parameters do not mean the same.

    Raises:
        InputError: they differ in task, architecture, precision or the constants of the losses.
    """
    for what, mine, theirs in (
        ("environment", first.metadata.environment, other.metadata.environment),
        ("observation", first.metadata.observation, other.metadata.observation),
        ("architecture", first.architecture.spec(), other.architecture.spec()),
        ("precision", _dtype(first), _dtype(other)),
        ("losses' constants", settings_of(first), settings_of(other)),
    ):
        if mine != theirs:
            found = "" if what == "architecture" else f": {mine} and {theirs}"
            raise InputError(
                f"checkpoints '{first.path}' and '{other.path}' differ in their {what}{found}"
            )


def same_dynamics(agents: Sequence[Agent]) -> bool:
    """Return whether all components but the encoder are the same bit for bit in all agents."""
    components = [c for c in COMPONENTS if c != "encoder"]
    first = of_component(agents[0].parameters, *components)
    return all(
        torch.equal(p, other.parameters[name]) for other in agents[1:] for name, p in first.items()
    )


def weights_of(agent: Agent, chosen: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the weights of the losses in the weighted sum.

    They are the step ratios that the agent was trained with in its last epoch, without what its
    variant of a transfer omits: a rule with one optimizer a loss descends no single sum, and its
    weights scale steps.

    Args:
        agent: whose file's configuration has them.
        chosen: other weights for some of the losses.

    Raises:
        InputError: an unknown loss among the chosen, or no weights in the file.
    """
    for name in chosen or {}:
        if name not in LOSSES:
            raise InputError(
                f"unknown loss '{name}'{did_you_mean(name, LOSSES)}", arguments=["weight"]
            )
    configuration = agent.metadata.configuration
    try:
        epoch = _last_epoch(agent)
        found = {name: _weight_at(configuration["loss_weights"][name], epoch) for name in LOSSES}
        if configuration.get("kind") == "transfer":
            keys = configuration["no_disambiguation"], configuration["delay"]
            for name in omitted(configuration["variants"][0], *keys, epoch):
                found[name] = 0.0
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"checkpoint '{agent.path}': its configuration must hold loss_weights, which the sum "
            f"of losses needs: {error!r}"
        ) from error
    return found | dict(chosen or {})


def _last_epoch(agent: Agent) -> int:
    """Return the epoch of an agent's last update, counted from 0."""
    return max(0, agent.metadata.updates - 1) // agent.metadata.configuration["updates_per_epoch"]


def _weight_at(schedule: Any, epoch: int) -> float:
    """Return the weight that holds in an epoch; a schedule is one number, or pairs from 0 on."""
    if not isinstance(schedule, list):
        return float(schedule)
    return float([weight for start, weight in schedule if start <= epoch][-1])


def agent_problem(
    agent: Agent,
    domain: str,
    *,
    weights: Mapping[str, float] | None = None,
    moves: Sequence[str] = ENCODER,
    refits: Sequence[str] = DYNAMICS,
    transitions: int = HELD_OUT_TRANSITIONS,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Problem:
    """Return the losses of agents like this one as a problem.

    Args:
        agent: gives task, architecture, constants and weights of the losses.
        domain: the visual domain.
        weights: of the losses in the sum; `weights_of` the agent by default.
        moves: patterns of the parameters that move; the encoder's by default.
        refits: patterns of those that an unfrozen landscape re-fits; all others by default.
        transitions: size of the labyrinth's held-out sample.
        seed: of that sample.
        dtype: precision of the pictures; the agent's own by default.
        device: where they lie.

    Raises:
        InputError: an unknown domain or loss.
    """
    metadata, architecture = agent.metadata, agent.architecture
    observer = Observer(metadata.environment, metadata.observation, domain)
    settings = settings_of(agent)
    kind = dtype or next(iter(agent.parameters.values())).dtype
    shared: dict[str, Any] = {
        "moves": tuple(moves),
        "refits": tuple(refits),
        "weights": weights_of(agent, weights),
        "looped": architecture.convolutional and torch.device(device).type == "cpu",
        "device": device,
    }
    if metadata.environment == SIMPLE_MAZE:
        tiles = torch.from_numpy(simple_maze.all_tiles())
        pictures = observer(tiles).to(device=device, dtype=kind)

        def embed(parameters: Parameters, pictures: Tensor) -> Tensor:
            return networks.encode(architecture, parameters, pictures)

        def exact(parameters: Parameters, embedding: Tensor) -> dict[str, Tensor]:
            q_target = parameters.get(Q_TARGET)
            return losses_of_embedding(architecture, parameters, embedding, settings, q_target)

        def own_targets(parameters: Parameters, embedding: Tensor) -> Parameters:
            return {Q_TARGET: q_targets(architecture, parameters, embedding, settings)}

        def at_points(points: Points, held: Parameters) -> dict[str, Tensor]:
            own = points.beside if isinstance(points, Combination) else points
            q_target = own.get(Q_TARGET)
            return losses_of_points(architecture, points, held, pictures, settings, q_target)

        fast = torch.device(device).type == "cpu" and fits(architecture)
        return Problem(
            losses=exact,
            batch=pictures,
            features=embed,
            constants=own_targets,
            many=at_points if fast else None,
            **shared,
        )
    data = held_out_labyrinth(transitions, seed)
    sample = Transitions.of(data, observer, kind, torch.device(device))
    at_once = PICTURES_IN_CACHE if shared["looped"] else _PICTURES_OF_EACH_POINT

    def encode(parameters: Parameters, sample: Transitions) -> Batch:
        return encode_sample(architecture, parameters, sample, at_once)

    def sampled(parameters: Parameters, encoded: Batch) -> dict[str, Tensor]:
        return losses_of_rows(architecture, parameters, encoded, settings, parameters.get(Q_TARGET))

    def own_q_targets(parameters: Parameters, encoded: Batch) -> Parameters:
        return {Q_TARGET: Forward(architecture.bare(), parameters, encoded, settings).q_target}

    return Problem(
        losses=sampled,
        batch=sample,
        features=encode,
        constants=own_q_targets,
        clusters=torch.from_numpy(maze_of(data)).to(device),
        **shared,
    )


def _dtype(agent: Agent) -> torch.dtype:
    return next(iter(agent.parameters.values())).dtype
