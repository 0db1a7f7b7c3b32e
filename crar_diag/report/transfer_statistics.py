"""What many transfers say together: rates, the base's part in them, kinds, scores.

Transfers are compared within a condition: one variant at one rate with one set of remedies. Runs of
one base are not independent of each other, so what holds for bases in general is bootstrapped over
bases; see `statistics`.
"""

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.embedding.kinds import KINDS
from crar_diag.embedding.outcome import NO_BASE
from crar_diag.report.condition_comparisons import Parts, compare_conditions, condition_names
from crar_diag.report.statistics.base_effect import base_effect
from crar_diag.report.statistics.rates import rate_over_bases, rates_by_base
from crar_diag.report.statistics.resampling import CONFIDENCE
from crar_diag.report.statistics.roc import roc_area
from crar_diag.report.statistics.scores import summarise_scores
from crar_diag.report.statistics.variance import variance_components

ALL_KINDS = (*KINDS, NO_BASE)


def conditions(finals: xr.Dataset) -> np.ndarray:
    """Return the condition of each transfer, such as `original, lr 8e-05, realign, best of 5`.

    The environment comes first where there are several.
    """
    found = []
    several = len(set(finals.environment.values)) > 1
    for environment, variant, rate, realign, restarts in zip(
        finals.environment.values,
        finals.variant.values,
        finals.initial_learning_rate.values,
        finals.realign.values,
        finals.restarts.values,
        strict=True,
    ):
        text = f"{environment}, {variant}" if several else str(variant)
        text += "" if variant == "oracle" else f", lr {rate:g}"
        text += ", realign" if realign else ""
        found.append(text + (f", best of {restarts}" if restarts > 1 else ""))
    return np.array(found, dtype=object)


def statistics_of(finals: xr.Dataset, success: np.ndarray, seed: int = 0) -> dict[str, xr.Dataset]:
    """Return the statistics of transfers as groups of a report.

    Args:
        finals: how the transfers ended (`embedding.finals`), `[T]`.
        success: which of them succeeded, bool `[T]`.
        seed: of all resampling.

    Returns:
        `rates` (each base's and their mean), `base_effect`, `variance`, `kinds` and `scores`, each
        by condition, how each compares with each other one on the bases that both have
        (`comparisons`), and how well the final transition loss tells success (`detection`).
    """
    own = conditions(finals)
    names = list(dict.fromkeys(own))
    bases = sorted({str(base) for base in finals.base.values})
    rows = {name: np.flatnonzero(own == name) for name in names}
    parts = {
        name: (finals.isel(transfer=where), success[where], seed) for name, where in rows.items()
    }
    return {
        "rates": _rates(parts, bases),
        "comparisons": compare_conditions(parts),
        "base_effect": _base_effects(parts),
        "variance": _variances(parts),
        "kinds": _kinds(parts, bases),
        "scores": _scores(parts),
        "detection": _detection(parts),
    }


def _rates(parts: Parts, bases: list[str]) -> xr.Dataset:
    shape = (len(parts), len(bases))
    successes, runs = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    rate, low, high = (np.full(shape, np.nan) for _ in range(3))
    mean, ends = np.full(shape[0], np.nan), np.full((shape[0], 2), np.nan)
    for c, (finals, success, seed) in enumerate(parts.values()):
        names = finals.base.values.astype(str)
        for base, found in rates_by_base(success, names).items():
            at = c, bases.index(str(base))
            successes[at], runs[at] = found.successes, found.runs
            rate[at], low[at], high[at] = found.rate, found.low, found.high
        over = rate_over_bases(success, names, rng=seed)
        mean[c], ends[c] = over.rate, over.interval.ends
    dims = ("condition", "base")
    confidence = f"{CONFIDENCE:.0%}"
    return xr.Dataset(
        {
            "successes": labelled(dims, successes, "successful transfers"),
            "runs": labelled(dims, runs, "transfers"),
            "rate": labelled(dims, rate, "success rate"),
            "low": labelled(dims, low, f"lower end of its {confidence} Wilson interval"),
            "high": labelled(dims, high, f"upper end of its {confidence} Wilson interval"),
            "mean_rate": labelled(["condition"], mean, "mean of the bases' success rates"),
            "mean_low": labelled(
                ["condition"], ends[:, 0], f"lower end of its {confidence} interval over bases"
            ),
            "mean_high": labelled(
                ["condition"], ends[:, 1], f"upper end of its {confidence} interval over bases"
            ),
        },
        coords={
            "condition": condition_names(parts),
            "base": labelled(["base"], bases, "base model; empty from scratch"),
        },
    )


