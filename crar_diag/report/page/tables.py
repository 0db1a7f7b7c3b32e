"""Tables of a page: what a report's groups say in rows of text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from crar_diag.report.condition_comparisons import pairs
from crar_diag.report.figures.selection import Report
from crar_diag.report.page.cells import interval, share, text
from crar_diag.report.page.curvature_table import curvature_rows
from crar_diag.report.tables import columns_of, tables_of

LONGEST: Final = 500
"""Rows of a group without a table of its own that a page takes."""


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        key: the group, or the first of those that it is made of.
        title: above it.
        header: of the columns.
        rows: each as long as the header.
        note: below it.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables_of_report(report: Report) -> list[Table]:
    """Return the tables that a report has data for, the most asked for first."""
    found = [
        Table(group, title, header, tuple(rows(report.read(group))), note)
        for group, title, header, rows, note in _SINGLE
        if group in report.names
    ]
    found += _gathered(report)
    shown = {group for group, *_ in _SINGLE}
    for group in report.matching("statistics/*") + report.matching("statistics/*/*"):
        if group not in shown:
            found += _plain(report, group)
    return [table for table in found if table.rows]


Rows = Iterator[tuple[str, ...]]


def _rates(rates: xr.Dataset) -> Rows:
    for condition in rates.condition.values:
        own = rates.sel(condition=condition)
        counted = "runs" in rates
        total = f"{int(own.successes.sum())} of {int(own.runs.sum())}" if counted else ""
        mean = (share(own.mean_rate), interval(own.mean_low, own.mean_high))
        yield (str(condition), "mean over bases", total, *mean)
        for base in own.base.values:
            one = own.sel(base=base)
            if not np.isfinite(one.rate):
                continue
            count = f"{int(one.successes)} of {int(one.runs)}" if counted else ""
            ends = interval(one.low, one.high) if "low" in one else ""
            yield (str(condition), str(base) or "from scratch", count, share(one.rate), ends)


def _kinds(kinds: xr.Dataset) -> Rows:
    for condition in kinds.condition.values:
        own = kinds["count"].sel(condition=condition)
        for kind in own.kind.values:
            counts = own.sel(kind=kind)
            if counts.sum() > 0:
                each = [
                    f"{str(base) or 'from scratch'}: {int(count)}"
                    for base, count in zip(own.base.values, counts.values, strict=True)
                    if count
                ]
                yield str(condition), str(kind), str(int(counts.sum())), ", ".join(each)


def _outcomes(outcome: xr.Dataset) -> Rows:
    for row in range(outcome.sizes["transfer"]):
        own = outcome.isel(transfer=row)
        numbers = (own.distance, own.residual, own.final_loss.sel(loss="transition"), own.score)
        yield (
            str(own.transfer.values),
            str(own.condition.values),
            str(own.base.values),
            str(own.kind.values),
            text(own.success.values),
            *(text(number.values) for number in numbers),
        )


def _comparisons(comparisons: xr.Dataset) -> Rows:
    for pair in pairs(comparisons):
        yield (
            pair.condition,
            pair.than,
            str(pair.bases),
            f"{pair.difference:+.2f}" if np.isfinite(pair.difference) else "",
            interval(*pair.difference_interval),
            share(pair.improvement),
            interval(*pair.improvement_interval),
        )


def _effects(effects: xr.Dataset) -> Rows:
    for condition in effects.condition.values:
        own = effects.sel(condition=condition)
        names = ("test", "statistic", "p_value", "reason")
        yield str(condition), *(text(own[name].values) for name in names)


def _detection(detection: xr.Dataset) -> Rows:
    for condition in detection.condition.values:
        own = detection.sel(condition=condition)
        yield str(condition), share(own.area), interval(own.low, own.high)


_Single = tuple[str, str, tuple[str, ...], Callable[[xr.Dataset], Rows], str]
_SINGLE: Final[tuple[_Single, ...]] = (
    (
        "statistics/rates",
        "Success rates",
        ("condition", "base model", "successes", "rate", "95% interval"),
        _rates,
        "Of one base model: Wilson's interval. Of their mean: bootstrapped over base models.",
    ),
    (
        "statistics/kinds",
        "Kinds of outcome",
        ("condition", "kind", "transfers", "of which"),
        _kinds,
        "",
    ),
    (
        "statistics/comparisons",
        "Conditions compared",
        ("condition", "than", "bases", "rate difference", "95%", "P(higher score)", "95%"),
        _comparisons,
        "On the base models that both have: the difference of their success rates, bootstrapped "
        "over base models; the probability that of two runs of a base model this one's scores "
        "higher. Intervals are not corrected for the number of pairs.",
    ),
    (
        "statistics/base_effect",
        "Does the base model matter?",
        ("condition", "test", "statistic", "p-value", "why undecidable"),
        _effects,
        "",
    ),
    (
        "statistics/detection",
        "Does the final transition loss tell success?",
        ("condition", "ROC area", "95% interval"),
        _detection,
        "",
    ),
    (
        "outcome",
        "Outcome of every transfer",
        (
            "transfer",
            "condition",
            "base model",
            "kind",
            "success",
            "distance",
            "residual",
            "transition loss",
            "score",
        ),
        _outcomes,
        "Distance: mean L2 distance to the base's embedding. Residual: after the best single map, "
        "relative to the base's RMS norm.",
    ),
)


def _line_barriers(name: str, dataset: xr.Dataset) -> Rows:
    for loss in map(str, dataset.loss.values[::-1]):
        for kind in map(str, dataset.dynamics.values):
            own = dataset.sel(loss=loss, dynamics=kind)
            ends = (text(own.value.sel(alpha=alpha).values) for alpha in (0.0, 1.0))
            yield name, loss, f"{kind}, line", *ends, *_heights(own)


def _path_barriers(name: str, dataset: xr.Dataset) -> Rows:
    if "above_line" not in dataset:
        return
    for loss in map(str, dataset.loss.values[::-1]):
        for kind in map(str, dataset.dynamics.values):
            for path in map(str, dataset.path.values):
                own = dataset.sel(loss=loss, dynamics=kind, path=path)
                ends = (text(own.value.isel(t=place).values) for place in (0, -1))
                yield name, loss, f"{kind}, {path} path", *ends, *_heights(own)


def _heights(own: xr.Dataset) -> tuple[str, ...]:
    names = ("above_line", "above_line_at", "above_ends", "above_ends_at")
    return tuple(text(own[name].values) for name in names)


_BARRIERS: Final = ("between", "loss", "dynamics", "at A", "at B")
_BARRIERS_END: Final = ("above the line", "at position", "above the ends", "at position")
_CURVATURE: Final = ("agent", "space", "verdict", "eigenvalues < 0", "> 0", "smallest", "largest")


def _gathered(report: Report) -> list[Table]:
    """Return the tables that have rows of several groups."""
    barriers = [
        row
        for pattern, rows in (("line/*", _line_barriers), ("path/*", _path_barriers))
        for name in report.matching(pattern)
        for row in rows(name.partition("/")[2], report.read(name))
    ]
    curvature = [
        row
        for name in report.matching("hessian/*")
        for row in curvature_rows(name.partition("/")[2], report.read(name))
    ]
    note = (
        "Above the line: largest rise above the straight line between the losses of A and B. Above "
        "the ends: largest loss between them minus the larger of theirs."
    )
    return [
        Table("line", "Barriers", (*_BARRIERS, *_BARRIERS_END), tuple(barriers), note),
        Table("hessian", "Curvature", (*_CURVATURE, "trace", "95% interval"), tuple(curvature)),
    ]


def _plain(report: Report, group: str) -> list[Table]:
    """Return a group as it stands: a table for each set of dimensions."""
    dataset, found = report.read(group), []
    for dims, names in tables_of(dataset).items():
        columns = columns_of(dataset, dims, names)
        flat = [values.reshape(-1) for values in columns.values()]
        if len(flat[0]) > LONGEST:
            continue
        rows = tuple(tuple(text(value) for value in row) for row in zip(*flat, strict=True))
        title = f"/{group}" + (f" ({', '.join(dims)})" if dims else "")
        found.append(Table(group, title, tuple(columns), rows))
    return found
