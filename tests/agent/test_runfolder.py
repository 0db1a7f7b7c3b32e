import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
import torch

from crar_diag.agent.config_sources import build_config, from_toml, to_toml
from crar_diag.agent.presets import preset
from crar_diag.agent.run import read_run
from crar_diag.agent.runfolder import RunFolder
from crar_diag.agent.sealing import RESUME_STATE, seal
from crar_diag.errors import InputError, StorageError

ROOT = Path(__file__).parents[2]
CONFIG = build_config("simple-maze", "quick", seeds="0,2,5:7", name="good")

HOLDER = """
import sys
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.runfolder import RunFolder
config = build_config("simple-maze", "quick", seeds="0,2,5:7", name="good")
with RunFolder.open(sys.argv[1], config, resume=True):
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def refused(match: str, path: Path, config=CONFIG, resume=False, error=InputError) -> None:
    before = {entry: entry.lstat().st_mtime_ns for entry in path.parent.rglob("*")}
    with pytest.raises(error, match=match) as caught, RunFolder.open(path, config, resume):
        pytest.fail("opened")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {entry: entry.lstat().st_mtime_ns for entry in path.parent.rglob("*")} == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_fresh_folder_gets_its_configuration(tmp_path, resume):
    path = tmp_path / "deep" / "run"
    with RunFolder.open(path, CONFIG, resume) as folder:
        assert folder.config == CONFIG
        assert from_toml((path / "run.toml").read_text(), "run.toml") == CONFIG
        assert folder.checkpoints == {}
        assert folder.read_resume() is None
        assert folder.checkpoint_path(2) == path / "good-seed2.safetensors"
        assert folder.history_path == path / "history.h5"
    assert names(path) == {"run.toml", ".lock"}


def test_a_folder_killed_before_its_first_write_begins_anew(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".crar-diag-tmp-0123456789abcdef.toml").write_text("updat")
    with RunFolder.open(tmp_path, CONFIG, resume=True) as folder:
        assert folder.config == CONFIG
    assert names(tmp_path) == {"run.toml", ".lock"}


def test_resuming_takes_the_folders_configuration_and_clears_leftovers(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.checkpoint_path(5).touch()
        folder.checkpoint_path(0).touch()
        (tmp_path / "good-seed1.safetensors").touch()
    (tmp_path / ".crar-diag-tmp-0123456789abcdef.h5").touch()
    text = (tmp_path / "run.toml").read_bytes()
    for config in (None, CONFIG):
        with RunFolder.open(tmp_path, config, resume=True) as folder:
            assert folder.config == CONFIG
            assert list(folder.checkpoints) == [0, 5]
            assert not any(name.startswith(".crar") for name in names(tmp_path))
    assert (tmp_path / "run.toml").read_bytes() == text


def test_folders_that_are_not_a_runs_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "run"
    refused("holds no run to resume", path, None, True)
    path.write_text("")
    refused("expected a folder, found a file$", path)
    path.unlink()
    path.mkdir()
    refused("holds no run to resume", path, None, True)
    (path / "thesis.tex").touch()
    for resume in (False, True):
        refused("must be new, empty or a run's, found 'thesis.tex' in it", path, CONFIG, resume)
    refused("found 'thesis.tex' in it", path, None, True)
    (path / "run.toml").write_text("updates = 3\n")
    refused("already holds a run: choose another folder, or resume it to go on$", path)
    refused("run.toml: environment is missing$", path, None, True)
    (path / "run.toml").write_text("updates = \n")
    refused("is not valid TOML", path, None, True)


def test_resuming_with_another_configuration_names_the_first_difference(tmp_path):
    path = tmp_path / "run"
    with RunFolder.open(path, CONFIG):
        pass
    other = build_config(
        "simple-maze", "quick", None, ["optimizer.rho=0.8", "double_q=true"], seeds="0", name="good"
    )
    with (
        pytest.raises(InputError, match=r"seeds = \(0, 2, 5, 6\), .* seeds = \(0,\): expected"),
        RunFolder.open(path, other, resume=True),
    ):
        pass
    nearly = build_config("simple-maze", "quick", None, ["optimizer.rho=0.8"], seeds="0,2,5:7")
    nearly = nearly.model_copy(update={"name": "good"})
    (path / ".lock").unlink()
    refused(r"optimizer.rho = 0.9, to be resumed with optimizer.rho = 0.8", path, nearly, True)
    (path / ".lock").touch()
    with pytest.raises(InputError, match="resume it") as caught, RunFolder.open(path, CONFIG):
        pass
    assert caught.value.arguments == ("resume",)


def test_a_second_process_is_kept_out_until_the_first_is_killed(tmp_path):
    path = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    refused("is in use by another process$", path, CONFIG, True)
    refused("is in use by another process$", path)
    assert read_run(path, complete=False).config == CONFIG  # readers need no lock
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with RunFolder.open(path, None, resume=True) as folder:
        assert folder.config == CONFIG


def test_the_lock_is_released_when_the_block_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder.open(tmp_path, CONFIG):
        raise KeyboardInterrupt
    with RunFolder.open(tmp_path, CONFIG, resume=True), pytest.raises(InputError, match="in use"):
        RunFolder.open(tmp_path, CONFIG, resume=True).__enter__()


def test_resume_state_comes_back_bit_for_bit(tmp_path):
    generator = torch.Generator().manual_seed(5)
    tensors = {
        "encoder.0.weight": torch.randn(2, 3, generator=generator),
        "rms": torch.tensor([float("nan"), -0.0], dtype=torch.float64),
        "generator": generator.get_state(),
    }
    counters = {"update": 17, "loss": 0.1, "words": [2**127, 3], "nested": {"a": None}}
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.write_resume({"old": torch.zeros(1)}, {})
        folder.write_resume(tensors, counters)
        written = (tmp_path / "resume.safetensors").read_bytes()
    with RunFolder.open(tmp_path, None, resume=True) as folder:
        found, again = folder.read_resume()
        assert again == counters
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].numpy().tobytes() == tensor.numpy().tobytes()
        folder.write_resume(found, again)
    assert (tmp_path / "resume.safetensors").read_bytes() == written


def test_a_run_is_finished_when_all_members_are_written_and_its_state_is_dropped(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as folder:
        reader = read_run(tmp_path, complete=False)
        folder.write_resume({}, {"update": 1})
        assert reader.read_resume() == ({}, {"update": 1})
        for seed in CONFIG.seeds:
            assert not folder.finished
            folder.checkpoint_path(seed).touch()
        assert not folder.finished
        folder.drop_resume()
        assert folder.finished
        assert reader.finished
        assert folder.read_resume() is None
        folder.checkpoint_path(2).unlink()
        assert not folder.finished


def test_resume_state_that_is_damaged_or_another_runs_is_refused(tmp_path):
    state = tmp_path / "resume.safetensors"
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.write_resume({"a": torch.arange(10)}, {"update": 1})
        whole = state.read_bytes()
        for data, match in [
            (whole[:-1], "is truncated or damaged"),
            (whole[:-1] + b"\1", "does not match its digest"),
            (b"", "is empty"),
            (seal({}, {"format_version": 2}, RESUME_STATE), "has format version 2"),
            (seal({}, {"format_version": 1}, RESUME_STATE), "of another configuration"),
        ]:
            state.write_bytes(data)
            with pytest.raises(InputError, match=match):
                folder.read_resume()
        state.write_bytes(whole)
        assert folder.read_resume()[1] == {"update": 1}
    other = RunFolder(tmp_path, preset("labyrinth"))
    with pytest.raises(InputError, match="belongs to a run of another configuration"):
        other.read_resume()


def test_a_full_disk_leaves_the_previous_resume_state(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.write_resume({"a": torch.zeros(3)}, {"update": 1})
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device; the previous file is unh"):
            folder.write_resume({"a": torch.ones(3)}, {"update": 2})
        monkeypatch.undo()
        tensors, counters = folder.read_resume()
    assert counters == {"update": 1}
    assert torch.equal(tensors["a"], torch.zeros(3))
    assert names(tmp_path) == {"run.toml", ".lock", "resume.safetensors"}


def test_a_full_disk_at_the_start_leaves_a_folder_that_can_be_begun(tmp_path, monkeypatch):
    path = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(StorageError, match=r"run.toml': No space left on device; no file was writ"),
        RunFolder.open(path, CONFIG),
    ):
        pass
    monkeypatch.undo()
    with RunFolder.open(path, CONFIG) as folder:
        assert folder.config == CONFIG


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "run"
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        RunFolder.open(below, CONFIG).__enter__()
    with pytest.raises(StorageError, match="cannot be written: embedded null"):
        RunFolder.open(tmp_path / "a\0b", CONFIG).__enter__()
    (tmp_path / "odd" / ".lock").mkdir(parents=True)
    refused("cannot be written: Is a directory", tmp_path / "odd", error=StorageError)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.FileLock, "acquire", read_only)
    (tmp_path / "run").mkdir()
    refused("cannot be written: Read-only file system$", tmp_path / "run", error=StorageError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_write_permission(tmp_path):
    path = tmp_path / "run"
    path.mkdir(mode=0o500)
    refused("cannot be written: Permission denied$", path, error=StorageError)


def test_reading_a_run_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"is not a run folder: expected a folder with a run.toml"):
        read_run(tmp_path / "missing")
    with pytest.raises(InputError, match="is not a run folder"):
        read_run(tmp_path)
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.checkpoint_path(2).touch()
    with pytest.raises(InputError) as caught:
        read_run(tmp_path)
    assert str(caught.value) == (
        f"run folder '{tmp_path}' is not complete: expected 4 members, missing "
        "good-seed0.safetensors, good-seed5.safetensors, good-seed6.safetensors"
    )
    assert list(read_run(tmp_path, complete=False).checkpoints) == [2]
    for seed in CONFIG.seeds:
        (tmp_path / f"good-seed{seed}.safetensors").touch()
    run = read_run(str(tmp_path))
    assert run.config == CONFIG
    assert run.checkpoints == {s: tmp_path / f"good-seed{s}.safetensors" for s in (0, 2, 5, 6)}


def test_a_run_of_many_members_names_the_first_that_are_missing(tmp_path):
    (tmp_path / "run.toml").write_text(to_toml(build_config("labyrinth", seeds="0:40")))
    with pytest.raises(InputError, match=r"base-seed4.safetensors and 35 more$"):
        read_run(tmp_path)
