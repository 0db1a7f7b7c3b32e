import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from crar_diag.errors import InputError, StorageError
from crar_diag.report.store import add_to_report
from crar_diag.report.tables import tables_as_csv
from tests.report.labelled import MADE, SAYS, sample
from tests.runs import files_up_to


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, strict=True))


def written(tmp_path: Path, groups: dict[str, xr.Dataset]) -> list[str]:
    add_to_report(tmp_path / "report.h5", groups, MADE)
    files = tables_as_csv(tmp_path / "report.h5", tmp_path / "tables" / "csv")
    assert sorted(files) == sorted((tmp_path / "tables" / "csv").iterdir())
    return [file.name for file in files]


def table(tmp_path: Path, name: str) -> list[dict[str, str]]:
    return rows(tmp_path / "tables" / "csv" / name)


def test_a_group_of_one_shape_is_one_file_with_the_arrays_values(tmp_path):
    rng = np.random.default_rng(0)
    square = rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-300, 300, (3, 4))
    square[0, :3] = np.nan, np.inf, -np.inf
    dataset = xr.Dataset(
        {
            "double": (("row", "column"), square, SAYS),
            "single": (("row", "column"), rng.normal(size=(3, 4)).astype("f4"), SAYS),
            "whole": (("row", "column"), rng.integers(-(2**63), 2**63 - 1, (3, 4)), SAYS),
            "truth": (("row", "column"), rng.random((3, 4)) < 0.5, SAYS),
        },
        coords={
            "column": ("column", rng.normal(size=4), SAYS),
            "row": ("row", ["a", "b", "c"], SAYS),
            "weight": ("column", np.arange(4.0), SAYS),
            "both": (("column", "row"), np.arange(12).reshape(4, 3), SAYS),
            "one": ((), 7, SAYS),
        },
    )
    assert written(tmp_path, {"line/a-b": dataset}) == ["line-a-b.csv"]
    lines = table(tmp_path, "line-a-b.csv")
    assert list(lines[0])[:2] == ["row", "column"]
    assert set(lines[0]) == set(map(str, dataset.variables))
    assert len(lines) == 12
    places = [(i, j) for i in range(3) for j in range(4)]  # the last dimension runs fastest
    for line, (i, j) in zip(lines, places, strict=True):
        assert line["row"] == "abc"[i]
        assert float(line["column"]) == dataset.column[j]
        assert float(line["weight"]) == j
        assert int(line["both"]) == 3 * j + i
        assert line["one"] == "7"
        np.testing.assert_equal(float(line["double"]), square[i, j])
        assert np.float32(line["single"]) == dataset.single.values[i, j]
        assert int(line["whole"]) == dataset.whole.values[i, j]
        assert line["truth"] == str(bool(dataset.truth[i, j]))


def test_variables_of_other_dimensions_have_files_of_their_own(tmp_path):
    data = sample(0)
    assert written(tmp_path, {"history": data}) == [
        "history.member-loss_name.csv",
        "history.member.csv",
        "history.member-picture.csv",
        "history.scalars.csv",
    ]
    kinds = table(tmp_path, "history.member.csv")
    assert [line["kind"] for line in kinds] == data.kind.values.tolist()
    assert [int(line["base"]) for line in kinds] == data.base.values.tolist()
    assert [line["picture"] for line in table(tmp_path, "history.member-picture.csv")] == [
        *"0123",
        *"0123",
    ]
    (scalar,) = table(tmp_path, "history.scalars.csv")
    assert scalar == {"threshold": repr(float(data.threshold))}


@pytest.mark.parametrize("size", [0, 1, 3])
def test_text_is_quoted_as_csv_asks(tmp_path, size):
    texts = ['a "b", c', "two\nlines\r\n", ""][:size]
    written(tmp_path, {"g": xr.Dataset({"t": ("k", np.array(texts, "U30"), SAYS)})})
    assert [line["t"] for line in table(tmp_path, "g.csv")] == texts
    raw = (tmp_path / "tables" / "csv" / "g.csv").read_bytes()
    assert raw.startswith(b'k,t\n0,"a ""b"", c"\n' if size else b"k,t\n")


def test_coordinates_without_a_variable_are_written_too(tmp_path):
    data = xr.Dataset(coords={"k": ("k", [3, 5], SAYS), "one": ((), 2.5, SAYS)})
    assert written(tmp_path, {"g": data, "h": xr.Dataset(attrs={"a": 1})}) == ["g.csv"]
    assert table(tmp_path, "g.csv") == [{"k": "3", "one": "2.5"}, {"k": "5", "one": "2.5"}]


def test_names_that_become_one_get_two_files(tmp_path):
    groups = {
        "a/b-c": xr.Dataset({"x": ("k", [0.0], SAYS)}),
        "a-b/c": xr.Dataset({"x": ("k", [9.0], SAYS)}),
    }
    assert written(tmp_path, groups) == ["a-b-c.csv", "a-b-c-2.csv"]
    assert table(tmp_path, "a-b-c.csv") == [{"k": "0", "x": "9.0"}]
    assert table(tmp_path, "a-b-c-2.csv") == [{"k": "0", "x": "0.0"}]


def test_tables_are_written_anew(tmp_path):
    written(tmp_path, {"g": sample(0)})
    written(tmp_path, {"g": sample(1)})
    lines = table(tmp_path, "g.member-loss_name.csv")
    assert [float(line["loss"]) for line in lines] == sample(1).loss.values.ravel().tolist()


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    path = tmp_path / "report.h5"
    with pytest.raises(InputError, match="does not exist"):
        tables_as_csv(path, tmp_path / "tables")
    assert list(tmp_path.iterdir()) == []
    add_to_report(path, {"g": xr.Dataset({"x": ("k", np.arange(9999.0), SAYS)})}, MADE)
    with pytest.raises(StorageError, match=r"folder '.*report.h5' cannot be made: File exists"):
        tables_as_csv(path, path)
    with files_up_to(1000), pytest.raises(StorageError, match="File too large; no file was writt"):
        tables_as_csv(path, tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []
