"""The floor under an update's time: its matrix products at the rate that the machine does them.

For the simple maze. Only the dense layers' products are counted, a multiplication and an addition
as two operations; tanh, the losses, clipping and RMSprop come on top of the floor.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from equality import Case
from threadpoolctl import threadpool_limits

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE, Dense
from crar_diag.agent.config import LOSSES
from crar_diag.agent.fused.memory import group_pixels, vector_inputs
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay

BATCH = 32
_WITH_NEXT = ("transition", "consecutive_pairs")
_REPEATS = 1000


def _layers(component: str) -> list[tuple[int, int]]:
    layers = SIMPLE_MAZE.layers(component)
    return [(layer.inputs, layer.outputs) for layer in layers if isinstance(layer, Dense)]


@dataclass(frozen=True)
class Pictures:
    """How many pictures the encoder must work on, an update.

    Attributes:
        state: for a loss on s.
        both: for a loss on s and s'.
        volume: for the volume loss's backward pass.
        target: for the target networks.
        inputs: of the first layer, that a picture must be multiplied by.
    """

    state: float
    both: float
    volume: float
    target: float
    inputs: float

    @property
    def typical(self) -> int:
        """The average batch of the encoder over the seven losses, rounded."""
        both = len(_WITH_NEXT)
        return round((self.both * both + self.state * (len(LOSSES) - both)) / len(LOSSES))

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the encoder's layers that are products of whole matrices."""
        layers = _layers("encoder")
        return layers if self.inputs == layers[0][0] else layers[1:]


AS_WRITTEN = Pictures(BATCH, 2 * BATCH, BATCH, BATCH, _layers("encoder")[0][0])
"""Every row of a batch is a picture of its own, every pixel an input."""


def needed(population: Population, replay: Replay) -> Pictures:
    """Return how many pictures differ, on average over a thousand batches of each member.

    The volume loss has no derivative at states inside the cube; the target networks are constant
    for a thousand updates, so that their values are a table of the distinct pictures; inputs that
    are zero need not be multiplied, and pixels that are always equal are one input.
    """
    counts = []
    agents = population.agents()
    for m, data in enumerate(replay.members):
        assert data.table is not None  # there are 31
        pixels = data.table.flatten(1).numpy()
        inputs = vector_inputs(pixels, group_pixels(pixels))
        states = networks.encode(population.architecture, networks.member(agents, m), data.table)
        outside = (states.abs().amax(dim=1) > 1).numpy()
        rows = replay.draws(m, 0, 1000)
        shown = np.zeros((len(rows), len(data.table)), bool)
        np.put_along_axis(shown, data.first.numpy()[rows], True, axis=1)
        of_s, of_volume = shown.sum(axis=1).mean(), (shown & outside).sum(axis=1).mean()
        np.put_along_axis(shown, data.second.numpy()[rows], True, axis=1)
        target = len(data.table) / population.rule.target_period
        few = inputs.places.shape[1] or inputs.dense.shape[1]
        counts.append((of_s, shown.sum(axis=1).mean(), of_volume, target, few))
    return Pictures(*np.mean(counts, axis=0).tolist())


def operations(case: Case, pictures: Pictures) -> float:
    """Return the floating-point operations of the matrix products of one agent's update."""
    (_, first_outputs), *rest = _layers("encoder")
    first = pictures.inputs * first_outputs
    encoder = first + sum(i * o for i, o in rest)
    # By the weights of every layer, and by the inputs of all but the first.
    encoder_back = 2 * encoder - first
    columns = {loss: pictures.both if loss in _WITH_NEXT else pictures.state for loss in LOSSES}
    forward = sum(columns.values()) if case.mode == "sequential" else pictures.both
    backward = sum((columns | {"volume": pictures.volume}).values())
    if case.mode == "joint":
        backward = pictures.both
    heads = {
        c: sum(i * o for i, o in _layers(c)) for c in ("transition", "reward", "discount", "q")
    }
    # Forward, back to the input, and by the weights unless they are frozen.
    products: float = BATCH * sum(heads.values()) * (2 if case.frozen else 3)
    products += forward * encoder + backward * encoder_back
    products += pictures.target * (encoder + heads["q"])
    return 2 * products


def _products(
    weight: Any, x: Any, dy: Any, xt: Any, out: Any, dw: Any, dx: Any, times: int
) -> None:
    """Do one layer's products: forward, by the weights, and (if `dx` is not empty) by the input."""
    for _ in range(times):
        np.dot(weight, x, out)
        np.dot(dy, xt, dw)
        if dx.size:
            np.dot(weight.T, dy, dx)


_compiled: Callable[..., None] = numba.njit(nogil=True)(_products)


def _operands(inputs: int, outputs: int, n: int, to_input: bool) -> list[np.ndarray]:
    shapes = [(outputs, inputs), (inputs, n), (outputs, n), (n, inputs)]
    shapes += [(outputs, n), (outputs, inputs), (inputs if to_input else 0, n)]
    return [np.full(shape, 0.01, np.float32) for shape in shapes]


def product_rate(pictures: Pictures, threads: int) -> float:
    """Measure the operations a second of the encoder's products on a typical batch.

    Every thread does the same products on its own operands, which stay in its cache.
    """
    operations, seconds, n = 0, 0.0, pictures.typical
    # BLAS must not start threads of its own inside ours.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for inputs, outputs in pictures.layers:
            to_input = (inputs, outputs) != _layers("encoder")[0]
            operands = [_operands(inputs, outputs, n, to_input) for _ in range(threads)]
            for times in (1, _REPEATS):  # the first call compiles and touches the memory
                start = time.perf_counter()
                list(pool.map(lambda own, times=times: _compiled(*own, times), operands))
                took = time.perf_counter() - start
            operations += 2 * inputs * outputs * n * (3 if to_input else 2) * _REPEATS * threads
            seconds += took
    return operations / seconds


@dataclass(frozen=True)
class Floor:
    """One way to count an update's operations, and the rate at which they could be done.

    Attributes:
        pictures: that an update works on.
        rate: operations a second of the products.
    """

    pictures: Pictures
    rate: float

    def updates_per_second(self, case: Case) -> float:
        """Return the agent-updates a second that the products alone allow."""
        return self.rate / operations(case, self.pictures)
