"""Runs gathered for a report: which folders are runs, and that every group opens everywhere."""

import contextlib
import shutil
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.run import read_run
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.errors import InputError
from crar_diag.report.provenance import PREFIX
from crar_diag.report.runs import gather, open_run
from crar_diag.report.store import add_to_report, read_report, report_groups
from tests.cli.mixed_runs import mixed_bases, mixed_run
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.runs import BASES, maze_config, save_agent


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """A run of transfers of an even base model, which succeed, and of a shipped one."""
    folder = tmp_path_factory.mktemp("runs")
    return mixed_run(folder / "mixed", mixed_bases(folder, even=(0,), shipped=(4,)), "restarts=2")


@pytest.fixture(scope="module")
def gathered(mixed):
    return gather([BASES, mixed])


@pytest.fixture(scope="module")
def groups(gathered):
    return gathered.groups()


@pytest.fixture(scope="module")
def report(groups, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.h5"
    add_to_report(path, groups, MADE)
    return path


def bare_copy(folder: Path) -> Path:
    """A copy of the shipped base models, without their transfers."""
    folder.mkdir()
    for file in [*BASES.glob("*.safetensors"), BASES / "history.h5"]:
        shutil.copy(file, folder)
    return folder


# What is gathered


def test_every_run_has_its_configuration_history_and_states(groups):
    assert set(groups) == {
        *(f"{part}/{run}" for part in ("config", "history") for run in ("simple-maze", "mixed")),
        "embedding/simple-maze/states",
        "embedding/mixed",
        *(f"embedding/mixed/{part}" for part in ("states", "kinds", "restarts")),
        "outcome",
        "outcome/judgement",
        *(
            f"statistics/{name}"
            for name in (
                *("rates", "comparisons", "base_effect", "variance", "kinds", "scores"),
                "detection",
            )
        ),
    }


def test_transfers_are_judged_and_base_models_are_not(gathered, groups):
    assert gathered.study is not None
    assert gathered.study.labels == ("mixed",)
    assert groups["outcome"].sizes["transfer"] == 6
    won = gathered.study.judged.success
    np.testing.assert_array_equal(groups["outcome"].success.values, won)
    alone = gather([BASES])
    assert alone.study is None
    assert set(alone.groups()) == {f"{part}/simple-maze" for part in ("config", "history")} | {
        "embedding/simple-maze/states"
    }


def test_the_base_of_a_transfer_is_found_among_gathered_runs_by_its_digest(groups):
    bases, transfers = groups["config/simple-maze"], groups["config/mixed"]
    own = transfers.base_sha256.sel(base="base-seed4")
    assert bases.agent.values[bases.checkpoint_sha256.values == own.values] == ["base-seed4"]
    assert str(own.values) == file_sha256(BASES / "base-seed4.safetensors")


def test_runs_of_one_folder_name_have_different_groups(mixed, tmp_path):
    for place in ("a", "b"):
        shutil.copytree(mixed, tmp_path / place / "run")
    bare_copy(tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / "run")
    found = gather([tmp_path / "a" / "run", tmp_path / "run", tmp_path / "b" / "run"])
    assert list(found.runs) == ["run-0", "run-1", "run-2"]
    groups = found.groups()
    for label in ("run-0", "run-2"):
        assert groups[f"embedding/{label}"].sizes["member"] == 12
        assert groups[f"embedding/{label}/states"].attrs["run_kind"] == "transfers"
    assert groups["embedding/run-1/states"].attrs["run_kind"] == "base models"
    assert "embedding/run-1" not in groups


def test_a_run_that_is_called_scores_leaves_room_for_those_of_a_table(tmp_path):
    bare_copy(tmp_path / "scores")
    assert list(gather([tmp_path / "scores"]).runs) == ["scores-run"]


# Which folders are runs


def test_shipped_base_models_are_a_run_without_a_run_toml():
    run = open_run(BASES)
    assert run.config.seeds == (0, 1, 2, 3, 4, 5)
    assert run.config.members() == tuple(f"base-seed{k}" for k in range(6))
    assert run.config.updates == 160_000
    assert [file.name for file in run.checkpoints.values()] == [
        f"base-seed{k}.safetensors" for k in range(6)
    ]


def test_a_folder_with_a_run_toml_is_what_that_says(mixed):
    assert open_run(mixed) == read_run(mixed)


def test_base_models_that_are_not_one_run_are_refused(tmp_path):
    folder = bare_copy(tmp_path / "bare")
    (folder / "base-seed3.safetensors").unlink()
    with pytest.raises(InputError, match=r"missing base-seed3\.safetensors$"):
        open_run(folder)
    save_agent(folder / "base-seed3.safetensors", maze_config("3"), 3)
    with pytest.raises(InputError, match=r"found 'base-seed3\.safetensors' of another$"):
        open_run(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match="expected it to hold checkpoints, found none"):
        open_run(folder)


def test_what_is_no_finished_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not a run folder"):
        gather([tmp_path / "empty"])
    with pytest.raises(InputError, match="is not a run folder"):
        gather([tmp_path / "none"])
    with pytest.raises(RunInterruptedError):
        train(maze_config("0:2", 2), tmp_path / "begun", watch=Watch(stop=lambda: True))
    with pytest.raises(InputError, match=r"is not (complete|finished)"):
        gather([tmp_path / "begun"])


def test_nothing_and_the_same_run_twice_are_refused():
    with pytest.raises(InputError, match="at least one run folder"):
        gather([])
    with pytest.raises(InputError, match="is given twice"):
        gather([BASES, BASES / ".." / BASES.name])


# Every group opens with every reader


def test_every_group_opens_with_xarray_as_it_was(report, groups):
    for name, data in groups.items():
        assert_same(read_report(report, name), data)
        for engine in ("h5netcdf", "netcdf4"):
            with xr.open_dataset(report, group=name, engine=engine) as opened:
                assert set(opened.variables) == set(data.variables), name
                for variable in opened.variables.values():
                    assert variable.attrs["units"]
                    assert variable.attrs["long_name"]


def test_every_group_opens_with_netcdf4_and_h5py(report, groups):
    assert_netcdf4(report)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(one) for one in (netCDF4.Dataset(report), h5py.File(report))]
        for name, data in groups.items():
            for variable in data.variables:
                values = [np.asarray(file[name][variable][...]) for file in files]
                if data[variable].dtype.kind in "if":
                    for value in values:
                        np.testing.assert_array_equal(value, data[variable].values)
                else:
                    assert all(value.shape == data[variable].shape for value in values)


def test_every_group_says_what_made_it(report, groups):
    assert report_groups(report) == dict.fromkeys(sorted(groups), MADE)
    with h5py.File(report) as file:
        for name in groups:
            assert file[name].attrs[PREFIX + "command"] == MADE.command


def test_adding_another_run_keeps_what_is_there(report, groups, tmp_path):
    path = Path(shutil.copy(report, tmp_path / "more.h5"))
    bare_copy(tmp_path / "others")
    more = gather([tmp_path / "others"]).groups()
    add_to_report(path, more, MADE)
    assert set(report_groups(path)) == set(groups) | set(more)
    for name in ("outcome", "history/mixed", "embedding/mixed/states", "embedding/mixed"):
        assert_same(read_report(path, name), groups[name])
