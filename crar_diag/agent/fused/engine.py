"""The fused engine: the compiled update of `update.py`, member by member on a few threads."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 (loads BLAS before its threads are limited)
import torch
from threadpoolctl import threadpool_limits

from crar_diag.agent.architecture import Architecture, Dense, Flatten
from crar_diag.agent.config import COMPONENTS, LOSSES, MODES
from crar_diag.agent.engine import Engine
from crar_diag.agent.fused import dense, layout
from crar_diag.agent.fused.update import advance
from crar_diag.agent.losses import PAIR_SQUARE_BOUNDS, VOLUME_LIMIT
from crar_diag.agent.population import OPTIMIZER_OF, Population
from crar_diag.agent.replay import Replay, Transitions
from crar_diag.errors import InputError

# Updates that one call makes: long enough to keep a member in the cache, short enough (an eighth of
# a second) for Ctrl-C to be felt at once.
_STRIDE = 250


def supports(architecture: Architecture, replay: Replay) -> bool:
    """Whether the fused engine can train this: dense tanh networks on few distinct pictures."""
    return (
        all(_is_dense(architecture, component) for component in COMPONENTS)
        and len(architecture.state_shape) == 1
        and architecture.actions == 4
        and replay.device.type == "cpu"
        and all(data.table is not None for data in replay.members)
    )


def _is_dense(architecture: Architecture, component: str) -> bool:
    layers = architecture.layers(component)
    if isinstance(layers[0], Flatten) != (component == "encoder"):
        return False
    dense = layers[1:] if component == "encoder" else layers
    return all(
        isinstance(layer, Dense) and layer.tanh == (layer is not dense[-1]) for layer in dense
    )


class FusedEngine(Engine):
    """Trains dense agents several times as fast as `ReferenceEngine`, to the same result.

    Args:
        threads: how many members are trained at a time; None for as many as PyTorch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or torch.get_num_threads()

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        if not supports(population.architecture, replay):
            raise InputError(
                f"the fused engine trains dense networks on the CPU, not "
                f"'{population.architecture.name}' on {replay.device.type}; use the reference"
            )
        tables = {id(data): _table(data) for data in replay.members}
        places = _layout(population)
        arrays = [a.numpy() for a in (population.parameters, population.target, population.squares)]
        rules = [_rule(population, m, epoch) for m in range(len(population))]
        first = population.updates

        def work(member: int, start: int, count: int) -> int:
            """Advance one member and return the number of updates that it lived through."""
            data = replay.members[member]
            theta, target, squares = (array[member] for array in arrays)
            return advance(
                theta,
                target,
                squares,
                places,
                tables[id(data)],
                _transitions(data),
                replay.draws(member, start, count),
                start,
                population.rule.target_period,
                rules[member],
                sums[member],
            )

        # BLAS must not start threads of its own inside ours.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self.threads) as pool:
            for start in range(first, first + updates, _STRIDE):
                count = min(_STRIDE, first + updates - start)
                alive = [m for m in range(len(population)) if population.diverged_at[m] < 0]
                finished = pool.map(work, alive, repeat(start), repeat(count))
                for member, done in zip(alive, finished, strict=True):
                    if done < count:
                        population.diverged_at[member] = start + done


def _layout(population: Population) -> layout.Layout:
    """Translate a population's memory for the kernel."""
    architecture = population.architecture
    sizes = []
    for component in COMPONENTS:
        dense = [layer for layer in architecture.layers(component) if isinstance(layer, Dense)]
        sizes.append(np.array([dense[0].inputs, *(layer.outputs for layer in dense)]))
    ends = np.cumsum([((s[:-1] + 1) * s[1:]).sum() for s in sizes])
    slots = np.zeros((len(LOSSES), 2), np.int64)
    if population.rule.mode != "joint":
        for k, loss in enumerate(LOSSES):
            slot = population.slots[OPTIMIZER_OF[loss]]
            for name, (start, _) in slot.items():
                if name in ("encoder.1.weight", f"{loss}.0.weight"):
                    slots[k, int(not name.startswith("encoder"))] = start
    return layout.Layout(tuple(sizes), np.concatenate([[0], ends]), slots)


def _table(data: Transitions) -> np.ndarray:
    """Return the distinct pictures as columns, `[features, K]`."""
    assert data.table is not None  # `supports` has made sure
    return np.ascontiguousarray(data.table.flatten(1).numpy().T)


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
    hyper[dense.RHO] = rule.rho
    hyper[dense.ONE_MINUS_RHO] = 1 - rule.rho
    hyper[dense.EPSILON] = rule.epsilon
    hyper[dense.CLIP] = rule.clip_norm
    hyper[dense.GAMMA] = rule.settings.discount_factor
    hyper[dense.PAIR_SCALE] = rule.settings.pair_scale
    hyper[dense.PAIR_LOW], hyper[dense.PAIR_HIGH] = PAIR_SQUARE_BOUNDS
    hyper[dense.VOLUME_LIMIT] = VOLUME_LIMIT
    return layout.Rule(
        MODES.index(rule.mode),
        rule.settings.double_q,
        rule.clip_scope == "global",
        kind.type(population.rates(epoch)[member]),
        population.weights(epoch)[member].astype(kind),
        population.trainable()[member],
        np.array(hyper, kind),
    )
