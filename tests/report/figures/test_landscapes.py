"""Encoders and dynamics, and barriers: curves and bars are the data's."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.figures.barriers import barriers_figure, plot_barriers
from crar_diag.report.figures.landscapes import dynamics_figure, plot_slice
from crar_diag.report.lines import line_dataset
from crar_diag.report.style import PAGE
from tests.report.figures.by_hand import XS, YS, dynamics_plane, line
from tests.report.surfaces import ALPHAS, cut_off, line_surface, plane

# Of transition, along the lines by hand: 4.5 above 1 + 2 alpha at 0.75; re-fitted half of that.
FROZEN, UNFROZEN, VOLUME = 4.5, 2.25, 2.5


def curves(axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines if len(set(line.get_xdata())) > 1]


# Figure 15


def test_the_slice_is_where_the_dynamics_are_frozen_and_the_best_ones_lie_below_it():
    """z = 10 + x + 4 y^2 - 2 y is 10 + x where y = 0, and at least 10 + x, where y = 0.5 too."""
    found = curves(plot_slice(dynamics_plane(), loss="transition", ax=Figure().subplots()))
    np.testing.assert_allclose(found[0], np.stack([XS, 10 + XS], axis=1))
    np.testing.assert_allclose(found[1], np.stack([XS, 10 + XS], axis=1))
    tilted = dynamics_plane()
    tilted.frozen.loc[{"y": 0.5}] -= 3.0
    found = curves(plot_slice(tilted, loss="transition", ax=Figure().subplots()))
    np.testing.assert_allclose(found[0][:, 1], 10 + XS)
    np.testing.assert_allclose(found[1][:, 1], 7 + XS)


def test_a_line_between_the_same_agents_adds_what_re_fitted_dynamics_reach():
    own = line()
    axes = plot_slice(dynamics_plane(), own, loss="transition", ax=Figure().subplots())
    values = own.value.sel(dynamics="unfrozen", loss="transition").values
    np.testing.assert_array_equal(curves(axes)[2], np.stack([ALPHAS, values], axis=1))


def test_the_frozen_problem_is_marked_in_the_plane():
    figure = dynamics_figure(dynamics_plane(), line(), loss="transition", title="Measured")
    left, right = figure.axes[:2]
    (marked,) = [line for line in left.lines if line.get_label() == "frozen"]
    assert set(marked.get_ydata()) == {0.0}
    assert {text.get_text() for text in left.texts} == {"A", "B"}
    assert (left.get_xlim(), left.get_ylim()) == ((XS[0], XS[-1]), (YS[0], YS[-1]))
    assert len(curves(right)) == 3
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "dynamics frozen, the slice y = 0",
        "best of these dynamics",
        "dynamics re-fitted",
    ]
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []


def test_losses_over_decades_have_a_logarithmic_axis_with_plain_numbers():
    data = dynamics_plane()
    data.frozen[:] = 10.0 ** (data.x - 2)
    axes = plot_slice(data, loss="sum", ax=Figure().subplots())
    assert axes.get_yscale() == "log"
    formatter = axes.yaxis.get_major_formatter()
    assert [formatter(value) for value in (0.02, 0.5)] == ["0.02", "0.5"]
    data.frozen[:] = 1.0 + 0.1 * data.x
    assert plot_slice(data, loss="sum", ax=Figure().subplots()).get_yscale() == "linear"


def test_another_plane_loss_or_grid_is_refused():
    with pytest.raises(InputError, match="expected a plane of encoders and dynamics"):
        dynamics_figure(plane())
    with pytest.raises(InputError, match=r"expected one of the losses .* found 'hue'"):
        dynamics_figure(dynamics_plane(), loss="hue")
    with pytest.raises(InputError, match="with the frozen dynamics, y = 0, among its points"):
        plot_slice(dynamics_plane().sel(y=[-0.5, 0.5]), ax=Figure().subplots())


# Barriers


def bars(axes) -> list[float]:
    return [patch.get_height() for patch in axes.patches]


def test_bars_are_means_over_lines_and_dots_the_lines():
    axes = Figure().subplots()
    lines = [line(), line(2.0)]  # frozen transition losses twice as high; re-fitted the same
    assert plot_barriers(lines, loss="transition", ax=axes) == ["frozen", "unfrozen"]
    assert bars(axes) == [1.5 * FROZEN, UNFROZEN]
    dots = [own.get_ydata().tolist() for own in axes.lines]
    assert dots == [[FROZEN, UNFROZEN], [2 * FROZEN, UNFROZEN]]


def test_a_loss_that_does_not_depend_on_the_dynamics_has_one_bar():
    axes = Figure().subplots()
    assert plot_barriers([line(), line()], loss="volume", ax=axes) == ["both"]
    assert bars(axes) == [VOLUME]


def test_lines_without_re_fitted_dynamics_have_frozen_bars_alone():
    frozen = line_dataset(
        ALPHAS,
        {"frozen": line_surface()},
        attrs={},
        weights={},
        depends_on_dynamics={"transition"},
    )
    axes = Figure().subplots()
    assert plot_barriers([frozen], loss="transition", ax=axes) == ["frozen"]
    assert bars(axes) == [FROZEN]
    axes = Figure().subplots()
    plot_barriers([frozen, line()], loss="transition", ax=axes)
    assert bars(axes) == [FROZEN, UNFROZEN]


def test_the_figure_has_a_panel_a_loss_the_sum_first_and_names_the_negligible_ones():
    small = {"transition": line_surface().losses["transition"]}
    small |= {"q": 0.9e-4 * small["transition"], "sum": small["transition"]}
    data = line_dataset(
        ALPHAS,
        {"frozen": Surface(small, {})},
        attrs={},
        weights={},
        depends_on_dynamics={"transition", "q"},
    )
    figure = barriers_figure(data)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["weighted sum", r"transition $L_p$"]
    notes = [text.get_text() for axes in figure.axes if not axes.axison for text in axes.texts]
    assert [note.count("$L_Q$") for note in notes] == [1]


def test_every_word_lies_within_the_figure_and_bars_differ_in_grey():
    figure = barriers_figure(line(), line(2.0), title="Barriers")
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []
    axes = next(axes for axes in figure.axes if axes.get_title() == r"transition $L_p$")
    light = [np.dot([0.299, 0.587, 0.114], to_rgb(patch.get_facecolor())) for patch in axes.patches]
    assert light[1] - light[0] > 0.2
    assert axes.patches[1].get_hatch()
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "dynamics frozen",
        "dynamics re-fitted (unfrozen)",
        "the same for both",
        "one of 2 lines",
    ]


def test_no_line_and_no_common_loss_are_refused():
    with pytest.raises(InputError, match="at least one line"):
        barriers_figure()
    other = line_dataset(
        ALPHAS,
        {"frozen": Surface({"hue": line_surface().losses["volume"]}, {})},
        attrs={},
        weights={},
        depends_on_dynamics=(),
    )
    with pytest.raises(InputError, match="none that all of them have"):
        barriers_figure(line(), other)
