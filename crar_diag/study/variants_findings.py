"""What the paper says of six approaches, and what a report of ours says."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from crar_diag.errors import InputError
from crar_diag.report.figures.selection import Report
from crar_diag.report.statistics.rates import success_rate
from crar_diag.study.choices import by_success
from crar_diag.study.comparisons import Means, beats, holds, interval, mean_of, resample, worth
from crar_diag.study.findings import Finding, mostly

VARIANTS: Final = (
    *("original", "reset-encoder", "finetune", "no-disambiguation", "delayed-structure"),
    "scratch",
)
"""The paper's six approaches (section 5.2.3)."""
_SOURCE: Final = "section 5.2.3, fig. 10"
Values = Mapping[str, Mapping[str, np.ndarray]]


def findings(report: Report) -> list[Finding]:
    """Compare the approaches, on the good and the poor base model, with section 5.2.3.

    Raises:
        InputError: the report lacks an approach.
    """
    order = by_success(report)
    good, poor = order[0], order[-1]
    values, what = _values(report, {good, poor})
    missing = [name for name in VARIANTS if name not in values]
    if missing:
        raise InputError(f"report '{report.path}' has no transfer of the variant '{missing[0]}'")
    means = resample(values)
    return [
        _best(values, means, what),
        _second(values, means, what),
        _better(values, means, what, "no-disambiguation", "scratch"),
        _alike(values, means, what),
        _fails_on(report, poor),
        _succeeds_on_both(report, (good, poor)),
    ]


def _values(report: Report, bases: set[str]) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Return the worth of the runs by variant and base, of these bases and from scratch."""
    ended = report.read("outcome")
    each, what = worth(ended)
    found: dict[str, dict[str, np.ndarray]] = {}
    variants, names = ended.variant.values.astype(str), ended.base.values.astype(str)
    for variant in VARIANTS:
        for base in sorted({*names[variants == variant]}):
            if base in bases or variant == "scratch":
                own = each[(variants == variant) & (names == base)]
                found.setdefault(variant, {})[base] = own
    return found, what


def _words(values: Values, names: tuple[str, ...] = VARIANTS) -> str:
    """Return approaches with their means, the best first."""
    order = sorted(names, key=lambda name: -mean_of(values[name]))
    return ", ".join(f"{name} {mean_of(values[name]):.2f}" for name in order)


def _best(values: Values, means: Means, what: str) -> Finding:
    def claim(drawn: Means) -> np.ndarray:
        others = [drawn[name] for name in VARIANTS if name != "finetune"]
        return beats(drawn["finetune"], np.max(others, axis=0))

    share, verdict = holds(means, claim)
    return Finding(
        "the best approach",
        _SOURCE,
        "finetune",
        _words(values),
        verdict,
        note=f"{what}; so in {share:.0%} of resamples",
    )


def _second(values: Values, means: Means, what: str) -> Finding:
    def claim(drawn: Means) -> np.ndarray:
        others = np.array([drawn[name] for name in VARIANTS if name != "scratch"])
        above, equal = ((others > drawn["scratch"]).sum(0), (others == drawn["scratch"]).sum(0))
        possible = (above <= 1) & (above + equal >= 1)
        return np.where(possible, np.where(equal == 0, 1.0, 0.5), 0.0)

    share, verdict = holds(means, claim)
    rank = 1 + sum(mean_of(one) > mean_of(values["scratch"]) for one in values.values())
    return Finding(
        "rank of learning from scratch",
        _SOURCE,
        "second",
        f"{rank}",
        verdict,
        note=f"{what}; second in {share:.0%} of resamples",
    )


def _better(values: Values, means: Means, what: str, one: str, other: str) -> Finding:
    share, verdict = holds(means, lambda drawn: beats(drawn[one], drawn[other]))
    low, high = interval(means[one] - means[other])
    return Finding(
        f"{one} is better than {other}",
        _SOURCE,
        "yes",
        _words(values, (one, other)),
        verdict,
        low,
        high,
        f"{what}; in {share:.0%} of resamples; interval of the difference",
    )


def _alike(values: Values, means: Means, what: str) -> Finding:
    pair = ("reset-encoder", "original")
    low, high = interval(means[pair[0]] - means[pair[1]])
    return Finding(
        "a reset encoder does as the original approach",
        _SOURCE,
        "yes",
        _words(values, pair),
        "undecided" if low <= 0 <= high else "differs",
        low,
        high,
        f"{what}; no difference shown is not shown to be none",
    )


def _successes(report: Report, variant: str, base: str) -> np.ndarray:
    ended = report.read("outcome")
    return np.asarray(
        ended.success.values[(ended.variant.values == variant) & (ended.base.values == base)]
    )


def _fails_on(report: Report, poor: str) -> Finding:
    own = _successes(report, "original", poor)
    rate = success_rate(int(np.sum(~own)), len(own))
    return Finding(
        "original transfers of the poor base model fail",
        _SOURCE,
        "all",
        f"{rate.successes} of {rate.runs}",
        mostly(rate.low, rate.high),
        rate.low,
        rate.high,
        poor,
    )


def _succeeds_on_both(report: Report, bases: tuple[str, str]) -> Finding:
    counts = [_successes(report, "delayed-structure", base) for base in bases]
    some = all(one.any() for one in counts)
    ours = ", ".join(f"{int(one.sum())} of {len(one)}" for one in counts)
    return Finding(
        "delayed structure succeeds now and then on either base model",
        _SOURCE,
        "yes",
        ours,
        "agrees" if some else "undecided",
        note=f"{bases[0]}, {bases[1]}",
    )
