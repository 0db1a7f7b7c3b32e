import io
import itertools

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from crar_diag.errors import CrarDiagError
from crar_diag.report.netcdf import COMPRESS_ABOVE, encode, groups, merge, subgroup
from tests.report.labelled import SAYS, assert_netcdf4, assert_same, sample

NUMBERS = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def copied(dataset: xr.Dataset, tmp_path) -> xr.Dataset:
    """Encode, copy into a group of another file, and read that."""
    path = tmp_path / "copy.h5"
    with h5py.File(path, "w", track_order=True) as file:
        for group in ("line/part", "line"):
            part = h5py.File(io.BytesIO(encode(group, dataset)))
            merge(part, subgroup(file, group), itertools.count(100 * len(group)))
            part.close()
    assert_netcdf4(path)
    with xr.open_dataset(path, group="line/part", engine="h5netcdf") as opened:
        return opened.load()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_come_back_as_they_were(tmp_path, dtype):
    dtype = np.dtype(dtype)
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    values = np.array([info.min, info.max, 0, 1], dtype)
    if dtype.kind == "f":
        values = np.append(values, np.array([np.nan, np.inf, -np.inf, info.smallest_subnormal]))
        values = values.astype(dtype)
    dataset = xr.Dataset(
        {
            "x": ("place", values, SAYS),
            "one": ((), values[1], SAYS),
            "none": (("nothing", "place"), np.zeros((0, len(values)), dtype), SAYS),
            "square": (("place", "other"), values[:, None] * np.ones(2, dtype), SAYS),
        },
        coords={"place": ("place", np.arange(len(values)).astype(dtype), SAYS)},
    )
    assert_same(copied(dataset, tmp_path), dataset)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["", "a", 'länger, mit "Zeichen"\nund Zeilen']),
        np.array(["", "a", "länger"], object),
        np.array(["", "a", "länger"], np.dtypes.StringDType()),
        np.array([], object),
        np.array([], "U5"),
        np.array("alone"),
        np.array([["a", "b"], ["c", "d"]]),
    ],
)
def test_strings_come_back(tmp_path, values):
    dims = ("place", "other")[: values.ndim]
    dataset = xr.Dataset({"x": (dims, values, SAYS)})
    stored = copied(dataset, tmp_path)
    assert stored.x.dtype.kind == "U"
    assert stored.x.dims == dims
    assert stored.x.values.tolist() == values.tolist()


def test_a_coordinate_of_strings_comes_back(tmp_path):
    dataset = xr.Dataset({"x": ("k", [1.0, 2.0], SAYS)}, coords={"k": ("k", ["a", "bc"], SAYS)})
    assert_same(copied(dataset, tmp_path), dataset)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_truth_values_are_bytes_that_xarray_turns_back(tmp_path, shape):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2 == 1
    dataset = xr.Dataset({"x": (("a", "b")[: len(shape)], values, SAYS)})
    assert_same(copied(dataset, tmp_path), dataset)
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file["line/x"].dtype == np.int8
        assert file["line/x"].attrs["dtype"] == "bool"
        np.testing.assert_array_equal(file["line/x"][()], values)


def test_attributes_come_back_however_many_there_are(tmp_path):
    many = {f"a{k}": k for k in range(30)}
    given = {
        "text": "läng" * 50_000,
        "empty": "",
        "texts": ["a", "", "ü"],
        "whole": 3,
        "real": 0.1,
        "small": np.float32(0.1),
        "list": [1, 2],
        "pair": (0.5, np.nan),
        "array": np.arange(20_000),
        "nothing": [],
    } | many
    dataset = xr.Dataset({"x": ("k", [1.0], SAYS | given)}, {"k": ("k", [7], SAYS | many)}, given)
    stored = copied(dataset, tmp_path)
    for attributes in (stored.attrs, stored.x.attrs):
        for key, value in given.items():
            np.testing.assert_array_equal(attributes[key], value, err_msg=key)
    assert stored.k.attrs == SAYS | many


