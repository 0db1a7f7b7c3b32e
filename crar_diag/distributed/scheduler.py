"""Shards on a Dask cluster: a scheduler that is there, and whatever workers it has."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from crar_diag.distributed.shards import Order, Outcome, Place, State, advance
from crar_diag.errors import CrarDiagError, InputError

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer."""


class DaskPool:
    """The workers of a Dask scheduler, whichever there are at a time.

    Each trains one shard at a time, on as many threads as it has. A worker that dies costs what it
    did since its shard's state last came back: Dask gives the order to another one, which asks for
    that state.

    Args:
        address: of the scheduler, such as `tcp://host:8786`.

    Raises:
        InputError: Dask is not installed, no scheduler answers, or it has another version of Dask.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = _connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; what is being trained for us is given up."""
        with _quiet():
            self._client.close(timeout=ANSWER_SECONDS)

    def workers(self) -> int:
        """Return how many there are now."""
        return len(self.asked(self._client.nthreads))

    def submit(
        self, order: Order, updates: int, state: State | None, worker: str | None
    ) -> "Future":
        """Send a shard to a worker, if it is still there to `worker`."""
        return self.call(_advance, order, updates, state, worker=worker)

    def call(
        self, function: Callable[..., Any], *given: Any, worker: str | None = None
    ) -> "Future":
        """Let a worker call a function."""
        return self.asked(
            lambda: self._client.submit(
                function,
                *given,
                key=f"crar-diag-{uuid4().hex}",
                pure=False,
                workers=None if worker is None else [worker],
                allow_other_workers=worker is not None,
            )
        )

    def done(self, sent: "Collection[Future]", seconds: float) -> "Collection[Future]":
        """Return what has come back."""
        end = time.monotonic() + seconds
        while True:
            self.asked(lambda: None)
            found = [one for one in sent if one.done()]
            if found or time.monotonic() > end:
                return found
            time.sleep(0.02)

    def result(self, one: "Future") -> Any:
        """Return what came back; an error that was raised there is raised here."""
        from distributed import KilledWorker

        try:
            return self.asked(lambda: one.result())
        except KilledWorker as error:
            raise CrarDiagError(
                f"a task brought down {error.allowed_failures + 1} workers of the scheduler at "
                f"'{self._address}', one after the other: they may have too little memory for it"
            ) from error
        except ModuleNotFoundError as error:
            raise InputError(
                f"a worker of the scheduler at '{self._address}' lacks the module '{error.name}': "
                "expected crar-diag on every worker"
            ) from error

    def recall(self) -> bool:
        """Return False: what a worker has begun ends in its own time."""
        return False

    def asked(self, ask: Callable[[], Any]) -> Any:
        """Ask the scheduler.

        Raises:
            CrarDiagError: it is lost.
        """
        from distributed.comm import CommClosedError

        if self._client.status == "running":
            try:
                return ask()
            except (CommClosedError, TimeoutError, OSError) as error:
                raise self._lost() from error
            except Exception as error:
                if type(error).__name__ in ("FutureCancelledError", "CancelledError"):
                    raise self._lost() from error
                raise
        raise self._lost()

    def _lost(self) -> CrarDiagError:
        return CrarDiagError(
            f"lost the scheduler at '{self._address}'; what came back is saved: resume to go on",
            arguments=["resume"],
        )


def _advance(order: Order, updates: int, state: State | None) -> Outcome | None:
    """Train a shard for a while, on a worker."""
    from distributed import get_worker

    worker = get_worker()
    return advance(order, updates, state, Place(worker.address, worker.state.nthreads))


def _connect(address: str) -> "Client":
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "a scheduler needs Dask: pip install 'crar-diag[cluster]'", arguments=["scheduler"]
        ) from None
    with _quiet():
        try:
            client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False, name="crar-diag")
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise InputError(
                f"no Dask scheduler answers at '{address}': {' '.join(str(error).split())[:200]}",
                arguments=["scheduler"],
            ) from None
    _check(client, address)
    return client


def _check(client: "Client", address: str) -> None:
    """Refuse a scheduler of another version of Dask; workers look at their own versions.

    Raises:
        InputError: it is one.
    """
    found: Any = client.get_versions()
    here, there = (found[who]["packages"]["distributed"] for who in ("client", "scheduler"))
    if here != there:
        client.close()
        raise InputError(
            f"the scheduler at '{address}' runs Dask {there}, expected {here} as here",
            arguments=["scheduler"],
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own messages of a connection that fails away: the error says it."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
