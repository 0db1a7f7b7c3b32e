"""Labelled data for the tests of the report's file, and the rules of netCDF-4, checked by h5py."""

import importlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from crar_diag.report.provenance import PREFIX, Provenance

try:  # no dependency: whoever has it checks more
    netcdf4: Any = importlib.import_module("netCDF4")
except ImportError:
    netcdf4 = None

SAYS = {"units": "1", "long_name": "what it is"}
MADE = Provenance(
    command="crar-diag landscape a.safetensors 'b c.safetensors'",
    seeds=(0, 4),
    device="cpu",
    revision="0" * 40,
    versions={"python": "3.11.7", "numpy": "2.4.6"},
    time="2026-11-24T15:02:13+00:00",
)


def sample(seed: int, members: int = 2) -> xr.Dataset:
    """Two-dimensional, scalar, text and truth values; a dimension without a coordinate."""
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "loss": (("member", "loss_name"), rng.normal(size=(members, 3)), SAYS),
            "kind": ("member", np.array(["fold", "swäp"] * members)[:members], SAYS),
            "success": (("member", "picture"), rng.random((members, 4)) < 0.5, SAYS),
            "threshold": ((), rng.random(), {"units": "reward", "long_name": "threshold"}),
        },
        coords={
            "member": ("member", np.arange(members) + 10 * seed, SAYS),
            "loss_name": ("loss_name", ["reward", "q", "volume"], SAYS),
            "base": ("member", rng.integers(0, 6, members).astype(np.int32), SAYS),
        },
        attrs={"environment": "simple-maze", "bounds": [0.5, 1.5], "names": ["a", "b"]},
    )


def without_provenance(dataset: xr.Dataset) -> xr.Dataset:
    copy = dataset.copy()
    copy.attrs = {k: v for k, v in dataset.attrs.items() if not k.startswith(PREFIX)}
    return copy


def assert_same(stored: xr.Dataset, given: xr.Dataset) -> None:
    """Equal names, dimensions, values, attributes and types, but for the provenance."""
    xr.testing.assert_identical(without_provenance(stored), without_provenance(given))
    for name, variable in given.variables.items():
        if variable.dtype.kind in "OUT":
            assert stored[name].dtype.kind == "U", name
        else:
            assert stored[name].dtype == variable.dtype, name


def is_stand_in(item: h5py.Dataset) -> bool:
    """Tell the scale of a dimension that has no coordinate."""
    return item.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but not a netCDF")


def assert_netcdf4(path: Path) -> None:
    """Every dimension has one scale, of its group and length; every variable says what it is."""
    numbers = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if not isinstance(item, h5py.Dataset):
            assert "_NCProperties" not in item.attrs  # the root's alone
            return
        if not is_stand_in(item):
            assert item.attrs["units"], name
            assert item.attrs["long_name"], name
        if item.is_scale:
            assert item.ndim == 1
            numbers.append(int(item.attrs["_Netcdf4Dimid"]))
            return
        assert ("DIMENSION_LIST" in item.attrs) == (item.ndim > 0), name
        for axis, dimension in enumerate(item.dims):
            (scale,) = dimension.values()
            assert scale.is_scale
            assert scale.parent == item.parent
            assert scale.shape == (item.shape[axis],)
            users = [(item.file[place], k) for place, k in scale.attrs["REFERENCE_LIST"]]
            assert (item, axis) in users
            assert int(scale.attrs["_Netcdf4Dimid"]) == item.attrs["_Netcdf4Coordinates"][axis]

    with h5py.File(path) as file:
        file.visititems(visit)
    assert len(set(numbers)) == len(numbers)
    if netcdf4 is not None:
        with netcdf4.Dataset(path) as root:
            assert_named(root)


def assert_named(group: Any) -> None:
    """Every dimension, read by netCDF4, has the name that its group gives it."""
    for name, variable in group.variables.items():
        assert variable.units, name
        assert variable.long_name, name
        assert set(variable.dimensions) <= set(group.dimensions), name
        variable[...]
    for inner in group.groups.values():
        assert_named(inner)
