"""Where shards are sent: to this process, one after the other; `scheduler` sends them to Dask."""

import threading
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, Self

from crar_diag.distributed.shards import Order, Outcome, Place, State, advance, forget


class Pool(Protocol):
    """Workers, each of which trains one shard at a time."""

    def workers(self) -> int:
        """Return how many there are now.

        Raises:
            PoolLostError: it cannot be known any more.
        """

    def submit(self, order: Order, updates: int, state: State | None, worker: str | None) -> Any:
        """Let a worker train a shard for a while, `worker` if it can be chosen; see `advance`.

        Returns:
            What `done` and `result` know it by.
        """

    def done(self, sent: Collection[Any], seconds: float) -> Collection[Any]:
        """Return which of what was sent has come back, waiting so many seconds for a first one."""

    def result(self, one: Any) -> Outcome | None:
        """Return what came back.

        Raises:
            CrarDiagError: the shard failed.
        """

    def recall(self) -> bool:
        """Let all that was sent come back before its time, if it can; return whether it does."""


class LocalPool:
    """This process: one shard after the other, in a thread, so that the writer can look around.

    Args:
        threads: for the engine; None for as many as PyTorch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._stop = threading.Event()
        self._place = Place(threads=threads, stop=self._stop.is_set)
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Bring the shard that is training to its end."""
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)
        forget()

    def workers(self) -> int:
        """Return 1."""
        return 1

    def submit(
        self, order: Order, updates: int, state: State | None, worker: str | None
    ) -> "Future[Outcome | None]":
        """Train a shard once those before it are done."""
        return self._thread.submit(advance, order, updates, state, self._place)

    def done(
        self, sent: "Collection[Future[Outcome | None]]", seconds: float
    ) -> "Collection[Future[Outcome | None]]":
        """Return what has come back."""
        return wait(sent, seconds, FIRST_COMPLETED).done

    def result(self, one: "Future[Outcome | None]") -> Outcome | None:
        """Return what came back; an error that was raised there is raised here."""
        return one.result()

    def recall(self) -> bool:
        """Bring the shard that is training back after its present piece."""
        self._stop.set()
        return True
