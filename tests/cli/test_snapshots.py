"""`--snapshots` of the commands that train."""

import pytest

from crar_diag.agent import checkpoint
from crar_diag.agent.run import read_run
from crar_diag.agent.snapshots import snapshot_files
from crar_diag.agent.training import train
from tests.cli.test_train import SMALL, sets
from tests.runs import BASES, TRANSFER, assert_same_run, maze_config, transfer_config

BASE = BASES / "base-seed1.safetensors"
TRAIN = [*SMALL, "--seeds", "0:2", "--updates", 50]
MOVE = ["transfer", BASE, "--preset", "quick", *sets(TRANSFER["simple-maze"])]


def test_train_keeps_snapshots_that_evaluate_and_info_read(cli, tmp_path):
    run = tmp_path / "run"
    assert cli(*TRAIN, "--snapshots", 2, "--out", run).code == 0
    config = maze_config("0:2", 50, "snapshots_every=2")
    assert read_run(run).config == config
    train(config, tmp_path / "twin")
    assert_same_run(run, tmp_path / "twin")
    path = run / "snapshots" / "base-seed1-update40.safetensors"
    assert [one.updates for one in snapshot_files(run, "base-seed1")] == [0, 40, 50]
    (agent,) = cli("evaluate", path, "--json").json["checkpoints"]
    recorded = checkpoint.load(path).metadata.losses
    assert (agent["seed"], agent["updates"]) == (1, 40)
    assert agent["losses"] == {name: pytest.approx(x, rel=1e-6) for name, x in recorded.items()}
    assert cli("info", path, "--json").json["updates"] == 40
    assert cli("info", run, "--json").json["members"] == {
        str(m): str(run / f"base-seed{m}.safetensors") for m in range(2)
    }


def test_transfer_keeps_snapshots(cli, tmp_path):
    run = tmp_path / "run"
    assert cli(*MOVE, "--snapshots", 1, "--seeds", "0:2", "--out", run).code == 0
    config = transfer_config([BASE], "snapshots_every=1", seeds="0:2")
    assert read_run(run).config == config
    for name in config.agents():
        assert [one.updates for one in snapshot_files(run, name)] == [0, 10, 20]


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_a_dry_run_counts_the_disk_that_they_take(cli, tmp_path, command):
    arguments = TRAIN if command == "train" else [*MOVE, "--seeds", "0:2"]
    found = [
        cli(*arguments, *given, "--out", tmp_path / "run", "--dry-run", "--json").json
        for given in ([], ["--snapshots", 0], ["--snapshots", 1])
    ]
    files = 2 * (4 if command == "train" else 3)
    assert found[0]["disk_bytes"] == found[1]["disk_bytes"]
    assert found[2]["disk_bytes"] - found[0]["disk_bytes"] == files * 4 * found[0]["parameters"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["-1", "often"])
def test_what_is_no_number_of_epochs_is_refused(cli, tmp_path, value):
    answer = cli(*TRAIN, "--snapshots", value, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "--snapshots" in answer.err
    assert not (tmp_path / "run").exists()


def test_a_number_that_is_too_large_names_the_option(cli, tmp_path):
    answer = cli(*TRAIN, "--snapshots", 2**60, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.sentence.startswith("--snapshots must be less than or equal to 9007199254740992")


def test_a_run_with_other_snapshots_is_not_resumed(cli, tmp_path):
    assert cli(*TRAIN, "--snapshots", 2, "--out", tmp_path / "run").code == 0
    answer = cli(*TRAIN, "--snapshots", 1, "--out", tmp_path / "run", "--resume")
    assert answer.code == 2
    assert "snapshots_every = 2, to be resumed with snapshots_every = 1" in answer.sentence
