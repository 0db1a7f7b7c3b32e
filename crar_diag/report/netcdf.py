"""Labelled data as groups of a netCDF-4 file: checked, encoded in memory, copied between files.

netCDF-4 is HDF5 with rules: each dimension of a variable has a dimension scale attached (the
coordinate of that name, or an empty stand-in), and each scale has a number of its own in the file.
Both are references into one file, which HDF5's copying would leave pointing nowhere.

What a type becomes: numbers stay; booleans are int8 with the attribute `dtype = "bool"`, which
xarray turns back; strings are UTF-8 of variable length. xarray gives all three back as they were
(strings of any kind as `<U`).
"""

import io
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr

from crar_diag.agent.storage import reason
from crar_diag.errors import CrarDiagError, show

COMPRESS_ABOVE: Final = 64 * 1024
"""Bytes; larger variables of numbers are compressed."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=@+-]*")
# They tell a reader to change the values (CF conventions, chapter 8), or are xarray's own.
_RESERVED: Final = ("missing_value", "scale_factor", "add_offset", "dtype", "coordinates")
_REFERENCES: Final = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"})
_NUMBERS: Final = frozenset({"_Netcdf4Dimid", "_Netcdf4Coordinates"})


def check_name(name: object, what: str) -> None:
    """Refuse a name that some reader of netCDF-4 or some file system would not take.

    Raises:
        CrarDiagError: `name`, called `what` in the message, is such a name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CrarDiagError(
            f"{what}: expected a name of the letters A to Z, digits and _.,=@+- that begins with "
            f"a letter or digit, found {show(name)}"
        )


def encode(group: str, dataset: xr.Dataset) -> bytes:
    """Return a netCDF-4 file that holds a data set in its root.

    Args:
        group: where it will stand, for messages.
        dataset: labelled data; every variable and coordinate has the attributes `units` and
            `long_name`. Of numbers (1 to 8 bytes, real), booleans and strings.

    Raises:
        CrarDiagError: it lacks such an attribute or holds what netCDF-4 or xarray would not give
            back as it was.
    """
    _check_attributes(f"group '{group}'", dataset.attrs)
    for dim in dataset.dims:
        check_name(dim, f"a dimension of group '{group}'")
    for name, variable in dataset.variables.items():
        check_name(name, f"a variable of group '{group}'")
        _check_variable(f"variable '{name}' of group '{group}'", variable)
    memory = io.BytesIO()
    try:
        # What the data was read with, such as another file's chunks, is not how it is written.
        ready = dataset.compute().drop_encoding()
        encoding = {name: _encoding(variable) for name, variable in ready.variables.items()}
        ready.to_netcdf(memory, engine="h5netcdf", encoding=encoding)
    except MemoryError:
        raise
    except Exception as error:  # whatever xarray or h5netcdf object to, they say what it is
        raise CrarDiagError(f"group '{group}' cannot be stored: {reason(error)}") from error
    return memory.getvalue()


def _check_variable(what: str, variable: xr.Variable) -> None:
    for key in ("units", "long_name"):
        value = variable.attrs.get(key)
        if not isinstance(value, str) or not value:
            raise CrarDiagError(
                f"{what}: expected the attribute '{key}' to say what it is, found {show(value)}"
            )
    _check_attributes(what, variable.attrs)
    if " since " in variable.attrs["units"]:
        raise CrarDiagError(
            f"{what}: expected units of a number, found {show(variable.attrs['units'])}, which "
            "readers turn into dates"
        )
    if not _is_number(variable.dtype) and variable.dtype.kind != "b" and not _is_text(variable):
        raise CrarDiagError(
            f"{what}: expected real numbers of at most 64 bits, booleans or strings, found "
            f"values of type {variable.dtype}"
        )


def _check_attributes(what: str, attributes: Mapping[Any, Any]) -> None:
    for key, value in attributes.items():
        check_name(key, f"an attribute of {what}")
        if key in _RESERVED:
            raise CrarDiagError(f"{what}: the attribute '{key}' is reserved, use another name")
        if isinstance(value, str):
            continue
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.empty(0, object)
        texts = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        if array.ndim > 1 or not (_is_number(array.dtype) or texts):
            raise CrarDiagError(
                f"{what}: expected the attribute '{key}' to be a string, a number or a list of "
                f"either, found {show(value)}"
            )


