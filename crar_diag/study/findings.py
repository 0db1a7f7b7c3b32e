"""What a study finds beside what the paper says: figure, interval, and whether the two agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.figures.selection import Report

Verdict = Literal["agrees", "differs", "undecided"]

GROUP: Final = "statistics/findings"
"""Where findings stand in a report."""
_LEVEL: Final = 0.05


@dataclass(frozen=True)
class Finding:
    """One figure of the paper, and ours.

    Attributes:
        what: is compared.
        source: section or figure of the paper.
        paper: its figure, in words.
        ours: in words.
        low: lower end of the 95% interval of ours, NaN where there is none.
        high: its upper end.
        verdict: whether the two agree; `undecided` where the data could not tell.
        note: how it was decided, or why it could not be.
    """

    what: str
    source: str
    paper: str
    ours: str
    verdict: Verdict
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""

    @property
    def interval(self) -> str:
        """The interval in words; empty where there is none."""
        return f"{self.low:.2g} to {self.high:.2g}" if np.isfinite(self.low) else ""


def absent(what: str, source: str, paper: str, reason: str) -> Finding:
    """Return a finding that the data does not allow."""
    return Finding(what, source, paper, "none", "undecided", note=reason)


def contains(low: float, high: float, value: float, widest: float = np.inf) -> Verdict:
    """Say whether the paper's value lies within our interval.

    Args:
        low: lower end of the interval.
        high: its upper end.
        value: the paper's.
        widest: an interval that is wider tells nothing although the value is in it.
    """
    if not low <= value <= high:
        return "differs"
    return "agrees" if high - low <= widest else "undecided"


def mostly(low: float, high: float) -> Verdict:
    """Say whether a share, of which the paper says that it is most, is above a half."""
    if low > 0.5:
        return "agrees"
    return "differs" if high < 0.5 else "undecided"


def base_effect(report: Report, ended: xr.Dataset, paper: str, source: str) -> Finding:
    """Return whether the base model decides about success.

    Args:
        report: with statistics.
        ended: its transfers of one condition.
        paper: what the paper says.
        source: and where.
    """
    what = "the base model decides"
    condition = str(ended.condition.values[0])
    one = report.read("statistics/base_effect").sel(condition=condition)
    p, test = float(one.p_value), str(one.test.values)
    if not np.isfinite(p):
        return absent(what, source, paper, str(one.reason.values))
    note = (
        f"{test} test; no effect shown is not shown to be none" if p >= _LEVEL else f"{test} test"
    )
    return Finding(
        what, source, paper, f"p = {p:.2g}", "agrees" if p < _LEVEL else "undecided", note=note
    )


def median(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the median of values `[n]` and the ends of its bootstrap interval."""
    rng = np.random.default_rng(seed)
    draws = np.median(rng.choice(values, (10_000, len(values))), axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(np.median(values)), float(low), float(high)


def findings_dataset(findings: Sequence[Finding]) -> xr.Dataset:
    """Return findings as the group `GROUP` of a report, over `finding`."""
    columns = {
        "source": "section or figure of the paper",
        "paper": "the paper's figure",
        "ours": "ours",
        "low": "lower end of the 95% interval of ours",
        "high": "upper end of the 95% interval of ours",
        "verdict": "whether the two agree",
        "note": "how it was decided, or why it could not be",
    }
    return xr.Dataset(
        {
            name: labelled(["finding"], [getattr(one, name) for one in findings], about)
            for name, about in columns.items()
        },
        coords={
            "finding": labelled(["finding"], [one.what for one in findings], "what is compared")
        },
    )
