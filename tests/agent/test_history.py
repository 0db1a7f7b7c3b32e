import errno
import os

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from crar_diag.agent import history as history_module
from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import History, read_history, record_times, write_history
from crar_diag.errors import InputError, StorageError


def filled(states: tuple[int, ...] = (31, 2)) -> History:
    """Two members, 45 updates in epochs of 20; every number another one, but for a gap."""
    history = History.empty([3, 8], 45, 20, states)
    for k, name in enumerate(("training_losses", "learning_rate", "score", "seconds", "losses")):
        array = getattr(history, name)
        array[:] = np.arange(array.size).reshape(array.shape) + k / 8
    history.losses_error[:] = 0.5
    history.embedding[:] = np.arange(history.embedding.size).reshape(history.embedding.shape) / 3
    history.prediction[:] = np.arange(history.prediction.size).reshape(history.prediction.shape) / 7
    history.losses[1, -1] = np.nan
    return history


def test_times_are_logarithmic_and_every_epochs_end():
    assert record_times(45, 20).tolist() == [0, 1, 2, 5, 10, 20, 40, 45]
    assert record_times(1, 5000).tolist() == [0, 1]
    assert record_times(7, 5000).tolist() == [0, 1, 2, 5, 7]
    assert record_times(3, 1).tolist() == [0, 1, 2, 3]
    paper = record_times(160_000, 5000).tolist()
    assert [t for t in paper if t < 5000] == [
        0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000,
    ]  # fmt: skip
    assert [t for t in paper if t >= 5000] == list(range(5000, 160_001, 5000))


