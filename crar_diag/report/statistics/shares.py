"""How many runs are of each kind over time, and how they move between kinds.

Runs change their kind and change it back, so that a time to an event does not describe them: a
share is that of the runs which are of a kind at a time, whatever they were before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crar_diag.errors import InputError, show
from crar_diag.report.statistics.inputs import (
    Label,
    check_settings,
    read_complete,
    read_labels,
)
from crar_diag.report.statistics.rates import success_rate
from crar_diag.report.statistics.resampling import CONFIDENCE


@dataclass(frozen=True)
class Shares:
    """Shares of kinds over time.

    Attributes:
        kinds: the kinds, in the order of the rows below.
        times: `[K]`.
        runs: runs seen at each time, `[K]`.
        counts: runs of each kind, `[kinds, K]`.
        share: counts / runs, NaN where no run was seen, `[kinds, K]`.
        low: lower end of the Wilson interval of each share alone, `[kinds, K]`.
        high: its upper end, `[kinds, K]`.
        confidence: of the intervals.
    """

    kinds: tuple[Label, ...]
    times: np.ndarray
    runs: np.ndarray
    counts: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    confidence: float

    @property
    def cumulative(self) -> np.ndarray:
        """Shares added up over kinds, the last row 1: what a stacked area shows, `[kinds, K]`."""
        return np.cumsum(self.share, axis=0)


@dataclass(frozen=True)
class Transitions:
    """What runs were at the start and what they became.

    Attributes:
        kinds: the kinds, in the order of rows and columns.
        counts: runs that were of the row's kind first and of the column's last, `[kinds, kinds]`.
        unseen: runs without any observation, which are not counted.
    """

    kinds: tuple[Label, ...]
    counts: np.ndarray
    unseen: int


def kind_shares(
    kinds: ArrayLike,
    times: ArrayLike,
    *,
    order: Sequence[Label] | None = None,
    missing: Label | None = None,
    confidence: float = CONFIDENCE,
) -> Shares:
    """Return the share of each kind at each time.

    The intervals treat runs as independent; runs of several bases are not, see `shares_by_base`.

    Args:
        kinds: kind of each run at each time, strings or integer codes, `[M, K]`.
        times: increasing, `[K]`.
        order: the kinds, also those that no run has; sorted ones found by default.
        missing: the entry of a run that was not seen (it had ended), if there are such.
        confidence: of the intervals.

    Raises:
        InputError: if the arguments do not fit.
    """
    check_settings(confidence)
    names, codes, moments = _read(kinds, times, order, missing)
    counts = (codes[None] == np.arange(len(names))[:, None, None]).sum(axis=1)
    runs = (codes >= 0).sum(axis=0)
    share, low, high = (np.full(counts.shape, np.nan) for _ in range(3))
    for kind, k in np.ndindex(*counts.shape):
        if runs[k]:
            rate = success_rate(counts[kind, k], runs[k], confidence=confidence)
            share[kind, k], low[kind, k], high[kind, k] = rate.rate, rate.low, rate.high
    return Shares(names, moments, runs, counts, share, low, high, confidence)


def shares_by_base(
    kinds: ArrayLike,
    times: ArrayLike,
    bases: ArrayLike,
    *,
    order: Sequence[Label] | None = None,
    missing: Label | None = None,
    confidence: float = CONFIDENCE,
) -> dict[Label, Shares]:
    """Return the shares of each base's runs, in the order of the bases' names.

    Args:
        kinds: kind of each run at each time, `[M, K]`.
        times: increasing, `[K]`.
        bases: base of each run, `[M]`.
        order: as in `kind_shares`; by default the kinds of all runs, for every base alike.
        missing: as in `kind_shares`.
        confidence: of the intervals.

    Raises:
        InputError: if the arguments do not fit.
    """
    names, codes, moments = _read(kinds, times, order, missing)
    base_names, base = read_labels("bases", bases, len(codes))
    table = np.asarray(kinds)
    return {
        name: kind_shares(
            table[base == b], moments, order=names, missing=missing, confidence=confidence
        )
        for b, name in enumerate(base_names)
    }


def transitions(
    kinds: ArrayLike, *, order: Sequence[Label] | None = None, missing: Label | None = None
) -> Transitions:
    """Return which kind at the start became which kind at the end.

    Args:
        kinds: kind of each run at each time, `[M, K]`.
        order: as in `kind_shares`.
        missing: as in `kind_shares`; a run counts from its first to its last observation.

    Raises:
        InputError: if the arguments do not fit.
    """
    names, codes, _ = _read(kinds, None, order, missing)
    seen = (codes >= 0).any(axis=1)
    first, last = _ends(codes[seen])
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (first, last), 1)
    return Transitions(names, counts, int((~seen).sum()))


def _ends(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each run's first and last code that is not -1 (else -1), `[M]` each."""
    seen, rows = codes >= 0, np.arange(len(codes))
    first = codes[rows, seen.argmax(axis=1)]
    last = codes[rows, codes.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)]
    return first, last


def _read(
    kinds: ArrayLike,
    times: ArrayLike | None,
    order: Sequence[Label] | None,
    missing: Label | None,
) -> tuple[tuple[Label, ...], np.ndarray, np.ndarray]:
    """Return the kinds' names, codes `[M, K]` with -1 where a run was not seen, and the times."""
    table = np.asarray(kinds)
    if table.ndim != 2 or table.size == 0:
        raise InputError(f"kinds must be [runs, times] and not empty, found {table.shape}")
    moments = np.arange(table.shape[1]) * 1.0 if times is None else read_complete("times", times)
    if len(moments) != table.shape[1] or (np.diff(moments) <= 0).any():
        raise InputError(f"times must be {table.shape[1]} increasing numbers, found {len(moments)}")
    unseen = np.zeros(table.shape, dtype=bool) if missing is None else table == missing
    found = np.unique(table[~unseen])
    names = tuple(found.tolist() if order is None else order)
    unknown = [kind for kind in found.tolist() if kind not in names]
    if unknown or len(set(names)) < len(names):
        raise InputError(f"order must name every kind once, found {show(names)} without {unknown}")
    codes = np.full(table.shape, -1)
    for code, name in enumerate(names):
        codes[~unseen & (table == name)] = code
    return names, codes, moments
