"""Validation scores of many runs from a CSV file, checked, as labelled data.

One row an epoch of a run, with the columns `COLUMNS` in any order; others are left out and named. A
run is an approach, a base model, a seed and a learning rate. An empty score and `nan` say that the
run was there, but has no score, as one that diverged.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.agent.sealing import open_regular
from crar_diag.agent.storage import reason
from crar_diag.errors import InputError, did_you_mean, show

COLUMNS: Final = (
    "approach",
    "base_model",
    "seed",
    "learning_rate",
    "epoch",
    "validation_score",
)
MAX_BYTES: Final = 64 * 2**20
"""A larger file is refused unread; the paper's 30 runs of 100 epochs take 0.1 MB."""
MAX_CELLS: Final = 10_000_000
"""Of the table of runs and epochs."""
_MAX_NAME: Final = 200

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}(\.0*)?")


@dataclass(frozen=True)
class _Run:
    """What tells runs apart."""

    approach: str
    base: str
    seed: int
    learning_rate: float

    @property
    def name(self) -> str:
        base = f"-{self.base}" if self.base else ""
        return f"{self.approach}{base}-lr{self.learning_rate!r}-seed{self.seed}"


@dataclass
class _Scores:
    """The scores of a run by epoch, and the lines that they stand in."""

    values: dict[int, float] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)


def read_scores(path: str | Path) -> xr.Dataset:
    """Read the scores of runs over their epochs.

    Args:
        path: a CSV file in UTF-8, its columns separated by commas.

    Returns:
        `score` over `run` (in the order of the file) and `epoch` (all that some run has,
        increasing), NaN where a run has none, and whether it is `recorded` there; over `run` the
        `approach`, the `base` model (empty where there is none, as from scratch), the `seed` and
        the `learning_rate`. The attribute `ignored_columns` names the other columns of the file.

    Raises:
        InputError: no such file, not such a CSV, a value of another kind, an epoch that a run has
            twice, or no score at all; the sentence names the line and the column.
    """
    name = f"scores '{path}'"
    rows = csv.reader(io.StringIO(_text(Path(path), name), newline=""), strict=True)
    runs: dict[_Run, _Scores] = {}
    try:
        header = next(rows, [])
        places = _places(header, name)
        for row in rows:
            if row:
                if len(row) != len(header):
                    raise InputError(
                        f"{name}, line {rows.line_num}: expected {len(header)} values, as in the "
                        f"header, found {len(row)}"
                    )
                _add(runs, _Row(row, places, name, rows.line_num))
    except csv.Error as error:
        raise InputError(f"{name}, line {rows.line_num}: not a CSV file: {reason(error)}") from None
    if not any(math.isfinite(v) for own in runs.values() for v in own.values.values()):
        raise InputError(f"{name}: expected scores in rows below the header, found none")
    ignored = [column.strip() for column in header if column.strip() not in COLUMNS]
    return _dataset(runs, name).assign_attrs(ignored_columns=", ".join(map(repr, ignored)))


def _text(path: Path, name: str) -> str:
    with open_regular(path, name) as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {reason(error)}") from None
    if not data.strip():
        raise InputError(f"{name}: expected a CSV file, found an empty one")
    if len(data) > MAX_BYTES:
        raise InputError(f"{name} is too large: at most {MAX_BYTES} bytes are read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}, line {line}: expected a CSV file in UTF-8, is not") from None


def _places(header: Sequence[str], name: str) -> dict[str, int]:
    """Return where each column stands."""
    found = [column.strip() for column in header]
    for column in COLUMNS:
        if column not in found:
            hint = did_you_mean(column, [own[:60] for own in found if own not in COLUMNS])
            if not hint.startswith(" (did"):
                hint = f" (found {show(', '.join(found))})"
            raise InputError(
                f"{name}: expected the columns {', '.join(COLUMNS)}; '{column}' is missing{hint}"
            )
        if found.count(column) > 1:
            raise InputError(f"{name}: expected the column '{column}' once, found it twice")
    return {column: found.index(column) for column in COLUMNS}


