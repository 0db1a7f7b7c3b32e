"""Figures of scores over epochs: 8 (bases, seeds), 10 (approaches) and 18 (learning rates).

Lines are means over runs, bands one standard error of them to both sides; where one run is left,
there is no band. Each figure is drawn of the runs that it is about, chosen from all of a file's.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from crar_diag.errors import InputError
from crar_diag.report.layout import settle
from crar_diag.report.score_panel import (
    HEIGHT,
    LEGEND_LINE,
    legend_lines,
    levels_of,
    plot_scores,
    short,
)
from crar_diag.report.score_table import conditions
from crar_diag.report.style import COLUMN, PAGE, paper_style

PROPOSED: Final = "original"
"""The paper's own approach: frozen dynamics, the encoder from the base model."""


def bases_figure(history: xr.Dataset) -> Figure:
    """Draw figure 8: the scores of transfers by base model (left) and by seed (right).

    Of all approaches and rates, that with the most base models is drawn; of several such ones the
    proposed approach.

    Args:
        history: scores over epochs, of any runs.

    Raises:
        InputError: no approach was run on two base models at one rate.
    """
    with_base = history.isel(run=np.flatnonzero(history.base.values.astype(str) != ""))
    found = [
        (len(set(with_base.base.values[rows])), approach == PROPOSED, rows)
        for approach, _, rows in conditions(with_base)
    ]
    bases, _, rows = max(found, key=lambda one: one[:2], default=(0, False, np.empty(0)))
    if bases < 2:
        raise InputError(
            "figure 8 needs runs of one approach at one learning rate on at least 2 base models, "
            f"found {bases}"
        )
    own = with_base.isel(run=rows)
    return _panels([(own, "by base model"), (own, "by seed of the transfer")], ("base", "seed"))


def approaches_figure(history: xr.Dataset) -> Figure:
    """Draw figure 10: approaches on the base model that transfers best and on the worst one.

    Of the rate at which most approaches were run, and of the base models with the most approaches,
    the one with the highest mean score of the proposed approach stands left, the one with the
    lowest right; with one such model there is one panel. Runs without a base model, as from
    scratch, stand in both.

    Args:
        history: scores over epochs, of any runs.

    Raises:
        InputError: no base model has runs of two approaches at one rate.
    """
    own = _at_richest_rate(history)
    bases = own.base.values.astype(str)
    approaches = {
        base: set(own.approach.values[(bases == base) | (bases == "")].tolist())
        for base in dict.fromkeys(bases.tolist())
        if base
    }
    most = max(map(len, approaches.values()), default=0)
    if most < 2:
        raise InputError(
            "figure 10 needs runs of at least 2 approaches on one base model at one learning rate, "
            f"found {most}"
        )
    candidates = [base for base, names in approaches.items() if len(names) == most]
    ordered = sorted(candidates, key=lambda base: -_proposed_score(own, base))
    panels = [
        (own.isel(run=np.flatnonzero((bases == base) | (bases == ""))), f"base model {short(base)}")
        for base in dict.fromkeys((ordered[0], ordered[-1]))
    ]
    return _panels(panels, ("approach",) * len(panels), levels_of(own, "approach"))


def rates_figure(history: xr.Dataset) -> Figure:
    """Draw figure 18: scores by learning rate (left) and by seed (right).

    Of the approach with the most rates (of several such ones the proposed approach), the runs of
    those base models are drawn that were run at several. Seeds that were run at one rate alone are
    left out of the right panel, as in the paper.

    Args:
        history: scores over epochs, of any runs.

    Raises:
        InputError: no approach was run at two rates on one base model.
    """
    own, rates = history.isel(run=[]), 1
    for approach in sorted(levels_of(history, "approach"), key=lambda name: name != PROPOSED):
        rows = np.flatnonzero(history.approach.values == approach)
        chosen = history.isel(run=rows[_rates_of(history, rows, "base") > 1])
        if len(levels_of(chosen, "learning_rate")) > rates:
            own, rates = chosen, len(levels_of(chosen, "learning_rate"))
    if rates < 2:
        raise InputError(
            "figure 18 needs runs of one approach on one base model at at least 2 learning rates, "
            "found 1"
        )
    several = _rates_of(own, np.arange(own.sizes["run"]), "seed") > 1
    right = own.isel(run=np.flatnonzero(several)) if several.any() else own
    panels = [(own, "by learning rate"), (right, "by seed")]
    return _panels(panels, ("learning_rate", "seed"))


FIGURES: Final[dict[int, Callable[[xr.Dataset], Figure]]] = {
    8: bases_figure,
    10: approaches_figure,
    18: rates_figure,
}
"""The paper's figures of scores, by number."""


def possible_figures(history: xr.Dataset) -> dict[int, Figure]:
    """Return the figures that the data allow, by number.

    Raises:
        InputError: none; the sentence says what each needs.
    """
    drawn, refused = {}, []
    for number, draw in FIGURES.items():
        try:
            drawn[number] = draw(history)
        except InputError as error:
            refused.append(str(error))
    if not drawn:
        raise InputError("; ".join(refused), arguments=["figure"])
    return drawn


def _at_richest_rate(history: xr.Dataset) -> xr.Dataset:
    """Return the runs at the rate at which most approaches were run."""
    rates = history.learning_rate.values
    approaches = history.approach.values
    counts = {rate: len(set(approaches[rates == rate])) for rate in np.unique(rates).tolist()}
    richest = max(counts, key=lambda rate: (counts[rate], (rates == rate).sum()))
    return history.isel(run=np.flatnonzero(rates == richest))


def _proposed_score(history: xr.Dataset, base: str) -> float:
    """Return the mean score of the proposed approach on a base; of all approaches without it."""
    own = history.base.values == base
    proposed = own & (history.approach.values == PROPOSED)
    scores = history.score.values[proposed if proposed.any() else own]
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else -np.inf


def _rates_of(history: xr.Dataset, rows: np.ndarray, by: str) -> np.ndarray:
    """Return for each of some runs at how many rates its base or seed was run, `[rows]`."""
    own, rates = history[by].values[rows], history.learning_rate.values[rows]
    return np.array([len(set(rates[own == value])) for value in own], np.int64)


def _panels(
    panels: Sequence[tuple[xr.Dataset, str]],
    by: Sequence[str],
    levels: Sequence[Any] | None = None,
) -> Figure:
    """Return a figure of one or two panels with one scale of scores."""
    with paper_style():
        size = (PAGE if len(panels) > 1 else COLUMN, HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (history, title), one in zip(cells, panels, by, strict=True):
            plot_scores(history, one, levels=levels, ax=axes, title=title)
        more = max(legend_lines(axes) for axes in cells) - 3
        figure.set_figheight(HEIGHT + LEGEND_LINE * max(0, more))
        cells[0].set_ylabel("score, reward an episode")
        return settle(figure)
