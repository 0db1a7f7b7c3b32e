"""What each variant of a transfer starts from, and what moves then (sections 4.1 and 5.2.3)."""

import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture, Conv, Dense
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.networks import Parameters, of_component
from crar_diag.agent.population import MemberRule
from crar_diag.agent.realignment import fold, start_maps
from crar_diag.agent.streams import restart_seed, stream
from crar_diag.agent.transfer_config import UNFROZEN, TransferConfig

STRUCTURE_LOSSES = ("volume", "random_pairs", "consecutive_pairs")
"""L_d2, L_d1 and L'_d1, which depend on the encoder alone."""


def start(
    architecture: Architecture,
    variant: str,
    base: Parameters | None,
    seed: int,
    dtype: torch.dtype,
    restart: int = 0,
) -> Parameters:
    """Return the agent that a transfer begins with.

    Restarts begin elsewhere, since where an encoder begins decides much of where it ends: a variant
    that draws its encoder anew draws another, the others fold an orthogonal map of the embedding
    into the base's encoder (`realignment.start_maps`).

    Args:
        architecture: its layers.
        variant: one of `VARIANTS`.
        base: the base model's parameters; None from scratch.
        seed: of what is drawn anew: the encoder of `reset-encoder`, all of `scratch`, and the order
            into which `permute-encoder` brings the entries of each of the encoder's tensors, as
            the published code does.
        dtype: precision of the agent.
        restart: 0 for the variant's own start.
    """
    seed = restart_seed(seed, restart)
    if variant == "scratch":
        return networks.initialise(architecture, stream(seed, "initialisation"), dtype)
    assert base is not None
    agent = {name: p.clone() for name, p in base.items()}
    if variant == "reset-encoder":
        fresh = networks.initialise(architecture, stream(seed, "initialisation"), dtype)
        agent |= of_component(fresh, "encoder")
    elif variant == "permute-encoder":
        rng = stream(seed, "permutation")
        for name in of_component(architecture.shapes(), "encoder"):  # a file has no order
            p = agent[name]
            order = torch.from_numpy(rng.permutation(p.numel()))
            agent[name] = p.flatten()[order].reshape(p.shape)
    elif variant == "oracle":
        first = first_kernel(architecture)
        agent[first] = -agent[first]
    elif restart:
        agent = fold(architecture, agent, start_maps(architecture, restart + 1)[restart])
    return agent


def first_kernel(architecture: Architecture) -> str:
    """Return the name of the encoder's first kernel: what sees the picture.

    Its negative, biases kept, gives on -o exactly what it gives on o.
    """
    layers = enumerate(architecture.encoder)
    position = next(k for k, layer in layers if isinstance(layer, Dense | Conv))
    return f"encoder.{position}.weight"


def omitted(variant: str, no_disambiguation: str, delay: int, epoch: int) -> tuple[str, ...]:
    """Return the losses that have no weight in an epoch of a transfer, whatever its configuration.

    Args:
        variant: of the transfer.
        no_disambiguation: the loss that this variant omits.
        delay: epoch from which `delayed-structure` has the losses of `STRUCTURE_LOSSES`.
        epoch: counted from 0.
    """
    if variant == "no-disambiguation":
        return (no_disambiguation,)
    if variant == "delayed-structure" and epoch < delay:
        return STRUCTURE_LOSSES
    return ()


def member_rule(config: TransferConfig, variant: str, learning_rate: float) -> MemberRule:
    """Return how a transfer's agent moves."""
    weights = {loss: getattr(config.loss_weights, loss).root for loss in LOSSES}
    for loss in omitted(variant, config.no_disambiguation, config.delay, 0):
        weights[loss] = ((0, 0.0),)
        if variant == "delayed-structure":
            schedule = getattr(config.loss_weights, loss)
            later = [pair for pair in schedule.root if pair[0] > config.delay]
            restored = (config.delay, schedule.weight_at(config.delay))
            weights[loss] = ((0, 0.0), restored, *later)
    return MemberRule(
        learning_rate=learning_rate,
        learning_rate_decay=config.optimizer.learning_rate_decay,
        loss_weights=weights,
        trainable=frozenset(COMPONENTS if variant in UNFROZEN else ("encoder",)),
    )
