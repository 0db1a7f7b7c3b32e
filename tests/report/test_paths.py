"""Paths as a group of a report, and their picture, of a circular valley by hand."""

import json

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.connections import Connection, EndRefit, Ends
from crar_diag.landscape.curve import Bezier
from crar_diag.landscape.grids import Line
from crar_diag.landscape.paths import Path
from crar_diag.landscape.problem import Problem
from crar_diag.landscape.profiles import Profile, profile
from crar_diag.report.path_figure import path_figure
from crar_diag.report.path_panels import plot_path, plot_rotation, plot_shares, shares_of
from crar_diag.report.paths import path_dataset
from crar_diag.report.store import add_to_report, read_report
from crar_diag.report.style import save_figure
from tests.report.labelled import MADE, assert_netcdf4, assert_same

WEIGHTS = {"transition": 2.0, "volume": 0.5}
BARRIERS = ("above_line", "above_line_at", "above_ends", "above_ends_at")


def at(x, y):
    return {"x": torch.tensor(x, dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)}


def losses(parameters, batch):
    """The ring, which the straight line crosses; its width; and one that is always tiny."""
    x, y = parameters["x"], parameters["y"]
    return {"transition": (x * x + y * y - 1) ** 2, "volume": 1 + y * y, "q": 1e-9 * x * x}


def terms(parameters, batch):
    """The same as means of two terms."""
    spread = torch.tensor([0.5, 1.5], dtype=torch.float64)
    return {name: value * spread for name, value in losses(parameters, batch).items()}


def connection(height=2.0, function=losses, refits=(), points=5) -> Connection:
    """From left to right, straight and by the parabola with its control point at this height."""
    ends = Ends(Problem(function, None, weights=WEIGHTS), at(-1.0, 0.0), at(1.0, 0.0), {}, refits)
    inner = {"x": torch.zeros(1, dtype=torch.float64), "y": torch.full((1,), height).double()}
    path = Path(inner, np.array([3.0, 2.0]), 17, height > 2)

    def along(course) -> Profile:
        return profile(ends.problem, course, {}, points=points)

    profiles = {
        "straight": along(lambda ts: Line(ends.a, ends.b, ts)),
        "curve": along(lambda ts: Bezier(ends.a, ends.b, inner, ts)),
    }
    return Connection(ends, path, profiles)


def rotations(end=180.0, **changes) -> dict[str, Profile]:
    problem = Problem(losses, None, weights=WEIGHTS)
    found = {
        name: profile(
            problem, lambda d, y=y: Line(at(1.0, 0.0), at(1.0, y), d / end), {}, points=4, end=end
        )
        for name, y in (("together", 1.0), ("encoder", 3.0))
    }
    return found | changes


REFITS = (EndRefit(0.5, 0.25, 30, True), EndRefit(0.4, 0.4, 7, False))
STATES = np.arange(2 * 5 * 3 * 2.0).reshape(2, 5, 3, 2)


@pytest.fixture(scope="module")
def both():
    pair = dict(zip(("straight", "curve"), STATES, strict=True))
    return path_dataset(
        {"unfrozen": connection(3.0, refits=REFITS), "frozen": connection()},
        attrs={"sha256_a": "0" * 64, "settings": {"bends": 1}, "aligned": False},
        rotations=rotations(),
        embeddings={"frozen": pair, "unfrozen": {n: s + 100 for n, s in pair.items()}},
    )


# The data


def test_values_stand_at_their_dynamics_path_loss_and_place(both):
    assert both.value.dims == ("dynamics", "path", "loss", "t")
    assert both.dynamics.values.tolist() == ["frozen", "unfrozen"]
    assert both.path.values.tolist() == ["straight", "curve"]
    assert both.loss.values.tolist() == ["transition", "volume", "q", "sum"]
    np.testing.assert_array_equal(both.t, [0, 0.25, 0.5, 0.75, 1])
    straight = both.value.sel(dynamics="frozen", path="straight")
    np.testing.assert_allclose(straight.sel(loss="transition"), [0, 0.5625, 1, 0.5625, 0])
    np.testing.assert_array_equal(straight.sel(loss="volume"), 1)
    # At its middle the parabola is at half the height of its control point.
    middle = both.value.sel(path="curve", t=0.5)
    assert float(middle.sel(dynamics="frozen", loss="transition")) == 0
    assert float(middle.sel(dynamics="unfrozen", loss="transition")) == (1.5**2 - 1) ** 2
    assert float(middle.sel(dynamics="unfrozen", loss="sum")) == 2 * 1.5625 + 0.5 * 3.25
    np.testing.assert_array_equal(both.weight, [2.0, 0.5, 1.0, np.nan])


