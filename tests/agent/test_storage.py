import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from crar_diag.agent.storage import (
    is_leftover,
    remove,
    remove_leftovers,
    replacing,
    write_atomically,
)
from crar_diag.errors import StorageError

ROOT = Path(__file__).parents[2]


def test_a_file_is_written_and_written_over(tmp_path):
    path = tmp_path / "a.bin"
    write_atomically(path, b"first")
    write_atomically(str(path), b"second, longer")
    assert path.read_bytes() == b"second, longer"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_the_temporary_name_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with replacing(tmp_path / "report.h5") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".h5"
        assert is_leftover(temporary.name)
        assert not temporary.exists()
        temporary.write_bytes(b"x")
    assert (tmp_path / "report.h5").read_bytes() == b"x"


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.bin").symlink_to(tmp_path / "far" / "real.bin")
    write_atomically(tmp_path / "link.bin", b"x")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "far" / "real.bin").read_bytes() == b"x"


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), ValueError("x")])
def test_an_error_of_the_writer_passes_and_leaves_the_previous_file(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "open", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_refusal_is_one_sentence_and_leaves_the_previous_file(tmp_path, monkeypatch, call, code):
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    if call == "write":
        monkeypatch.setattr(Path, "write_bytes", refuse)
    else:
        monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"second")
    monkeypatch.undo()
    assert str(caught.value) == (
        f"could not write '{path}': {os.strerror(code)}; the previous file is unharmed"
    )
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_limit_on_file_size_leaves_the_previous_file(tmp_path):
    path = tmp_path / "a.bin"
    code = (
        "import resource, sys\n"
        "from crar_diag.agent.storage import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomically(sys.argv[1], b'a' * 1000)\n"
        "try:\n    write_atomically(sys.argv[1], b'b' * 100_000)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    expected = (
        f"StorageError could not write '{path}': File too large; the previous file is unharmed"
    )
    assert answer.stdout.strip() == expected
    assert path.read_bytes() == b"a" * 1000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_reported_in_its_own_words(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")

    def fill() -> None:
        with replacing(path) as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"second")

    with pytest.raises(StorageError, match=r"No space left on device; the previous file is unharm"):
        fill()
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_hdf5_that_meets_a_full_device_is_reported_on_one_line(tmp_path):
    def write() -> None:
        with replacing(tmp_path / "a.h5") as temporary, h5py.File(temporary, "w") as file:
            file["x"] = [1.0, 2.0]
            raise OSError(errno.ENOSPC, "Can't write data (time = Sun\n, errno = 28, buf = 0x5)")

    with pytest.raises(StorageError, match=r"a.h5': No space left on device; no file was written$"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_places_where_nothing_can_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for path, why in [
        (tmp_path / "missing" / "a.bin", "No such file or directory; no file was written"),
        (file / "a.bin", "Not a directory; no file was written"),
        (tmp_path, "found a folder"),
        (tmp_path / "pipe", "no regular file"),
        (tmp_path / ("x" * 300), "File name too long; no file was written"),
        (tmp_path / "nul\0", "null"),
    ]:
        with pytest.raises(StorageError, match=why):
            write_atomically(path, b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied; no file was written"):
        write_atomically(tmp_path / "a.bin", b"x")


def test_killed_at_any_instant_the_file_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    code = (
        "import sys\n"
        "from crar_diag.agent.storage import write_atomically\n"
        "for i in range(10**9):\n"
        "    write_atomically(sys.argv[1], bytes([i % 256]) * 200_000)\n"
        "    print(i, flush=True)\n"
    )
    for round_ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(round_ + 1):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        data = path.read_bytes()
        assert data == data[:1] * 200_000
    (tmp_path / ".crar-diag-tmp-0123456789abcdef.bin").write_bytes(b"half")
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_tidying_a_folder_that_is_none(tmp_path):
    with pytest.raises(StorageError, match="could not tidy"):
        remove_leftovers(tmp_path / "missing")


def test_removing_what_is_there_and_what_is_not(tmp_path):
    path = tmp_path / "a.bin"
    path.touch()
    for _ in range(2):
        remove(path)
        assert not path.exists()
    with pytest.raises(StorageError, match=f"could not remove '{tmp_path}': Is a directory"):
        remove(tmp_path)
