"""What a run keeps of its agents on the way."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import checkpoint, forecast, job, networks, probes, runfolder, snapshots
from crar_diag.agent.assembly import build
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import to_toml
from crar_diag.agent.forecast import plan
from crar_diag.agent.history import read_history
from crar_diag.agent.run import read_run
from crar_diag.agent.sealing import RESUME_STATE, unseal
from crar_diag.agent.snapshots import snapshot_files
from crar_diag.agent.storage import LEFTOVER_PREFIX
from crar_diag.agent.streams import stream
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.errors import InputError, StorageError
from tests.agent.test_training import ROOT, go_on_until_done
from tests.runs import (
    BASES,
    HELD_OUT,
    assert_same_run,
    files_up_to,
    labyrinth_config,
    maze_config,
    save_turned,
    trained,
    transfer_config,
)

MAZE = maze_config("0:2", 50, "snapshots_every=1")
BASE = (BASES / "base-seed1.safetensors",)


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)


@pytest.fixture(scope="module")
def maze_run(tmp_path_factory) -> Path:
    """A run of three epochs, the last of them shorter, with snapshots of each."""
    return trained(MAZE, tmp_path_factory.mktemp("maze") / "run")


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "snapshots").iterdir()}


def same_agent(one: Path, other: Path) -> bool:
    """Equal weights and equal metadata, but for the configuration."""
    first, second = checkpoint.load(one), checkpoint.load(other)
    metadata = [
        agent.metadata.model_copy(update={"configuration": {}}) for agent in (first, second)
    ]
    return metadata[0] == metadata[1] and all(
        torch.equal(p, second.parameters[name]) for name, p in first.parameters.items()
    )


# What they hold, and when they are taken


def test_a_snapshot_is_what_a_run_of_so_many_updates_ends_with(maze_run, tmp_path):
    for updates in (20, 40):
        shorter = trained(maze_config("0:2", updates), tmp_path / str(updates))
        for m in range(2):
            snapshot = maze_run / "snapshots" / f"base-seed{m}-update{updates}.safetensors"
            assert same_agent(snapshot, shorter / f"base-seed{m}.safetensors")


def test_the_first_is_the_untrained_agent_and_the_last_is_the_members_own_file(maze_run):
    for m in range(2):
        first, *_, last = snapshot_files(maze_run, f"base-seed{m}")
        agent = checkpoint.load(first.path)
        drawn = networks.initialise(
            build(MAZE, torch.device("cpu"))[0].architecture, stream(m, "initialisation")
        )
        assert all(torch.equal(agent.parameters[name], p) for name, p in drawn.items())
        own = maze_run / f"base-seed{m}.safetensors"
        assert last.path.read_bytes() == own.read_bytes()


def test_a_snapshot_says_which_update_and_which_losses_are_its(maze_run):
    records = read_history(maze_run / "history.h5")["evaluation"].expected_loss
    for snapshot in snapshot_files(maze_run, "base-seed1"):
        metadata = checkpoint.load(snapshot.path).metadata
        assert metadata.updates == snapshot.updates
        expected = records.sel(member=1, time=snapshot.updates)
        assert list(metadata.losses.values()) == expected.values.tolist()


@pytest.mark.parametrize(
    ("every", "updates", "taken"),
    [
        (1, 50, ["00", "20", "40", "50"]),
        (2, 50, ["00", "40", "50"]),
        (1, 100, ["000", "020", "040", "060", "080", "100"]),
        (9, 3, ["0", "3"]),
    ],
)
def test_they_are_taken_at_the_start_after_so_many_epochs_and_at_the_end(
    tmp_path, every, updates, taken
):
    train(maze_config("3", updates, f"snapshots_every={every}"), tmp_path / "run")
    assert names(tmp_path / "run") == {f"base-seed3-update{u}.safetensors" for u in taken}
    found = snapshot_files(tmp_path / "run", "base-seed3")
    assert [snapshot.updates for snapshot in found] == [int(u) for u in taken]
    assert [snapshot.path for snapshot in found] == sorted(snapshot.path for snapshot in found)


def test_they_change_nothing_else(maze_run, tmp_path):
    train(maze_config("0:2", 50), tmp_path / "run")
    assert not (tmp_path / "run" / "snapshots").exists()
    for m in range(2):
        name = f"base-seed{m}.safetensors"
        assert same_agent(maze_run / name, tmp_path / "run" / name)
    both = [read_history(folder / "history.h5") for folder in (maze_run, tmp_path / "run")]
    for group, one in both[0].items():
        drop = ["seconds"] if "seconds" in one else []
        assert one.drop_vars(drop).equals(both[1][group].drop_vars(drop))


def test_a_diverged_member_has_none_after_that(maze_run, tmp_path, monkeypatch):
    def build_it(config, device):
        population, replay = build(config, device)
        first, *others = population.members
        population.members = (replace(first, learning_rate=1e6), *others)
        return population, replay

    monkeypatch.setattr(job, "build", build_it)
    result = train(MAZE, tmp_path / "run")
    assert 0 < result.diverged[0] <= 20
    found = snapshot_files(tmp_path / "run", "base-seed0")
    assert [snapshot.updates for snapshot in found] == [0]
    assert len(snapshot_files(tmp_path / "run", "base-seed1")) == 4
    for path in names(maze_run):
        if "seed1" in path:
            there = (tmp_path / "run" / "snapshots" / path).read_bytes()
            assert there == (maze_run / "snapshots" / path).read_bytes()


# Killed and resumed


@pytest.fixture(scope="module")
def under_fire(tmp_path_factory) -> Path:
    """A run trained in peace and once more while it is killed before every change to its folder."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "before_every_change").mkdir()
    config = maze_config("0", 1, "snapshots_every=1")
    (folder / "before_every_change" / "config.toml").write_text(to_toml(config))
    answer = subprocess.run(
        [sys.executable, "-m", "tests.agent.killing", folder],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert len(json.loads(answer.stdout)["before_every_change"]) > 20
    return folder / "before_every_change"


def test_killed_before_every_change_a_run_ends_with_the_same_snapshots(under_fire):
    assert_same_run(under_fire / "peaceful", under_fire / "killed")
    assert names(under_fire / "killed") == {f"base-seed0-update{u}.safetensors" for u in range(2)}


def test_no_saved_state_is_ahead_of_the_snapshots(tmp_path):
    """Whatever was saved when a run was stopped, what belongs to the updates before is there."""
    config = maze_config("0", 5, "updates_per_epoch=2", "snapshots_every=1")

    def look(updates: int) -> None:
        found = [s.updates for s in snapshot_files(tmp_path / "cut", "base-seed0")]
        assert found == [u for u in (0, 2, 4, 5) if u <= updates]

    train(config, tmp_path / "whole")
    assert go_on_until_done(config, tmp_path / "cut", lambda: True, look) == 5
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_transfers_with_all_that_is_done_to_them_resume_bit_for_bit(tmp_path):
    config = transfer_config(
        BASE,
        *("snapshots_every=1", "realign.every=1", "restarts=2", "updates_per_epoch=2"),
        variants="original,finetune,oracle,paired",
        updates=5,
    )
    train(config, tmp_path / "whole")
    rng = random.Random(3)
    assert go_on_until_done(config, tmp_path / "cut", lambda: rng.random() < 0.6) >= 2
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert len(names(tmp_path / "cut")) == 6 * 4  # members, and updates 0, 2, 4, 5


def test_a_labyrinths_snapshots_resume_bit_for_bit(tmp_path):
    config = labyrinth_config("0", 6, "snapshots_every=1")
    train(config, tmp_path / "whole")
    go_on_until_done(config, tmp_path / "cut", lambda: True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert len(names(tmp_path / "cut")) == 3


def test_what_killed_processes_left_among_them_is_cleared(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        train(MAZE, folder, watch=Watch(stop=lambda: True))
    leftover = folder / "snapshots" / f"{LEFTOVER_PREFIX}0123456789abcdef.safetensors"
    leftover.write_bytes(b"half a snap")
    train(MAZE, folder, resume=True)
    assert not leftover.exists()


def test_a_run_that_begins_anew_begins_with_no_snapshots(maze_run, tmp_path):
    folder = Path(shutil.copytree(maze_run, tmp_path / "run"))
    (folder / "base-seed1.safetensors").unlink()
    (folder / "snapshots" / "mine-update3.safetensors").write_bytes(b"a user's own")
    seen = []
    train(None, folder, resume=True, watch=Watch(recorded=lambda *_: seen.append(names(folder))))
    own = "mine-update3.safetensors"
    assert seen[0] == {own, *(f"base-seed{m}-update00.safetensors" for m in range(2))}
    assert len(seen[-1]) == 1 + 8
    (folder / "snapshots" / own).unlink()
    assert_same_run(maze_run, folder)


def test_a_full_disk_stops_the_run_before_its_state_moves_on(maze_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    real = snapshots.write_atomically

    def limited(path, data):
        if "update20" in str(path):
            with files_up_to(10_000):
                real(path, data)
        real(path, data)

    monkeypatch.setattr(snapshots, "write_atomically", limited)
    with pytest.raises(StorageError, match=r"base-seed0-update20.safetensors': File too large"):
        train(MAZE, folder, watch=Watch(save_every=0.0))
    monkeypatch.undo()
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
    assert read_run(folder, complete=False).updates_done < 20
    assert names(folder) == {f"base-seed{m}-update00.safetensors" for m in range(2)}
    train(MAZE, folder, resume=True)
    assert_same_run(maze_run, folder)


def test_a_file_in_the_place_of_their_folder_is_named(tmp_path):
    (tmp_path / "run.toml").write_text(to_toml(MAZE))
    (tmp_path / "snapshots").touch()
    sentence = r"^folder '.*snapshots' cannot be read: Not a directory$"
    with pytest.raises(StorageError, match=sentence):
        snapshot_files(tmp_path, "base-seed0")
    with pytest.raises(StorageError, match=sentence):
        train(MAZE, tmp_path, resume=True)


# Runs that know nothing of snapshots


def test_a_run_of_an_older_version_goes_on(tmp_path, monkeypatch):
    """Its run.toml and the digest in its state lack the key."""
    config = maze_config("0:2", 12)
    lacking = to_toml(config).replace("snapshots_every = 0\n", "")
    assert lacking != to_toml(config)
    folder = tmp_path / "old"
    with monkeypatch.context() as patch:
        patch.setattr(runfolder, "to_toml", lambda config: lacking)
        with pytest.raises(RunInterruptedError):
            train(config, folder, watch=Watch(stop=lambda: True))
    assert (folder / "run.toml").read_text() == lacking
    _, document = unseal(folder / "resume.safetensors", RESUME_STATE)
    assert document["configuration_sha256"] == hashlib.sha256(lacking.encode()).hexdigest()
    assert read_run(folder, complete=False).updates_done == 1
    train(None, folder, resume=True)
    train(config, tmp_path / "new")
    for m in range(2):
        name = f"base-seed{m}.safetensors"
        assert (folder / name).read_bytes() == (tmp_path / "new" / name).read_bytes()


def test_a_state_with_snapshots_does_not_go_with_a_run_without(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        train(MAZE, folder, watch=Watch(stop=lambda: True))
    (folder / "run.toml").write_text(to_toml(maze_config("0:2", 50)))
    with pytest.raises(InputError, match="belongs to a run of another configuration"):
        train(None, folder, resume=True)


# Names, and finding them


def test_a_run_is_read_without_taking_snapshots_for_members(maze_run):
    run = read_run(maze_run)
    assert run.checkpoints == {m: maze_run / f"base-seed{m}.safetensors" for m in range(2)}
    assert run.finished


def test_a_member_whose_name_begins_as_anothers_has_its_own(tmp_path):
    train(maze_config("1,12", 3, "snapshots_every=1"), tmp_path / "run")
    for seed in (1, 12):
        found = snapshot_files(tmp_path / "run", f"base-seed{seed}")
        assert [s.path.name for s in found] == [
            f"base-seed{seed}-update{u}.safetensors" for u in (0, 3)
        ]


def test_transfers_are_called_as_their_files(tmp_path):
    config = transfer_config(
        BASE, "snapshots_every=2", variants="original,oracle", learning_rates="1e-4,1e-3"
    )
    result = train(config, tmp_path / "run")
    assert len(names(tmp_path / "run")) == 3 * 2
    for name, path in result.checkpoints.items():
        first, last = snapshot_files(tmp_path / "run", name)
        assert (first.path.name, first.updates) == (f"{name}-update00.safetensors", 0)
        assert last.path.read_bytes() == path.read_bytes()
    begun = checkpoint.load(
        snapshot_files(tmp_path / "run", "original-base-seed1-lr0.001-seed0")[0].path
    )
    base = checkpoint.load(BASE[0])
    assert all(torch.equal(begun.parameters[name], p) for name, p in base.parameters.items())
    assert begun.metadata.base == str(BASE[0])


def test_a_snapshot_is_taken_after_a_realignment(tmp_path):
    base = save_turned(tmp_path / "turned.safetensors", -np.eye(2))
    settings = ("snapshots_every=1", "realign.every=1")
    runs = {}
    for updates in (10, 15):
        config = transfer_config([base], *settings, learning_rates="1e-8", updates=updates)
        runs[updates] = trained(config, tmp_path / str(updates))
        maps = read_history(runs[updates] / "history.h5")["embedding"].realignment
        np.testing.assert_allclose(maps.sel(time=10)[0], -np.eye(2), atol=1e-12)
    name = "original-turned-lr1e-08-seed0"
    snapshot = snapshot_files(runs[15], name)[1]
    assert snapshot.updates == 10
    assert same_agent(snapshot.path, runs[10] / f"{name}.safetensors")


def test_every_restart_has_its_own_and_the_transfers_name_stands_for_the_one_kept(tmp_path):
    config = transfer_config(BASE, "snapshots_every=1", "restarts=2", seeds="0:3")
    kept = set()
    assert config.members() == tuple(
        f"original-base-seed1-lr8e-05-seed{s}-restart{r}" for s in range(3) for r in range(2)
    )
    for name, path in train(config, tmp_path / "run").checkpoints.items():
        own = [snapshot_files(tmp_path / "run", f"{name}-restart{r}") for r in range(2)]
        assert [[s.updates for s in one] for one in own] == [[0, 10, 20]] * 2
        (restart,) = [r for r in range(2) if own[r][-1].path.read_bytes() == path.read_bytes()]
        assert snapshot_files(tmp_path / "run", name) == own[restart]
        kept.add(restart)
    assert kept


def test_what_is_not_there_is_said_in_one_sentence(maze_run, tmp_path):
    with pytest.raises(InputError, match=r"has no member 'base-seed2': expected .* 'base-seed0'$"):
        snapshot_files(maze_run, "base-seed2")
    train(maze_config("0", 3), tmp_path / "none")
    with pytest.raises(InputError, match=r"none' keeps no snapshots: .* snapshots_every = 0$"):
        snapshot_files(tmp_path / "none", "base-seed0")
    with pytest.raises(InputError, match="is not a run folder"):
        snapshot_files(tmp_path, "base-seed0")
    config = transfer_config(BASE, "snapshots_every=1", "restarts=2")
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "begun", watch=Watch(stop=lambda: True))
    name = "original-base-seed1-lr8e-05-seed0"
    with pytest.raises(InputError, match="is not finished: which restart of 'original"):
        snapshot_files(tmp_path / "begun", name)
    assert [s.updates for s in snapshot_files(tmp_path / "begun", f"{name}-restart1")] == [0]
    shutil.rmtree(tmp_path / "begun" / "snapshots")
    with pytest.raises(InputError, match=r"has no snapshot of '.*restart1'$"):
        snapshot_files(tmp_path / "begun", f"{name}-restart1")


def test_snapshots_whose_names_no_file_can_have_are_refused_at_once(tmp_path):
    longest = "original-{}-lr8e-05-seed0-update80000.safetensors"
    stem = "x" * (255 - len(longest) + 2)
    copied = Path(shutil.copy(BASE[0], tmp_path / f"{stem}.safetensors"))
    settings = ("updates=80000", "updates_per_epoch=80000", "snapshots_every=1")
    config = transfer_config([copied], *settings)
    (name,) = config.members()
    (tmp_path / f"{name}-update80000.safetensors").touch()
    longer = Path(shutil.copy(BASE[0], tmp_path / f"{stem}x.safetensors"))
    with pytest.raises(InputError, match="bases whose files have shorter names"):
        transfer_config([longer], *settings)
    transfer_config([longer], *settings[:2])


# What they would take


@pytest.mark.parametrize("kind", ["train", "transfer"])
def test_a_plan_counts_their_room(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)

    def config(every: int) -> TrainConfig:
        key = f"snapshots_every={every}"
        if kind == "train":
            return maze_config("0:2", 50, key)
        return transfer_config(BASE, key, "restarts=2", variants="original,oracle")

    without, some = (plan(config(every))["disk_bytes"] for every in (0, 1))
    train(config(1), tmp_path / "run")
    sizes = [path.stat().st_size for path in (tmp_path / "run" / "snapshots").iterdir()]
    assert len(sizes) == (8 if kind == "train" else 9)
    # A file's header comes on top of what the arithmetic counts.
    assert some - without == pytest.approx(sum(sizes), rel=0.05)
