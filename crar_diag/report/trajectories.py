"""What became of each transfer over time, and the share of every kind: two groups of a report."""

import numpy as np
import xarray as xr

from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import labelled
from crar_diag.embedding.outcome import TransferOutcomes
from crar_diag.report.statistics.shares import kind_shares
from crar_diag.report.transfer_statistics import ALL_KINDS


def kinds_over_time(outcomes: TransferOutcomes, rows: np.ndarray | None = None) -> xr.Dataset:
    """Return the share of every kind at every time in a run, over all bases and in each.

    Runs move between kinds, so these are shares of all runs at a time, not survival curves.

    Args:
        outcomes: of the run.
        rows: which members; those that were kept by default.
    """
    rows = outcomes.kept() if rows is None else rows
    kinds, base = outcomes.kinds[rows], outcomes.base[rows]
    groups = ["all", *sorted(set(map(str, base)))]
    shape = (len(groups), len(ALL_KINDS), len(outcomes.times))
    share, low, high = (np.full(shape, np.nan) for _ in range(3))
    for g, group in enumerate(groups):
        own = kinds if group == "all" else kinds[base == group]
        found = kind_shares(own, outcomes.times, order=ALL_KINDS)
        share[g], low[g], high[g] = found.share, found.low, found.high
    dims = ("base", "kind", "time")
    return xr.Dataset(
        {
            "share": labelled(dims, share, "share of the transfers that are of this kind"),
            "low": labelled(dims, low, "lower end of its 95% Wilson interval"),
            "high": labelled(dims, high, "upper end of its 95% Wilson interval"),
        },
        coords={
            "base": labelled(["base"], groups, "base model, or all of them"),
            "kind": labelled(["kind"], list(ALL_KINDS), "kind of outcome"),
            "time": labelled(["time"], outcomes.times, "updates so far", "updates"),
        },
    )


def trajectories(outcomes: TransferOutcomes) -> xr.Dataset:
    """Return what became of each encoder of a run over time, as a group of a report."""
    dims = ("member", "time")
    numbers = {
        name: labelled(dims, values, long_name, units)
        for name, (values, long_name, units) in {
            "distance": (outcomes.numbers["distance"], "mean L2 distance to the base", "1"),
            "residual": (outcomes.numbers["residual"], "residual of the best map", "1"),
            "margin": (outcomes.numbers["margin"], "margin of the best map", "1"),
            "angle": (outcomes.numbers["angle"], "angle of the best rotation", "degrees"),
            "axis": (outcomes.numbers["axis"], "axis of the best reflection", "degrees"),
        }.items()
    }
    of_member = {
        "variant": outcomes.variant,
        "base": outcomes.base,
        "seed": outcomes.seed,
        "initial_learning_rate": outcomes.learning_rate,
        "restart": outcomes.restart,
    }
    loss = outcomes.losses
    return xr.Dataset(
        {
            "kind": labelled(dims, outcomes.kinds.astype(object), "kind of outcome"),
            "realigned": labelled(dims, outcomes.realigned, "maps folded in so far"),
            "expected_loss": labelled((*dims, "loss"), loss, "loss, exact or on held-out mazes"),
            **numbers,
        },
        coords={
            "member": labelled(["member"], outcomes.members.astype(object), "name of the member"),
            "time": labelled(["time"], outcomes.times, "updates so far", "updates"),
            "loss": labelled(["loss"], list(LOSSES), "name of the loss"),
            **{
                name: labelled(
                    ["member"],
                    values.astype(object) if values.dtype.kind == "U" else values,
                    f"{name.replace('_', ' ')} of the transfer",
                )
                for name, values in of_member.items()
            },
        },
    )