def _is_number(dtype: Any) -> bool:
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def _is_text(variable: xr.Variable) -> bool:
    if variable.dtype.kind in "UT":
        return True
    return variable.dtype.kind == "O" and all(isinstance(v, str) for v in variable.values.flat)


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    if _is_text(variable):
        return {"dtype": str}  # an empty array would become one of numbers
    # Without a fill value, NaN is a value among others, for netCDF4 too.
    encoding: dict[str, Any] = {"_FillValue": None}
    if variable.nbytes > COMPRESS_ABOVE:
        encoding |= {"zlib": True, "complevel": 4, "shuffle": True}
    return encoding


def holds_data(group: h5py.Group) -> bool:
    """Tell a group that holds variables or attributes from one that only holds groups."""
    return len(group.attrs) > 0 or any(isinstance(v, h5py.Dataset) for v in group.values())


def groups(file: h5py.File) -> list[str]:
    """Return the names of the groups below the root that hold data, in alphabetical order."""
    found = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Group) and holds_data(item):
            found.append(name)

    file.visititems(visit)
    return sorted(found)


def subgroup(file: h5py.File, name: str) -> h5py.Group:
    """Return a group of a file that is being written, made with its parents where missing."""
    group = file
    for part in name.split("/"):
        # netCDF-4 asks for the order of creation, which h5py's own require_group does not keep.
        group = group[part] if part in group else group.create_group(part, track_order=True)
    return group


def merge(
    source: h5py.Group, target: h5py.Group, ids: Iterator[int], skip: Collection[str] = ()
) -> None:
    """Copy what a group holds, and the groups in it, into another file, bit for bit.

    Args:
        source: the root of a file, or a group that uses no dimension from outside it.
        target: gets the contents; no name is taken yet.
        ids: numbers for the dimensions, none used in the target's file before.
        skip: paths of groups of which the variables and attributes are left out, but not the
            groups in them.

    Raises:
        CrarDiagError: a group uses a dimension of a skipped one.
    """
    pairs = list(_copy(source, target, skip))
    # By the object itself: HDF5 takes milliseconds to find the name of a referenced one.
    scales: dict[h5py.Dataset, h5py.Dataset] = {}
    numbers: dict[int, int] = {}
    for old, new in pairs:
        if old.is_scale:
            new.make_scale(old.attrs["NAME"])
            scales[old] = new
            if "_Netcdf4Dimid" in old.attrs:
                numbers[int(old.attrs["_Netcdf4Dimid"])] = next(ids)
    for old, new in pairs:
        for axis, dimension in enumerate(old.dims):
            for scale in dimension.values():
                if scale not in scales:
                    raise CrarDiagError(
                        f"the group of '{new.name}' uses the dimension '{scale.name}' of a group "
                        "that is to be replaced: expected each group to have its own dimensions"
                    )
                new.dims[axis].attach_scale(scales[scale])
        for key in _NUMBERS & set(old.attrs):
            value = old.attrs[key]
            mapped = [numbers[int(number)] for number in np.ravel(value)]
            new.attrs[key] = np.array(mapped, np.int32).reshape(np.shape(value))


def _copy(
    source: h5py.Group, target: h5py.Group, skip: Collection[str]
) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """Copy groups, attributes and data sets, but for what refers to dimensions."""
    skipped = source.name.strip("/") in skip
    if not skipped:
        _copy_attributes(source.attrs, target.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            made = target.create_group(name, track_order=True)
            yield from _copy(item, made, skip)
        elif not skipped:
            source.copy(item, target, name, without_attrs=True)
            _copy_attributes(item.attrs, target[name].attrs)
            if isinstance(item, h5py.Dataset):
                yield item, target[name]


def _copy_attributes(source: h5py.AttributeManager, target: h5py.AttributeManager) -> None:
    for key, value in source.items():
        if key not in _REFERENCES | _NUMBERS | {"_NCProperties"}:
            target.create(key, value, dtype=source.get_id(key).dtype)