def test_barriers_are_those_by_hand(both):
    own = both.sel(dynamics="frozen", path="straight", loss="transition")
    assert [float(own[name]) for name in ("highest", *BARRIERS)] == [1, 1, 0.5, 1, 0.5]
    volume = both.sel(dynamics="unfrozen", path="curve", loss="volume")
    assert float(volume.highest) == pytest.approx(3.25)
    assert float(volume.above_ends) == pytest.approx(2.25)
    total = both.sel(dynamics="frozen", path="straight", loss="sum")
    assert float(total.highest) == pytest.approx(2.5)


def test_lengths_are_those_of_the_paths(both):
    np.testing.assert_allclose(
        both.arc_length.sel(dynamics="frozen", path="straight"), [0, 0.5, 1, 1.5, 2], rtol=1e-14
    )
    # Points of the parabola with its control point at (0, 3): (-1, 0), (-1/2, 9/8), (0, 3/2), ...
    half = np.hypot(0.5, 9 / 8) + np.hypot(0.5, 3 / 8)
    curve = both.arc_length.sel(dynamics="unfrozen", path="curve")
    np.testing.assert_allclose(curve[[2, 4]], [half, 2 * half], rtol=1e-14)


def test_optimisation_and_re_fits_are_kept(both):
    assert both.iterations.values.tolist() == [17, 17]
    assert both.converged.values.tolist() == [False, True]
    assert both.end.values.tolist() == ["a", "b"]
    assert both.refit_before.values.tolist() == [0.5, 0.4]
    assert both.refit_after.values.tolist() == [0.25, 0.4]
    assert both.refit_iterations.values.tolist() == [30, 7]
    assert both.refit_converged.values.tolist() == [True, False]


def test_embeddings_stand_at_their_paths(both):
    assert both.embedding.dims == ("dynamics", "path", "t", "state", "dim")
    np.testing.assert_array_equal(both.embedding.sel(dynamics="frozen", path="curve"), STATES[1])
    moved = both.embedding.sel(dynamics="unfrozen", path="straight")
    np.testing.assert_array_equal(moved, STATES[0] + 100)


def test_a_rotation_has_its_own_places(both):
    assert both.rotation_value.dims == ("turning", "loss", "angle")
    assert both.angle.values.tolist() == [0, 60, 120, 180]
    assert both.angle.attrs["units"] == "degree"
    volume = both.rotation_value.sel(loss="volume")
    np.testing.assert_allclose(volume.sel(turning="together"), 1 + np.array([0, 1, 4, 9]) / 9)
    np.testing.assert_allclose(volume.sel(turning="encoder"), [1, 2, 5, 10])
    assert float(both.rotation_highest.sel(loss="volume", turning="encoder")) == 10
    assert both.rotation_above_ends_at.attrs["units"] == "degree"


def test_one_kind_of_dynamics_alone():
    found = path_dataset({"frozen": connection()}, attrs={})
    assert found.dynamics.values.tolist() == ["frozen"]
    absent = ("refit_before", "end", "error", "embedding", "rotation_value", "angle")
    assert not set(absent) & set(found.variables)


def test_standard_errors_are_kept_where_losses_are_means():
    found = path_dataset({"frozen": connection(function=terms)}, attrs={})
    values = found.value.sel(dynamics="frozen", loss="volume")
    # Of two terms, half and one and a half times their mean: half of the mean.
    np.testing.assert_allclose(found.error.sel(dynamics="frozen", loss="volume"), values / 2)


def test_a_report_gives_it_back(both, tmp_path):
    path = tmp_path / "report.h5"
    add_to_report(path, {"path/a-to-b": both}, MADE)
    stored = read_report(path, "path/a-to-b")
    assert_same(stored, both)
    assert_netcdf4(path)
    assert json.loads(stored.attrs["settings"]) == {"bends": 1}
    assert stored.attrs["aligned"] == 0


