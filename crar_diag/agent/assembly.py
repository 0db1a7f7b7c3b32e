"""From a configuration to what trains: rules, untrained agents, their data and the engine."""

import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture, architecture_for
from crar_diag.agent.config import LOSSES, TrainConfig
from crar_diag.agent.engine import Engine, ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine, supports
from crar_diag.agent.graphed import GraphedEngine
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.population import MemberRule, Population, UpdateRule
from crar_diag.agent.replay import Replay
from crar_diag.agent.streams import stream
from crar_diag.envs.data import TransitionData, gather
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError


def update_rule(config: TrainConfig) -> UpdateRule:
    """Return what the members of a run share about an update."""
    optimizer = config.optimizer
    return UpdateRule(
        mode=optimizer.mode,
        rho=optimizer.rho,
        epsilon=optimizer.epsilon,
        clip_norm=optimizer.clip_norm,
        clip_scope=optimizer.clip_scope,
        target_period=config.target_period,
        updates_per_epoch=config.updates_per_epoch,
        settings=loss_settings(config),
    )


def loss_settings(config: TrainConfig) -> LossSettings:
    """Return the constants of the losses of a run."""
    return LossSettings(config.discount_factor, config.double_q, config.pair_scale)


def member_rule(config: TrainConfig) -> MemberRule:
    """Return what each member of a run has for itself; they are alike but for their seeds."""
    return MemberRule(
        learning_rate=config.optimizer.learning_rate,
        learning_rate_decay=config.optimizer.learning_rate_decay,
        loss_weights={loss: getattr(config.loss_weights, loss).root for loss in LOSSES},
        trainable=frozenset(config.trainable),
    )


def choose_engine(
    name: str, architecture: Architecture, replay: Replay, threads: int | None = None
) -> Engine:
    """Return the engine of that name.

    `auto` is the fused one where it applies, on a CUDA device the graphed one, else the reference.

    Raises:
        InputError: if the engine that is asked for does not apply.
    """
    on_cuda = replay.device.type == "cuda"
    if name == "graphed" and not on_cuda:
        raise InputError(
            f"engine = 'graphed' trains on cuda, not on {replay.device.type}; use "
            "engine = 'reference' or 'auto'"
        )
    if name == "graphed" or (name == "auto" and on_cuda):
        return GraphedEngine()
    if name == "reference" or (name == "auto" and not supports(architecture, replay)):
        return ReferenceEngine()
    if not supports(architecture, replay):
        raise InputError(
            f"engine = 'fused' does not train '{architecture.name}' on {replay.device.type}; use "
            "engine = 'reference' or 'auto'"
        )
    return FusedEngine(threads)


def build(config: TrainConfig, device: torch.device) -> tuple[Population, Replay]:
    """Return the untrained population of a configuration, and its data."""
    architecture = architecture_for(config.environment, config.observation)
    dtype = getattr(torch, config.precision)
    agents = [
        networks.initialise(architecture, stream(seed, "initialisation"), dtype)
        for seed in config.seeds
    ]
    rules = [member_rule(config)] * len(agents)
    population = Population(architecture, networks.stack(agents), update_rule(config), rules)
    data = [gather_for(config, seed) for seed in config.seeds]
    observer = Observer(config.environment, config.observation, config.domain)
    observers = [observer] * len(data)
    replay = Replay(data, observers, config.seeds, config.batch_size, dtype, device)
    return population.to(device), replay


def gather_for(config: TrainConfig, seed: int) -> TransitionData:
    """Return the data of a seed."""
    return gather(
        config.environment,
        config.data.transitions,
        stream(seed, "data"),
        config.data.mark_last_terminal,
        config.data.steps_per_gathering,
    )