def test_only_large_numbers_are_compressed():
    edge = COMPRESS_ABOVE // 8
    dataset = xr.Dataset(
        {
            "large": ("n", np.arange(edge + 1) / 8, SAYS),
            "at_the_edge": ("m", np.arange(edge) / 8, SAYS),
            "truth": ("t", np.ones(COMPRESS_ABOVE + 1, bool), SAYS),
            "text": ("n", np.full(edge + 1, "abcdefgh"), SAYS),
        }
    )
    data = encode("g", dataset)
    with h5py.File(io.BytesIO(data)) as file:
        found = {k: (file[k].compression, file[k].compression_opts) for k in dataset.variables}
        assert found == {
            "large": ("gzip", 4),
            "at_the_edge": (None, None),
            "truth": ("gzip", 4),
            "text": (None, None),
        }
        assert file["large"].shuffle
        np.testing.assert_array_equal(file["large"][:], dataset.large)


def test_how_data_was_read_is_not_how_it_is_written(tmp_path):
    scaled = tmp_path / "scaled.nc"
    given = xr.Dataset({"x": ("k", [0.5, 1.0], SAYS)})
    encoding = {"x": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1, "chunksizes": (1,)}}
    given.to_netcdf(scaled, engine="h5netcdf", encoding=encoding, unlimited_dims=["k"])
    with xr.open_dataset(scaled, engine="h5netcdf") as lazy:
        data = encode("g", lazy)
    with h5py.File(io.BytesIO(data)) as file:
        assert file["x"].dtype == np.float64
        assert file["x"].maxshape == (2,)
        assert set(file["x"].attrs) >= set(SAYS)
        assert "scale_factor" not in file["x"].attrs
        assert "_FillValue" not in file["x"].attrs


@pytest.mark.parametrize("missing", ["units", "long_name"])
@pytest.mark.parametrize("value", [None, "", 1])
@pytest.mark.parametrize("where", ["x", "k", "beside"])
def test_units_and_a_name_are_required(missing, value, where):
    dataset = xr.Dataset(
        {"x": ("k", [1.0], SAYS)},
        coords={"k": ("k", [0], SAYS), "beside": ("k", [0], SAYS)},
    )
    says = SAYS | {missing: value}
    dataset[where].attrs = {k: v for k, v in says.items() if v is not None}
    with pytest.raises(
        CrarDiagError,
        match=rf"^variable '{where}' of group 'line/a': expected the attribute '{missing}' to say "
        rf"what it is, found {value!r}$",
    ):
        encode("line/a", dataset)


@pytest.mark.parametrize(
    "values",
    [
        np.array([1j]),
        np.array([1.0], "f2"),
        np.array([1.0], np.longdouble),
        np.array(["2000-01-01"], "M8[ns]"),
        np.array([1], "m8[s]"),
        np.array(["a", None], object),
        np.array([{}], object),
        np.array([b"a"]),
    ],
)
def test_types_that_some_reader_lacks_are_refused(values):
    dataset = xr.Dataset({"x": ("k", values, SAYS)})
    with pytest.raises(CrarDiagError, match=r"'x' of group 'g': expected real numbers .* strings"):
        encode("g", dataset)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("scale_factor", 2.0, "'scale_factor' is reserved"),
        ("missing_value", 2.0, "'missing_value' is reserved"),
        ("dtype", "bool", "'dtype' is reserved"),
        ("coordinates", "x", "'coordinates' is reserved"),
        ("_FillValue", 2.0, "expected a name .* found '_FillValue'"),
        ("NAME", "x", "cannot be stored"),
        ("a b", 1, "expected a name .* found 'a b'"),
        (3, 1, "expected a name .* found 3"),
        ("t", True, "expected the attribute 't' to be .* found True"),
        ("t", None, "expected the attribute 't' to be .* found None"),
        ("t", {}, "expected the attribute 't' to be .* found {}"),
        ("t", 1j, "expected the attribute 't' to be .* found 1j"),
        ("t", b"x", "expected the attribute 't' to be .* found b'x'"),
        ("t", np.float16(1), "expected the attribute 't' to be"),
        ("t", 2**70, "expected the attribute 't' to be"),
        ("t", [1, "a"], "expected the attribute 't' to be"),
        ("t", [[1], [2, 3]], "expected the attribute 't' to be"),
        ("t", np.ones((2, 2)), "expected the attribute 't' to be"),
        ("t", "a\0b", "group 'g' cannot be stored: .* NULL"),
        ("units", "days since 2000-01-01", "expected units of a number, found 'days since"),
    ],
)
def test_attributes_that_would_not_come_back_are_refused(key, value, why):
    with pytest.raises(CrarDiagError, match=why):
        encode("g", xr.Dataset({"x": ("k", [1.0, 2.0], SAYS | {key: value})}))


