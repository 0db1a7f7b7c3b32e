import numpy as np
import pytest
from matplotlib import colors
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.line_figure import line_figure, panels_of
from crar_diag.report.line_panel import CURVES, SAME_FOR_BOTH, plot_line_loss
from crar_diag.report.lines import line_dataset
from crar_diag.report.style import PAGE, save_figure
from tests.report.surfaces import (
    ALPHAS,
    TRANSITION,
    VOLUME,
    WEIGHTS,
    cut_off,
    line_surface,
    refitted_line,
)


def line(surfaces=None, **changed):
    given = {"attrs": {}, "weights": WEIGHTS, "depends_on_dynamics": {"transition"}} | changed
    both = {"frozen": line_surface(), "unfrozen": refitted_line()}
    return line_dataset(ALPHAS, both if surfaces is None else surfaces, **given)


def panel(dataset, loss="transition"):
    return plot_line_loss(dataset, loss, ax=Figure().subplots())


def curves(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def arrows(axes) -> list:
    return [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]


def test_curves_are_the_dataset_s_frozen_solid_unfrozen_dashed():
    found = curves(panel(line()))
    np.testing.assert_array_equal(found["frozen"].get_xydata(), np.stack([ALPHAS, TRANSITION], 1))
    np.testing.assert_array_equal(found["unfrozen"].get_ydata(), TRANSITION / 2)
    assert found["frozen"].get_linestyle() == "-"
    assert found["unfrozen"].get_linestyle() == "--"
    assert found["frozen"].get_color() != found["unfrozen"].get_color()


def test_both_curves_differ_in_grey():
    def lightness(name):
        return np.dot([0.299, 0.587, 0.114], colors.to_rgb(CURVES[name]["color"]))

    assert lightness("unfrozen") - lightness("frozen") > 0.2
    assert lightness("frozen") - lightness("both") > 0.2


def test_a_loss_that_does_not_depend_on_the_dynamics_has_one_curve_and_says_so():
    axes = panel(line(), "volume")
    found = curves(axes)
    np.testing.assert_array_equal(found["both"].get_ydata(), VOLUME)
    assert not {"frozen", "unfrozen"} & set(found)
    assert any(SAME_FOR_BOTH in text.get_text() for text in axes.texts)
    assert not any(SAME_FOR_BOTH in text.get_text() for text in panel(line()).texts)


def test_what_is_re_fitted_is_called_by_its_name():
    own = line(attrs={"refits": "readout"})
    (words,) = [text.get_text() for text in panel(own, "volume").texts if "both" in text.get_text()]
    assert words.endswith("the same for both: does not\ndepend on the readout")
    legend = line_figure(own).axes[-1].get_legend()
    found = [text.get_text() for text in legend.get_texts()]
    assert {"readout frozen", "readout re-fitted (unfrozen)"} <= set(found)
    assert not any("dynamics" in text for text in found)


def test_ends_are_marked_at_zero_and_one():
    axes = panel(line())
    upright = [line for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [0.0, 1.0]
    names = {text.get_text(): text.xy[0] for text in axes.texts if hasattr(text, "xy")}
    assert (names["A"], names["B"]) == (0.0, 1.0)


def test_arrows_lead_from_the_straight_line_up_to_the_curve():
    # transition: 4.5 above the line 1 + 2 alpha at 0.75, re-fitted half of that.
    axes = panel(line())
    rises = [(text.xyann[1], text.xy[1]) for text in arrows(axes)]
    assert rises == [(2.5, 7.0), (1.25, 3.5)]
    for text in arrows(axes):
        assert abs(text.xy[0] - 0.75) <= 0.03
        assert text.xy[0] == text.xyann[0]
    straight = [line.get_ydata() for line in axes.lines if line.get_linestyle() == ":"]
    np.testing.assert_array_equal(straight, [[1, 3], [0.5, 1.5]])
    words = next(text.get_text() for text in axes.texts if "barrier" in text.get_text())
    assert words == "frozen: barrier 4.5\nunfrozen: barrier 2.25"


def test_arrows_at_different_places_stand_exactly_there():
    other = np.array([9.0, 1.0, 8.0, 2.0, 2.5, 3.0, 0.0])
    refit = Surface({"transition": other}, {}, np.ones(7, bool), np.ones(7))
    frozen = Surface({"transition": TRANSITION}, {})
    axes = panel(line({"frozen": frozen, "unfrozen": refit}, weights={}))
    assert [text.xy[0] for text in arrows(axes)] == [0.75, 0.25]


def test_a_loss_that_never_rises_above_its_line_has_no_barrier():
    falling = Surface({"transition": (ALPHAS - 2) ** 2}, {})
    axes = panel(line({"frozen": falling}, weights={}))
    assert not arrows(axes)
    assert any(text.get_text() == "no barrier" for text in axes.texts)


def test_a_loss_that_is_not_finite_has_an_unknown_barrier():
    values = TRANSITION.copy()
    values[3] = np.inf
    axes = panel(line({"frozen": Surface({"transition": values}, {})}, weights={}))
    assert any(text.get_text() == "barrier unknown" for text in axes.texts)


def test_points_that_did_not_converge_are_hollow():
    converged = np.array([True, True, False, True, False, True, True])
    data = line({"frozen": line_surface(), "unfrozen": refitted_line(converged)})
    hollow = curves(panel(data))["not converged"]
    np.testing.assert_array_equal(hollow.get_xydata(), [[0.25, 2.0], [0.75, 3.5]])
    assert hollow.get_markerfacecolor() == "white"
    assert "not converged" not in curves(panel(line()))


def test_bands_reach_one_standard_error_to_both_sides():
    errors = {"transition": np.linspace(0.1, 0.7, 7)}
    axes = panel(line({"frozen": line_surface(errors=errors)}))
    (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    corners = {tuple(np.round(v, 9)) for v in band.get_paths()[0].vertices}
    for a, value, error in zip(ALPHAS, TRANSITION, errors["transition"], strict=True):
        assert {(a, round(value - error, 9)), (a, round(value + error, 9))} <= corners
    assert not axes.collections[1:]


def test_text_never_covers_a_curve():
    for loss in ("transition", "volume", "sum"):
        figure = line_figure(line(), losses=[loss])
        axes = figure.axes[0]
        figure.draw_without_rendering()
        (words,) = [text for text in axes.texts if "barrier" in text.get_text()]
        box = words.get_window_extent()
        for curve in axes.lines:
            if len(set(curve.get_xdata())) == 1:
                continue
            x, y = axes.transData.transform(curve.get_xydata()).T
            reached = np.interp(np.linspace(box.x0, box.x1, 200), x, y)
            assert reached.max() < box.y0


def test_the_sum_comes_first_and_negligible_losses_are_named_instead_of_drawn():
    small = {"transition": TRANSITION, "q": 0.9e-4 * TRANSITION, "reward": 1.1e-4 * TRANSITION}
    data = line({"frozen": Surface(small | {"sum": TRANSITION}, {})}, weights={})
    assert panels_of(data) == (["sum", "transition", "reward"], ["q"])
    assert panels_of(data, ["q"]) == (["q"], [])
    figure = line_figure(data)
    titled = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titled == ["weighted sum", r"transition $L_p$", r"reward $L_R$"]
    notes = [text.get_text() for text in figure.axes[-1].texts]
    assert [note.count("$L_Q$") for note in notes] == [1]


def test_every_word_of_the_figure_lies_within_it():
    converged = np.array([True, True, False, True, False, True, True])
    errors = {"transition": 0.1 * TRANSITION}
    surfaces = {
        "frozen": line_surface(errors=errors),
        "unfrozen": refitted_line(converged),
    }
    names = ["sum", "transition", "volume"] * 3
    for panels, width in ((1, 2 / 3), (3, 2 / 3), (5, 1)):
        figure = line_figure(line(surfaces), losses=names[:panels], title="Between two ends")
        assert figure.get_figwidth() == pytest.approx(width * PAGE)
        assert len(figure.axes) == panels + 1
        assert cut_off(figure) == []
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend == [
        "dynamics frozen",
        "dynamics re-fitted (unfrozen)",
        "the same for both",
        "re-fit not converged",
        r"$\pm$ 1 standard error",
        "straight line from A to B",
        "barrier: largest rise above it",
    ]


def test_a_missing_surface_leaves_its_curve_out():
    figure = line_figure(line({"frozen": line_surface()}))
    for axes in figure.axes[:-1]:
        assert {"unfrozen", "both"}.isdisjoint(curves(axes))
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend[0] == "dynamics frozen"
    assert not any("re-fit" in words for words in legend)


def test_saved_twice_a_figure_is_the_same_file_with_its_fonts_in_it(tmp_path):
    figure = line_figure(line())
    for ending in ("pdf", "svg", "png"):
        first, second = (tmp_path / f"{k}.{ending}" for k in (1, 2))
        save_figure(figure, first)
        save_figure(figure, second)
        assert first.read_bytes() == second.read_bytes()
    save_figure(line_figure(line()), tmp_path / "2.pdf")
    assert (tmp_path / "1.pdf").read_bytes() == (tmp_path / "2.pdf").read_bytes()
    pdf = (tmp_path / "1.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"<text" not in (tmp_path / "1.svg").read_bytes()  # outlines: no font is asked for
    assert imread(tmp_path / "1.png").shape[1] == 300 * 4.5


def test_the_prime_of_a_loss_is_saved_without_a_word(tmp_path, caplog):
    surfaces = {"frozen": Surface({"consecutive_pairs": TRANSITION}, {})}
    figure = line_figure(line(surfaces, weights={}, depends_on_dynamics=()))
    save_figure(figure, tmp_path / "primed.pdf")
    assert b"Cmsy10" in (tmp_path / "primed.pdf").read_bytes()
    assert caplog.records == []


def test_a_loss_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="transition, volume, sum, found 'hue'"):
        line_figure(line(), losses=["hue"])
