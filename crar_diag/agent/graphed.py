"""The reference engine's update as a CUDA graph: its thousands of kernels are launched as one.

On an accelerator an update of small networks takes as long as the launches of its kernels. So one
is captured, with the target networks copied and without, and replayed: between two updates the host
does nothing but name the next batches' rows.

The capture itself (`CudaGraphs`) is untested: it was written without a device at hand. All around
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
from crar_diag.errors import CrarDiagError

Work = Callable[[], None]

# Kernels are chosen and memory is taken in the first runs, outside of any graph.
_WARM_UP = 3


class CudaGraphs:
    """Captures work on a CUDA device.

    Its graphs have one stream of their own, since freeing a graph frees what others hold that were
    captured on the same stream, and one pool of memory, since none reads what another wrote.

    Args:
        device: on which the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Do some work a few times, capture it as a graph, and return what replays it.

        Raises:
            CrarDiagError: it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), self._aside():
            for _ in range(_WARM_UP):
                work()
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                    work()
            except RuntimeError as error:
                raise CrarDiagError(
                    "the update cannot be captured as a CUDA graph (--set engine=reference trains "
                    f"without): {error}"
                ) from error
        replay: Work = graph.replay
        return replay

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Work on the stream of the graphs, and leave it whatever happens."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        torch.cuda.set_stream(self._stream)
        try:
            yield
        finally:
            torch.cuda.set_stream(current)
            current.wait_stream(self._stream)


@dataclass(frozen=True, eq=False)
class _Captured:
    """A population's updates, captured, and the memory that they use."""

    population: Population
    replay: Replay
    memory: Memory
    place: int
    capture: Callable[[Work], Work]
    updates: dict[bool, Work] = field(default_factory=dict)

    def is_of(self, population: Population, replay: Replay) -> bool:
        """Return whether it was captured of these very objects, where they are now."""
        same = self.population is population and self.replay is replay
        return same and self.place == population.parameters.data_ptr()


class GraphedEngine(ReferenceEngine):
    """The reference engine with its updates captured: the same numbers.

    Of one population at a time, whose tensors must stay where they are.

    Args:
        captures: takes a device and returns what captures work on it: that does the work a few
            times and returns what does it again.
    """

    def __init__(
        self, captures: Callable[[torch.device], Callable[[Work], Work]] = CudaGraphs
    ) -> None:
        self._captures = captures
        self._captured: _Captured | None = None

    def _place(self, population: Population, replay: Replay, memory: Memory) -> Memory:
        found = self._captured
        if found is None or not found.is_of(population, replay):
            self._captured = None  # frees its memory first
            place = population.parameters
            found = _Captured(
                population, replay, memory, place.data_ptr(), self._captures(place.device)
            )
            self._captured = found
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
                updates[copy_target] = self._capture(self._captured, copy_target)
            updates[copy_target]()

    def _capture(self, captured: _Captured, copy_target: bool) -> Work:
        """Return what applies one update; none is applied yet, whether or not it succeeds."""
        population, memory = captured.population, captured.memory

        def work() -> None:
            self._update(population, captured.replay, copy_target, memory)

        changed = [population.parameters, population.target, population.squares]
        changed += [memory.number, memory.died, memory.sums]
        before = [tensor.to("cpu", copy=True) for tensor in changed]  # the device has more to hold
        try:
            return captured.capture(work)
        finally:
            for tensor, kept in zip(changed, before, strict=True):
                tensor.copy_(kept)
