"""The reference engine's update as a CUDA graph: its thousands of kernels are launched as one.

On an accelerator an update of small networks takes as long as the launches of its kernels. So one
is captured, with the target networks copied and without, and replayed: between two updates the host
does nothing but name the next batches' rows.

The capture itself (`cuda_graph`) is untested: it was written without a device at hand. All around
it is tested on the CPU, with a capture that runs the update again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from crar_diag.agent.engine import Memory, ReferenceEngine, copies_target
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay

Work = Callable[[], None]

# Kernels are chosen and memory is taken in the first runs, outside of any graph.
_WARM_UP = 3


def cuda_graph(work: Work) -> Work:
    """Capture work on a CUDA device as a graph; return what replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    replay: Work = graph.replay
    return replay


@dataclass(frozen=True, eq=False)
class _Captured:
    """A population's updates, captured, and the memory that they use."""

    population: Population
    replay: Replay
    memory: Memory
    updates: dict[bool, Work] = field(default_factory=dict)


class GraphedEngine(ReferenceEngine):
    """The reference engine with its updates captured: the same numbers.

    Of one population at a time, whose tensors must stay where they are.

    Args:
        capture: takes what is to be repeated, which has run before, and returns what repeats it.
    """

    def __init__(self, capture: Callable[[Work], Work] = cuda_graph) -> None:
        self._capture = capture
        self._captured: _Captured | None = None

    def _place(self, population: Population, replay: Replay, memory: Memory) -> Memory:
        found = self._captured
        if found is None or found.population is not population or found.replay is not replay:
            self._captured = found = _Captured(population, replay, memory)
        found.memory.take(memory)
        return found.memory

    def _run(
        self, population: Population, replay: Replay, rows: Tensor, first: int, memory: Memory
    ) -> None:
        assert self._captured is not None
        updates = self._captured.updates
        for u in range(len(rows)):
            memory.rows.copy_(rows[u])
            copy_target = copies_target(population, first + u)
            if copy_target not in updates:
                updates[copy_target] = self._captured_update(
                    population, replay, copy_target, memory
                )
            updates[copy_target]()

    def _captured_update(
        self, population: Population, replay: Replay, copy_target: bool, memory: Memory
    ) -> Work:
        """Return what applies one update; none is applied yet."""

        def work() -> None:
            self._update(population, replay, copy_target, memory)

        changed = [population.parameters, population.target, population.squares]
        changed += [memory.number, memory.died, memory.sums]
        before = [tensor.clone() for tensor in changed]
        with _aside(population.parameters.device):
            for _ in range(_WARM_UP):
                work()
        for tensor, kept in zip(changed, before, strict=True):
            tensor.copy_(kept)
        return self._capture(work)


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """Work on a stream of its own, as a capture wants what runs before it."""
    if device.type != "cuda":
        yield
        return
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
