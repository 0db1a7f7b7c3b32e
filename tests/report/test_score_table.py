"""Scores read from CSV, and what is no such file."""

import csv
import os

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report import score_table
from crar_diag.report.netcdf import encode
from crar_diag.report.score_table import COLUMNS, conditions, read_scores
from tests.report.scored import HEADER, PAPER, history

ROW = "original,41,3,0.0005,1,-4.5"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.csv"


def read(path, *lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return read_scores(path)


def refusal(path, data=None):
    if data is not None:
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(InputError) as caught:
        read_scores(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"scores '{path}'")
    assert "\n" not in sentence
    assert len(sentence) < 500 + len(str(path))
    return sentence.removeprefix(f"scores '{path}'")


# What is read


def test_the_papers_file_number_by_number():
    found = read_scores(PAPER)
    assert dict(found.sizes) == {"run": 30, "epoch": 100}
    assert found.epoch.values.tolist() == list(range(1, 101))
    assert found.run.values[0] == "original-41-lr0.0005-seed18940"
    with PAPER.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found.score.size
    for row in rows:
        (run,) = np.flatnonzero(
            (found.base.values == row["base_model"]) & (found.seed.values == int(row["seed"]))
        )
        own = found.isel(run=run).sel(epoch=int(row["epoch"]))
        assert own.score == float(row["validation_score"])
        assert own.learning_rate == float(row["learning_rate"])
        assert own.approach == row["approach"]
    assert found.recorded.values.all()
    encode("history/scores", found)  # fit for a report


def test_columns_and_rows_in_any_order_and_others_besides(path):
    found = read(
        path,
        "2,x,1.5,1e-3,7,b,fine",
        "1,y,nan,0.001,7,b,fine",
        "",
        "9,z,-1,1e-3,7,,fine",
        header="epoch,note,validation_score,learning_rate,seed,base_model,approach",
    )
    assert found.epoch.values.tolist() == [1, 2, 9]
    np.testing.assert_array_equal(found.score, [[np.nan, 1.5, np.nan], [np.nan, np.nan, -1]])
    np.testing.assert_array_equal(found.recorded, [[True, True, False], [False, False, True]])
    assert found.base.values.tolist() == ["b", ""]
    assert found.run.values.tolist() == ["fine-b-lr0.001-seed7", "fine-lr0.001-seed7"]
    assert found.attrs["ignored_columns"] == "'note'"


def test_without_a_score_a_run_was_there(path):
    found = read(path, ROW, "original,41,3,0.0005,2,", "original,41,3,0.0005,3,NaN")
    np.testing.assert_array_equal(found.score, [[-4.5, np.nan, np.nan]])
    assert found.recorded.values.all()


def test_a_byte_order_mark_other_line_ends_quotes_and_whole_numbers_with_a_point(path):
    text = f'{HEADER}\r\n"origin,al",41,3.0,5e-4,1.0, -4.5 \r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_scores(path)
    assert found.approach.values.tolist() == ["origin,al"]
    assert (found.seed.item(), found.epoch.item(), found.score.item()) == (3, 1, -4.5)
    assert found.learning_rate.item() == 0.0005


def test_equal_rates_written_differently_are_one_run(path):
    found = read(path, ROW, "original,41,3,5e-4,2,1")
    assert found.score.values.tolist() == [[-4.5, 1]]


def test_runs_differ_in_each_of_the_four(path):
    found = read(
        path,
        ROW,
        "other,41,3,0.0005,1,0",
        "original,42,3,0.0005,1,1",
        "original,41,4,0.0005,1,2",
        "original,41,3,0.001,1,3",
    )
    assert found.score.values[:, 0].tolist() == [-4.5, 0, 1, 2, 3]


def test_conditions_come_as_in_the_file_their_rates_rising(tmp_path):
    rates = (1e-3, 1e-5, 1e-4)
    runs = {(a, "b", s, r): [0] for r in rates for a in ("z", "a") for s in (1, 0)}
    found = [(a, r, rows.tolist()) for a, r, rows in conditions(history(tmp_path / "x", runs))]
    assert found == [
        ("z", 1e-5, [4, 5]),
        ("z", 1e-4, [8, 9]),
        ("z", 1e-3, [0, 1]),
        ("a", 1e-5, [6, 7]),
        ("a", 1e-4, [10, 11]),
        ("a", 1e-3, [2, 3]),
    ]


# What is not


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("validation_score", "good", "a number, found 'good'"),
        ("validation_score", "inf", "a finite number or nan, found 'inf'"),
        ("validation_score", "1.5.2", "a number, found '1.5.2'"),
        ("seed", "a", "a whole number from -9223372036854775808 to 9223372036854775807, found 'a'"),
        ("seed", "1.5", "a whole number from"),
        ("seed", "", "a whole number from"),
        ("seed", "9223372036854775808", "a whole number from"),
        ("epoch", "-1", "a whole number from 0 to 9007199254740992, found '-1'"),
        ("epoch", "1e3", "a whole number from"),
        ("epoch", "nan", "a whole number from"),
        ("epoch", "9" * 5000, "a whole number from"),
        ("learning_rate", "fast", "a number, found 'fast'"),
        ("learning_rate", "0", "a number above 0, found '0'"),
        ("learning_rate", "nan", "a number above 0"),
        ("learning_rate", "inf", "a number above 0"),
        ("approach", "", "a name, found ''"),
        ("approach", "a\x1b[2J", "a name of at most 200 printable characters, found 'a"),
        ("base_model", "a\x00b", "a name of at most 200 printable characters"),
        ("base_model", "b" * 201, "a name of at most 200 printable characters"),
    ],
)
def test_values_of_another_kind_name_line_and_column(path, column, value, expected):
    values = ROW.split(",")
    values[COLUMNS.index(column)] = value
    second = ROW.replace(",1,", ",2,")
    sentence = refusal(path, "\n".join([HEADER, second, ",".join(values)]))
    assert sentence.startswith(f", line 3, column '{column}': expected {expected}")


