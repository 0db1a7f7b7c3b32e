"""`--shard-size` and `--scheduler` of the commands that take them, and their wrong uses."""

import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.cli import common, reproduce
from crar_diag.distributed import scheduler
from crar_diag.distributed.pools import LocalPool
from crar_diag.distributed.writer import train_in_shards
from crar_diag.errors import InputError, PoolLostError
from tests.cli.landscapes import A, B
from tests.cli.test_train import RUN, SMALL
from tests.runs import BASES, assert_same_run, content, maze_config

NOWHERE = "tcp://127.0.0.1:9"
TRANSFER = ["transfer", BASES / "base-seed1.safetensors", "--updates", "20"]


@pytest.fixture
def own_cluster(monkeypatch):
    """Let this process be the workers of every scheduler; the addresses that were asked for."""
    asked = []

    @contextmanager
    def cluster(address):
        asked.append(address)
        with LocalPool(1) as pool:
            pool.map = lambda function, numbers, look: map(function, numbers)
            yield pool

    monkeypatch.setattr(common, "dask_workers", cluster)
    return asked


def test_a_run_in_shards_is_the_run(cli, tmp_path, maze_run):
    answer = cli(*RUN, "--shard-size", 1, "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (0, "")
    assert_same_run(tmp_path / "run", maze_run)
    whole = cli("train", "--resume", "--out", maze_run)
    assert answer.out.splitlines()[:-1] == whole.out.splitlines()[:-1]


def test_a_run_on_a_cluster_is_the_run(cli, tmp_path, maze_run, own_cluster):
    answer = cli(*RUN, "--scheduler", NOWHERE, "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (0, "")
    assert own_cluster == [NOWHERE]
    assert_same_run(tmp_path / "run", maze_run)


def test_an_interrupted_run_in_shards_says_how_to_go_on(cli, tmp_path, maze_run):
    config, folder = maze_config(), tmp_path / "run"
    shutil.copytree(maze_run, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "shards").mkdir()
    with pytest.raises(InputError, match="was begun in shards: resume it in shards"):
        train(config, folder, resume=True)
    answer = cli("train", "--resume", "--out", folder)
    assert answer.code == 0
    assert answer.err == "crar-diag: begun in shards, the run goes on in shards, here\n"
    assert content(folder) == content(maze_run)
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "whole", watch=Watch(stop=lambda: True))
    answer = cli("train", "--resume", "--shard-size", 2, "--out", tmp_path / "whole")
    assert answer.code == 2
    assert answer.sentence.endswith(
        "was begun as a whole: resume it without shards (--shard-size, --scheduler)"
    )


@pytest.mark.parametrize(
    ("options", "count"), [(["--shard-size", 3], 2), (["--scheduler", "x"], 1)]
)
def test_a_plan_says_how_many_shards(cli, tmp_path, options, count):
    given = [*SMALL, "--seeds", "0:4", "--updates", 50, *options, "--out", tmp_path, "--dry-run"]
    last = cli(*given).out.splitlines()[-1]
    assert last == (
        f"in {count} shards; the time is that of this machine alone, the memory that of one shard "
        "at a time"
    )
    assert cli(*given, "--json").json["shards"] == count
    assert "shards" not in cli(*given[:-5], "--out", tmp_path, "--dry-run", "--json").json


def test_a_landscape_on_a_cluster_is_the_landscape(cli, own_cluster):
    given = ["landscape", A, B, "--points", 7, "--mode", "line", "--refit-iterations", 2, "--json"]
    expected = cli(*given).json
    assert cli(*given, "--scheduler", NOWHERE).json == expected
    assert own_cluster == [NOWHERE]


@pytest.mark.parametrize("command", [RUN, TRANSFER])
def test_a_scheduler_that_does_not_answer_leaves_no_folder(cli, tmp_path, monkeypatch, command):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 0.2)
    answer = cli(*command, "--out", tmp_path / "run", "--scheduler", NOWHERE)
    assert answer.code == 2
    assert answer.sentence.startswith(f"no Dask scheduler answers at '{NOWHERE}': ")
    assert answer.sentence.endswith("(--scheduler)")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [RUN, TRANSFER, ["landscape", A, B]])
