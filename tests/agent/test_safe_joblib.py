"""Arrays that joblib wrote come back bit for bit; nothing else is read, and nothing is run."""

import builtins
import bz2
import contextlib
import copyreg
import gzip
import hashlib
import lzma
import os
import pickle
import struct
import tracemalloc
import zlib

import joblib
import numpy as np
import pytest

from crar_diag.agent import safe_joblib
from crar_diag.agent.safe_joblib import MAX_BYTES, read_dump
from crar_diag.agent.safe_pickle import MAX_INSTRUCTIONS
from crar_diag.errors import InputError

COMPRESSIONS = [0, 3, True, *((method, 4) for method in ("zlib", "gzip", "bz2", "lzma", "xz"))]


def some_arrays():
    rng = np.random.default_rng(4)
    return [
        rng.normal(size=(64, 200)).astype(np.float32),
        rng.normal(size=7),
        rng.normal(size=(3, 2, 5, 4)).astype(np.float32),
        rng.integers(-5, 5, (2, 3)),
        np.array(1.5, np.float32),
        np.empty((0, 4), np.float32),
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.joblib"


@pytest.fixture
def marker(tmp_path):
    """A file that a malicious pickle would make."""
    file = tmp_path / "run-by-the-file"
    yield file
    assert not file.exists()


def assert_read(path, arrays):
    found = read_dump(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(found.arrays) == len(arrays)
    for one, expected in zip(found.arrays, arrays, strict=True):
        assert one.dtype == expected.dtype.newbyteorder("=")
        assert one.dtype.isnative
        assert one.flags.c_contiguous
        assert one.shape == expected.shape
        assert one.tobytes() == expected.astype(one.dtype).tobytes("C")
        one[...] = 0  # its own memory


def refusal(path, data=None):
    """The sentence by which a file is refused."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_dump(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert len(sentence) < 500 + len(str(path))
    return sentence


class Call:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


# What joblib writes


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=str)
def test_arrays_come_back_bit_for_bit(path, compress):
    joblib.dump(some_arrays(), path, compress=compress)
    assert_read(path, some_arrays())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("compress", [0, 3])
def test_all_protocols(path, protocol, compress):
    arrays = some_arrays()
    joblib.dump(arrays, path, protocol=protocol, compress=compress)
    assert_read(path, arrays)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_fortran_order_and_both_byte_orders(path, protocol):
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(3, 4, 5))
    arrays = [
        np.asfortranarray(plain),
        plain.astype(">f8"),
        np.asfortranarray(plain.astype(">f4")),
        plain.astype("<f4"),
        plain.transpose(1, 0, 2),  # of neither order
        plain[::2, 1:],
    ]
    joblib.dump(arrays, path, protocol=protocol)
    assert_read(path, arrays)


def test_a_tuple_and_no_array_at_all(path):
    joblib.dump(tuple(some_arrays()), path)
    assert_read(path, some_arrays())
    joblib.dump([], path)
    assert read_dump(path).arrays == ()


def test_an_array_that_stands_in_the_list_twice(path):
    array = np.arange(5.0)
    joblib.dump([array, array], path)
    assert_read(path, [array, array])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_pickle_itself_writes_of_arrays(path, protocol):
    arrays = [some_arrays()[0], np.asfortranarray(some_arrays()[0]), some_arrays()[1]]
    path.write_bytes(pickle.dumps([*arrays, arrays[0]], protocol=protocol))
    assert_read(path, [*arrays, arrays[0]])


def test_numpys_old_module_names(path):
    for protocol, new, old in (
        (3, b"numpy._core.multiarray\n_reconstruct", b"numpy.core.multiarray\n_reconstruct"),
        (5, b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric"),
    ):
        data = pickle.dumps([np.arange(3.0)], protocol=protocol)
        assert new in data
        path.write_bytes(data.replace(new, old))
        assert_read(path, [np.arange(3.0)])


def test_wrappers_of_joblib_before_1_2_have_no_padding(path):
    """The same file by hand, as joblib 1.1 wrote it: the bytes follow the wrapper at once."""
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    wrapper = (
        b"\x80\x02]q\x00cjoblib.numpy_pickle\nNumpyArrayWrapper\nq\x01)\x81q\x02}q\x03("
        b"X\x08\x00\x00\x00subclassq\x04cnumpy\nndarray\nq\x05X\x05\x00\x00\x00shapeq\x06"
        b"K\x02K\x03\x86q\x07X\x05\x00\x00\x00orderq\x08X\x01\x00\x00\x00Cq\tX\x05\x00\x00\x00"
        b"dtypeq\ncnumpy\ndtype\nq\x0bX\x02\x00\x00\x00f4q\x0cK\x00K\x01\x87q\rRq\x0e(K\x03"
        b"X\x01\x00\x00\x00<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10bX\n\x00\x00\x00"
        b"allow_mmapq\x11\x88ub"
    )
    path.write_bytes(wrapper + array.tobytes() + b"a.")
    assert_read(path, [array])
    assert all(np.array_equal(a, b) for a, b in zip(joblib.load(path), [array], strict=True))


def test_pythons_own_unpickler_and_joblib_take_no_part(path, monkeypatch):
    joblib.dump(some_arrays(), path, compress=3)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    for module, names in (
        (pickle, ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads")),
        (joblib, ("load",)),
        (np, ("load",)),
        (builtins, ("eval", "exec")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, never)
    found = read_dump(path)
    monkeypatch.undo()
    assert len(found.arrays) == len(some_arrays())


# What would run something


def test_calls_are_refused_by_name(path, marker):
    make = f"open({str(marker)!r}, 'w')"
    for call, named in (
        (Call(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        (Call(eval, make), "eval"),
        (Call(exec, make), "exec"),
        (Call(open, str(marker), "w"), "open"),
        (Call(getattr, os, "system"), "getattr"),
        (Call(__import__, "os"), "__import__"),
        (Call(np.load, str(marker)), "numpy.load"),
        (Call(joblib.load, str(marker)), "joblib.numpy_pickle.load"),
        (Call(copyreg.__newobj__, list), "__newobj__"),
        (Call(copyreg.add_extension, "os", "system", 1), ".add_extension"),
        (Call(np.memmap, str(marker), "f4", "w+", 0, (1,)), "numpy.memmap"),
    ):
        for value in (call, [call], [call, np.arange(3.0)], (call,), [[call]], {"a": call}):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                try:
                    data = pickle.dumps(value, protocol=protocol)
                except (TypeError, pickle.PicklingError):  # a module, __newobj__ of no class
                    continue
                assert f"{named}'; only" in refusal(path, data), (named, protocol)


def test_calls_within_what_joblib_writes(path, marker):
    call = Call(os.system, f"touch {marker}")
    for protocol in (0, 2, 4, 5):
        joblib.dump([np.arange(3.0), call], path, protocol=protocol)
        assert "system' " not in refusal(path)
        assert "system'" in refusal(path)


def test_arrays_of_objects(path, marker):
    call = Call(os.system, f"touch {marker}")
    for content in ([call], [None], ["text"], [1, 2]):
        array = np.empty(len(content), object)
        array[:] = content
        for protocol in (2, 4, 5):
            joblib.dump([np.arange(2.0), array], path, protocol=protocol)
            assert "array of objects" in refusal(path)
            assert refusal(path, pickle.dumps([array], protocol=protocol))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, "i4,f4"),
        np.zeros(2, [("a", "f4", (2,))]),
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V4"),
        np.zeros(2, complex),
    ],
    ids=str,
)
def test_arrays_of_other_types(path, array):
    joblib.dump([array], path)
    assert "expected arrays of numbers" in refusal(path)


def test_subclasses_of_arrays(path):
    for array in (np.ma.masked_array([1.0, 2.0], [True, False]), np.zeros(2).view(np.recarray)):
        joblib.dump([array], path)
        refusal(path)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0]])
    joblib.dump([matrix], path)
    assert "numpy.matrix'" in refusal(path)


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(module: str, name: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(name) + b"\x93"


def test_names_with_dots_lead_nowhere(path, marker):
    """Dotted names are looked up attribute by attribute by Python's unpickler."""
    argument = text(f"touch {marker}") + b"\x85R."
    for module, name in (
        ("numpy", "core.multiarray.os.system"),
        ("numpy.core", "multiarray._reconstruct"),  # joined, it would be an admitted name
        ("numpy", "ndarray.__class__"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core.multiarray", "os"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.multiarray", "fromfile"),
        ("joblib.numpy_pickle", "os.system"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper.read_array"),
        ("copyreg", "_reconstructor.__globals__"),
        ("builtins", "object.__subclasses__"),
    ):
        data = b"\x80\x04" + named(module, name) + argument
        assert f"asks for '{module}.{name}'" in refusal(path, data)
        data = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"U\x01a\x85R."
        assert f"asks for '{module}.{name}'" in refusal(path, data)


def test_admitted_names_make_nothing_but_arrays(path):
    """Each admitted function, called as it would do harm, or used as what it is not."""
    reconstructor, thing = named("copyreg", "_reconstructor"), named("builtins", "object")
    ndarray, dtype = named("numpy", "ndarray"), named("numpy", "dtype")
    wrapper = named("joblib.numpy_pickle", "NumpyArrayWrapper")
    rebuild = named("numpy._core.multiarray", "_reconstruct")
    buffer = named("numpy._core.numeric", "_frombuffer")
    for body in (
        reconstructor + ndarray + thing + b"N\x87R",  # any class
        reconstructor + thing + thing + b"N\x87R",
        reconstructor + wrapper + thing + text("state") + b"\x87R",
        thing + b")R",
        thing + b")\x81",
        ndarray + b"K\x05\x85R",
        ndarray + b")\x81",
        wrapper + b"K\x01\x85\x81",
        rebuild + dtype + b"K\x00\x85C\x01b\x87R",
        rebuild + wrapper + b"K\x00\x85C\x01b\x87R",
        rebuild + b")R",
        buffer + b")R",
        dtype + b")R",
        dtype + b"]R",
        dtype + text("O8") + b"\x89\x88\x87R",
        dtype + text("|O") + b"\x89\x88\x87R",
        dtype + dtype + b"\x85R",
        b"K\x05)R",
        b"])R",
        text("abc") + b")R",
        ndarray + b"}" + text("shape") + b"K\x01sb",  # set an attribute of the class
        wrapper + b"}" + text("__class__") + b"K\x01sb",
        wrapper + b")\x81}" + text("__class__") + ndarray + b"sb",
        wrapper + b")\x81Nb",
        rebuild + ndarray + b"K\x00\x85C\x01b\x87R}b",
        rebuild + ndarray + b"K\x00\x85C\x01b\x87R",  # an array whose state never comes
        dtype + text("f4") + b"\x89\x88\x87R(K\x03" + text("<") + dtype + b"NNK\x00K\x00K\x00tb",
    ):
        for start in (b"\x80\x04", b"\x80\x04]"):
            refusal(path, start + body + (b"a." if start.endswith(b"]") else b"."))


def test_instructions_that_reach_outside_are_refused(path):
    for body, instruction in (
        (b"Pid\n.", "PERSID"),
        (b"K\x01Q.", "BINPERSID"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"(ios\nsystem\n.", "INST"),
        (b"(K\x01o.", "OBJ"),
        (b")}\x92.", "NEWOBJ_EX"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"G" + bytes(8) + b".", "BINFLOAT"),
        (b"\x8f.", "EMPTY_SET"),
    ):
        copyreg.add_extension("os", "getcwd", 1)
        try:
            assert f"uses the instruction {instruction};" in refusal(path, b"\x80\x04" + body)
        finally:
            copyreg.remove_extension("os", "getcwd", 1)


def test_a_name_that_no_terminal_should_print(path):
    assert r"'os.\x1b[2J'" in refusal(path, b"\x80\x04" + named("os", "\x1b[2J") + b".")
    assert refusal(path, b"\x80\x04cos\n" + b"a" * 10**6 + b"\n.").count("a") < 200


# What would take all memory or time


def test_nested_values_are_neither_shown_nor_hashed(path):
    """Each doubles the one before: shown, or hashed, 2**60 of them."""
    doubled = b")" + b"q\x00h\x00\x86" * 60
    for body in (
        doubled + text("name") + b"\x93.",
        b"}" + doubled + b"K\x01s.",
        named("numpy", "dtype") + doubled + b"R.",
        named("numpy", "dtype") + doubled + b"\x85R.",
        doubled + doubled + b"R.",
        doubled + b".",
    ):
        refusal(path, b"\x80\x04" + body)
    deep = b")" + b"\x85" * 90_000
    refusal(path, b"\x80\x04}" + deep + b"K\x01s.")
    refusal(path, b"\x80\x04" + deep + text("name") + b"\x93.")


def test_too_many_instructions(path):
    assert f"more than {MAX_INSTRUCTIONS:,}" in refusal(path, b"\x80\x04" + b"]" * 10**6 + b".")


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_bombs_end_at_the_bound(path, monkeypatch, method):
    monkeypatch.setattr(safe_joblib, "MAX_BYTES", 2**20)
    zeros = bytes(2**20 + 1)
    compress = {
        "zlib": zlib.compress,
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
        "xz": lzma.compress,
    }[method]
    path.write_bytes(compress(zeros * 20))
    tracemalloc.start()
    sentence = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"decompresses ({method}) to more than the {2**20} bytes" in sentence
    assert peak < 16 * 2**20
    # One byte less is read, and found to be no pickle.
    assert "is no joblib dump" in refusal(path, compress(zeros[:-1]))


def test_a_dictionary_of_gigabytes_is_not_made(path):
    header = b"\x5d\x00" + bytes([0, 0, 255]) + b"\xff" * 8
    assert "emory usage limit" in refusal(path, header + bytes(50))


def test_files_above_the_bound(path):
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert f"at most {MAX_BYTES} bytes" in refusal(path)


def test_lengths_that_lie(path):
    huge = struct.pack("<Q", 2**40)
    for body in (
        b"\x8e" + huge,  # bytes
        b"\x96" + huge,  # bytearray
        b"\x8d" + huge,  # text
        b"\x95" + huge,  # frame
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # whole number
        b"\x8b" + struct.pack("<i", -1),
        b"B" + struct.pack("<I", 2**32 - 1),
    ):
        assert "is no joblib dump" in refusal(path, b"\x80\x05" + body + b"abc.")


def with_shape(path, shape):
    """Replace the shape (7,) of an array that joblib wrote by another one."""
    joblib.dump([np.arange(7, dtype=np.float32)], path, protocol=2)
    data = path.read_bytes()
    assert b"K\x07\x85" in data
    return data.replace(b"K\x07\x85", b"(" + shape + b"t")


def test_shapes_that_lie(path):
    big = b"\x8a\x06" + (2**46).to_bytes(6, "little")
    for shape in (
        big,
        big * 32,  # with more bytes than any number of them fits
        b"K\x01" * 40,
        b"J\xff\xff\xff\xff",
        b"K\x08",
        b"K\x06",  # then the bytes of the seventh number are instructions
        b"\x88",
        b"N",
        b"]",
        b"K\x00" + big * 3,
    ):
        refusal(path, with_shape(path, shape))
    path.write_bytes(with_shape(path, b"K\x01K\x07"))
    assert_read(path, [np.arange(7, dtype=np.float32).reshape(1, 7)])


def test_one_buffer_as_many_arrays_counts_each_time(path, monkeypatch):
    monkeypatch.setattr(safe_joblib, "MAX_BYTES", 10_000)
    array = np.zeros(100)
    path.write_bytes(pickle.dumps([array] * 13))
    assert "holds arrays of 10400 bytes: at most 10000" in refusal(path)
    path.write_bytes(pickle.dumps([array] * 12))
    assert len(read_dump(path).arrays) == 12


# What is something else


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.arange(3.0), "holds an array: expected a list"),
        ({"a": np.arange(3.0)}, "holds a value of type dict"),
        ("text", "holds a value of type str"),
        (None, "type NoneType"),
        ([np.arange(3.0), [np.arange(3.0)]], "holds a value of type list at place 2"),
        ([np.arange(3.0), None], "holds a value of type NoneType at place 2"),
        ([b"bytes"], "type bytes at place 1"),
        ([np.float32(3.0)], "scalar'"),
    ],
    ids=str,
)
def test_other_values_are_named(path, value, found):
    joblib.dump(value, path, protocol=4)
    assert found in refusal(path)


