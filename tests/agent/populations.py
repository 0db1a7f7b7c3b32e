"""Small mixed populations that the tests of the engines share."""

from collections.abc import Sequence

import numpy as np
import torch

from crar_diag.agent.architecture import SIMPLE_MAZE, Architecture
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import initialise, stack
from crar_diag.agent.population import MemberRule, Population, UpdateRule
from crar_diag.agent.replay import Replay
from crar_diag.agent.streams import stream
from crar_diag.envs.data import TransitionData, gather
from crar_diag.envs.observer import Observer


def rewarding_maze(
    seed: int, transitions: int = 400, environment: str = "simple-maze"
) -> TransitionData:
    """Random-policy data of a maze, with rewards and terminals so that no loss is idle."""
    data = gather(environment, transitions, stream(seed, "data"))
    rng = np.random.default_rng(seed)
    return TransitionData(
        data.environment,
        data.tiles,
        data.next_tiles,
        data.actions,
        rng.standard_normal(transitions).astype(np.float32),
        rng.random(transitions) < 0.2,
    )


def weights(**given: float | tuple[tuple[int, float], ...]) -> dict:
    """Loss weights, 1 where not given."""
    pairs = {loss: given.get(loss, 1.0) for loss in LOSSES}
    return {k: w if isinstance(w, tuple) else ((0, w),) for k, w in pairs.items()}


MIXED = (
    MemberRule(5e-4),
    MemberRule(2e-3, 0.5, weights(reward=0.0, volume=2.0, consecutive_pairs=0.2)),
    MemberRule(1e-3, 1.0, weights(transition=((0, 0.0), (1, 1.0))), frozenset({"encoder"})),
    MemberRule(1e-3, 0.9, weights(q=0.3), frozenset(COMPONENTS) - {"encoder"}),
)
"""Members that differ in everything that may differ."""


def make(
    members: Sequence[MemberRule] = MIXED,
    *,
    mode: str = "sequential",
    dtype: torch.dtype = torch.float64,
    double_q: bool = False,
    clip_scope: str = "tensor",
    seeds: Sequence[int] | None = None,
    architecture: Architecture = SIMPLE_MAZE,
    domains: Sequence[str] | None = None,
    batch_size: int = 8,
    transitions: int = 400,
) -> tuple[Population, Replay]:
    """Return a population whose epochs last 4 updates and whose targets are copied every 3."""
    seeds = tuple(range(len(members))) if seeds is None else tuple(seeds)
    rule = UpdateRule(
        mode=mode,
        clip_scope=clip_scope,
        clip_norm=0.3,  # so that some tensors are clipped and some are not
        target_period=3,
        updates_per_epoch=4,
        settings=LossSettings(double_q=double_q),
    )
    agents = [initialise(architecture, stream(seed, "initialisation"), dtype) for seed in seeds]
    population = Population(architecture, stack(agents), rule, members)
    kind = "symbolic" if architecture.observation_shape[-1] == 8 else "pixels"
    domains = domains or ["inverse" if seed % 2 else "normal" for seed in seeds]
    environment = "labyrinth" if architecture.name.startswith("labyrinth") else "simple-maze"
    observers = [Observer(environment, kind, domain) for domain in domains]
    data = [rewarding_maze(seed, transitions, environment) for seed in seeds]
    return population, Replay(data, observers, seeds, batch_size, dtype)


def same(one: Population, other: Population, tolerance: float) -> None:
    """Assert that two populations have the same parameters, targets and optimizer states."""
    for name in ("parameters", "target", "squares"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance
        )
