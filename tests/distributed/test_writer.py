"""Runs in shards in this process: the same files as of the whole population, whatever happens."""

import random
import shutil
from concurrent.futures import wait
from dataclasses import replace

import pytest
import torch

from crar_diag.agent import forecast, probes, runfolder
from crar_diag.agent.run import read_run
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.agent.transfer_config import VARIANTS
from crar_diag.agent.versions import library_versions
from crar_diag.distributed import writer
from crar_diag.distributed.pools import LocalPool
from crar_diag.distributed.shards import Order, Place, advance, cut
from crar_diag.distributed.writer import default_size, train_in_shards
from crar_diag.errors import InputError, StorageError
from tests.runs import (
    BASES,
    HELD_OUT,
    assert_same_run,
    content,
    files_up_to,
    labyrinth_config,
    maze_config,
    transfer_config,
)

TWO = (BASES / "base-seed1.safetensors", BASES / "base-seed2.safetensors")
TRANSFERS = transfer_config(
    TWO,
    "realign.every=1",
    variants=",".join(VARIANTS),
    seeds="5,3",
    updates=20,
    restarts=2,
    snapshots_every=1,
)


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)


@pytest.fixture(scope="module")
def transfers(tmp_path_factory):
    """The run of the whole population."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(TRANSFERS, folder, threads=1)
    return folder


WHOLE_SHARDS = 60.0
"""An interval in which any shard here is trained to its end."""


def in_shards(config, folder, size=3, interval=0.0, **options):
    with LocalPool(1) as pool:
        return train_in_shards(config, folder, pool, shard_size=size, interval=interval, **options)


# How a population is cut


def test_restarts_of_a_transfer_stay_together():
    names = [t.name for t in TRANSFERS.transfers()]
    parts = cut(TRANSFERS, 3)
    assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
    assert parts[-1][1] == len(names)
    each = [set(names[first:last]) for first, last in parts]
    assert all(len(one) == 3 for one in each[:-1])
    assert sum(map(len, each)) == len(set(names))


def test_base_models_are_cut_by_their_number():
    assert cut(maze_config("0:5"), 2) == [(0, 2), (2, 4), (4, 5)]
    assert cut(maze_config("0:5"), 9) == [(0, 5)]
    with pytest.raises(InputError, match=r"^a shard must have at least 1 agent, found 0$"):
        cut(maze_config(), 0)


def test_a_shard_with_pictures_is_one_agent():
    assert default_size(labyrinth_config()) == 1
    assert default_size(maze_config()) == 8


# The same run


@pytest.mark.parametrize(("size", "interval"), [(1, WHOLE_SHARDS), (3, 0.0), (100, WHOLE_SHARDS)])
def test_transfers_in_shards_are_those_of_the_whole_population(transfers, tmp_path, size, interval):
    result = in_shards(TRANSFERS, tmp_path / "run", size, interval)
    assert_same_run(transfers, tmp_path / "run")
    whole = train(None, transfers, resume=True)
    assert list(result.checkpoints) == list(whole.checkpoints)
    assert result.losses == whole.losses
    assert result.diverged == whole.diverged == {}


@pytest.mark.parametrize("config", [maze_config("0:3"), labyrinth_config("0:2")])
def test_base_models_in_shards_are_those_of_the_whole_population(tmp_path, config):
    train(config, tmp_path / "whole", threads=1)
    in_shards(config, tmp_path / "shards", 1)
    assert_same_run(tmp_path / "whole", tmp_path / "shards")


def test_with_the_reference_engine_a_shard_of_all_is_the_whole(tmp_path):
    config = maze_config("0:2", 30, "engine=reference")
    train(config, tmp_path / "whole", threads=1)
    in_shards(config, tmp_path / "shards", 2)
    assert_same_run(tmp_path / "whole", tmp_path / "shards")


def test_all_records_are_told_of_at_the_end(tmp_path):
    told, seen = [], []
    config = maze_config("0:3", 25)
    watch = Watch(
        recorded=lambda history, position: told.append((position, history.losses.sum())),
        progress=seen.append,
    )
    in_shards(config, tmp_path / "run", 2, watch=watch)
    assert [position for position, _ in told] == list(range(len(told)))
    assert all(total == total for _, total in told)  # no NaN
    assert (seen[-1].updates, seen[-1].total, seen[-1].members) == (25, 25, 3)
    assert [p.updates for p in seen] == sorted(p.updates for p in seen)
    assert seen[-1].rate > 0


@pytest.mark.parametrize("absent", [0, 3])
def test_the_writer_waits_while_there_is_no_worker_and_not_between_shards(
    tmp_path, monkeypatch, absent
):
    naps, looks = [], []
    monkeypatch.setattr(writer.time, "sleep", naps.append)

    class Late(LocalPool):
        def workers(self):
            looks.append(1)
            return 1 if len(looks) > absent else 0

    with Late(1) as pool:
        train_in_shards(
            maze_config("0:3"), tmp_path / "run", pool, shard_size=1, interval=WHOLE_SHARDS
        )
    assert len(naps) == absent


# Interrupted and resumed


def test_stopped_again_and_again_it_ends_as_if_nothing_had_happened(transfers, tmp_path):
    folder, draws, stops = tmp_path / "run", random.Random(0), 0
    while True:
        left = draws.randrange(1, 4)

        def stop():
            nonlocal left
            left -= 1
            return left < 0

        try:
            in_shards(TRANSFERS, folder, resume=True, watch=Watch(stop=stop))
            break
        except RunInterruptedError:
            stops += 1
        assert not read_run(folder, complete=False).finished
    assert stops > 3
    assert_same_run(transfers, folder)


def test_what_a_stopped_local_shard_had_done_is_saved(tmp_path):
    folder, calls = tmp_path / "run", []

    def stop():
        calls.append(1)
        return len(calls) > 1

    with pytest.raises(RunInterruptedError):
        in_shards(
            maze_config("0:2", 10**6), folder, 2, interval=WHOLE_SHARDS, watch=Watch(stop=stop)
        )
    assert 0 < read_run(folder, complete=False).updates_done < 10**6


def test_a_finished_run_is_left_as_it_is(transfers, tmp_path):
    shutil.copytree(transfers, tmp_path / "run")
    before = content(tmp_path / "run")
    result = in_shards(None, tmp_path / "run", None, resume=True)
    assert content(tmp_path / "run") == before
    assert len(result.checkpoints) == len(TRANSFERS.agents())


def test_without_a_state_all_is_trained_again(transfers, tmp_path):
    shutil.copytree(transfers, tmp_path / "run")
    lost = next((tmp_path / "run").glob("original-*.safetensors"))
    lost.unlink()
    in_shards(None, tmp_path / "run", None, WHOLE_SHARDS, resume=True)
    assert_same_run(transfers, tmp_path / "run")


def stopped(folder, config=TRANSFERS, size=3):
    """Leave a run in shards in the middle."""
    calls = iter(range(100))
    with pytest.raises(
        RunInterruptedError, match=r"^stopped after [\d,]+ of [\d,]+ agent-upd"
    ) as e:
        in_shards(config, folder, size, watch=Watch(stop=lambda: next(calls) > 2))
    assert e.value.arguments == ("resume",)


def test_killed_while_it_drops_the_states_it_is_over(transfers, tmp_path, monkeypatch):
    folder, real = tmp_path / "run", runfolder.write_atomically

    def killed(path, data):
        real(path, data)
        if path.name == "over":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runfolder, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            in_shards(TRANSFERS, folder, interval=WHOLE_SHARDS)
    assert (folder / "shards").is_dir()
    assert read_run(folder).finished
    in_shards(None, folder, None, WHOLE_SHARDS, resume=True)
    assert_same_run(transfers, folder)
    assert not (folder / "shards").exists()


def test_killed_when_only_the_empty_folder_is_left_it_is_over(transfers, tmp_path):
    shutil.copytree(transfers, tmp_path / "run")
    (tmp_path / "run" / "shards").mkdir()
    before = content(tmp_path / "run")
    assert read_run(tmp_path / "run").finished
    train(None, tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == before
    assert not (tmp_path / "run" / "shards").exists()


def test_files_of_others_among_the_states_are_left_alone(transfers, tmp_path):
    folder = tmp_path / "run"
    stopped(folder)
    for name in (".nfs01", ".crar-diag-tmp-0.safetensors"):
        (folder / "shards" / name).write_bytes(b"")
    assert read_run(folder, complete=False).updates_done == 0
    in_shards(None, folder, None, WHOLE_SHARDS, resume=True)
    assert_same_run(transfers, folder)


def test_what_came_back_beside_a_failed_shard_is_saved(tmp_path):
    """Two shards come back in one look, the first of them failed."""
    config, folder = maze_config("0:2", 50), tmp_path / "run"

    class Two(LocalPool):
        def workers(self):
            return 2

        def done(self, sent, seconds):
            return wait(sent).done

        def result(self, one):
            if one.result().updates and not failed:
                failed.append(one)
                raise InputError("this shard failed")
            return one.result()

    failed = []
    with Two(1) as pool, pytest.raises(InputError, match=r"^this shard failed$"):
        train_in_shards(config, folder, pool, shard_size=1, interval=0.0)
    assert len(list((folder / "shards").iterdir())) == 1


def test_a_device_that_is_not_here_is_for_the_workers_to_know(tmp_path):
    config = maze_config("0", 50, "engine=graphed")
    sentence = r"^engine = 'graphed' trains on cuda, not on cpu"
    with LocalPool(1) as pool, pytest.raises(InputError, match=sentence):
        train_in_shards(config, tmp_path / "run", pool)
    assert (tmp_path / "run" / "run.toml").exists()  # it began: a worker refused


def test_a_full_disk_leaves_a_run_that_goes_on(transfers, tmp_path):
    folder = tmp_path / "run"
    stopped(folder)
    with files_up_to(10_000), pytest.raises(StorageError, match=r"shards/members-.*File too large"):
        in_shards(None, folder, None, resume=True)
    in_shards(None, folder, None, WHOLE_SHARDS, resume=True)
    assert_same_run(transfers, folder)


@pytest.mark.parametrize("done", [1, 2])
def test_updates_done_are_those_of_the_shard_that_has_fewest(tmp_path, done):
    config, folder, states = maze_config("0:4", 30), tmp_path / "run", []
    real = writer._Writer._take

    def take(self, shard, outcome):
        real(self, shard, outcome)
        states.append(shard.members)
        if len(set(states)) == done and (done == 2 or outcome.updates == 30):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer._Writer, "_take", take)
        with pytest.raises(KeyboardInterrupt):
            in_shards(config, folder, 2)
    run = read_run(folder, complete=False)
    assert run.in_shards
    # Nothing came back of the second shard, or its first update.
    assert run.updates_done == done - 1


# What does not go together


def test_shards_of_another_size_are_refused(tmp_path):
    stopped(tmp_path)
    with pytest.raises(InputError, match=r"holds shards of 3 agents, not of 4: resume it with"):
        in_shards(None, tmp_path, 4, resume=True)
    in_shards(None, tmp_path, None, WHOLE_SHARDS, resume=True)  # theirs


def test_a_run_in_shards_is_not_resumed_as_a_whole_nor_the_reverse(tmp_path):
    config = maze_config("0:2", 50)
    stopped(tmp_path / "shards", config, 1)
    with pytest.raises(InputError, match=r"was begun in shards: resume it in shards$") as caught:
        train(None, tmp_path / "shards", resume=True)
    assert caught.value.arguments == ("shard_size", "scheduler")
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "whole", watch=Watch(stop=lambda: True))
    with pytest.raises(InputError, match=r"was begun as a whole: resume it without shards$"):
        in_shards(None, tmp_path / "whole", 1, resume=True)


def test_shards_of_another_population_are_refused(tmp_path):
    for name, seeds in (("one", "0:3"), ("two", "3:6")):
        stopped(tmp_path / name, maze_config(seeds, 50), 1)
    file = min((tmp_path / "one" / "shards").iterdir())
    shutil.copy(file, tmp_path / "two" / "shards" / file.name)
    with pytest.raises(InputError, match=r"belongs to a run of another configuration than"):
        in_shards(None, tmp_path / "two", None, resume=True)


def test_a_damaged_state_is_named(tmp_path):
    stopped(tmp_path)
    file = min((tmp_path / "shards").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"resume state '.*members-000000-.*' is truncated"):
        in_shards(None, tmp_path, None, resume=True)


# A worker


def order(**changes):
    config = maze_config("0:3", 40)
    own = Order("a", config, (1, 3), None, "cpu", 0.0, library_versions())
    return replace(own, **changes)


def test_a_worker_that_has_no_shard_asks_for_its_state():
    first = advance(order(), 0, None, Place())
    assert 0 < first.updates < 40
    assert advance(order(), first.updates, None, Place()).updates > first.updates  # kept
    assert advance(order(), first.updates, None, Place()) is None  # it went on
    again = advance(order(run="b", seconds=100.0), first.updates, first.state, Place())
    assert again.updates == 40
    assert list(again.checkpoints) == [1, 2]
    assert advance(order(), 39, None, Place()) is None


def test_a_worker_of_other_versions_refuses():
    other = {**library_versions(), "numpy": "1.0"}
    sentence = rf"^worker 'x' has numpy {library_versions()['numpy']}, expected 1.0 as here: only"
    with pytest.raises(InputError, match=sentence):
        advance(order(versions=other), 0, None, Place("x"))
    with pytest.raises(InputError, match=r"^this process has numpy"):
        advance(order(versions=other), 0, None, Place())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_worker_without_the_device_says_so():
    with pytest.raises(InputError, match=r"^worker 'x' sees no CUDA device: expected 'cpu'"):
        advance(order(device="cuda"), 0, None, Place("x"))


def test_an_error_of_a_shard_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "library_versions", lambda: {**library_versions(), "torch": "0"})
    with pytest.raises(InputError, match=r"^this process has torch"):
        in_shards(maze_config(), tmp_path / "run")


def test_a_plan_is_of_what_is_left_in_one_shard_at_a_time(monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)
    config = maze_config("0:8", 50)
    whole, shard = (forecast.plan(config, 1, 20, shards) for shards in (None, cut(config, 2)))
    assert shard["memory_bytes"] < whole["memory_bytes"]
    assert shard["disk_bytes"] == whole["disk_bytes"]
    assert whole["seconds"] == pytest.approx(8 * 30 / whole["rate"])