def test_every_truncation_and_whatever_follows(path):
    for compress in COMPRESSIONS:
        joblib.dump(some_arrays()[1:3], path, compress=compress)
        data = path.read_bytes()
        for end in range(0, len(data), 13):
            refusal(path, data[:end])
        refusal(path, data[:-1])
        refusal(path, data + b"x")


def test_every_flipped_byte_is_refused_or_read(path):
    """No byte of a header makes the reader fail in another way."""
    joblib.dump([np.arange(3, dtype=np.float32)], path, protocol=4)
    data = path.read_bytes()
    for place in range(len(data)):
        for value in {data[place] ^ 1, data[place] ^ 128, ord("b")}:
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            path.write_bytes(changed)
            with contextlib.suppress(InputError):
                read_dump(path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "is empty"),
        (b"a thesis\n", "is no joblib dump"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is no joblib dump"),
        (b"PK\x03\x04" + bytes(50), "is no joblib dump"),
        (b"\x80\x04", "is no joblib dump"),
        (b".", "is no joblib dump"),
        (b"t.", "is no joblib dump"),
        (b"e.", "is no joblib dump"),
        (b"(K\x01", "is no joblib dump"),
        (b"(]K\x01.", "is no joblib dump"),
        (b"]h\x00.", "is no joblib dump"),
        (b"S'\\q'\n.", "holds a value of type str"),
        (b"\x78\x9c" + bytes(20), "zlib says"),
        (b"BZh9" + bytes(20), "bz2 says"),
        (b"\xfd7zXZ" + bytes(20), "xz says"),
        (b"\x1f\x8b" + bytes(20), "gzip says"),
        (b"\x04\x22\x4d\x18" + bytes(20), "compressed by lz4"),
        (b"ZF0x100               " + bytes(20), "joblib 0.9 or older"),
        (
            b"\x80\x02cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81.",
            "joblib 0.9 or older, which puts arrays in other files",
        ),
    ],
)
def test_other_files_are_one_sentence(path, data, found):
    assert found in refusal(path, data)


def test_folders_pipes_and_missing_files(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none")
    assert "found a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "expected a regular file" in refusal(tmp_path / "pipe")


def test_numbers_that_look_like_instructions_are_numbers(path, marker):
    run = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    for compress in (0, 3):
        joblib.dump([np.frombuffer(run, np.uint8)], path, compress=compress)
        assert_read(path, [np.frombuffer(run, np.uint8)])
