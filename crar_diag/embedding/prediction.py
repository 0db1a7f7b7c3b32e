"""What can be measured of a base model before any transfer, to foretell how its transfers end.

A transfer freezes all but the encoder and starts it on the pictures of another domain: at the
initial embedding f(o'), where o' is the target domain's picture of the state that o shows. From
there it may find the base's embedding f(o) again, or settle in its turned or mirrored image. So
this measures how far the start is from either, what the frozen losses are at the start, at the base
and at its images, and how steep and how curved the losses are. All of it is exact: the simple maze
has 31 states and 124 (state, action) pairs.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.assessment import settings_of
from crar_diag.agent.config import LOSSES
from crar_diag.agent.exact import STEP_WEIGHTS, losses_of_embedding, state_action_pairs
from crar_diag.agent.lifting import one_thread
from crar_diag.agent.loading import Agent
from crar_diag.agent.networks import Parameters, of_component
from crar_diag.agent.realignment import candidate_maps, map_losses
from crar_diag.embedding.pieces import ROOMS, exchange
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

MAPS: Final[dict[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    "rotated_180": ((-1.0, 0.0), (0.0, -1.0)),
    "mirrored_x1": ((-1.0, 0.0), (0.0, 1.0)),
    "mirrored_x2": ((1.0, 0.0), (0.0, -1.0)),
    "swapped_diagonal": ((0.0, 1.0), (1.0, 0.0)),
}
"""The images of the base's embedding whose losses are measured whatever they are."""

# Rotations by multiples of half a degree, mirror lines at multiples of a quarter.
_ANGLES: Final = 720
# Smaller rotations are the base's embedding again, more or less.
_FAR_DEGREES: Final = 45.0
# Eigenvalues closer to zero, relative to the largest, are rounding.
_ZERO: Final = 1e-10


def measure_base(agent: Agent, domain: str) -> dict[str, float]:
    """Measure one base model for its transfer to another visual domain of the simple maze.

    A sum of losses weighs them by `STEP_WEIGHTS`. Losses are those of the base's frozen transition,
    reward, discount and Q networks, `<loss>` is one of `LOSSES`, `<image>` one of `exchanged` (the
    rooms change places and keep their orientation; see `pieces`), `rotated_180`,
    `mirrored_x1` (x_1 -> -x_1), `mirrored_x2`, `swapped_diagonal` (x_1 <-> x_2),
    `best_reflection` and `best_far_rotation`: the base's embedding after that map; the best are
    those of the least transition loss, of all reflections and of all rotations by at least 45
    degrees. The keys:

    - `oddness`: mean ||f(o') + f(o)|| / mean ||f(o)||; 0 if the target's pictures start exactly at
      the base's embedding turned by 180 degrees.
    - `initial_distance`: mean ||f(o') - f(o)|| over the 31 states.
    - `base_<loss>`, `base_sum`: at f(o), in the domain that the base was trained in.
    - `initial_<loss>`, `initial_sum`: at f(o').
    - `<image>_transition`, `<image>_sum`: at the image; `<image>_ratio`: its transition loss over
      the base's. The pair losses are the base's at every image but the exchanged one.
    - `best_reflection_axis`: where its mirror line lies, degrees in [0, 180), 90 for x_1 -> -x_1;
      `best_far_rotation_angle`: by how much it turns, degrees in (-180, 180].
    - `gradient_norm_<loss>`, `gradient_norm_sum`: norm of the gradient by the encoder's parameters
      at f(o'); of the loss alone, and of the sum.
    - `<point>_curvature_largest`, `<point>_curvature_smallest`, `<point>_negative_curvatures`: the
      largest and smallest eigenvalue, and the number of negative ones, of the Hessian of the sum by
      the 62 coordinates of the embedding, the Q target held fixed; `<point>` is `initial` or
      `best_reflection`.

    All is computed in double precision. The volume loss has kinks where max_j |x_j| = 1 and where
    two |x_j| tie; there the subgradient of automatic differentiation is taken. Two states that all
    but coincide, at distance d, bend the pair losses by -C_d / d across the line between them,
    which can be most of the smallest curvature. Quotients are NaN where the divisor is 0.

    Args:
        agent: the base model, of the simple maze, with states in the plane.
        domain: the transfer's target, one of `domain_names()`.

    Returns:
        A number for each key; the keys and their order are always the same.

    Raises:
        InputError: the agent is not one of the simple maze, its states are not in the plane, or a
            domain is unknown.
    """
    metadata, architecture = agent.metadata, agent.architecture
    if metadata.environment != SIMPLE_MAZE:
        raise InputError(
            f"checkpoint '{agent.path}': exact measurement needs the simple maze's 31 states, "
            f"found an agent of '{metadata.environment}'"
        )
    if architecture.state_shape != (2,):
        raise InputError(
            f"checkpoint '{agent.path}': expected abstract states of shape (2,), found "
            f"{architecture.state_shape}"
        )
    settings = settings_of(agent)
    parameters = {name: p.double() for name, p in agent.parameters.items()}
    tiles = torch.from_numpy(simple_maze.all_tiles())
    own, target = (
        Observer(SIMPLE_MAZE, metadata.observation, name)(tiles).double()
        for name in (metadata.domain, domain)
    )
    with torch.no_grad():
        base, initial = (networks.encode(architecture, parameters, o) for o in (own, target))

    def losses(embedding: Tensor) -> dict[str, Tensor]:
        return losses_of_embedding(architecture, parameters, embedding, settings)

    with one_thread():
        return _measure(architecture, parameters, base, initial, target, losses)


