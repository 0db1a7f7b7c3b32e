import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from filelock import FileLock

from crar_diag.errors import CrarDiagError, InputError, StorageError
from crar_diag.report import opening, store
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import (
    add_to_report,
    check_report,
    describe_report,
    read_report,
    report_groups,
)
from crar_diag.version import __version__
from tests.report.labelled import MADE, SAYS, assert_netcdf4, assert_same, sample
from tests.runs import files_up_to

ROOT = Path(__file__).parents[2]
LATER = Provenance(**{**vars(MADE), "command": "crar-diag report", "seeds": ()})


@pytest.fixture
def report(tmp_path):
    """A report of three groups, one of them within another."""
    path = tmp_path / "report.h5"
    data = {"statistics": sample(0), "statistics/rates": sample(1, 3), "/line/a": sample(2)}
    add_to_report(path, data, MADE)
    return path


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_report_opens_with_xarray_with_h5py_and_by_the_rules_of_netcdf(report):
    assert_netcdf4(report)
    with h5py.File(report) as file:
        assert dict(file.attrs) == {
            "kind": "crar-diag report",
            "schema_version": 1,
            "crar_diag": __version__,
        }
        assert file["line/a/loss"].attrs["units"] == "1"
        np.testing.assert_array_equal(file["line/a/loss"], sample(2).loss)
    for group, data in {"statistics": sample(0), "statistics/rates": sample(1, 3)}.items():
        with xr.open_dataset(report, group=group, engine="h5netcdf") as dataset:
            assert_same(dataset, data)
            assert dataset.attrs["provenance_command"] == MADE.command
            assert dataset.attrs["provenance_revision"] == MADE.revision
            assert dataset.attrs["provenance_time"] == MADE.time
            assert dataset.attrs["provenance_device"] == "cpu"
            assert dataset.attrs["provenance_seeds"].tolist() == [0, 4]
            assert json.loads(dataset.attrs["provenance_versions"]) == MADE.versions
        assert_same(read_report(report, group), data)
    assert_same(read_report(str(report), "/line/a/"), sample(2))
    assert files(report.parent) == ["report.h5", "report.h5.lock"]


def test_groups_are_listed_with_what_made_them(report):
    add_to_report(report, {"config": xr.Dataset(attrs={"toml": "x = 1"})}, LATER)
    assert report_groups(report) == {
        "config": LATER,
        "line/a": MADE,
        "statistics": MADE,
        "statistics/rates": MADE,
    }
    assert read_report(report, "config").attrs["toml"] == "x = 1"


def test_replacing_a_group_leaves_the_others_and_those_within_it(report):
    def stored() -> dict[str, bytes]:
        with h5py.File(report) as file:
            return {
                f"{group}/{name}": repr(file[group][name][()]).encode()
                for group in ("statistics/rates", "line/a")
                for name in file[group]
            }

    before, others = stored(), {g: read_report(report, g) for g in ("statistics/rates", "line/a")}
    other = xr.Dataset({"only": ("member", [1.0, 2.0, 3.0], SAYS)})
    add_to_report(report, {"statistics": other}, LATER)
    assert_same(read_report(report, "statistics"), other)
    assert stored() == before
    for group, dataset in others.items():
        xr.testing.assert_identical(read_report(report, group), dataset)
    assert report_groups(report) == {
        "line/a": MADE,
        "statistics": LATER,
        "statistics/rates": MADE,
    }
    assert_netcdf4(report)


def test_many_additions_in_any_order_hold_what_was_added_last(tmp_path):
    path, rng = tmp_path / "report.h5", random.Random(0)
    names, expected = ["a", "a/b", "a/b/c", "d", "d/e", "line/x", "line/y"], {}
    for turn in range(8):
        added = {n: sample(turn, rng.randint(0, 3)) for n in rng.sample(names, rng.randint(1, 3))}
        add_to_report(path, added, MADE)
        expected |= added
        assert list(report_groups(path)) == sorted(expected)
        for name, dataset in expected.items():
            assert_same(read_report(path, name), dataset)
        assert_netcdf4(path)


def test_a_file_does_not_grow_when_a_group_is_replaced(report):
    large = xr.Dataset({"x": ("k", np.random.default_rng(0).normal(size=20_000), SAYS)})
    sizes = []
    for _ in range(50):
        add_to_report(report, {"statistics": large}, MADE)
        sizes.append(report.stat().st_size)
    assert sizes[-1] == sizes[1]
    assert_same(read_report(report, "line/a"), sample(2))


