"""What the paper says of transfers in the simple maze, and what a report of ours says."""

from typing import Final

import numpy as np
import xarray as xr

from crar_diag.embedding.kinds import KINDS
from crar_diag.report.figures.selection import FAILURES, Report
from crar_diag.report.statistics.rates import success_rate
from crar_diag.study.choices import outcomes
from crar_diag.study.findings import Finding, Verdict, absent, base_effect, contains, mostly

_POOR: Final = (3, 22)
_GOOD: Final = (21, 22)
"""Successful transfers of the paper's two base models (section 5.1.2)."""
_SLIGHT: Final = 3.0
"""A loss of up to so many times another one is taken as slightly higher."""
_WIDEST: Final = 0.5
"""An interval of a rate that is wider than this agrees with nearly anything."""


def findings(report: Report) -> list[Finding]:
    """Compare transfers of the simple maze with sections 5.1.2, 5.1.3 and appendices A and B."""
    ended = outcomes(report)
    return [
        *_rates(report, ended),
        base_effect(report, ended, "Fisher's p = 3.9e-8 (two base models)", "section 5.1.2"),
        _swapped(ended),
        _losses(ended),
        _minima(report, "frozen"),
        _minima(report, "unfrozen"),
        _barrier(report),
    ]


def _rates(report: Report, ended: xr.Dataset) -> list[Finding]:
    """The poorest and the best base model, for the paper's two."""
    rates = report.read("statistics/rates").sel(condition=str(ended.condition.values[0]))
    rates = rates.isel(base=np.flatnonzero(rates.runs.values > 0))
    found = []
    for word, (k, n), at in (("poorest", _POOR, np.argmin), ("best", _GOOD, np.argmax)):
        one = rates.isel(base=int(at(rates.rate.values)))
        low, high = float(one.low), float(one.high)
        found.append(
            Finding(
                f"transfers of the {word} base model that succeed",
                "section 5.1.2",
                f"{k} of {n}",
                f"{int(one.successes)} of {int(one.runs)}",
                contains(low, high, k / n, _WIDEST),
                low,
                high,
                f"{one.base.values!s}, the {word} of {rates.sizes['base']}; the paper has two",
            )
        )
    return found


def _swapped(ended: xr.Dataset) -> Finding:
    what, source = "failed embeddings are the base's turned by 180 degrees", "section 5.1.2, fig. 7"
    kinds = ended.kind.values.astype(str)[~ended.success.values]
    settled = kinds[np.isin(kinds, FAILURES)]
    if not len(settled):
        return absent(what, source, "most", "no transfer has settled in a wrong embedding")
    rate = success_rate(int(np.sum(settled == "swap")), len(settled))
    counts = [f"{np.sum(settled == kind)} {kind}" for kind in KINDS if np.any(settled == kind)]
    ours = f"{rate.successes} of {rate.runs}"
    return Finding(
        what,
        source,
        "most",
        ours,
        mostly(rate.low, rate.high),
        rate.low,
        rate.high,
        "settled failures: " + ", ".join(counts),
    )


def _losses(ended: xr.Dataset) -> Finding:
    """Are the losses of failures those of successes, but for a slightly higher transition loss?"""
    what, source = "transition loss of failures over that of successes", "appendix A, fig. 13"
    losses = ended.final_loss.sel(loss="transition").values
    good, bad = losses[ended.success.values], losses[~ended.success.values]
    if not len(good) or not len(bad):
        return absent(what, source, "slightly higher", "all transfers ended alike")
    ratio, low, high = _ratio_of_medians(bad, good)
    verdict: Verdict = "undecided"
    if low > _SLIGHT or high < 1:
        verdict = "differs"
    elif low > 1 and high < _SLIGHT:
        verdict = "agrees"
    return Finding(
        what,
        source,
        "slightly higher",
        f"{ratio:.1f} times",
        verdict,
        low,
        high,
        f"ratio of medians; up to {_SLIGHT:g} times is taken as slightly",
    )


def _ratio_of_medians(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Return median(a) / median(b) with its bootstrap interval, runs drawn."""
    rng = np.random.default_rng(0)
    draws = [np.median(rng.choice(values, (10_000, len(values))), axis=1) for values in (a, b)]
    low, high = np.quantile(draws[0] / draws[1], (0.025, 0.975))
    return float(np.median(a) / np.median(b)), float(low), float(high)


def _minima(report: Report, dynamics: str) -> Finding:
    """Are failed transfers in a local minimum (frozen), and do they stay in one (unfrozen)?"""
    frozen = dynamics == "frozen"
    what = (
        "failed transfers lie in a local minimum"
        if frozen
        else "with free dynamics they lie in none"
    )
    source = "section 5.1.3, appendix A" if frozen else "section 5.1.3, appendix B"
    failures = _failed_files(report)
    verdicts = []
    for group in report.matching("hessian/*"):
        one = report.read(group)
        if one.attrs["sha256"] not in failures or dynamics not in one.space.values:
            continue
        if "polished" in one.point.values:
            found = str(one.verdict.sel(space=dynamics, point="polished").values)
            verdicts.append(found.startswith("local minimum") == frozen)
    if not verdicts:
        return absent(what, source, "yes", f"no polished curvature, dynamics {dynamics}, of one")
    rate = success_rate(sum(verdicts), len(verdicts))
    return Finding(
        what,
        source,
        "yes",
        f"{rate.successes} of {rate.runs}",
        mostly(rate.low, rate.high),
        rate.low,
        rate.high,
        "after descent to the nearest stationary point",
    )


def _failed_files(report: Report) -> set[str]:
    """Return the SHA-256 of the failed transfers' files: names occur in several runs."""
    ended = outcomes(report, remedied=True)
    failed = ended.isel(transfer=np.flatnonzero(~ended.success.values))
    names = failed.transfer.values.astype(str)
    return {
        str(report.runs[run].checkpoint_sha256.sel(agent=name).values)
        for run, name in zip(failed.states_run.values.astype(str), names, strict=True)
    }


def _barrier(report: Report) -> Finding:
    """How high is the pass between wrong and correct, as a share of the straight line's ridge?"""
    what, source = "barrier from wrong to correct, of that of the straight line", "appendix B"
    paper = "the wrong solution is closed in"
    shares = []
    for group in report.matching("path/*"):
        rise = report.read(group).above_ends.sel(loss="sum", dynamics="frozen")
        straight, curve = float(rise.sel(path="straight")), float(rise.sel(path="curve"))
        if straight > 0:
            shares.append(max(curve, 0) / straight)
    if not shares:
        return absent(what, source, paper, "no minimum-loss path was searched for")
    ours = ", ".join(f"{share:.1%}" for share in shares)
    return Finding(
        what,
        source,
        paper,
        f"at most {ours}",
        "undecided",
        note="a path bounds the barrier from above, never from below",
    )