def _measure(
    architecture: Architecture,
    parameters: Parameters,
    base: Tensor,
    initial: Tensor,
    target: Tensor,
    losses: Callable[[Tensor], dict[str, Tensor]],
) -> dict[str, float]:
    """Return what `measure_base` does, of embeddings and the target domain's pictures."""
    size = _mean_norm(base)
    found = {
        "oddness": _mean_norm(initial + base) / size if size else math.nan,
        "initial_distance": _mean_norm(initial - base),
    }
    for name, embedding in (("base", base), ("initial", initial)):
        at = losses(embedding)
        found |= {f"{name}_{loss}": at[loss].item() for loss in LOSSES}
        found[f"{name}_sum"] = _sum(at).item()
    images, angles = _images(architecture, parameters, base)
    for name, embedding in images.items():
        at = losses(embedding)
        own_loss, there = found["base_transition"], at["transition"].item()
        found[f"{name}_transition"] = there
        found[f"{name}_ratio"] = there / own_loss if own_loss else math.nan
        found[f"{name}_sum"] = _sum(at).item()
    found |= angles
    found |= _gradient_norms(architecture, parameters, target, losses)
    for name, embedding in (("initial", initial), ("best_reflection", images["best_reflection"])):
        values = _curvatures(embedding, losses)
        found[f"{name}_curvature_largest"] = float(values[-1])
        found[f"{name}_curvature_smallest"] = float(values[0])
        negative = values < -_ZERO * np.abs(values).max()
        found[f"{name}_negative_curvatures"] = float(negative.sum())
    return found


def _mean_norm(vectors: Tensor) -> float:
    return vectors.norm(dim=1).mean().item()


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([STEP_WEIGHTS[name] * losses[name] for name in LOSSES]).sum()


def _images(
    architecture: Architecture, parameters: Parameters, base: Tensor
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the base's embedding after each map of `<image>`, and the best maps' angles."""
    maps = candidate_maps(architecture, _ANGLES)
    states, next_states, actions = state_action_pairs()
    going_on = base.new_ones(len(actions))
    losses = map_losses(
        architecture, parameters, base[states], base[next_states], actions, going_on, maps
    )
    turns = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    mirrors = np.linalg.det(maps) < 0
    far = ~mirrors & (np.abs(turns) >= _FAR_DEGREES - 1e-9)
    reflection = np.where(mirrors, losses, np.inf).argmin()
    rotation = np.where(far, losses, np.inf).argmin()
    chosen = {name: np.array(rows) for name, rows in MAPS.items()}
    chosen |= {"best_reflection": maps[reflection], "best_far_rotation": maps[rotation]}
    images = {"exchanged": torch.from_numpy(exchange(base.numpy(), ROOMS))}
    images |= {name: base @ torch.from_numpy(matrix).T for name, matrix in chosen.items()}
    return images, {
        "best_reflection_axis": float(turns[reflection] / 2 % 180),
        "best_far_rotation_angle": float(turns[rotation]),
    }


def _gradient_norms(
    architecture: Architecture,
    parameters: Parameters,
    pictures: Tensor,
    losses: Callable[[Tensor], dict[str, Tensor]],
) -> dict[str, float]:
    """Return the norms of the losses' gradients by the encoder's parameters at 31 pictures."""
    encoder = of_component(parameters, "encoder")

    def values(encoder: Parameters) -> Tensor:
        at = losses(networks.encode(architecture, encoder, pictures))
        return torch.stack([at[name] for name in LOSSES])

    gradients = torch.func.jacrev(values)(encoder)
    flat = torch.cat([g.flatten(1) for g in gradients.values()], dim=1)
    weights = torch.tensor([STEP_WEIGHTS[name] for name in LOSSES], dtype=flat.dtype)
    norms = flat.norm(dim=1).tolist()
    found = {f"gradient_norm_{name}": norm for name, norm in zip(LOSSES, norms, strict=True)}
    return found | {"gradient_norm_sum": (weights @ flat).norm().item()}


def _curvatures(embedding: Tensor, losses: Callable[[Tensor], dict[str, Tensor]]) -> np.ndarray:
    """Return the eigenvalues of the sum's Hessian by the embedding, ascending, `[62]`."""
    hessian = torch.func.hessian(lambda x: _sum(losses(x)))(embedding)
    return torch.linalg.eigvalsh(hessian.reshape(embedding.numel(), -1)).numpy()
