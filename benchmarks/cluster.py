"""What limits a run in shards with many transfers: the one process that writes what comes back.

python benchmarks/cluster.py [--transfers N] [--size N] [--outcomes N] [--json FILE]

The run is real but for its workers: these return, at once, the state of a shard that was trained
for an instant, of the size that it has in a run of 80,000 updates. So what is measured is the
writer, on the disk of the temporary folder; and beside it, how fast a Dask scheduler on this
machine takes such states from a worker to the writer.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch
from distributed import LocalCluster

from crar_diag.agent.bases import base_files, bases_of, task_of_bases
from crar_diag.agent.config_sources import build_transfer_config
from crar_diag.agent.loading import load_agents
from crar_diag.agent.training import RunInterruptedError, Watch
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.agent.versions import library_versions
from crar_diag.distributed.scheduler import DaskPool
from crar_diag.distributed.shards import Order, Outcome, Place, State, advance
from crar_diag.distributed.writer import train_in_shards

SHIPPED = Path(__file__).parents[1] / "examples" / "checkpoints" / "simple-maze"


class Instant:
    """Workers that return a state at once, one of a real shard, as if it were of any."""

    def __init__(self, outcome: Outcome, outcomes: int) -> None:
        self.outcome, self.left = outcome, outcomes
        self._sent: dict[int, int] = {}
        self._count = 0

    def workers(self) -> int:
        """Return a number that is never reached."""
        return 64

    def submit(self, order: Order, updates: int, state: State | None, worker: str | None) -> int:
        """Note an order."""
        self._count += 1
        self._sent[self._count] = updates
        return self._count

    def done(self, sent: Collection[int], seconds: float) -> Collection[int]:
        """Return one of what was sent."""
        return list(sent)[:1]

    def result(self, one: int) -> Outcome:
        """Return the outcome, one update further."""
        self.left -= 1
        return replace(self.outcome, updates=self._sent.pop(one) + 1)

    def recall(self) -> bool:
        """Bring nothing back."""
        return False


def config_of(transfers: int) -> TransferConfig:
    """Return the published transfers of the six shipped base models, so many in all or more."""
    bases = sorted(SHIPPED.glob("base-seed*.safetensors"))
    task = task_of_bases(load_agents(bases))
    return build_transfer_config(
        base_files(bases), task, "paper", None, [], seeds=f"0:{-(-transfers // len(bases))}"
    )


def one_outcome(config: TransferConfig, size: int) -> tuple[Outcome, int]:
    """Return what comes back of a shard after an instant, and its bytes."""
    members = (0, size)
    order = Order(
        "x", config, members, bases_of(config, slice(*members)), "cpu", 0.1, library_versions()
    )
    outcome = advance(order, 0, None, Place(threads=1))
    assert outcome is not None
    return outcome, sum(array.nbytes for array in outcome.state[0].values())


def writer_seconds(config: TransferConfig, size: int, outcome: Outcome, outcomes: int) -> float:
    """Return the seconds that the writer takes for each outcome."""
    pool = Instant(outcome, outcomes)
    with tempfile.TemporaryDirectory() as folder:
        began: list[float] = []

        def stop() -> bool:
            began.append(time.perf_counter())
            return pool.left <= 0

        with suppress(RunInterruptedError):
            train_in_shards(
                config, Path(folder) / "run", pool, shard_size=size, watch=Watch(stop=stop)
            )
        return (began[-1] - began[0]) / (len(began) - 1)


def scheduler_rate(outcome: Outcome, count: int = 20) -> float:
    """Return how many outcomes a second come from a worker through a scheduler on this machine."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        DaskPool(cluster.scheduler_address) as pool,
    ):
        held = pool.call(_same, outcome)
        pool.result(held)
        start = time.perf_counter()
        for _ in range(count):
            pool.result(pool.call(_same, held))
        return count / (time.perf_counter() - start)


def _same(value: Any) -> Any:
    """Return a value: what a worker sends back."""
    return value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--transfers", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=8, help="transfers in a shard")
    parser.add_argument("--outcomes", type=int, default=60, help="that the writer takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(report.heading(report.machine(1)), flush=True)
    config = config_of(options.transfers)
    outcome, size = one_outcome(config, options.size)
    seconds = writer_seconds(config, options.size, outcome, options.outcomes)
    rate = scheduler_rate(outcome)
    found = {
        "transfers": config.member_count,
        "shards": -(-config.member_count // options.size),
        "state_bytes": size,
        "writer_seconds_an_outcome": seconds,
        "outcomes_a_second_through_the_scheduler": rate,
    }
    print(
        f"{found['transfers']:,} transfers in {found['shards']:,} shards of {options.size}: a "
        f"state has {size / 1e6:.1f} MB; the writer takes {seconds:.3f} s for each, a scheduler "
        f"on this machine passes {rate:.1f} a second ({rate * size / 1e6:.0f} MB/s)."
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