@dataclass(frozen=True)
class _Row:
    """One row of the file, and how its values are read."""

    values: Sequence[str]
    places: dict[str, int]
    name: str
    line: int

    def __getitem__(self, column: str) -> str:
        return self.values[self.places[column]].strip()

    def wrong(self, column: str, expected: str) -> InputError:
        return InputError(
            f"{self.name}, line {self.line}, column '{column}': expected {expected}, found "
            f"{show(self[column])}"
        )

    def text(self, column: str) -> str:
        if not self[column].isprintable() or len(self[column]) > _MAX_NAME:
            raise self.wrong(column, f"a name of at most {_MAX_NAME} printable characters")
        return self[column]

    def whole(self, column: str, least: int, most: int) -> int:
        text = self[column]
        if not _WHOLE.fullmatch(text) or not least <= int(text.partition(".")[0]) <= most:
            raise self.wrong(column, f"a whole number from {least} to {most}")
        return int(text.partition(".")[0])

    def number(self, column: str) -> float:
        try:
            return float(self[column])
        except ValueError:
            raise self.wrong(column, "a number") from None


def _add(runs: dict[_Run, _Scores], row: _Row) -> None:
    """Add one row to its run."""
    approach = row.text("approach")
    if not approach:
        raise row.wrong("approach", "a name")
    rate = row.number("learning_rate")
    if not 0 < rate < math.inf:
        raise row.wrong("learning_rate", "a number above 0")
    run = _Run(approach, row.text("base_model"), row.whole("seed", -(2**63), 2**63 - 1), rate)
    epoch = row.whole("epoch", 0, 2**53)
    score = row.number("validation_score") if row["validation_score"] else math.nan
    if math.isinf(score):
        raise row.wrong("validation_score", "a finite number or nan")
    own = runs.setdefault(run, _Scores())
    if epoch in own.lines:
        raise InputError(
            f"{row.name}, line {row.line}: epoch {epoch} of run '{run.name}' is there already, in "
            f"line {own.lines[epoch]}"
        )
    own.values[epoch], own.lines[epoch] = score, row.line


def _dataset(runs: dict[_Run, _Scores], name: str) -> xr.Dataset:
    epochs = np.array(sorted({epoch for own in runs.values() for epoch in own.values}))
    if len(runs) * len(epochs) > MAX_CELLS:
        raise InputError(
            f"{name}: expected at most {MAX_CELLS:,} pairs of a run and an epoch, found "
            f"{len(runs):,} runs and {len(epochs):,} epochs"
        )
    scores = np.full((len(runs), len(epochs)), np.nan)
    recorded = np.zeros(scores.shape, bool)
    for row, own in enumerate(runs.values()):
        at = np.searchsorted(epochs, list(own.values))
        scores[row, at], recorded[row, at] = list(own.values.values()), True
    return xr.Dataset(
        {
            "score": labelled(
                ("run", "epoch"), scores, "validation score, reward an episode; NaN without one"
            ),
            "recorded": labelled(
                ("run", "epoch"), recorded, "whether the file has a row, with a score or without"
            ),
        },
        coords={
            "run": labelled(["run"], [run.name for run in runs], "run"),
            "epoch": labelled(["epoch"], epochs, "epoch, as the file numbers them"),
            "approach": labelled(["run"], [run.approach for run in runs], "approach"),
            "base": labelled(
                ["run"], [run.base for run in runs], "base model; empty where there is none"
            ),
            "seed": labelled(["run"], np.array([run.seed for run in runs]), "seed"),
            "learning_rate": labelled(
                ["run"], [run.learning_rate for run in runs], "learning rate"
            ),
        },
    )


def conditions(history: xr.Dataset) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield each approach at each rate, and which runs it has: as the file has them, rates rising.

    Args:
        history: what `read_scores` returned.
    """
    approaches = history.approach.values.astype(str)
    rates = history.learning_rate.values
    for approach in dict.fromkeys(approaches.tolist()):
        for rate in np.unique(rates[approaches == approach]).tolist():
            yield approach, rate, np.flatnonzero((approaches == approach) & (rates == rate))
