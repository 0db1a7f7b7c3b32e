"""A run as labelled data, against its own files and against its agents, computed anew."""

import hashlib

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.config import LOSSES
from crar_diag.agent.config_sources import from_toml
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import load_agent
from crar_diag.envs import simple_maze
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import PLAYER
from crar_diag.report.records import (
    RECORDS,
    config_dataset,
    history_dataset,
    kind_of,
    states_dataset,
)
from crar_diag.report.runs import open_run
from tests.cli.mixed_runs import mixed_bases, mixed_run
from tests.runs import BASES, labyrinth_config, trained


@pytest.fixture(scope="module")
def bases():
    return open_run(BASES)


@pytest.fixture(scope="module")
def transfers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    files = mixed_bases(folder, even=(0,), shipped=(4,))
    return open_run(mixed_run(folder / "mixed", files))


@pytest.fixture(scope="module")
def labyrinth(tmp_path_factory):
    config = labyrinth_config("0:2", 8, "evaluation.every=1")
    return open_run(trained(config, tmp_path_factory.mktemp("records") / "labyrinth"))


def states_of(run, **options):
    return states_dataset(run, read_history(run.history_path)["embedding"], **options)


# Configuration


def test_the_configuration_is_the_text_of_run_toml_with_its_digest(transfers):
    found = config_dataset(transfers)
    text = (transfers.path / "run.toml").read_text()
    assert str(found.toml.values) == text
    assert str(found.sha256.values) == hashlib.sha256(text.encode()).hexdigest()
    assert str(found.kind.values) == kind_of(transfers.config) == "transfers"
    assert found.attrs["configuration_from"] == "run.toml"
    assert found.agent.values.tolist() == list(transfers.config.members())
    for name, sha in zip(found.agent.values, found.checkpoint_sha256.values, strict=True):
        assert sha == file_sha256(transfers.path / f"{name}.safetensors")
    assert found.base_sha256.values.tolist() == [b.sha256 for b in transfers.config.bases]


def test_a_configuration_that_checkpoints_state_is_written_as_it_is_read(bases):
    found = config_dataset(bases)
    assert from_toml(str(found.toml.values), "report") == bases.config
    assert found.attrs["configuration_from"] == "checkpoints"
    assert str(found.kind.values) == "base models"
    assert int(found.updates) == 160_000


# Histories


def test_a_history_is_what_the_run_recorded(bases, transfers):
    for run in (bases, transfers):
        record = read_history(run.history_path)
        found = history_dataset(run, record)
        for group, name in (
            ("training", "training_loss"),
            ("training", "learning_rate"),
            ("training", "seconds"),
            ("evaluation", "expected_loss"),
            ("evaluation", "expected_loss_error"),
        ):
            np.testing.assert_array_equal(found[name].values, record[group][name].values)
        assert found.member.values.tolist() == list(run.config.members())
        assert found.loss.values.tolist() == list(LOSSES)
        assert found.time.attrs["units"] == found.epoch.attrs["units"] == "updates"
        assert found.seconds.attrs["units"] == "s"
    assert found.seed.values.tolist() == [0, 1, 2] * 2
    assert found.base.values.tolist() == ["even0"] * 3 + ["base-seed4"] * 3


def test_scores_are_kept_where_there_are_any(bases, labyrinth):
    assert "score" not in history_dataset(bases, read_history(bases.history_path))
    record = read_history(labyrinth.history_path)
    found = history_dataset(labyrinth, record)
    np.testing.assert_array_equal(found.score.values, record["training"].score.values)
    assert np.isfinite(found.score.values).all()


# States


def test_states_are_what_the_run_recorded(bases, transfers):
    for run in (bases, transfers):
        record = read_history(run.history_path)["embedding"]
        found = states_of(run)
        np.testing.assert_array_equal(found.embedding.values, record.embedding.values)
        np.testing.assert_array_equal(found.prediction.values, record.prediction.values)
        np.testing.assert_array_equal(found.time.values, record.time.values)
        assert found.attrs["records"] == f"all {record.sizes['time']}"
        assert found.action.values.tolist() == ["up", "down", "left", "right"]


def test_the_player_stands_where_the_coordinates_say(bases):
    found = states_of(bases)
    for k in range(31):
        row, column = int(found.state_row[k]), int(found.state_column[k])
        assert found.tiles.values[k, row, column] == PLAYER
        assert (found.tiles.values[k] == PLAYER).sum() == 1
        assert int(found.side[k]) == (0 if column < 4 else 1 if column == 4 else 2)


def test_the_last_states_are_those_of_the_checkpoint(bases):
    found = states_of(bases).sel(member="base-seed2").isel(time=-1)
    agent = load_agent(BASES / "base-seed2.safetensors")
    pictures = Observer("simple-maze", "symbolic", "normal")(simple_maze.all_tiles())
    with torch.no_grad():
        own = networks.encode(agent.architecture, agent.parameters, torch.from_numpy(pictures))
    np.testing.assert_allclose(found.embedding.values, own.numpy(), atol=1e-5)


def test_base_models_are_beside_their_transfers_with_the_losses_that_their_files_state(transfers):
    """L_p is the mean square of prediction minus next state, over all pairs and both numbers."""
    found = states_of(transfers)
    assert found.base_model.values.tolist() == ["even0", "base-seed4"]
    assert found.attrs["domain"] == "inverse"
    assert found.attrs["base_domain"] == "normal"
    own = found.sel(base_model="base-seed4")
    following = own.base_embedding.values[simple_maze.SUCCESSORS]
    loss = ((own.base_prediction.values - following) ** 2).mean()
    stated = load_agent(BASES / "base-seed4.safetensors").metadata.losses["transition"]
    assert loss == pytest.approx(stated, rel=1e-5)


def test_states_of_images_have_their_axes_and_the_mazes_that_they_are_of(labyrinth):
    record = read_history(labyrinth.history_path)["embedding"]
    found = states_of(labyrinth)
    np.testing.assert_array_equal(found.embedding.values, record.embedding.values)
    assert found.embedding.dims[3:] == ("channel", "row", "column")
    assert found.channel.values.tolist() == [1, 2, 3]
    assert found.action.values.tolist() == ["down", "right", "up", "left"]
    assert found.tiles.shape == (8, 8, 8)
    assert (found.tiles.values == PLAYER).sum(axis=(1, 2)).tolist() == [1] * 8


def test_of_a_large_run_about_thirty_records_are_kept_evenly_in_log_time(bases):
    record = read_history(bases.history_path)["embedding"]
    found = states_of(bases, largest=record.nbytes // 2)
    times, all_times = found.time.values, record.time.values
    assert len(times) <= RECORDS + 1 < len(all_times) == 44
    assert (times[0], times[-1]) == (0, 160_000)
    assert found.attrs["records"] == (f"{len(times)} of 44, evenly in the logarithm of time")
    np.testing.assert_array_equal(found.embedding.values, record.embedding.sel(time=times).values)
    # The nearest record to each of thirty times, whose logarithms are evenly apart.
    for wanted in np.geomspace(1, 160_001, RECORDS):
        nearest = all_times[np.argmin(np.abs(np.log(all_times + 1.0) - np.log(wanted)))]
        assert nearest in times
    assert states_of(bases, largest=record.nbytes).sizes["time"] == 44