def test_a_group_that_is_there_is_kept_where_asked(report):
    before = report.read_bytes()
    with pytest.raises(InputError, match=r"report.h5' has a group 'line/a' already$"):
        add_to_report(report, {"new": sample(0), "line/a": sample(5)}, MADE, replace=False)
    assert report.read_bytes() == before
    add_to_report(report, {"line/b": sample(5)}, MADE, replace=False)
    assert_same(read_report(report, "line/b"), sample(5))


def test_what_was_read_can_be_added_and_gets_its_new_provenance(report):
    dataset = read_report(report, "line/a")
    add_to_report(report, {"line/b": dataset}, LATER)
    assert_same(read_report(report, "line/b"), sample(2))
    assert report_groups(report)["line/b"] == LATER
    assert dataset.attrs["provenance_command"] == MADE.command  # the caller's is as it was


def test_a_group_of_somebody_else_stays(report):
    mine = xr.Dataset({"mine": ("k", [1.0, 2.0])}, attrs={"whose": "mine"})
    mine.to_netcdf(report, mode="a", group="line/mine", engine="h5netcdf")
    add_to_report(report, {"line/a": sample(3)}, LATER)
    xr.testing.assert_identical(read_report(report, "line/mine"), mine)
    assert report_groups(report)["line/mine"] is None
    assert describe_report(report)["groups"]["line/mine"]["provenance"] is None


def test_a_variable_and_a_group_cannot_share_a_name(report):
    before = report.read_bytes()
    called_b = xr.Dataset({"b": ((), 1.0, SAYS)})
    along_b = xr.Dataset({"x": ("b", [1.0], SAYS)})
    for added, place in [
        ({"statistics": called_b.rename(b="rates")}, "statistics/rates"),
        ({"statistics": along_b.rename(b="rates")}, "statistics/rates"),
        ({"line/a/loss": called_b}, "line/a/loss"),
        ({"line/a/loss/deeper": called_b}, "line/a/loss"),
        ({"n": called_b, "n/b": called_b}, "n/b"),
        ({"n/b": called_b, "n": called_b}, "n/b"),
    ]:
        with pytest.raises(CrarDiagError, match=f"'{place}' would be a group and a variable"):
            add_to_report(report, added, MADE)
    assert report.read_bytes() == before


@pytest.mark.parametrize("name", ["", "/", "a//b", "..", "a/../b", ".a", "a b", "a/ä"])
def test_names_of_groups_that_no_file_can_have(tmp_path, name):
    with pytest.raises(CrarDiagError, match="expected a name of the letters"):
        add_to_report(tmp_path / "report.h5", {name: sample(0)}, MADE)
    assert files(tmp_path) == []


def test_one_group_under_two_names_is_refused(tmp_path):
    with pytest.raises(CrarDiagError, match="expected each group once, found 'a', '/a'"):
        add_to_report(tmp_path / "report.h5", {"a": sample(0), "/a": sample(1)}, MADE)


def test_data_that_is_not_fit_leaves_no_trace(tmp_path):
    bare = xr.Dataset({"x": ("k", [1.0])})
    with pytest.raises(CrarDiagError, match="'x' of group 'b': expected the attribute 'units'"):
        add_to_report(tmp_path / "report.h5", {"a": sample(0), "b": bare}, MADE)
    assert files(tmp_path) == []


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), KeyboardInterrupt()])
def test_an_addition_that_is_broken_off_leaves_the_file(report, monkeypatch, call, error):
    before = report.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        add_to_report(report, {"line/a": sample(9)}, LATER)
    monkeypatch.undo()
    assert report.read_bytes() == before
    assert files(report.parent) == ["report.h5", "report.h5.lock"]
    add_to_report(report, {"line/a": sample(9)}, LATER)  # the lock was let go
    assert_same(read_report(report, "line/a"), sample(9))


def test_a_full_disk_leaves_the_file(report):
    before = report.read_bytes()
    noise = xr.Dataset({"x": ("k", np.random.default_rng(0).normal(size=50_000), SAYS)})
    with (
        files_up_to(200_000),
        pytest.raises(StorageError, match="File too large; the previous file is unharmed"),
    ):
        add_to_report(report, {"plane/b": noise}, LATER)
    assert report.read_bytes() == before
    assert files(report.parent) == ["report.h5", "report.h5.lock"]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import xarray as xr
