"""The losses of agents away from training: exact or sampled.

They are exact in the simple maze and estimated on held-out mazes in the labyrinth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.checks import check_counts, check_observer
from crar_diag.agent.clustered import clustered_error
from crar_diag.agent.config import LOSSES
from crar_diag.agent.exact import losses_of_embedding
from crar_diag.agent.lifting import PICTURES_IN_CACHE, over_members, pictures_at_once
from crar_diag.agent.losses import LOSS_TERMS, Batch, Forward, LossSettings
from crar_diag.agent.networks import Parameters
from crar_diag.agent.replay import Transitions
from crar_diag.agent.streams import stream
from crar_diag.envs import simple_maze
from crar_diag.envs.data import TransitionData, gather
from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import WALL
from crar_diag.errors import InputError

# Transitions whose losses are computed together; bounds the memory.
_ROWS_AT_ONCE = 1024

# Members whose exact losses are computed together: 31 pictures and 961 pairs each.
_MEMBERS_AT_ONCE = 64

# A random policy stays about 400 steps in a maze. Keeping one transition in so many leaves two or
# three of each maze.
_THINNING = 200


@dataclass(frozen=True, eq=False)
class ExactEvaluation:
    """The simple maze, evaluated over all its states.

    Attributes:
        losses: each loss's exact expectation over the 124 (state, action) pairs, by name, `[M]`.
        embedding: e(o) of the 31 states in the order of `simple_maze.STATES`,
            `[M, 31, *state_shape]`.
    """

    losses: dict[str, np.ndarray]
    embedding: np.ndarray


@dataclass(frozen=True, eq=False)
class SampledLosses:
    """Losses on a sample of transitions.

    Attributes:
        mean: each loss's mean over the transitions, by name, `[M]`.
        standard_error: of that mean, clustered by maze, by name, `[M]`; NaN for one maze.
        mazes: how many different mazes the sample holds.
    """

    mean: dict[str, np.ndarray]
    standard_error: dict[str, np.ndarray]
    mazes: int


def exact_evaluation(
    architecture: Architecture, population: Parameters, observer: Observer, settings: LossSettings
) -> ExactEvaluation:
    """Return every member's exact losses and embedding in the simple maze.

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`; their precision is that of the computation.
        observer: how the agents see the simple maze.
        settings: the losses' constants; the Q target is the agent's own.

    Raises:
        InputError: if the observer does not show the simple maze in the agents' format.
    """
    check_observer(architecture, observer, SIMPLE_MAZE)
    some = next(iter(population.values()))
    pictures = observer(torch.from_numpy(simple_maze.all_tiles()).to(some.device)).to(some.dtype)

    def evaluate(parameters: Parameters) -> dict[str, Tensor]:
        embedding = networks.encode(architecture, parameters, pictures)
        losses = losses_of_embedding(architecture, parameters, embedding, settings)
        return {**losses, "embedding": embedding}

    with torch.no_grad():
        found = over_members(architecture, evaluate, population, members_at_once=_MEMBERS_AT_ONCE)
    arrays = {name: values.cpu().numpy() for name, values in found.items()}
    return ExactEvaluation({name: arrays[name] for name in LOSSES}, arrays["embedding"])


def held_out_labyrinth(transitions: int, seed: int = 0) -> TransitionData:
    """Return random-policy transitions from mazes that training never saw.

    They come from the seed's own held-out stream. One transition in 200 of a long random walk is
    kept, in random order, so that the sample holds many mazes in all stages of completion, as
    training data do, and neighbouring rows are random pairs.

    Args:
        transitions: how many.
        seed: any; equal seeds give equal data.

    Raises:
        InputError: if fewer than one transition is asked for.
    """
    check_counts(transitions=transitions)
    rng = stream(seed, "held-out")
    walk = gather(LABYRINTH, _THINNING * transitions, rng)
    rows = _THINNING * rng.permutation(transitions) + rng.integers(_THINNING, size=transitions)
    return TransitionData(
        environment=LABYRINTH,
        tiles=walk.tiles[rows],
        next_tiles=walk.next_tiles[rows],
        actions=walk.actions[rows],
        rewards=walk.rewards[rows],
        terminals=walk.terminals[rows],
    )


def sampled_losses(
    architecture: Architecture,
    population: Parameters,
    observer: Observer,
    data: TransitionData,
    settings: LossSettings,
) -> SampledLosses:
    """Return every member's losses on a sample, with standard errors.

    Each loss is the mean of its value on single transitions; the random-pair loss pairs each row
    with the row before it, the first with the last, so rows should be in random order. Transitions
    from one maze are alike, so the standard error is that of a mean of clusters: with r_m the sum
    of (loss - mean) over the rows of maze m, sqrt(C / (C - 1) sum_m r_m^2) / T for C mazes and T
    rows.

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`; their precision is that of the computation.
        observer: how the agents see the environment.
        data: the sample, such as `held_out_labyrinth`'s; at least 2 transitions.
        settings: the losses' constants; the Q target is the agent's own.

    Raises:
        InputError: if the observer does not show the data in the agents' format, or for a single
            transition.
    """
    check_observer(architecture, observer, data.environment)
    if len(data) < 2:
        raise InputError(f"expected a sample of at least 2 transitions, found {len(data)}")
    some = next(iter(population.values()))
    sample = Transitions.of(data, observer, some.dtype, some.device)
    at_once = pictures_at_once(architecture, population)
    clusters = torch.from_numpy(maze_of(data))

    def evaluate(parameters: Parameters) -> dict[str, Tensor]:
        encoded = encode_sample(architecture, parameters, sample, at_once)
        return losses_of_rows(architecture, parameters, encoded, settings)

    with torch.no_grad():
        found = over_members(architecture, evaluate, population, members_at_once=_MEMBERS_AT_ONCE)
    found = {name: values.double().cpu() for name, values in found.items()}
    return SampledLosses(
        mean={name: values.mean(dim=1).numpy() for name, values in found.items()},
        standard_error={
            name: np.array([clustered_error(row, clusters).item() for row in values])
            for name, values in found.items()
        },
        mazes=int(clusters.max()) + 1,
    )


def encode_sample(
    architecture: Architecture,
    parameters: Parameters,
    sample: Transitions,
    at_once: int = PICTURES_IN_CACHE,
) -> Batch:
    """Return transitions with abstract states in the place of observations; see `losses.Batch`.

    Args:
        architecture: the agent's layers.
        parameters: one agent, or its encoder.
        sample: of whose pictures each is encoded once, however many transitions show it.
        at_once: pictures that are encoded together; more than the cache holds would be slower.
    """
    pieces = torch.arange(len(sample.tiles), device=sample.tiles.device).split(at_once)
    pictures = (sample.observe(piece) for piece in pieces)
    states = networks.encode_pieces(architecture, parameters, pictures)
    return {
        "observation": states[sample.first],
        "next_observation": states[sample.second],
        "action": sample.actions,
        "reward": sample.rewards,
        "terminal": sample.terminals,
    }


def losses_of_rows(
    architecture: Architecture,
    parameters: Parameters,
    encoded: Batch,
    settings: LossSettings,
    q_target: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return every loss on each single transition, `[T]`; its mean is the loss.

    The random-pair loss pairs each row with the row before it, the first with the last.

    Args:
        architecture: the agent's layers.
        parameters: one agent, or at least its transition, reward, discount and Q networks.
        encoded: what `encode_sample` returned.
        settings: the losses' constants; the Q target is the agent's own.
        q_target: what Q is to be, `[T]`, instead of the agent's own target.
    """
    rows = encoded if q_target is None else {**encoded, "q_target": q_target}
    split = {name: value.split(_ROWS_AT_ONCE) for name, value in rows.items()}
    parts = [dict(zip(split, part, strict=True)) for part in zip(*split.values(), strict=True)]
    bare = architecture.bare()
    forwards = [
        Forward(bare, parameters, part, settings, q_target=part.pop("q_target", None))
        for part in parts
    ]
    # Pairs reach beyond a piece.
    taken_on = dict.fromkeys(LOSSES, forwards)
    taken_on["random_pairs"] = [Forward(bare, parameters, encoded, settings)]
    return {name: torch.cat([LOSS_TERMS[name](f) for f in taken_on[name]]) for name in LOSSES}


def maze_of(data: TransitionData) -> np.ndarray:
    """Return which maze each transition is of, a number from 0 on by its walls, int64 `[T]`."""
    walls = np.packbits((data.tiles == WALL).reshape(len(data), -1), axis=1)
    _, maze = np.unique(walls, axis=0, return_inverse=True)
    found: np.ndarray = maze.astype(np.int64).reshape(-1)
    return found
