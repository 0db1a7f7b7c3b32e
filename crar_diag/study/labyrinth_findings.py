"""What the paper says of transfers in the labyrinth, and what a report of ours says."""

from typing import Final

import numpy as np
import xarray as xr

from crar_diag.report.figures.selection import Report
from crar_diag.report.statistics.rates import success_rate
from crar_diag.study.choices import outcomes
from crar_diag.study.findings import Finding, absent, base_effect, contains, median, mostly

_DISTANCES: Final = {"successful": 1.1, "failed": 6.2}
"""Modes of the L2 distance between a base's states and its transfer's (section 5.2.2)."""
_SCORES: Final = {"successful": (0.2, 1.2), "failed": (-5.0, -4.4)}
"""Ranges of the mean of the last 20 validation scores (the published data)."""
_WITHOUT: Final = "2 of 6"
"""Base models without one successful transfer (section 5.2.1)."""


def findings(report: Report) -> list[Finding]:
    """Compare transfers of the labyrinth with sections 5.2.1 and 5.2.2."""
    ended = outcomes(report)
    paper = "some always succeed, some never"
    return [
        base_effect(report, ended, paper, "section 5.2.1"),
        _without_success(ended),
        *(_distance(ended, which) for which in _DISTANCES),
        *(_score(ended, which) for which in _SCORES),
    ]


def _those(ended: xr.Dataset, which: str) -> xr.Dataset:
    wanted = ended.success.values == (which == "successful")
    return ended.isel(transfer=np.flatnonzero(wanted))


def _without_success(ended: xr.Dataset) -> Finding:
    bases = ended.base.values.astype(str)
    rates = [ended.success.values[bases == base].mean() for base in dict.fromkeys(bases)]
    rate = success_rate(sum(one == 0 for one in rates), len(rates))
    paper = int(_WITHOUT.split()[0]) / int(_WITHOUT.split()[-1])
    return Finding(
        "base models without a successful transfer",
        "section 5.2.1",
        _WITHOUT,
        f"{rate.successes} of {rate.runs}",
        contains(rate.low, rate.high, paper, 0.5),
        rate.low,
        rate.high,
    )


def _distance(ended: xr.Dataset, which: str) -> Finding:
    """Is the distance to the base's states where the paper's mode is?"""
    what, paper = f"L2 distance of {which} transfers to their base", _DISTANCES[which]
    source = "section 5.2.2"
    values = _those(ended, which).distance.values
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return absent(what, source, f"about {paper}", f"{len(values)} {which} transfers")
    middle, low, high = median(values)
    return Finding(
        what,
        source,
        f"about {paper}",
        f"{middle:.2g}",
        contains(low, high, paper),
        low,
        high,
        f"median of {len(values)}; the paper's is a mode",
    )


def _score(ended: xr.Dataset, which: str) -> Finding:
    """Are the final scores in the range of the paper's data?"""
    low, high = _SCORES[which]
    what, source = f"final scores of {which} transfers lie in the paper's range", "section 5.2.1"
    paper = f"{low:g} to {high:g}"
    values = _those(ended, which).score.values
    values = values[np.isfinite(values)]
    if not len(values):
        return absent(what, source, paper, f"no {which} transfer with a score")
    rate = success_rate(int(np.sum((values >= low) & (values <= high))), len(values))
    return Finding(
        what,
        source,
        paper,
        f"{rate.successes} of {rate.runs}",
        mostly(rate.low, rate.high),
        rate.low,
        rate.high,
        f"{values.min():.2g} to {values.max():.2g}, median {np.median(values):.2g}",
    )
