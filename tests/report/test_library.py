import numpy as np
import pytest
from matplotlib.axes import Axes

from crar_diag.errors import InputError
from crar_diag.landscape.grids import Line
from crar_diag.landscape.problem import evaluate
from crar_diag.landscape.vectors import norm
from crar_diag.landscape.views import dynamics_plane, line, random_plane
from crar_diag.report.library import by_library
from crar_diag.report.library_figure import library_line_figure, library_plane_figure
from crar_diag.report.store import add_to_report, read_report
from crar_diag.report.views import view_figures
from tests.cli.landscapes import A, B
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.report.surfaces import cut_off
from tests.report.views_between import between

STEPS = 7


@pytest.fixture(scope="module")
def found():
    views = [line(between(), STEPS), random_plane(between(), STEPS, STEPS, seed=0)]
    return by_library(views, between(), ["frozen"], {"held_out_transitions": 5}, seed=4)


def test_values_stand_at_the_points_that_the_library_samples(found):
    own = found["line"]
    np.testing.assert_allclose(own.alpha, np.arange(1, STEPS + 1) / STEPS, rtol=1e-12)
    a, b = between().pair()
    grid = Line(a, b, own.alpha.values)
    expected = evaluate(between().problem, grid.points(0, STEPS), between().held, 1).losses
    for loss, values in expected.items():
        np.testing.assert_allclose(own.value.sel(loss=loss), values, rtol=1e-5, atol=1e-9)


def test_a_plane_is_no_rectangular_grid_and_its_directions_are_as_long_as_the_model(found):
    own = found["random-plane"]
    assert own.value.dims == ("loss", "row", "column")
    assert own.x.dims == own.y.dims == ("row", "column")
    step = 1 / STEPS
    np.testing.assert_allclose(np.diff(own.x, axis=0), step, atol=1e-9)
    np.testing.assert_allclose(np.diff(own.y, axis=1), step, atol=1e-9)
    length = norm(between().moving(0))
    for name in ("first_norm", "second_norm"):
        assert own.attrs[name] == pytest.approx(length, rel=1e-9)
    assert own.attrs["random_seed"] == 4


def test_groups_say_what_made_them_and_have_the_weights(found, tmp_path):
    for mode, own in found.items():
        assert (own.attrs["engine"], own.attrs["mode"]) == ("loss-landscapes", mode)
        assert (own.attrs["checkpoint_a"], own.attrs["checkpoint_b"]) == (str(A), str(B))
        assert own.attrs["held_out_transitions"] == 5
        assert float(own.weight.sel(loss="consecutive_pairs")) == pytest.approx(0.2)
        total = (own.value * own.weight).sum("loss")  # NaN, the sum's own weight, counts for 0
        np.testing.assert_allclose(own.value.sel(loss="sum"), total, rtol=1e-6)
    report = tmp_path / "report.h5"
    add_to_report(report, {f"line/{mode}": own for mode, own in found.items()}, MADE)
    for mode, own in found.items():
        assert_same(read_report(report, f"line/{mode}"), own)
    assert_netcdf4(report)


def test_it_tells_how_far_it_is():
    told = []

    def progress(what):
        return lambda done, total: told.append((what, done, total))

    by_library([line(between(), STEPS)], between(), ["frozen"], {}, 0, progress=progress)
    assert told[-1] == ("loss-landscapes line", STEPS, STEPS)
    assert [done for _, done, _ in told][-STEPS:] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("view", "dynamics", "what"),
    [
        (line, ["unfrozen"], "unfrozen dynamics"),
        (line, ["frozen", "unfrozen"], "unfrozen dynamics"),
        (lambda which, points: dynamics_plane(which, points, 0), ["frozen"], "dynamics-plane"),
    ],
)
def test_other_views_are_refused(view, dynamics, what):
    with pytest.raises(InputError, match=f"with frozen dynamics only, found {what}$"):
        by_library([view(between(), STEPS)], between(), dynamics, {}, seed=0)


def test_figures_show_each_value_where_it_was_taken(found):
    figure = view_figures(found["line"])["line"]
    panels: list[Axes] = figure.axes
    assert len(panels) == found["line"].sizes["loss"]
    for axes, loss in zip(panels, found["line"].loss.values, strict=True):
        (curve,) = axes.lines
        np.testing.assert_array_equal(curve.get_xdata(), found["line"].alpha)
        np.testing.assert_array_equal(curve.get_ydata(), found["line"].value.sel(loss=loss))
    plane = found["random-plane"]
    dots = view_figures(plane)["random-plane"].axes[0].lines[0]
    np.testing.assert_array_equal(dots.get_xdata(), plane.x.values.ravel())
    np.testing.assert_array_equal(dots.get_ydata(), plane.y.values.ravel())


def test_nothing_is_cut_off_and_unknown_losses_are_refused(found):
    for figure in (
        library_line_figure(found["line"], title="a title"),
        library_plane_figure(found["random-plane"], loss="transition", title="a title"),
    ):
        assert cut_off(figure) == []
    with pytest.raises(InputError, match="found 'volum'"):
        library_plane_figure(found["random-plane"], loss="volum")


def test_values_that_are_not_finite_are_left_out_of_a_figure(found):
    plane = found["random-plane"].copy(deep=True)
    plane.value.loc[{"loss": "sum"}][0, 0] = np.inf
    dots = library_plane_figure(plane).axes[0].lines[0]
    assert len(dots.get_xdata()) == STEPS**2 - 1
