"""The fused engine: the compiled update of `update.py`, member by member on a few threads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 (loads BLAS before its threads are limited)
import torch
from threadpoolctl import ThreadpoolController

from crar_diag.agent.architecture import Architecture, Conv, MaxPool
from crar_diag.agent.config import COMPONENTS, MODES
from crar_diag.agent.engine import Engine
from crar_diag.agent.fused import image, layout, memory, quads, vector
from crar_diag.agent.fused.update import advance
from crar_diag.agent.losses import PAIR_SQUARE_BOUNDS, VOLUME_LIMIT
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay, Transitions
from crar_diag.errors import InputError

# Updates that one call makes: long enough to keep a member in the cache, short enough (a quarter of
# a second on vectors, less on the labyrinth's quads) for Ctrl-C to be felt at once.
_STRIDE_OF_VECTORS, _STRIDE_OF_IMAGES = 500, 10


def supports(architecture: Architecture, replay: Replay) -> bool:
    """Whether the fused engine can train this: on the CPU, square pictures, four actions."""
    return (
        replay.device.type == "cpu"
        and architecture.actions == 4
        and architecture.observation_shape[1] == architecture.observation_shape[2]
        and all(_fits(architecture, component) for component in COMPONENTS)
    )


def _fits(architecture: Architecture, component: str) -> bool:
    """Whether pools divide their images, and the last layer is not a pool."""
    edge = architecture.observation_shape[-1]
    if component != "encoder":
        edge = architecture.state_shape[-1] if architecture.spatial else 1
    layers = architecture.layers(component)
    for layer in layers:
        if isinstance(layer, MaxPool):
            if edge % layer.size:
                return False
            edge //= layer.size
        elif not isinstance(layer, Conv):
            edge = 1
    return not isinstance(layers[-1], MaxPool)


@dataclass(frozen=True, eq=False)
class _Source:
    """What a member trains on, as the update sees it.

    Attributes:
        data: by the numbers of its pictures.
        table: the pictures; None where they are so many that each call renders its own.
        memory: how agents that train on it lie in memory.
    """

    data: layout.Transitions
    table: vector.Inputs | image.Pictures | None
    memory: memory.Memory


class FusedEngine(Engine):
    """Trains agents several times as fast as `ReferenceEngine`, to the same result.

    Args:
        threads: how many members are trained at a time; None for as many as PyTorch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or torch.get_num_threads()
        self._blas = ThreadpoolController()
        self._sources: _Sources | None = None

    def _prepared(self, population: Population, replay: Replay) -> "_Sources":
        """Return what the members train on; prepared once, as a run advances piece by piece."""
        if self._sources is None or not self._sources.are_of(population, replay):
            self._sources = _Sources(population, replay)
        return self._sources

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        if not supports(population.architecture, replay):
            raise InputError(
                f"the fused engine does not train '{population.architecture.name}' on "
                f"{replay.device.type}; use the reference"
            )
        sources = self._prepared(population, replay).current()
        arrays = [a.numpy() for a in (population.parameters, population.target, population.squares)]
        rules = [_rule(population, m, epoch) for m in range(len(population))]
        first = population.updates

        def work(member: int, start: int, count: int) -> int:
            """Advance one member and return the number of updates that it lived through."""
            source, rows = sources[member], replay.draws(member, start, count)
            data, table = source.data, source.table
            if table is None:
                data, table, rows = _rendered(replay.members[member], rows)
            theta, target, squares = (array[member] for array in arrays)
            return advance(
                theta,
                target,
                squares,
                source.memory.orders,
                source.memory.layout,
                table,
                data,
                rows,
                start,
                population.rule.target_period,
                rules[member],
                sums[member],
            )

        vectors = all(isinstance(s.memory.layout, vector.VectorLayout) for s in sources)
        stride = _STRIDE_OF_VECTORS if vectors else _STRIDE_OF_IMAGES
        # BLAS must not start threads of its own inside ours.
        with self._blas.limit(limits=1, user_api="blas"), _threads(self.threads) as pool:
            for start in range(first, first + updates, stride):
                count = min(stride, first + updates - start)
                alive = [m for m in range(len(population)) if population.diverged_at[m] < 0]
                finished = pool.map(work, alive, repeat(start), repeat(count))
                for member, done in zip(alive, finished, strict=True):
                    if done < count:
                        population.diverged_at[member] = start + done


