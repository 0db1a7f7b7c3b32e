"""Losses over time: the curves are the data's, bands their errors, the axis what it says."""

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure

from crar_diag.agent.config import LOSSES
from crar_diag.errors import InputError
from crar_diag.report.figures.loss_curves import DASHES, DECADES, losses_figure, plot_losses
from crar_diag.report.style import LOSS_COLOURS, LOSS_LABELS, PAGE
from tests.report.figures.by_hand import BASES, ENDS, LONG, TIMES, history
from tests.report.surfaces import cut_off

MEMBER = "original-poor-seed0"


def curves(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def test_curves_are_the_losses_of_the_member():
    data = history(tuple(ENDS))
    found = curves(plot_losses(data, member=MEMBER, ax=Figure().subplots()))
    assert list(found) == list(LOSSES)
    for loss, curve in found.items():
        own = data.expected_loss.sel(member=MEMBER, loss=loss).values
        np.testing.assert_array_equal(curve.get_ydata(), own)
        np.testing.assert_array_equal(curve.get_xdata(), np.maximum(TIMES, 1))
        assert curve.get_color() == LOSS_COLOURS[loss]


def test_bands_are_one_standard_error_wide_and_absent_where_losses_are_exact():
    data = history(tuple(ENDS), scores=3)
    axes = plot_losses(data, member=MEMBER, ax=Figure().subplots())
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    assert len(bands) == len(LOSSES)
    own = data.sel(member=MEMBER, loss="transition")
    value, error = own.expected_loss.values, own.expected_loss_error.values
    corners = bands[0].get_paths()[0].vertices
    for sign in (-1, 1):
        ends = np.stack([np.maximum(TIMES, 1), value + sign * error], axis=1)
        assert all(np.isclose(corners, end, rtol=1e-12).all(axis=1).any() for end in ends)
    exact = plot_losses(history(tuple(ENDS)), member=MEMBER, ax=Figure().subplots())
    assert not exact.collections


def test_losses_can_be_told_apart_in_grey():
    assert set(DASHES) == set(LOSSES)
    assert len({str(dash) for dash in DASHES.values()}) == len(LOSSES)


def test_the_axis_leads_from_the_largest_loss_to_the_least_that_counts():
    """Final losses of 0.01 count, those of 1e-9 do not: they leave the axes and are named."""
    base, moved = history(BASES, LONG), history(tuple(ENDS))
    figure = losses_figure(base, moved, members=["good", MEMBER])
    panels = figure.axes
    low, high = panels[0].get_ylim()
    assert [axes.get_ylim() for axes in panels] == [(low, high)] * 2
    own = [base.sel(member="good"), moved.sel(member=MEMBER)]
    largest = max(float(one.expected_loss.max()) for one in own)
    last = np.concatenate([one.expected_loss.values[-1] for one in own])
    assert high == pytest.approx(1.5 * largest)
    # Half the least final loss that counts lies above a thousandth of the top: the latter it is.
    assert 0.5 * last[last > 1e-3].min() > 1e-3 * high
    assert low == pytest.approx(1e-3 * high)
    (legend,) = figure.legends
    words = [entry.get_text() for entry in legend.get_texts()]
    assert words == [LOSS_LABELS[loss] for loss in LOSSES]  # all begin above the lower end


def test_losses_below_the_axes_all_the_time_are_named_last():
    data = history(tuple(ENDS))
    data.expected_loss.loc[{"loss": ["reward", "discount", "q"]}] = 1e-9
    figure = losses_figure(data, members=[MEMBER])
    (legend,) = figure.legends
    words = [entry.get_text() for entry in legend.get_texts()]
    assert words[-1] == r"below the axis: $L_R$, $L_\gamma$, $L_Q$"
    assert len(words) == len(LOSSES) - 3 + 1
    low, high = figure.axes[0].get_ylim()
    assert high / low <= 10**DECADES * (1 + 1e-9)


def test_losses_that_are_not_finite_or_zero_are_drawn_without_a_word():
    data = history(tuple(ENDS))
    data.expected_loss.loc[{"loss": "volume"}] = 0.0
    data.expected_loss.loc[{"loss": "q", "time": TIMES[4:]}] = np.nan
    losses_figure(data, members=[MEMBER])
    data.expected_loss[:] = np.nan
    losses_figure(data, members=[MEMBER])


def test_every_word_lies_within_the_figure_of_a_pages_width():
    moved = history(tuple(ENDS), scores=3)
    figure = losses_figure(
        *(history(BASES, LONG), moved, moved),
        members=["good", "oracle-good", MEMBER],
        titles=["base model", "successful transfer", "failed transfer"],
        title="Labyrinth",
    )
    assert [axes.get_title() for axes in figure.axes] == [
        "base model",
        "successful transfer",
        "failed transfer",
    ]
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []


def test_what_is_not_there_is_refused():
    data = history(BASES)
    with pytest.raises(InputError, match="expected a member of the run, found 'bad'"):
        plot_losses(data, member="bad")
    with pytest.raises(InputError, match="a member for each of 1 histories, found 2"):
        losses_figure(data, members=["good", "poor"])
    with pytest.raises(InputError, match="a member for each of 0 histories"):
        losses_figure(members=[])
