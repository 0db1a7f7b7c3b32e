"""How well what is measured of base models foretells how often their transfers succeed.

A predictor is one number a base, so bases are the sample, not runs: six bases show nothing, and
with many predictors some correlate by chance (`holm`).
"""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.errors import InputError
from crar_diag.report.statistics.association import (
    FEWEST_BASES,
    RankCorrelation,
    holm,
    rank_correlation,
    verdict,
)


def foretell(
    measures: Mapping[str, Mapping[str, float]],
    rates: Mapping[str, float],
    runs: Mapping[str, int],
    seed: int = 0,
) -> xr.Dataset:
    """Correlate each measure of the bases with their success rates.

    Args:
        measures: base -> name -> number (`embedding.prediction.measure_base`).
        rates: base -> success rate of its transfers.
        runs: base -> how many transfers that is of.
        seed: of all resampling.

    Returns:
        Over `predictor`: Spearman's `rho` with its interval, Kendall's `tau`, `p_value`, the same
        corrected for the number of predictors (`p_holm`), and `verdict`, `informative` or `weak`;
        over `predictor` and `base` the `value`; over `base` the `rate` and the `runs`. Predictors
        that are the same for all bases, or not finite for one, are left out.

    Raises:
        InputError: fewer than `FEWEST_BASES` bases have transfers.
    """
    bases = [base for base in measures if base in rates]
    if len(bases) < FEWEST_BASES:
        raise InputError(
            f"expected transfers of at least {FEWEST_BASES} of the base models, found them of "
            f"{len(bases)}: a predictor is one number a base"
        )
    rate = np.array([rates[base] for base in bases])
    found: dict[str, RankCorrelation] = {}
    for name in measures[bases[0]]:
        values = np.array([measures[base][name] for base in bases])
        if np.isfinite(values).all() and np.ptp(values) > 0:
            found[name] = rank_correlation(values, rate, rng=seed)
    p_values = np.array([one.rho.p_value for one in found.values()])
    known = np.isfinite(p_values)
    corrected = np.full(len(p_values), math.nan)
    if known.any():
        corrected[known] = holm(p_values[known])
    verdicts = [
        verdict(one.rho) if p <= 0.05 else "weak"
        for one, p in zip(found.values(), corrected, strict=True)
    ]
    columns = {
        "rho": ([one.rho.value for one in found.values()], "Spearman's rank correlation"),
        "rho_low": ([one.rho.interval.low for one in found.values()], "lower end of its interval"),
        "rho_high": (
            [one.rho.interval.high for one in found.values()],
            "upper end of its interval",
        ),
        "tau": ([one.tau.value for one in found.values()], "Kendall's rank correlation"),
        "p_value": (p_values, "p-value of rho by permutation of the bases"),
        "p_holm": (corrected, "the same, corrected for the number of predictors (Holm)"),
        "verdict": (
            verdicts,
            "informative: |rho| at least 0.5, its interval without 0, corrected p at most 0.05",
        ),
    }
    table = np.array([[measures[base][name] for base in bases] for name in found])
    table = table.reshape(len(found), len(bases))  # also without any predictor
    return xr.Dataset(
        {
            **{name: labelled("predictor", data, about) for name, (data, about) in columns.items()},
            "value": labelled(("predictor", "base"), table, "what was measured before transfers"),
            "rate": labelled("base", rate, "success rate of the base's transfers"),
            "runs": labelled("base", [runs[base] for base in bases], "transfers of the base"),
        },
        coords={
            "predictor": labelled("predictor", list(found), "what is measured"),
            "base": labelled("base", bases, "base model"),
        },
    )


def conclusion(found: xr.Dataset) -> str:
    """Return in a sentence whether anything foretells success."""
    told = [
        f"{name} (rho {rho:.2f})"
        for name, rho, how in zip(
            found.predictor.values, found.rho.values, found.verdict.values, strict=True
        )
        if str(how) == "informative"
    ]
    bases, total = found.sizes["base"], found.sizes["predictor"]
    if told:
        return f"{len(told)} of {total} predictors tell something over {bases} bases: " + ", ".join(
            told
        )
    return (
        f"all {total} predictors are weak over these {bases} bases: none correlates with the "
        "success rate beyond what chance gives so many predictors"
    )