def test_an_epoch_twice(path):
    assert refusal(path, "\n".join([HEADER, ROW, ROW.replace("41", "42"), ROW + "5"])) == (
        ", line 4: epoch 1 of run 'original-41-lr0.0005-seed3' is there already, in line 2"
    )


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column(path, column):
    others = [own for own in COLUMNS if own != column]
    sentence = refusal(path, ",".join(others) + "\n1,2,3,4,5\n")
    assert f"'{column}' is missing (found '{others[0]}, " in sentence


def test_misspelt_and_doubled_columns(path):
    wrong = HEADER.replace("validation_score", "validation_scores")
    assert "'validation_score' is missing (did you mean 'validation_scores'?)" in refusal(
        path, wrong
    )
    assert refusal(path, HEADER + ",epoch\n") == (
        ": expected the column 'epoch' once, found it twice"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", ": expected a CSV file, found an empty one"),
        (b" \n\n", ": expected a CSV file, found an empty one"),
        (HEADER, ": expected scores in rows below the header, found none"),
        (f"{HEADER}\n{ROW[:-4]}\n", ": expected scores in rows below the header, found none"),
        (f"{HEADER}\n{ROW}\na,b\n", ", line 3: expected 6 values, as in the header, found 2"),
        (f"{HEADER}\n{ROW},7\n", ", line 2: expected 6 values, as in the header, found 7"),
        (HEADER.replace(",", ";"), "(found 'approach;base_model;"),
        (b'{"runs": []}', "; 'approach' is missing (found "),
        (b"\x89HDF\r\n\x1a\n\xff\xfe", ", line 1: expected a CSV file in UTF-8, is not"),
        (f"{HEADER}\nä,41".encode("latin-1"), ", line 2: expected a CSV file in UTF-8, is not"),
        (f'{HEADER}\n"{ROW}\n', "not a CSV file: unexpected end of data"),
        (f'{HEADER}\n"a"b,{ROW}\n', ", line 2: not a CSV file: "),
        (f"{HEADER}\n{'a' * 200_000},41", ", line 2: not a CSV file: field larger than field lim"),
    ],
)
def test_other_files_are_one_sentence(path, data, sentence):
    assert sentence in refusal(path, data)


def test_missing_files_folders_and_pipes(tmp_path):
    assert refusal(tmp_path / "none.csv") == " does not exist"
    assert "found a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "expected a regular file" in refusal(tmp_path / "pipe")


def test_files_and_tables_beyond_the_bounds(path, monkeypatch):
    monkeypatch.setattr(score_table, "MAX_BYTES", 1000)
    assert "too large: at most 1000 bytes" in refusal(path, HEADER + "\n" + " " * 1000)
    monkeypatch.setattr(score_table, "MAX_CELLS", 8)
    rows = [f"a,b,{k},1,{2**50 - k},0" for k in range(3)]
    assert "found 3 runs and 3 epochs" in refusal(path, "\n".join([HEADER, *rows]))
    assert read(path, *rows[:2]).score.shape == (2, 2)