from crar_diag.report.store import add_to_report, check_report, read_report
from tests.report.labelled import MADE, SAYS

path, rng = Path(sys.argv[1]), random.Random(0)
for turn in range(8):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for k in range(1000 * turn, 1000 * (turn + 1)):
            pair = {g: xr.Dataset({"x": ("n", [k] * 3000, SAYS)}) for g in ("a", "b/c")}
            add_to_report(path, pair, MADE)
            os.write(writer, b"1")
    os.read(reader, 1)  # it has made one addition and is at the next
    time.sleep(rng.uniform(0.0, 0.2))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    check_report(path)
    first, second = (read_report(path, group).x for group in ("a", "b/c"))
    assert (first == first[0]).all() and (second == first[0]).all()
    print(int(first[0]), flush=True)
"""


def test_killed_at_any_instant_the_report_is_whole(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "report.h5")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    reached = [int(word) for word in answer.stdout.split()]
    assert [k // 1000 for k in reached] == list(range(8))
    add_to_report(tmp_path / "report.h5", {"d": sample(0)}, MADE)  # no lock is left


AT_ONCE = """
import os, sys
from crar_diag.report.store import add_to_report
from tests.report.labelled import MADE, sample

children = []
for name in ("left", "right"):
    child = os.fork()
    if child == 0:
        for k in range(5):
            add_to_report(sys.argv[1], {f"{name}/g{k}": sample(k)}, MADE)
        os._exit(0)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children] == [0, 0]