def test_threads_are_the_workers_own(cli, tmp_path, command):
    out = [] if command[0] == "landscape" else ["--out", tmp_path / "run"]
    answer = cli(*command, *out, "--scheduler", NOWHERE, "--threads", 2)
    assert answer.code == 2
    assert answer.sentence == (
        "--threads: with --scheduler each worker has its own number of threads"
    )


def test_a_finished_run_needs_no_worker(cli, maze_run):
    answer = cli("train", "--resume", "--out", maze_run, "--scheduler", NOWHERE)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1].startswith("2 agents in")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "--device cuda: with --scheduler landscapes are computed on CPUs"),
        ("gpu", "--device: unknown device 'gpu' (did you mean 'cpu'?)"),
    ],
)
def test_devices_of_workers_that_will_not_do(cli, device, sentence):
    answer = cli("landscape", A, B, "--scheduler", NOWHERE, "--device", device)
    assert (answer.code, answer.sentence) == (2, sentence)


def test_a_lost_scheduler_says_what_is_kept(cli, tmp_path, monkeypatch):
    def lost(function, numbers, look):
        yield function(0)
        raise PoolLostError("lost the scheduler at 'x'")

    @contextmanager
    def workers(address):
        yield SimpleNamespace(map=lost)

    monkeypatch.setattr(common, "dask_workers", workers)
    report = tmp_path / "report.h5"
    given = ["landscape", A, B, "--points", 7, "--mode", "line", "--scheduler", NOWHERE]
    answer = cli(*given, "-o", report)
    assert answer.code == 1
    assert answer.sentence == (
        f"lost the scheduler at 'x': what was computed is kept beside '{report}': the same call "
        "goes on from there"
    )
    assert cli(*given).sentence.endswith("nothing is kept: with -o the same call would go on")


def test_the_library_computes_here(cli):
    answer = cli("landscape", A, B, "--engine", "loss-landscapes", "--scheduler", NOWHERE)
    assert answer.code == 2
    assert answer.sentence == "--scheduler: the engine loss-landscapes computes on this machine"


def test_a_study_sends_what_can_be_sent():
    for command, sent in (("train", True), ("landscape", True), ("figure", False)):
        given = [command, "x"]
        expected = [*given, "--scheduler", NOWHERE] if sent else given
        assert reproduce._Place(NOWHERE, "auto", None).on(given) == expected
        assert reproduce._Place(None, "auto", None).on(given) == given


def test_without_workers_it_says_that_it_waits(capsys, monkeypatch):
    class Empty(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(
        scheduler, "DaskPool", lambda address: Empty(workers=lambda: int(address == "full"))
    )
    with common.dask_workers("full"):
        assert capsys.readouterr().err == ""
    with common.dask_workers("empty"):
        assert capsys.readouterr().err == (
            "crar-diag: the scheduler at 'empty' has no workers yet: waiting for some\n"
        )


def test_a_plan_of_a_run_that_waits_knows_its_shards(cli, tmp_path):
    folder, calls = tmp_path / "run", iter(range(100))
    watch = Watch(stop=lambda: next(calls) > 2)
    with pytest.raises(RunInterruptedError), LocalPool(1) as pool:
        train_in_shards(maze_config("0:4"), folder, pool, shard_size=1, watch=watch)
    plan = ("train", "--resume", "--out", folder, "--dry-run")
    assert cli(*plan, "--json").json["shards"] == 4
    answer = cli(*plan, "--shard-size", 2)
    assert (answer.code, "holds shards of 1 agents, not of 2" in answer.sentence) == (2, True)


def test_a_plan_for_workers_with_devices_that_are_not_here(cli, tmp_path):
    given = [*SMALL, "--updates", 50, "--out", tmp_path, "--dry-run", "--set", "engine=graphed"]
    answer = cli(*given, "--scheduler", "x", "--device", "cuda", "--json")
    assert (answer.code, answer.json["config"]["engine"]) == (0, "graphed")
    answer = cli(*given, "--device", "cpu")
    assert (answer.code, "trains on cuda, not on cpu" in answer.sentence) == (2, True)
