"""What restarts are worth: success of the best of K against K, and of each start alone."""

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS
from crar_diag.embedding.outcome import TransferOutcomes
from crar_diag.report.statistics.rates import rate_over_bases, success_rate


def counts(outcomes: TransferOutcomes) -> np.ndarray:
    """Return whose success the distance to the base tells, and who restarts at all, bool `[M]`."""
    found: np.ndarray = ~outcomes.unfrozen & ~np.isin(outcomes.variant, NOT_TRAINED_AS_THE_OTHERS)
    return found


def restarts_of(outcomes: TransferOutcomes, seed: int = 0) -> xr.Dataset:
    """Return how often transfers have their base's embedding, by the number of restarts.

    The best of K is that of the first K restarts with the smallest final transition loss, which
    needs no knowledge of the base's embedding; success is the kind `identity`. Transfers with
    frozen dynamics count; points of reference do not.

    Args:
        outcomes: of a run with restarts, some of whose encoders count.
        seed: of the resampling of bases.

    Returns:
        Over `base`, the mean of `all` bases first, and `restarts` (K): the `rate` of the best of K
        with its interval (Wilson within a base, bootstrapped over bases for their mean), and
        `alone`, the rate of the K-th start by itself.
    """
    counted = counts(outcomes)
    won = outcomes.kinds[:, -1] == "identity"
    bases = sorted(set(map(str, outcomes.base[counted])))
    most = outcomes.config.restarts
    rate, low, high, alone = (np.full((1 + len(bases), most), np.nan) for _ in range(4))
    for k in range(most):
        rows = outcomes.kept(k + 1)
        rows = rows[counted[rows]]
        own = np.flatnonzero(counted & (outcomes.restart == k))
        for b, base in enumerate(bases, start=1):
            best, single = (
                won[rows[outcomes.base[rows] == base]],
                won[own[outcomes.base[own] == base]],
            )
            found = success_rate(int(best.sum()), len(best))
            rate[b, k], low[b, k], high[b, k] = found.rate, found.low, found.high
            alone[b, k] = single.mean()
        mean = rate_over_bases(won[rows], outcomes.base[rows], rng=seed)
        rate[0, k], (low[0, k], high[0, k]) = mean.rate, mean.interval.ends
        alone[0, k] = np.nanmean(alone[1:, k])
    columns = {
        "rate": (rate, "success rate of the best of so many restarts"),
        "low": (low, "lower end of its 95% interval"),
        "high": (high, "upper end of its 95% interval"),
        "alone": (alone, "success rate of the last of these starts by itself"),
    }
    return xr.Dataset(
        {
            name: labelled(("base", "restarts"), values, long_name)
            for name, (values, long_name) in columns.items()
        },
        coords={
            "base": labelled("base", ["all", *bases], "base model"),
            "restarts": labelled("restarts", np.arange(1, most + 1), "number of restarts, K"),
        },
    )
