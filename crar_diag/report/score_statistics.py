"""Tables of scored runs by approach, learning rate, base model and seed, and the base's effect.

Each table is a table within the ones before: rates within an approach, bases and seeds within an
approach at one rate. A rate counts the runs that came to their end (`ScoreOutcomes.complete`).
Where a row holds several bases, its rate is the mean of theirs, with an interval over bases, for
runs of one base are not independent; else its interval is Wilson's. Scores are those of the same
runs; intervals are bootstrapped, within bases where a row holds several.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.score_outcomes import ScoreOutcomes
from crar_diag.report.score_table import conditions
from crar_diag.report.statistics.base_effect import BaseEffect, base_effect
from crar_diag.report.statistics.rates import rate_over_bases, success_rate
from crar_diag.report.statistics.resampling import CONFIDENCE
from crar_diag.report.statistics.scores import summarise_scores
from crar_diag.report.statistics.variance import variance_components

TABLES: Final = ("approach", "learning_rate", "base", "seed")
SUMMARIES: Final = ("mean", "median", "interquartile_mean")
MEASURES: Final = ("success", "score")
WILSON, OVER_BASES = "Wilson", "over bases"

_KEYS: Final = {
    "approach": "approach",
    "learning_rate": "learning rate",
    "base": "base model; empty where there is none",
    "seed": "seed",
}
_COUNTS: Final = {
    "runs": "runs",
    "complete": "runs that came to their end, which the rate counts",
    "successes": "successes",
    "failures": "failures",
    "unfinished": "runs between the groups, or without a final score",
}
_INTERVAL: Final = f"its {CONFIDENCE:.0%} interval"


@dataclass(frozen=True)
class _Part:
    """Some of the runs: what they have in common, by the names of `_KEYS`, and their places."""

    keys: dict[str, Any]
    rows: np.ndarray


def score_tables(
    history: xr.Dataset, outcomes: ScoreOutcomes, seed: int = 0
) -> dict[str, xr.Dataset]:
    """Return the tables, by the names of `TABLES`.

    Args:
        history: scores over epochs (`score_table.read_scores`), `[M]` runs.
        outcomes: what became of them.
        seed: of all resampling.

    Returns:
        Each over `row`: what the row's runs have in common; how many they are, came to their end,
        succeeded, failed and are `unfinished`; the `rate` with its interval (`low`, `high`) and the
        kind of it (`interval`); mean, median and interquartile mean of the final scores, each with
        `_low` and `_high`. NaN where there is none.
    """
    return {name: _table(name, history, outcomes, seed) for name in TABLES}


def _parts(name: str, history: xr.Dataset) -> Iterator[_Part]:
    """Yield the rows of a table."""
    if name == "approach":
        approaches = history.approach.values.astype(str)
        for approach in dict.fromkeys(approaches.tolist()):
            yield _Part({"approach": approach}, np.flatnonzero(approaches == approach))
        return
    for approach, rate, rows in conditions(history):
        keys = {"approach": approach, "learning_rate": rate}
        if name == "learning_rate":
            yield _Part(keys, rows)
            continue
        levels = history[name].values[rows]
        ordered = np.unique(levels) if name == "seed" else np.array(list(dict.fromkeys(levels)))
        for level in ordered.tolist():
            yield _Part(keys | {name: level}, rows[levels == level])


def _table(name: str, history: xr.Dataset, outcomes: ScoreOutcomes, seed: int) -> xr.Dataset:
    parts = list(_parts(name, history))
    rows = [_row(part, history, outcomes, seed) for part in parts]
    about = _COUNTS | {
        "rate": "success rate",
        "low": f"lower end of {_INTERVAL}",
        "high": f"upper end of {_INTERVAL}",
        "interval": "kind of that interval",
    }
    for summary in SUMMARIES:
        words = summary.replace("_", " ")
        about[summary] = f"{words} of the final scores, reward an episode"
        about[f"{summary}_low"] = f"lower end of {_INTERVAL}"
        about[f"{summary}_high"] = f"upper end of {_INTERVAL}"
    return xr.Dataset(
        {key: labelled(["row"], [row[key] for row in rows], text) for key, text in about.items()},
        coords={
            key: labelled(["row"], [part.keys[key] for part in parts], _KEYS[key])
            for key in parts[0].keys
        },
    )


def _row(part: _Part, history: xr.Dataset, outcomes: ScoreOutcomes, seed: int) -> dict[str, Any]:
    """Return the numbers of one row."""
    own = outcomes.outcome[part.rows]
    done = part.rows[outcomes.complete[part.rows]]
    bases = history.base.values.astype(str)[done]
    several = "base" not in part.keys and "seed" not in part.keys and len(set(bases)) > 1
    found: dict[str, Any] = {
        "runs": len(part.rows),
        "complete": len(done),
        "successes": int((own == "success").sum()),
        "failures": int((own == "failure").sum()),
        "unfinished": int((own == "unfinished").sum()),
        **dict.fromkeys(("rate", "low", "high"), np.nan),
        "interval": "",
    }
    if outcomes.bands is not None and len(done):
        won = outcomes.outcome[done] == "success"
        if several:
            mean = rate_over_bases(won, bases, rng=seed)
            ends = mean.interval.ends
            found |= {"rate": mean.rate, "interval": OVER_BASES}
        else:
            rate = success_rate(int(won.sum()), len(won))
            ends = rate.low, rate.high
            found |= {"rate": rate.rate, "interval": WILSON}
        found |= dict(zip(("low", "high"), ends, strict=True))
    return found | _summary(outcomes.score[done], bases if several else None, seed)


def _summary(scores: np.ndarray, bases: np.ndarray | None, seed: int) -> dict[str, float]:
    """Return the summaries of some final scores, and the ends of their intervals."""
    if not len(scores):
        return {f"{name}{end}": np.nan for name in SUMMARIES for end in ("", "_low", "_high")}
    summary = summarise_scores(scores, bases, rng=seed)
    found: dict[str, float] = {}
    for name in SUMMARIES:
        one = getattr(summary, name)
        found |= {name: one.value, f"{name}_low": one.interval.low}
        found[f"{name}_high"] = one.interval.high
    return found


def score_effects(history: xr.Dataset, outcomes: ScoreOutcomes, seed: int = 0) -> xr.Dataset:
    """Return how much the base model decides, within each approach at each rate.

    Args:
        history: scores over epochs, `[M]` runs.
        outcomes: what became of them.
        seed: of all resampling.

    Returns:
        Over `condition`: the test of the hypothesis that success does not depend on the base, its
        `p_value`, and why it is undecidable; over `condition` and `measure` (success, final score)
        the base's `share` of the variance, with the ends of its interval. Runs without a base, or
        without a final score, take no part.
    """
    names, effects, shares = [], [], []
    for approach, rate, rows in conditions(history):
        done = rows[outcomes.complete[rows] & (history.base.values[rows] != "")]
        bases, seeds = history.base.values.astype(str)[done], history.seed.values[done]
        names.append(f"{approach}, lr {rate:g}")
        won = outcomes.outcome[done] == "success"
        effects.append(_effect(won, bases, seeds, outcomes, seed))
        values = won.astype(float) if outcomes.bands else np.full(len(done), np.nan)
        shares.append([_share(v, bases, seeds, seed) for v in (values, outcomes.score[done])])
    share = np.array(shares)
    dims = ("condition", "measure")
    return xr.Dataset(
        {
            "test": labelled(
                ["condition"],
                [one.test for one in effects],
                "fisher (two bases), permutation stratified by seed (more), or undecidable",
            ),
            "p_value": labelled(
                ["condition"], [one.p_value for one in effects], "p-value: the base has no effect"
            ),
            "reason": labelled(
                ["condition"], [one.reason for one in effects], "why it is undecidable"
            ),
            "share": labelled(dims, share[..., 0], "share of the variance between bases"),
            "share_low": labelled(dims, share[..., 1], f"lower end of {_INTERVAL}"),
            "share_high": labelled(dims, share[..., 2], f"upper end of {_INTERVAL}"),
        },
        coords={
            "condition": labelled(["condition"], names, "approach and learning rate"),
            "measure": labelled(["measure"], list(MEASURES), "what varies"),
        },
    )


def _effect(
    won: np.ndarray, bases: np.ndarray, seeds: np.ndarray, outcomes: ScoreOutcomes, seed: int
) -> BaseEffect:
    if outcomes.bands is None:
        return BaseEffect("undecidable", np.nan, np.nan, 0, "success and failure are not known")
    if not len(won):
        return BaseEffect("undecidable", np.nan, np.nan, 0, "no run of a base has a final score")
    return base_effect(won, bases, seeds, rng=seed)


def _share(
    values: np.ndarray, bases: np.ndarray, seeds: np.ndarray, seed: int
) -> tuple[float, float, float]:
    if not np.isfinite(values).any():
        return np.nan, np.nan, np.nan
    base = variance_components(values, bases, seeds, rng=seed).base
    return base.share, *base.share_interval.ends