"""


def test_no_addition_is_lost_when_two_processes_add_at_once(tmp_path):
    real, link = tmp_path / "report.h5", tmp_path / "link.h5"
    link.symlink_to(real)
    subprocess.run([sys.executable, "-c", AT_ONCE, str(link)], cwd=ROOT, check=True)
    assert link.is_symlink()
    names = {f"{side}/g{k}" for side in ("left", "right") for k in range(5)}
    assert set(report_groups(real)) == names
    for name in names:
        assert_same(read_report(real, name), sample(int(name.split("g")[-1])))
    assert files(tmp_path) == ["link.h5", "report.h5", "report.h5.lock"]


def test_a_report_that_stays_locked_is_told(report, monkeypatch):
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.1)
    before = report.read_bytes()
    with (
        FileLock(report.with_name("report.h5.lock")),
        pytest.raises(InputError, match=r"report.h5' is in use: another process has kept it"),
    ):
        add_to_report(report, {"line/a": sample(9)}, LATER)
    assert report.read_bytes() == before


def test_places_where_no_report_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place, why in [
        ("missing/report.h5", "cannot be written: '.*missing' is not a folder"),
        ("file/report.h5", "cannot be written: '.*file' is not a folder"),
        ("x" * 300, "cannot be written: File name too long"),
        ("nul\0", "cannot be written: .*null"),
    ]:
        with pytest.raises(StorageError, match=why):
            add_to_report(tmp_path / place, {"a": sample(0)}, MADE)
    with pytest.raises(InputError, match="expected a regular file, found a folder"):
        add_to_report(tmp_path, {"a": sample(0)}, MADE)

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(FileLock, "acquire", read_only)
    with pytest.raises(StorageError, match="cannot be written: Read-only file system"):
        add_to_report(tmp_path / "report.h5", {"a": sample(0)}, MADE)
    assert files(tmp_path) == ["file"]


def refusals(path: Path) -> set[str]:
    """Return what reading says, and adding, which must leave the file and make no lock."""
    before = files(path.parent)
    said = set()
    for refused in (
        lambda: check_report(path),
        lambda: report_groups(path),
        lambda: describe_report(path),
        lambda: read_report(path, "line/a"),
        lambda: add_to_report(path, {"x": sample(0)}, MADE),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        said.add(str(caught.value))
    assert files(path.parent) == before
    assert all("\n" not in sentence for sentence in said)
    return said


def test_files_that_are_no_reports_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    for make, why in [
        (lambda: path.write_bytes(b""), ": expected an HDF5 file, found an empty one"),
        (lambda: path.write_text("a,b\n"), ": expected an HDF5 file, found another kind of file"),
        (
            lambda: h5py.File(path, "w").close(),
            " is an HDF5 file of another origin: expected the attribute "
            "kind = 'crar-diag report' on its root",
        ),
    ]:
        make()
        assert refusals(path) == {f"report '{path}'{why}"}
    folder = tmp_path / "folder"
    folder.mkdir()
    assert refusals(folder) == {f"report '{folder}': expected a regular file, found a folder"}
    for read in (check_report, report_groups, describe_report):
        with pytest.raises(InputError, match=r"report '.*none.h5' does not exist$"):
            read(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"kind": "another"}, "another origin"),
        ({"kind": ["crar-diag report"] * 2}, "another origin"),
        ({"schema_version": 2}, "has schema version 2, this crar-diag reads up to 1: use a newer"),
        ({"schema_version": 0}, "is damaged: its root states no schema version"),
        ({"schema_version": "1"}, "is damaged: its root states no schema version"),
    ],
)
def test_reports_of_others_and_of_newer_versions_are_refused(report, attributes, why):
    with h5py.File(report, "a") as file:
        file.attrs.update(attributes)
    (sentence,) = refusals(report)
    assert why in sentence


def test_a_newer_version_is_told_by_the_schema_that_this_one_knows(report, monkeypatch):
    monkeypatch.setattr(store, "SCHEMA_VERSION", 2)
    add_to_report(report, {"line/b": sample(0)}, MADE)
    (sentence,) = refusals(report)
    assert sentence == (
        f"report '{report}' has schema version 2, this crar-diag reads up to 1: use a newer "
        "crar-diag"
    )
    monkeypatch.setattr(opening, "SCHEMA_VERSION", 2)
    check_report(report)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_report_is_refused(report, share):
    whole = report.read_bytes()
    report.write_bytes(whole[: int(share * len(whole))])
    for sentence in refusals(report):
        assert sentence.startswith(f"report '{report}' is truncated or damaged: ")


def test_a_damaged_report_is_refused_or_read_but_never_breaks(report):
    large = xr.Dataset({"x": ("k", np.random.default_rng(0).normal(size=20_000), SAYS)})
    add_to_report(report, {"plane/b": large}, MADE)
    check_report(report)
    whole, rng, refused = report.read_bytes(), random.Random(0), 0
    for _ in range(25):
        data = bytearray(whole)
        start, length = rng.randrange(len(data)), rng.choice([1, 30, 3000])
        data[start : start + length] = rng.randbytes(len(data[start : start + length]))
        report.write_bytes(data)
        try:
            check_report(report)
        except InputError:
            refused += 1
    assert refused > 18


def test_a_group_that_is_not_there_is_told(report):
    for name, why in [
        ("line/b", r"did you mean 'line/a'\?"),
        ("line", "choose from line/a, statistics, statistics/rates|did you mean"),
        ("line/a/loss", "did you mean 'line/a'|choose from"),
        ("zzz", "choose from line/a, statistics, statistics/rates"),
        ("", "choose from line/a, statistics, statistics/rates"),
    ]:
        with pytest.raises(InputError, match=rf"report.h5' has no group '{name}' \(({why})"):
            read_report(report, name)
    add_to_report(report.with_name("empty.h5"), {}, MADE)
    with pytest.raises(InputError, match=r"has no group 'a': it is empty$"):
        read_report(report.with_name("empty.h5"), "a")


def test_a_description_tells_all_of_it_in_types_that_json_has(tmp_path):
    path = tmp_path / "report.h5"
    add_to_report(path, {"statistics/rates": sample(1, 3)}, MADE)
    described = json.loads(json.dumps(describe_report(path)))
    says = {"units": "1", "long_name": "what it is"}
    member = {"dims": {"member": 3}, "coordinate": False, **says}
    assert described == {
        "kind": "report",
        "path": str(path),
        "schema_version": 1,
        "crar_diag": __version__,
        "groups": {
            "statistics/rates": {
                "provenance": {**vars(MADE), "seeds": [0, 4]},
                "variables": {
                    "loss": member | {"dims": {"member": 3, "loss_name": 3}, "type": "float64"},
                    "kind": member | {"type": "string"},
                    "success": member | {"dims": {"member": 3, "picture": 4}, "type": "bool"},
                    "threshold": {
                        "dims": {},
                        "units": "reward",
                        "long_name": "threshold",
                        "type": "float64",
                        "coordinate": False,
                    },
                    "member": member | {"type": "int64", "coordinate": True},
                    "base": member | {"type": "int32", "coordinate": True},
                    "loss_name": member
                    | {"dims": {"loss_name": 3}, "type": "string", "coordinate": True},
                },
            }
        },
    }
