"""The picture of what becomes of transfers: the share of every kind over time."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from crar_diag.errors import InputError

# Okabe and Ito's palette: colour-blind readers tell them apart. The good kind is the darkest, what
# is still under way is grey, so that the picture can be read without colours too.
KIND_COLOURS = {
    "identity": "#0072B2",
    "exchange": "#D55E00",
    "mirror": "#E69F00",
    "swap": "#F0E442",
    "rotation": "#CC79A7",
    "channels": "#009E73",
    "collapsed": "#000000",
    "unfinished": "#BBBBBB",
    "other": "#888888",
    "diverged": "#56B4E9",
    "no base": "#EEEEEE",
}


def plot_kinds(shares: xr.Dataset, base: str = "all", *, ax: Axes | None = None) -> Axes:
    """Draw shares of kinds as stacked areas over a logarithmic time.

    Args:
        shares: a report's `embedding/<run>/kinds`: `share` over `base`, `kind` and `time`.
        base: which base model's transfers, or `all`.
        ax: where to draw; new axes by default.

    Returns:
        The axes. Only kinds that occur have a label.

    Raises:
        InputError: there is no such base.
    """
    if base not in shares.base.values:
        raise InputError(
            f"expected one of the bases {', '.join(map(str, shares.base.values))}, found '{base}'"
        )
    axes = ax or plt.subplots(figsize=(3.25, 2.2), layout="constrained")[1]
    own = shares.share.sel(base=base)
    # The first record stands at the left end, where a logarithm cannot put update 0.
    times = np.maximum(shares.time.values, 1)
    present = [kind for kind in KIND_COLOURS if float(own.sel(kind=kind).max()) > 0]
    axes.stackplot(
        times,
        *(own.sel(kind=kind).values for kind in present),
        colors=[KIND_COLOURS[kind] for kind in present],
        labels=present,
        linewidth=0,
    )
    axes.set_xscale("log")
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(0, 1)
    axes.set_xlabel("updates")
    axes.set_ylabel("share of transfers")
    return axes