@given(st.integers(1, 3000), st.integers(1, 400))
def test_times_begin_at_0_increase_and_hold_every_epochs_end(updates, updates_per_epoch):
    times = record_times(updates, updates_per_epoch)
    assert times.dtype == np.int64
    assert times[0] == 0
    assert times[-1] == updates
    assert (np.diff(times) > 0).all()
    history = History.empty([0], updates, updates_per_epoch, (1, 2))
    assert history.epochs[-1] == updates
    assert len(history.epochs) == -(-updates // updates_per_epoch)
    assert set(history.epochs[:-1]) == set(range(updates_per_epoch, updates, updates_per_epoch))
    assert set(history.epochs) <= set(times)


def test_a_fresh_history_says_that_nothing_was_recorded():
    history = History.empty([3, 8, 9], 45, 20, (31, 2))
    shapes = {
        "training_losses": (3, 3, 7),
        "learning_rate": (3, 3),
        "score": (3, 3),
        "seconds": (3,),
        "losses": (3, 8, 7),
        "losses_error": (3, 8, 7),
        "embedding": (3, 8, 31, 2),
        "prediction": (3, 8, 31, 4, 2),
    }
    for name, shape in shapes.items():
        assert getattr(history, name).shape == shape
        assert np.isnan(getattr(history, name)).all()


@pytest.mark.parametrize(
    ("states", "axes"),
    [((31, 2), ["picture", "coordinate"]), ((8, 3, 4, 5), ["picture", "channel", "row", "column"])],
)
def test_the_file_opens_with_xarray_and_h5py_and_holds_the_record(tmp_path, states, axes):
    path, history = tmp_path / "history.h5", filled(states)
    write_history(history, path, {"environment": "simple-maze"})

    with xr.open_dataset(path) as root:
        assert root.attrs["schema_version"] == 1
        assert root.attrs["environment"] == "simple-maze"
    per_epoch, per_time = ["member", "epoch"], ["member", "time"]
    expected = {
        "training/training_loss": ([*per_epoch, "loss"], history.training_losses),
        "training/learning_rate": (per_epoch, history.learning_rate),
        "training/score": (per_epoch, history.score),
        "training/seconds": (["epoch"], history.seconds),
        "evaluation/expected_loss": ([*per_time, "loss"], history.losses),
        "evaluation/expected_loss_error": ([*per_time, "loss"], history.losses_error),
        "embedding/embedding": ([*per_time, *axes], history.embedding),
        "embedding/prediction": ([*per_time, axes[0], "action", *axes[1:]], history.prediction),
    }
    with h5py.File(path) as file:
        assert set(file) == {"training", "evaluation", "embedding"}
        for name, (dims, values) in expected.items():
            np.testing.assert_array_equal(file[name][:], values)
            assert file[name].dtype == values.dtype
            assert [len(file[name].dims[k]) for k in range(len(dims))] == [1] * len(dims)
            scales = [file[name].dims[k][0].name.split("/")[-1] for k in range(len(dims))]
            assert scales == dims
    for group in ("training", "evaluation", "embedding"):
        with xr.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            assert {f"{group}/{name}" for name in dataset.data_vars} == {
                name for name in expected if name.startswith(group)
            }
            for name, variable in dataset.variables.items():
                assert variable.attrs["long_name"], name
                assert variable.attrs["units"], name
            for name, variable in dataset.data_vars.items():
                dims, values = expected[f"{group}/{name}"]
                assert list(variable.dims) == dims
                np.testing.assert_array_equal(variable, values)
            assert dataset.member.values.tolist() == [3, 8]
            if "epoch" in dataset.coords:
                assert dataset.epoch.values.tolist() == [20, 40, 45]
                assert dataset.epoch.attrs["units"] == "updates"
            if "time" in dataset.coords:
                assert dataset.time.values.tolist() == [0, 1, 2, 5, 10, 20, 40, 45]
                assert dataset.time.attrs["units"] == "updates"
            if "loss" in dataset.coords:
                assert dataset.loss.values.tolist() == list(LOSSES)
    with xr.open_dataset(path, group="training") as training:
        assert training.seconds.attrs["units"] == "s"
        assert training.seconds.dtype == np.float64


def test_what_is_read_is_what_was_written(tmp_path):
    path, history = tmp_path / "history.h5", filled()
    write_history(history, path, {})
    for group, dataset in read_history(path).items():
        xr.testing.assert_identical(dataset, history.datasets()[group])
    path.unlink()  # it is in memory: the file is closed


def test_restoring_gives_back_the_record_and_refuses_another_runs():
    history, fresh = filled(), History.empty([3, 8], 45, 20, (31, 2))
    fresh.restore({name: tensor.clone() for name, tensor in history.arrays().items()})
    for name, tensor in history.arrays().items():
        np.testing.assert_array_equal(fresh.arrays()[name], tensor)
    with pytest.raises(InputError, match=r"does not fit this run at 'history.embedding'"):
        History.empty([3, 8], 45, 20, (8, 2)).restore(history.arrays())
    with pytest.raises(InputError, match="does not fit"):
        History.empty([3], 45, 20, (31, 2)).restore(history.arrays())
    incomplete = history.arrays()
    del incomplete["history.score"]
    with pytest.raises(InputError, match=r"at 'history.score'"):
        fresh.restore(incomplete)


def test_the_arrays_share_the_histories_memory():
    history = filled()
    history.arrays()["history.score"][0, 0] = 77.0
    assert history.score[0, 0] == 77.0


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "history.h5"
    write_history(filled(), path, {})
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device; the previous file is unharm"):
        write_history(filled(), path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_history_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "history.h5"
    with pytest.raises(InputError, match=r"history.h5' does not exist$"):
        read_history(path)
    for data in (b"", b"text\n", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"history.h5' is not a crar-diag history file$"):
            read_history(path)
    with h5py.File(path, "w") as file:
        file["x"] = [1.0]
    with pytest.raises(InputError, match="is not a crar-diag history file"):
        read_history(path)
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(InputError, match="is not a crar-diag history file"):
        read_history(path)
    with monkeypatch.context() as patch:
        patch.setattr(history_module, "SCHEMA_VERSION", 2)
        write_history(filled(), path, {})
    with pytest.raises(InputError, match=r"has history schema 2, this version reads up to 1$"):
        read_history(path)
    write_history(filled(), path, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is not a crar-diag history file"):
        read_history(path)
    with pytest.raises(InputError, match="is not a crar-diag history file"):
        read_history(tmp_path)
