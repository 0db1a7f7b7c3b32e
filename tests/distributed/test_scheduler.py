"""Runs on a real Dask cluster on this machine, workers and scheduler killed on the way."""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("distributed")
from distributed import KilledWorker

from crar_diag.agent.training import Watch, train
from crar_diag.distributed import scheduler, writer
from crar_diag.distributed.pools import LocalPool
from crar_diag.distributed.scheduler import DaskPool
from crar_diag.distributed.writer import train_in_shards
from crar_diag.errors import CrarDiagError, InputError, PoolLostError
from crar_diag.landscape import drawing
from crar_diag.landscape.drawing import Drawing, draw
from crar_diag.landscape.views import random_plane
from tests.landscape.shipped import CORRECT, WRONG, between
from tests.runs import BASES, assert_same_run, maze_config, transfer_config

CONFIG = transfer_config(
    [BASES / "base-seed1.safetensors", BASES / "base-seed4.safetensors"],
    seeds="0:3",
    updates=400,
    snapshots_every=20,
)


@contextmanager
def started(*arguments):
    """Run a program of Dask's, which is killed at the end."""
    command = [sys.executable, "-m", "distributed.cli." + arguments[0], *map(str, arguments[1:])]
    with subprocess.Popen(
        [*command, "--no-dashboard"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and three workers, each a process: their address and the processes."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    with ExitStack() as running:
        host = ("--host", "127.0.0.1", "--port", 0)
        boss = running.enter_context(started("dask_scheduler", *host, "--scheduler-file", file))
        until(file.is_file)
        options = ("--scheduler-file", file, "--nthreads", 1, "--no-nanny")
        workers = {
            name: running.enter_context(
                started("dask_worker", *options, "--name", name, "--local-directory", folder / name)
            )
            for name in ("a", "b", "c")
        }
        address = address_in(file)
        with DaskPool(address) as pool:
            until(lambda: pool.workers() == 3)
        yield SimpleNamespace(address=address, scheduler=boss, workers=workers)


def address_in(file):
    import json

    return json.loads(file.read_text())["address"]


def until(true):
    """Wait for something, at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_cluster_ends_as_this_machine_does_though_workers_die_and_the_scheduler(
    cluster, tmp_path, monkeypatch
):
    """One test, for the cluster takes seconds to start, and is not the same after it."""
    train(CONFIG, tmp_path / "whole", threads=1)
    a_run_outlives_a_worker(cluster, tmp_path)
    a_plane_is_that_of_this_machine(cluster, monkeypatch)
    what_a_worker_raises_is_raised_here(cluster, tmp_path, monkeypatch)
    a_scheduler_of_another_version_is_refused(cluster, monkeypatch)
    a_run_that_loses_its_scheduler_is_resumed_anywhere(cluster, tmp_path)


def a_run_outlives_a_worker(cluster, tmp_path):
    states = tmp_path / "cluster" / "shards"

    def kill_one(progress):
        if states.is_dir() and any(states.glob("members-*")):
            cluster.workers["a"].send_signal(signal.SIGKILL)

    with DaskPool(cluster.address) as pool:
        result = train_in_shards(
            CONFIG,
            tmp_path / "cluster",
            pool,
            shard_size=1,
            interval=0.05,
            device="auto",
            watch=Watch(progress=kill_one),
        )
        assert pool.workers() == 2
    assert cluster.workers["a"].poll() is not None
    assert len(result.checkpoints) == 6
    assert_same_run(tmp_path / "whole", tmp_path / "cluster")


def a_plane_is_that_of_this_machine(cluster, monkeypatch):
    monkeypatch.setattr(drawing, "_EVALUATED_AT_ONCE", 16)
    view = random_plane(between(CORRECT, WRONG), 7, 7, seed=0)
    how = Drawing(refit={"iterations": 3})
    expected = draw(view, ["frozen", "unfrozen"], how)
    told = []
    with DaskPool(cluster.address) as pool:
        found = draw(
            view,
            ["frozen", "unfrozen"],
            Drawing(
                refit={"iterations": 3},
                spread=pool.map,
                progress=lambda what: lambda done, total: told.append((what, done)),
                interrupt=lambda: os.abort(),
            ),
        )
    assert told[:5] == [("frozen random-plane", done) for done in (0, 16, 32, 48, 49)]
    for kind, surface in expected.items():
        for name, values in surface.losses.items():
            np.testing.assert_array_equal(found[kind].losses[name], values)


def what_a_worker_raises_is_raised_here(cluster, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, DaskPool(cluster.address) as pool:
        patch.setattr(writer, "library_versions", lambda: {**versions(), "torch": "0.1"})
        with pytest.raises(
            InputError, match=r"^worker 'tcp://127.0.0.1:\d+' has torch .*, expected"
        ):
            train_in_shards(maze_config(), tmp_path / "versions", pool)
    with DaskPool(cluster.address) as pool:
        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda number: 1 // number, [2, 1, 0]))
        assert list(pool.map(lambda number: number * number, range(20))) == [
            number * number for number in range(20)
        ]
        # All others go on while the first is slow, and whoever waits may look around.
        looked = []
        slow = pool.map(
            lambda number: time.sleep(1.5 * (number == 0)) or number,
            range(30),
            look=lambda: looked.append(time.monotonic()),
        )
        assert next(slow) == 0
        assert 2 < len(looked) < 20
        began = time.monotonic()
        assert list(slow) == list(range(1, 30))
        assert time.monotonic() - began < 1.0
        lost = pool.call(__import__, "no_such_module")
        until(lost.done)
        with pytest.raises(InputError, match=r"lacks the module 'no_such_module': expected crar"):
            pool.result(lost)


def a_scheduler_of_another_version_is_refused(cluster, monkeypatch):
    from distributed import Client

    real = Client.get_versions

    def other(self, *arguments, **options):
        found = real(self, *arguments, **options)
        found["scheduler"]["packages"]["distributed"] = "1.0"
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Client, "get_versions", other)
        with pytest.raises(InputError, match=r"runs Dask 1\.0, expected 20.* as here$"):
            DaskPool(cluster.address)


def a_run_that_loses_its_scheduler_is_resumed_anywhere(cluster, tmp_path):
    folder = tmp_path / "lost"

    def kill(progress):
        if any((folder / "shards").glob("members-*")):
            cluster.scheduler.send_signal(signal.SIGKILL)

    sentence = (
        f"^lost the scheduler at '{cluster.address}'; what came back is saved in '{folder}': "
    )
    with DaskPool(cluster.address) as pool, pytest.raises(PoolLostError, match=sentence) as caught:
        train_in_shards(
            CONFIG, folder, pool, shard_size=2, interval=0.05, watch=Watch(progress=kill)
        )
    assert caught.value.arguments == ("resume",)
    assert any((folder / "shards").glob("members-*"))
    with LocalPool(1) as pool:
        train_in_shards(None, folder, pool, resume=True)
    assert_same_run(tmp_path / "whole", folder)


def versions():
    return dict(scheduler.library_versions())


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "http://127.0.0.1:9", ""])
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch, address):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match=f"^no Dask scheduler answers at '{address}'") as caught:
        DaskPool(address)
    assert caught.value.arguments == ("scheduler",)
    assert logging.getLogger("distributed").level < logging.CRITICAL


def test_a_process_can_leave_a_cluster_and_join_another():
    """In a process that has never seen Dask: its configuration comes with its first import."""
    script = """
from crar_diag.distributed import scheduler
from crar_diag.errors import InputError
scheduler.ANSWER_SECONDS = 0.5
for address in ("tcp://127.0.0.1:9", "nonsense", "nowhere://x", ""):
    try:
        scheduler.DaskPool(address)
    except InputError as error:
        assert "answers" in str(error), error
import dask
assert "client" in dask.config.get("distributed"), "Dask's configuration is gone"
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def pool_without_a_cluster():
    pool = object.__new__(DaskPool)
    pool._address, pool._client = "tcp://x:1", SimpleNamespace(status="running")
    return pool


def test_a_task_that_brings_workers_down_is_told():
    died = SimpleNamespace(exception=lambda: KilledWorker("task", "tcp://y:2", 3))
    with pytest.raises(CrarDiagError, match=r"^a task brought down 4 workers of the scheduler at"):
        pool_without_a_cluster().result(died)


def test_a_file_that_a_worker_cannot_read_is_not_taken_for_a_lost_scheduler():
    failed = SimpleNamespace(exception=lambda: FileNotFoundError("no such data"))
    with pytest.raises(FileNotFoundError, match=r"^no such data$"):
        pool_without_a_cluster().result(failed)


def test_a_cluster_cannot_be_recalled():
    assert not pool_without_a_cluster().recall()


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"^a scheduler needs Dask: pip install 'crar-diag\[clus"):
        DaskPool("tcp://127.0.0.1:9")
