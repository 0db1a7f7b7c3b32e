"""What the paper says of learning rates, and what a report of ours says."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from crar_diag.report.figures.selection import Report
from crar_diag.study.choices import by_success, outcomes
from crar_diag.study.comparisons import Means, beats, holds, interval, mean_of, resample, worth
from crar_diag.study.findings import Finding, absent

RATES: Final = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3)
"""Appendix D."""
_SOURCE: Final = "appendix D, fig. 18"
_EXTREMES: Final = ("1e-05", "0.005")
_MIDDLE: Final = ("5e-05", "0.0001", "0.0005", "0.001")


def findings(report: Report) -> list[Finding]:
    """Compare rates, on the base model whose transfers succeed most often, with appendix D."""
    ended = outcomes(report)
    base = by_success(report)[0]
    ended = ended.isel(transfer=np.flatnonzero(ended.base.values == base))
    each, what = worth(ended)
    rates = ended.initial_learning_rate.values
    values = {f"{rate:g}": {base: each[rates == rate]} for rate in sorted({*rates.tolist()})}
    means = resample(values)
    words = ", ".join(f"{name}: {mean_of(one):.2f}" for name, one in values.items())
    return [
        _middle(means, what, words),
        *(_fails(means, what, name) for name in _EXTREMES),
        _exception(means, what),
    ]


def _absent(what: str, means: Means, names: Sequence[str]) -> Finding | None:
    missing = [name for name in names if name not in means]
    return absent(what, _SOURCE, "yes", f"no transfer at {missing[0]}") if missing else None


def _middle(means: Means, what: str, words: str) -> Finding:
    claim = "rates in the middle do better than the extremes"
    lost = _absent(claim, means, (*_MIDDLE, *_EXTREMES))
    if lost:
        return lost

    def difference(drawn: Means) -> np.ndarray:
        middle = np.mean([drawn[name] for name in _MIDDLE], axis=0)
        return np.asarray(middle - np.mean([drawn[name] for name in _EXTREMES], axis=0))

    share, verdict = holds(means, lambda drawn: beats(difference(drawn), np.zeros(1)))
    low, high = interval(difference(means))
    return Finding(
        claim,
        _SOURCE,
        "yes",
        words,
        verdict,
        low,
        high,
        f"{what}; in {share:.0%} of resamples; interval of the difference",
    )


def _fails(means: Means, what: str, name: str) -> Finding:
    """Is the rate worse than the mean of those in the middle?"""
    claim = f"transfers at {name} mostly fail"
    lost = _absent(claim, means, (*_MIDDLE, name))
    if lost:
        return lost
    middle = np.mean([means[one] for one in _MIDDLE], axis=0)
    share, verdict = holds(means, lambda drawn: beats(middle, drawn[name]))
    low, high = interval(means[name])
    return Finding(
        claim,
        _SOURCE,
        "yes",
        f"{np.mean(means[name]):.2f}",
        verdict,
        low,
        high,
        f"{what}; below the middle's in {share:.0%} of resamples",
    )


def _exception(means: Means, what: str) -> Finding:
    claim, names = "1e-4 does worse than both its neighbours", ("5e-05", "0.0001", "0.0005")
    lost = _absent(claim, means, names)
    if lost:
        return lost
    below, own, above = names

    def worse(drawn: Means) -> np.ndarray:
        return beats(np.minimum(drawn[below], drawn[above]), drawn[own])

    share, verdict = holds(means, worse)
    low, high = interval(means[own])
    return Finding(
        claim,
        _SOURCE,
        "yes, by chance perhaps",
        f"{np.mean(means[own]):.2f}",
        verdict,
        low,
        high,
        f"{what}; so in {share:.0%} of resamples",
    )
