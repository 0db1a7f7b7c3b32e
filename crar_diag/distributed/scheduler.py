"""Shards on a Dask cluster: a scheduler that is there, and whatever workers it has."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from crar_diag.agent.lifting import one_thread
from crar_diag.agent.storage import reason
from crar_diag.agent.versions import library_versions
from crar_diag.distributed.shards import (
    Order,
    Outcome,
    Place,
    State,
    advance,
    check_versions,
    turn,
)
from crar_diag.errors import CrarDiagError, InputError, PoolLostError

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer."""

# Calls of `map` for each worker: the next is there when one is done.
_ON_THEIR_WAY = 4
_LOOK_SECONDS = 0.25


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
        with ExitStack() as entered:
            entered.enter_context(_quiet())
            self._client = _connect(address)
            self._left = entered.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; what is being trained for us is given up."""
        with self._left, suppress(TimeoutError):
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

    def map(
        self,
        function: Callable[[int], Any],
        numbers: Iterable[int],
        look: Callable[[], None] = lambda: None,
    ) -> Iterator[Any]:
        """Call a function for every number on the workers; yield what it finds, in their order.

        Args:
            function: and all that it refers to is sent to each worker once.
            numbers: of which a few for each worker are on their way at a time.
            look: called often while it waits; what it raises ends the calls.
        """
        from distributed.protocol import pickle

        # A result of a task, which Dask would find again if the worker that has it dies.
        held = self.call(bytes, pickle.dumps(function))
        key, versions = uuid4().hex, library_versions()
        waiting, sent = deque(numbers), deque["Future"]()
        while waiting or sent:
            if waiting:
                busy = sum(not one.done() for one in sent)
                room = _ON_THEIR_WAY * max(1, self.workers()) - busy
                for _ in range(min(room, len(waiting))):
                    sent.append(self.call(_call, held, key, versions, waiting.popleft()))
            look()
            if self.done([sent[0]], _LOOK_SECONDS):
                yield self.result(sent.popleft())

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

        error = self.asked(one.exception)
        if isinstance(error, KilledWorker):
            raise CrarDiagError(
                f"a task brought down {error.allowed_failures + 1} workers of the scheduler at "
                f"'{self._address}', one after the other: they may have too little memory for it"
            ) from error
        if isinstance(error, ModuleNotFoundError):
            raise InputError(
                f"a worker of the scheduler at '{self._address}' lacks the module '{error.name}': "
                "expected crar-diag on every worker"
            ) from error
        if error is not None:
            raise error
        return self.asked(one.result)

    def recall(self) -> bool:
        """Return False: what a worker has begun ends in its own time."""
        return False

    def asked(self, ask: Callable[[], Any]) -> Any:
        """Ask the scheduler.

        Raises:
            PoolLostError: it is lost.
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

    def _lost(self) -> PoolLostError:
        return PoolLostError(f"lost the scheduler at '{self._address}'")


def _advance(order: Order, updates: int, state: State | None) -> Outcome | None:
    """Train a shard for a while, on a worker."""
    from distributed import get_worker

    worker = get_worker()
    return advance(order, updates, state, Place(worker.address, worker.state.nthreads))


# The function that this worker calls, by its key: unpickled once.
_function: dict[str, Callable[[int], Any]] = {}


def _call(pickled: bytes, key: str, versions: Mapping[str, str], number: int) -> Any:
    """Call a function for one number, on a worker."""
    from distributed import get_worker
    from distributed.protocol import pickle

    check_versions(versions, get_worker().address)
    function = _function.get(key)
    if function is None:
        function = pickle.loads(pickled)
        _function.clear()
        _function[key] = function
    with turn(), one_thread():
        return function(number)


def _connect(address: str) -> "Client":
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "a scheduler needs Dask: pip install 'crar-diag[cluster]'", arguments=["scheduler"]
        ) from None
    try:
        _check_address(address)
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False, name="crar-diag")
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise InputError(
            f"no Dask scheduler answers at '{address}': {reason(error)[:200]}",
            arguments=["scheduler"],
        ) from None
    _check(client, address)
    return client


def _check_address(address: str) -> None:
    """Refuse an address that can be no scheduler's: a client of one would not close again.

    Raises:
        ValueError: it has an unknown scheme, or no host or port.
    """
    from distributed.comm import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, location = parse_address(address)
    get_backend(scheme)
    host, _ = parse_host_port(location)
    if not host:
        raise ValueError("no host in the address, expected tcp://HOST:PORT")


def _check(client: "Client", address: str) -> None:
    """Refuse a scheduler of another version of Dask; workers look at their own versions.

    Raises:
        InputError: it is one.
    """
    try:
        found: Any = client.get_versions()
    except Exception as error:  # whatever Dask raises, its scheduler does not answer as one
        client.close(timeout=0)
        raise InputError(
            f"the scheduler at '{address}' does not say its versions: {reason(error)}",
            arguments=["scheduler"],
        ) from None
    here, there = (found[who]["packages"]["distributed"] for who in ("client", "scheduler"))
    if here != there:
        client.close()
        raise InputError(
            f"the scheduler at '{address}' runs Dask {there}, expected {here} as here",
            arguments=["scheduler"],
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own messages away: an error that is raised says the same in one sentence.

    Its advice to send less, too: a shard's state goes with its order.
    """
    try:
        import dask
        import distributed  # noqa: F401 (else its configuration and its loggers are not there yet)
    except ImportError:
        yield
        return
    names = [
        "tornado",
        *(n for n in logging.root.manager.loggerDict if n.startswith("distributed")),
    ]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
