"""One panel of scores over epochs: mean and standard error of groups of runs."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from crar_diag.errors import InputError, did_you_mean
from crar_diag.report.statistics.curves import learning_curve
from crar_diag.report.style import BLUE, COLUMN, GREEN, ORANGE, PURPLE, SKY, VERMILION

LEVELS: Final = {
    "base": "base model",
    "seed": "seed",
    "approach": "approach",
    "learning_rate": "learning rate",
}
"""By what runs are told apart in a figure, and what a legend calls that."""

# Neighbours differ in colour and in dash, so that they differ in grey as well.
_COLOURS: Final = ("black", VERMILION, BLUE, ORANGE, GREEN, PURPLE, SKY)
_DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
HEIGHT: Final = 2.8
"""Of a panel with a legend of three lines below, inches."""
LEGEND_LINE: Final = 0.14
"""Of one more line, inches."""
_NARROW: Final = 28  # letters of the widest label of which two stand side by side
_LONGEST: Final = 41
_BELOW: Final = 0.36  # inches, that an axis with its label takes


def plot_scores(
    history: xr.Dataset,
    by: str,
    *,
    levels: Sequence[Any] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw mean and standard error over epochs of the runs of each base, seed, approach or rate.

    Args:
        history: scores over epochs (`score_table.read_scores`), of the runs that are to be drawn.
        by: one of `LEVELS`; one line each of its values.
        levels: the values in the order of their looks, so that panels can share them; those of the
            data by default.
        ax: where to draw; new axes by default.
        title: above the axes.

    Returns:
        The axes; a line's label is its value and the number of its runs.

    Raises:
        InputError: `by` is none of `LEVELS`.
    """
    if by not in LEVELS:
        raise InputError(f"unknown level '{by}'{did_you_mean(by, LEVELS)}", arguments=["by"])
    axes = ax or Figure(figsize=(COLUMN, HEIGHT), layout="constrained").subplots()
    own = history[by].values
    for k, level in enumerate(levels_of(history, by) if levels is None else levels):
        if not (own == level).any():
            continue
        scores = history.score.values[own == level]
        curve = learning_curve(scores)
        # Where these runs are not scored there is no gap in their line.
        at = np.flatnonzero(curve.runs)
        epochs, mean, error = history.epoch.values[at], curve.mean[at], curve.standard_error[at]
        colour = _COLOURS[k % len(_COLOURS)]
        name = f"{level:g}" if by == "learning_rate" else short(str(level)) or "none"
        label = f"{name} ({len(scores)} run{'s' if len(scores) > 1 else ''})"
        dash = _DASHES[k % len(_DASHES)]
        axes.plot(epochs, mean, label=label, color=colour, linestyle=dash, zorder=3)
        low, high = mean - error, mean + error
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title)
    axes.margins(x=0)
    axes.legend(
        title=LEVELS[by],
        title_fontsize=7,
        fontsize=6.5,
        ncols=_columns(axes.get_legend_handles_labels()[1]),
        columnspacing=1,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, -_BELOW, axes.figure.dpi_scale_trans),
    )
    return axes


def legend_lines(axes: Axes) -> int:
    """Return how many lines the legend of such a panel has."""
    labels = axes.get_legend_handles_labels()[1]
    return -(-len(labels) // _columns(labels))


def levels_of(history: xr.Dataset, by: str) -> list[Any]:
    """Return the different values of `by`: names as they come, numbers rising."""
    values = history[by].values
    if values.dtype.kind in "if":
        return list(np.unique(values).tolist())
    return list(dict.fromkeys(values.astype(str).tolist()))


def _columns(labels: Sequence[str]) -> int:
    return 2 if max(map(len, labels), default=0) <= _NARROW else 1


def short(name: str) -> str:
    """Return a name, its middle left out where a line of text has no room for it."""
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 3) // 2
    return f"{name[:half]}...{name[-half:]}"