def _base_effects(parts: Parts) -> xr.Dataset:
    found = [
        base_effect(success, finals.base.values.astype(str), finals.seed.values, rng=seed)
        for finals, success, seed in parts.values()
    ]
    return xr.Dataset(
        {
            "test": labelled(
                ["condition"],
                [one.test for one in found],
                "fisher (two bases), permutation stratified by seed (more), or undecidable",
            ),
            "statistic": labelled(
                ["condition"],
                [one.statistic for one in found],
                "odds ratio (fisher), or variance of the rates between bases (permutation)",
            ),
            "p_value": labelled(
                ["condition"], [one.p_value for one in found], "p-value: the base has no effect"
            ),
            "reason": labelled(
                ["condition"], [one.reason for one in found], "why it is undecidable"
            ),
        },
        coords={"condition": condition_names(parts)},
    )


_SOURCES = ("base", "seed", "residual")
_MEASURES = ("success", "distance", "log10 transition loss", "score")


def _variances(parts: Parts) -> xr.Dataset:
    shape = (len(parts), len(_MEASURES), len(_SOURCES))
    variance, share = np.full(shape, np.nan), np.full(shape, np.nan)
    ends = np.full((*shape, 2), np.nan)
    for c, (finals, success, seed) in enumerate(parts.values()):
        with np.errstate(divide="ignore", invalid="ignore"):
            transition = np.log10(finals.final_loss.sel(loss="transition").values)
        values = (success.astype(float), finals.distance.values, transition, finals.score.values)
        names, seeds = finals.base.values.astype(str), finals.seed.values
        if len({*zip(names, seeds, strict=True)}) < len(names):
            continue  # runs of one condition in several folders: no longer one run a cell
        for m, measure in enumerate(values):
            usable = np.where(np.isfinite(measure), measure, np.nan)
            if not np.isfinite(usable).any():
                continue
            parts_of = variance_components(usable, names, seeds, rng=seed)
            for s, source in enumerate(_SOURCES):
                one = getattr(parts_of, source)
                variance[c, m, s], share[c, m, s] = one.variance, one.share
                ends[c, m, s] = one.share_interval.ends
    dims = ("condition", "measure", "source")
    return xr.Dataset(
        {
            "variance": labelled(dims, variance, "variance component"),
            "share": labelled(dims, share, "its share of the sum"),
            "share_low": labelled(dims, ends[..., 0], "lower end of the share's 95% interval"),
            "share_high": labelled(dims, ends[..., 1], "upper end of the share's 95% interval"),
        },
        coords={
            "condition": condition_names(parts),
            "measure": labelled(["measure"], list(_MEASURES), "what varies"),
            "source": labelled(["source"], list(_SOURCES), "between what it varies"),
        },
    )


def _kinds(parts: Parts, bases: list[str]) -> xr.Dataset:
    counts = np.zeros((len(parts), len(bases), len(ALL_KINDS)), np.int64)
    for c, (finals, _, _) in enumerate(parts.values()):
        for base, kind in zip(finals.base.values, finals.kind.values, strict=True):
            counts[c, bases.index(str(base)), ALL_KINDS.index(str(kind))] += 1
    return xr.Dataset(
        {"count": labelled(("condition", "base", "kind"), counts, "transfers of this kind")},
        coords={
            "condition": condition_names(parts),
            "base": labelled(["base"], bases, "base model; empty from scratch"),
            "kind": labelled(["kind"], list(ALL_KINDS), "kind of outcome"),
        },
    )


_SUMMARIES = ("mean", "median", "interquartile_mean")


def _scores(parts: Parts) -> xr.Dataset:
    values = np.full((len(parts), len(_SUMMARIES), 3), np.nan)
    for c, (finals, _, seed) in enumerate(parts.values()):
        found = summarise_scores(finals.score.values, finals.base.values.astype(str), rng=seed)
        for k, name in enumerate(_SUMMARIES):
            one = getattr(found, name)
            values[c, k] = one.value, *one.interval.ends
    dims = ("condition", "summary")
    return xr.Dataset(
        {
            "value": labelled(dims, values[..., 0], "summary of the final scores"),
            "low": labelled(dims, values[..., 1], "lower end of its 95% interval, within bases"),
            "high": labelled(dims, values[..., 2], "upper end of its 95% interval, within bases"),
        },
        coords={
            "condition": condition_names(parts),
            "summary": labelled(["summary"], list(_SUMMARIES), "which summary"),
        },
    )


def _detection(parts: Parts) -> xr.Dataset:
    """How well the final transition loss, which needs no knowledge of the base, tells success."""
    values = np.full((len(parts), 3), np.nan)
    for c, (finals, success, seed) in enumerate(parts.values()):
        loss = finals.final_loss.sel(loss="transition").values
        there = np.isfinite(loss)
        if there.any():
            names = finals.base.values.astype(str)[there]
            found = roc_area(-loss[there], success[there], names, rng=seed)
            values[c] = found.area, *found.interval.ends
    return xr.Dataset(
        {
            "area": labelled(
                ["condition"], values[:, 0], "ROC area of a small transition loss for success"
            ),
            "low": labelled(["condition"], values[:, 1], "lower end of its 95% interval"),
            "high": labelled(["condition"], values[:, 2], "upper end of its 95% interval"),
        },
        coords={"condition": condition_names(parts)},
    )