def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads that take numbers too small to matter for zero.

    RMSprop's running squares decay to such numbers wherever there is no gradient for long, and
    processors compute with them several times as slowly.
    """
    return ThreadPoolExecutor(count, initializer=torch.set_flush_denormal, initargs=(True,))


class _Sources:
    """What each member of a population trains on; members with the same data share it.

    Args:
        population: the members.
        replay: their data.
    """

    def __init__(self, population: Population, replay: Replay) -> None:
        self._population, self._replay = population, replay
        self._found: dict[tuple[int, bool], _Source] = {}
        self._memories: dict[bytes, memory.Memory] = {}

    def are_of(self, population: Population, replay: Replay) -> bool:
        """Whether they were prepared for these very objects."""
        return self._population is population and self._replay is replay

    def current(self) -> list[_Source]:
        """Return every member's, in ways to lie in memory that lose no bit of its state now."""
        squares = self._population.squares.numpy()
        found = [self._source(member, True) for member in range(len(self._population))]
        return [
            one if one.memory.holds(squares[m]) else self._source(m, False)
            for m, one in enumerate(found)
        ]

    def _source(self, member: int, tied: bool) -> _Source:
        data, architecture = self._replay.members[member], self._population.architecture
        key = (id(data), tied)
        if key not in self._found:
            if memory.is_dense(architecture) and data.table is not None:
                self._found[key] = self._on_vectors(data, data.table.flatten(1).numpy(), tied)
            else:
                tiled = memory.has_trunk(architecture) and data.observer.tilewise
                own = memory.image_memory(architecture, self._population.rule.mode, tiled)
                self._found[key] = _Source(_transitions(data), _pictures(data, tiled), own)
        return self._found[key]

    def _on_vectors(self, data: Transitions, table: np.ndarray, tied: bool) -> _Source:
        groups = memory.group_pixels(table) if tied else np.arange(table.shape[1])
        if groups.tobytes() not in self._memories:
            architecture, mode = self._population.architecture, self._population.rule.mode
            self._memories[groups.tobytes()] = memory.vector_memory(architecture, mode, groups)
        inputs = memory.vector_inputs(table, groups)
        return _Source(_transitions(data), inputs, self._memories[groups.tobytes()])


def _pixels(data: Transitions, pictures: torch.Tensor) -> np.ndarray:
    """Return pictures of a data set as rows, channels last."""
    seen = data.observe(pictures).permute(0, 2, 3, 1)
    return np.ascontiguousarray(seen.flatten(1).numpy())


def _pictures(data: Transitions, tiled: bool) -> image.Pictures | None:
    """Return all pictures of a data set, by their quads if `tiled`; None if they are too many."""
    if tiled:
        return image.Pictures(np.empty((0, 0), data.rewards.numpy().dtype), memory.find_quads(data))
    if data.table is None:
        return None
    return image.Pictures(_pixels(data, torch.arange(len(data.tiles))), _no_quads(data))


def _no_quads(data: Transitions) -> quads.Quads:
    return quads.Quads(
        np.empty((0, 0), np.int64),
        np.empty((0, quads.SEEN, quads.SEEN), data.rewards.numpy().dtype),
        np.empty((0, 2), np.bool_),
    )


def _rendered(
    data: Transitions, rows: np.ndarray
) -> tuple[layout.Transitions, image.Pictures, np.ndarray]:
    """Return some transitions with pictures of their own, and where each row of them is."""
    own = _transitions(data)
    flat = rows.ravel()
    ends = np.concatenate([own.first[flat], own.second[flat]])
    different, inverse = np.unique(ends, return_inverse=True)
    pictures = image.Pictures(_pixels(data, torch.from_numpy(different)), _no_quads(data))
    few = layout.Transitions(
        inverse[: flat.size],
        inverse[flat.size :],
        own.actions[flat],
        own.rewards[flat],
        own.going_on[flat],
    )
    return few, pictures, np.arange(flat.size).reshape(rows.shape)


def _transitions(data: Transitions) -> layout.Transitions:
    return layout.Transitions(
        data.first.numpy(),
        data.second.numpy(),
        data.actions.numpy(),
        data.rewards.numpy(),
        1 - data.terminals.numpy(),
    )


def _rule(population: Population, member: int, epoch: int) -> layout.Rule:
    rule = population.rule
    kind = population.parameters.numpy().dtype
    hyper = [0.0] * 9
    hyper[layout.RHO] = rule.rho
    hyper[layout.ONE_MINUS_RHO] = 1 - rule.rho
    hyper[layout.EPSILON] = rule.epsilon
    hyper[layout.CLIP] = rule.clip_norm
    hyper[layout.GAMMA] = rule.settings.discount_factor
    hyper[layout.PAIR_SCALE] = rule.settings.pair_scale
    hyper[layout.PAIR_LOW], hyper[layout.PAIR_HIGH] = PAIR_SQUARE_BOUNDS
    hyper[layout.VOLUME_LIMIT] = VOLUME_LIMIT
    return layout.Rule(
        MODES.index(rule.mode),
        rule.settings.double_q,
        rule.clip_scope == "global",
        kind.type(population.rates(epoch)[member]),
        population.weights(epoch)[member].astype(kind),
        population.trainable()[member],
        np.array(hyper, kind),
    )
