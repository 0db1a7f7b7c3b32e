"""What is kept of an interrupted surface: whole, of the same request, or nothing."""

import pickle

import numpy as np
import pytest

from crar_diag.errors import StorageError
from crar_diag.landscape import partial
from crar_diag.landscape.partial import PartialSurface
from tests.runs import files_up_to

REQUEST = {"mode": "line", "seed": 3, "weights": {"q": 1.0, "volume": 0.2}, "axes": [[0.0, 0.1]]}
VALUES = {
    "loss/sum": np.array([1.0, np.nan, -0.0, 1e300]),
    "converged": np.array([True, False, True, False]),
    "iterations": np.array([1, 2, 3, 2**40]),
    "done": np.array(3),
}


@pytest.fixture(autouse=True)
def at_every_call(monkeypatch):
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 0.0)


def same(found, expected=VALUES) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


def written(folder, request=REQUEST):
    path = folder / "a.h5.line.partial"
    PartialSurface(path, request).save(VALUES, 3)
    return path


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    path = written(tmp_path)
    assert same(PartialSurface(path, REQUEST).load())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert PartialSurface(tmp_path / "none", REQUEST).load() is None


def test_the_order_in_which_a_request_is_written_does_not_matter(tmp_path):
    path = written(tmp_path)
    assert same(PartialSurface(path, dict(reversed(REQUEST.items()))).load())


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "plane"},
        {"seed": 4},
        {"weights": {"q": 1.0, "volume": 0.2000000000000001}},
        {"weights": {"q": 0.2, "volume": 1.0}},
        {"axes": [[0.0], [0.1]]},
        {"more": None},
    ],
)
def test_what_was_saved_of_another_request_is_nothing_and_is_replaced(tmp_path, change):
    path = written(tmp_path)
    other = PartialSurface(path, REQUEST | change)
    assert other.load() is None
    other.save(VALUES | {"done": np.array(1)}, 1)
    assert same(other.load(), VALUES | {"done": np.array(1)})
    assert PartialSurface(path, REQUEST).load() is None


def test_a_file_that_is_cut_anywhere_is_nothing(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 23), len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert PartialSurface(path, REQUEST).load() is None
    path.write_bytes(whole)
    assert same(PartialSurface(path, REQUEST).load())


def test_a_file_with_a_wrong_byte_is_nothing_or_was_not_harmed(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    nothing = []
    for place in range(0, len(whole), 7):
        for flip in (1, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            found = PartialSurface(path, REQUEST).load()
            assert found is None or same(found)
            nothing.append(found is None)
    assert np.mean(nothing) > 0.7


class Malice:
    """What must never be made from a file."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_files_of_other_kinds_are_nothing(tmp_path):
    path = tmp_path / "a.partial"
    asked = PartialSurface(path, REQUEST)
    path.mkdir()
    assert asked.load() is None
    path.rmdir()
    for data in (b"", b"a thesis\n", pickle.dumps(Malice()), bytes(500)):
        path.write_bytes(data)
        assert asked.load() is None
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    assert asked.load() is None
    with path.open("wb") as file:
        np.savez(file, **VALUES, request=np.array([Malice()], object))
    assert asked.load() is None
    with path.open("wb") as file:
        np.savez(file, **VALUES)
    assert asked.load() is None


def test_it_saves_at_intervals_and_flushes_what_is_left(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 5.0)
    monkeypatch.setattr(partial.time, "monotonic", lambda: now[0])
    asked = PartialSurface(tmp_path / "a.partial", REQUEST)

    def kept():
        found = asked.load()
        return None if found is None else int(found["done"])

    for seconds, done, expected in ((4.9, 1, None), (0.2, 2, 2), (4.9, 3, 2), (0.2, 4, 4)):
        now[0] += seconds
        asked.save(VALUES | {"done": np.array(done)}, done)
        assert kept() == expected
    asked.save(VALUES | {"done": np.array(5)}, 5)
    assert kept() == 4
    asked.flush()
    assert kept() == 5
    (tmp_path / "a.partial").unlink()
    asked.flush()  # all was written already
    assert kept() is None


def test_a_file_system_that_refuses_leaves_what_was_saved_before(tmp_path):
    path = written(tmp_path)
    large = VALUES | {"loss/sum": np.zeros(100_000)}
    with files_up_to(10_000), pytest.raises(StorageError, match="could not write"):
        PartialSurface(path, REQUEST).save(large, 3)
    assert same(PartialSurface(path, REQUEST).load())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_it_is_removed(tmp_path):
    path = written(tmp_path)
    asked = PartialSurface(path, REQUEST)
    asked.remove()
    asked.remove()
    assert not any(tmp_path.iterdir())