@pytest.mark.parametrize("name", ["a b", "", "_a", "a/b", "ä"])
def test_names_that_some_reader_lacks_are_refused(name):
    for dataset in (xr.Dataset({name: ((), 1.0, SAYS)}), xr.Dataset({"x": (name, [1.0], SAYS)})):
        with pytest.raises(CrarDiagError, match=r"of group 'g': expected a name .* found"):
            encode("g", dataset)


def test_what_xarray_cannot_store_is_one_sentence():
    pairs = pd.MultiIndex.from_tuples([(1, 2), (3, 4)], names=["p", "q"])
    dataset = xr.Dataset(
        {"x": ("k", [1.0, 2.0], SAYS)}, coords=xr.Coordinates.from_pandas_multiindex(pairs, "k")
    )
    for variable in dataset.variables.values():
        variable.attrs = SAYS
    with pytest.raises(CrarDiagError, match=r"^variable 'k' .* found|^group 'g' cannot be stored"):
        encode("g", dataset)
    for text in ("a\0b", "\udcff"):
        with pytest.raises(CrarDiagError, match=r"^group 'g' cannot be stored: [^\n]*$"):
            encode("g", xr.Dataset({"x": ("k", [text], SAYS)}))


def test_a_copy_is_the_same_bit_for_bit_whatever_is_beside_it(tmp_path):
    large = xr.Dataset({"x": ("k", np.random.default_rng(0).normal(size=20_000), SAYS)})
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    with h5py.File(first, "w", track_order=True) as file:
        ids = itertools.count()
        for name, dataset in {"a": sample(0), "a/b": sample(1, 3), "c": large}.items():
            with h5py.File(io.BytesIO(encode(name, dataset))) as part:
                merge(part, subgroup(file, name), ids)
    with h5py.File(first) as old, h5py.File(second, "w", track_order=True) as new:
        assert groups(old) == ["a", "a/b", "c"]
        merge(old, new, itertools.count(), skip={"a"})
        assert groups(new) == ["a/b", "c"]
        assert list(new["a"]) == ["b"]
        assert new["c/x"].id.read_direct_chunk((0,)) == old["c/x"].id.read_direct_chunk((0,))
    assert_netcdf4(second)
    assert_same(xr.load_dataset(second, group="a/b", engine="h5netcdf"), sample(1, 3))


def test_dimensions_that_others_share_cannot_be_taken_from_them(tmp_path):
    path = tmp_path / "shared.nc"
    sample(0).to_netcdf(path, group="a", engine="h5netcdf")
    sample(0).to_netcdf(path, mode="a", group="a/b", engine="h5netcdf")  # uses the dimensions of a
    with h5py.File(path) as old, h5py.File(io.BytesIO(), "w") as new:
        merge(old, new, itertools.count())
        assert new["a/b/loss"].dims[0][0] == new["a/member"]
    with (
        h5py.File(path) as old,
        h5py.File(io.BytesIO(), "w") as new,
        pytest.raises(CrarDiagError, match=r"'/a/b/[a-z]*' uses the dimension '/a/[a-z]*' of a"),
    ):
        merge(old, new, itertools.count(), skip={"a"})