def test_what_does_not_fit_together_is_refused():
    for connections, words in (
        ({}, "expected connections frozen and unfrozen, found none"),
        ({"thawed": connection()}, "found thawed"),
        ({"frozen": connection(), "unfrozen": connection(points=3)}, "at the same points"),
    ):
        with pytest.raises(InputError, match=words):
            path_dataset(connections, attrs={})
    with pytest.raises(InputError, match="expected rotations together and encoder, found"):
        path_dataset(
            {"frozen": connection()}, attrs={}, rotations={"together": rotations()["together"]}
        )
    with pytest.raises(InputError, match="at the same points"):
        path_dataset(
            {"frozen": connection()},
            attrs={},
            rotations=rotations(encoder=rotations(90.0)["encoder"]),
        )


# The figure


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_a_panel_shows_sum_and_transition_loss_along_both_paths(both):
    axes = plot_path(both, "unfrozen")
    drawn = lines(axes)
    for loss in ("sum", "transition"):
        for course in ("straight", "curve"):
            line = drawn[f"{loss} {course}"]
            values = both.value.sel(dynamics="unfrozen", path=course, loss=loss)
            np.testing.assert_array_equal(line.get_ydata(), values)
            np.testing.assert_array_equal(line.get_xdata(), both.t)
    assert axes.get_yscale() == "log"
    (level,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert list(level.get_ydata()) == pytest.approx([0.5, 0.5], rel=1e-8)  # the sum at either end


def test_a_panel_shows_what_the_sum_on_the_curve_consists_of(both):
    assert shares_of(both) == ["transition", "volume"]  # q is negligible
    axes = plot_shares(both, "unfrozen")
    drawn = lines(axes)
    curve = both.value.sel(dynamics="unfrozen", path="curve")
    total = drawn["transition"].get_ydata() + drawn["volume"].get_ydata()
    np.testing.assert_array_equal(drawn["sum"].get_ydata(), curve.sel(loss="sum"))
    np.testing.assert_allclose(total, curve.sel(loss="sum"), rtol=1e-8)
    assert axes.get_ylim()[0] == 0


def test_a_panel_shows_the_rotation(both):
    axes = plot_rotation(both)
    drawn = lines(axes)
    for loss, turning in (("sum", "together"), ("volume", "together"), ("sum", "encoder")):
        values = both.rotation_value.sel(loss=loss, turning=turning)
        np.testing.assert_array_equal(drawn[f"{loss} {turning}"].get_ydata(), values)
    assert axes.get_xlim() == (0, 180)


def test_the_figure_has_a_column_for_each_kind_and_one_for_rotation_and_legend(both, tmp_path):
    figure = path_figure(both, title="from A to B")
    assert figure.get_size_inches()[0] == pytest.approx(6.75)
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 5
    titles = [axes.get_title().splitlines()[0] for axes in shown]
    assert titles[:3] == ["dynamics frozen:", "dynamics unfrozen:", "A turned: with its"]
    assert shown[0].get_ylim() == shown[1].get_ylim()
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:3] == ["weighted sum", "transition $L_p$", "volume $L_{d2}$"]
    assert "rotation: the encoder alone" in words
    save_figure(figure, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_without_rotation_does_not_speak_of_one():
    figure = path_figure(path_dataset({"frozen": connection(function=terms)}, attrs={}))
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 2
    assert shown[0].collections  # the band of the standard error
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert not any("rotation" in text.get_text() for text in legend.get_texts())


def test_figures_refuse_what_they_cannot_draw(both):
    for draw, words in (
        (lambda: plot_path(both, "thawed"), "expected dynamics frozen, unfrozen, found 'thawed'"),
        (lambda: plot_rotation(both.drop_vars("rotation_value")), "expected paths with a rotation"),
        (lambda: path_figure(both.isel(dynamics=0)), "found no paths in it"),
        (lambda: path_figure(both.sel(loss=["q"])), "found 'sum'"),
    ):
        with pytest.raises(InputError, match=words):
            draw()
