import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.line_panel import SAME_FOR_BOTH
from crar_diag.report.plane_figure import plane_figure, score_figure
from crar_diag.report.plane_figure_3d import plane_figure_3d
from crar_diag.report.plane_panel import draw_filled, draw_trajectory, mark_points
from crar_diag.report.plane_scale import scale_of, written
from crar_diag.report.planes import Axis, Scores, Trajectory, plane_dataset
from crar_diag.report.style import PAGE, save_figure
from tests.report.surfaces import (
    AXES,
    POINTS,
    XS,
    YS,
    cut_off,
    plane,
    plane_surfaces,
    rendered,
    slope,
)


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def filled(axes):
    return next(c for c in axes.collections if getattr(c, "filled", False))


def trajectory(**changed) -> Trajectory:
    steps = np.arange(4.0)
    own = {"transition": 5 + 10 * steps, "volume": steps + 1, "sum": 100 * steps + 1}
    given = {"x": steps - 0.5, "y": steps / 2, "distance": np.array([3.0, 0.0, 1.5, 0.0])}
    return Trajectory(**(given | {"updates": steps, "losses": own} | changed))


def test_each_place_has_the_colour_of_its_value():
    xs, ys = np.linspace(0, 3, 13), np.linspace(0, 2, 9)
    scale = scale_of([slope(xs, ys)["transition"]])
    figure = Figure(figsize=(3, 2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_filled(axes, xs, ys, slope(xs, ys)["transition"], scale)
    axes.set(xlim=(0, 3), ylim=(0, 2))
    picture = rendered(figure)
    colours = mpl.colormaps["viridis"]
    away = 0
    for x, y in [(0.31, 0.33), (0.31, 1.72), (1.13, 0.55), (2.61, 0.33), (2.61, 1.72)]:
        pixel = picture[200 - round(100 * y), round(100 * x), :3] / 255
        # A band is 1/32 of the scale, 1 of 32.
        near = [colours(scale.norm(10 * x + y + step))[:3] for step in np.linspace(-1, 1, 41)]
        away = max(away, min(np.abs(pixel - colour).max() for colour in near))
    assert away < 0.02


def test_both_panels_have_one_colour_scale_that_covers_both():
    data = plane()
    frozen, unfrozen = (filled(axes) for axes in panels(plane_figure(data)))
    assert frozen.norm.vmin == unfrozen.norm.vmin == float(data.unfrozen.sel(loss="sum").min())
    assert frozen.norm.vmax == unfrozen.norm.vmax == float(data.frozen.sel(loss="sum").max())
    np.testing.assert_array_equal(frozen.levels, unfrozen.levels)
    assert (frozen.levels[0], frozen.levels[-1]) == (frozen.norm.vmin, frozen.norm.vmax)
    assert frozen.cmap.name == unfrozen.cmap.name == "viridis"


def test_a_scale_is_logarithmic_above_a_decade_and_leads_at_most_five_down():
    assert isinstance(scale_of([np.array([1.0, 10.1])]).norm, LogNorm)
    assert not scale_of([np.array([1.0, 10.0])]).logarithmic
    assert not scale_of([np.array([-1.0, 100.0])]).logarithmic
    with_zero = scale_of([np.array([0.0, 2.0, np.nan, np.inf])])
    assert (with_zero.norm.vmin, with_zero.norm.vmax) == (pytest.approx(2e-5), 2.0)
    assert with_zero.cut
    below = with_zero.clipped(np.array([0.0, 1.0, np.inf]))
    assert 0 < below[0] < with_zero.norm.vmin
    assert (below[1], np.isnan(below[2])) == (1.0, True)
    assert not scale_of([np.array([1.0, 20.0])]).cut


def test_contour_lines_are_at_round_values_within_the_scale():
    np.testing.assert_allclose(scale_of([np.array([0.9, 30.0])]).lines, [1, 2, 5, 10, 20])
    np.testing.assert_allclose(scale_of([np.array([0.0, 1.01])]).lines, 10.0 ** np.arange(-4, 1))
    np.testing.assert_allclose(scale_of([np.array([-2.5, 1.5])]).lines, np.arange(-2, 1.5, 0.5))


def test_a_flat_surface_has_a_scale_and_one_of_no_numbers_has_none():
    flat = scale_of([np.full((3, 3), 0.25)])
    assert flat.norm.vmin == 0.25 < flat.norm.vmax
    assert (np.diff(flat.levels) > 0).all()
    with pytest.raises(InputError, match="finite"):
        scale_of([np.full(3, np.nan)])


def test_numbers_are_written_as_in_print():
    found = [written(value) for value in (0.0, -0.5, 20.0, 1e-5, 3e-5)]
    assert found == ["0", "\N{MINUS SIGN}0.5", "20", "$10^{-5}$", r"$3 \times 10^{-5}$"]


def test_markers_stand_on_their_models_and_say_how_far_off_the_plane_these_are():
    for axes in panels(plane_figure(plane())):
        marks = {line.get_label(): line for line in axes.lines}
        for name, (x, y, _) in POINTS.items():
            assert marks[name].get_xydata().tolist() == [[x, y]]
            assert marks[name].get_markeredgecolor() == "white"
        assert len({marks[name].get_marker() for name in POINTS}) == 3
        words = {text.get_text(): text.xy for text in axes.texts}
        assert words == {"A": (0, 0), "B": (3, 0), "C (0.25 off the plane)": (1, 2)}


def test_a_missing_surface_leaves_one_panel():
    for name, heading in (("frozen", "dynamics frozen"), ("unfrozen", "dynamics re-fitted")):
        data = plane_dataset(**{name: plane_surfaces()[name]}, points={}, axes=AXES, attrs={})
        (axes,) = panels(plane_figure(data))
        assert axes.get_title().startswith(heading)


def test_a_loss_that_does_not_depend_on_the_dynamics_has_one_panel_and_says_so():
    data = plane(depends_on_dynamics={"transition"})
    for draw in (plane_figure, plane_figure_3d):
        (axes,) = panels(draw(data, loss="volume"))
        assert axes.get_title() == SAME_FOR_BOTH
    titles = [axes.get_title() for axes in panels(plane_figure(data, loss="transition"))]
    assert titles == ["dynamics frozen", "dynamics re-fitted (unfrozen)"]


def test_nothing_is_frozen_where_the_second_axis_is_one_of_dynamics():
    frozen = plane_surfaces()["frozen"]
    dataset = plane_dataset(frozen=frozen, points={}, axes=AXES, attrs={})
    assert panels(plane_figure(dataset))[0].get_title() == "dynamics frozen"
    varied = dataset.assign_attrs(mode="dynamics-plane")
    assert panels(plane_figure(varied))[0].get_title() == "dynamics along the second axis"


def test_axes_of_one_unit_have_one_scale_and_others_need_not():
    figure = plane_figure(plane(), title="A plane")
    figure.draw_without_rendering()
    first, second = panels(figure)
    for axes in (first, second):
        x, y = axes.transData.transform([(1.0, 1.0), (2.0, 2.0)]).T
        assert np.ptp(y) == pytest.approx(np.ptp(x), rel=1e-6)
        assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 3), (-1, 2))
    assert first.get_xlabel() == "distance along B - A"
    assert first.get_ylabel() == "distance towards C"
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []
    other = (Axis("share of B's encoder"), Axis("random direction", "radians"))
    figure = plane_figure(plane(axes=other))
    assert panels(figure)[0].get_aspect() == "auto"
    assert panels(figure)[0].get_ylabel() == "random direction (radians)"
    assert cut_off(figure) == []


def test_points_show_where_a_refit_did_not_converge():
    converged = np.ones((3, 3), bool)
    converged[1, 2] = converged[2, 0] = False
    figure = plane_figure(plane(**plane_surfaces(converged=converged)))
    frozen, unfrozen = panels(figure)
    label = "re-fit stopped before it converged (2 of 9)"
    (points,) = [line for line in unfrozen.lines if line.get_label() == label]
    assert points.get_xydata().tolist() == [[1.0, 2.0], [3.0, -1.0]]
    assert label not in [line.get_label() for line in frozen.lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [label]
    assert cut_off(figure) == []


def test_a_trajectory_has_its_own_losses_colours_and_grows_with_the_distance():
    data = plane(trajectory=trajectory())
    figure = plane_figure(data, loss="transition")
    for axes in panels(figure):
        (path,) = [line for line in axes.lines if line.get_label() == "trajectory"]
        np.testing.assert_array_equal(path.get_xdata(), [-0.5, 0.5, 1.5, 2.5])
        (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
        np.testing.assert_array_equal(dots.get_offsets(), path.get_xydata())
        np.testing.assert_array_equal(dots.get_array(), [5, 15, 25, 35])
        assert dots.norm.vmin == filled(axes).norm.vmin
        areas = dots.get_sizes()
        assert areas[1] == areas[3] < areas[2] < areas[0]
        assert areas[2] == pytest.approx((areas[0] + areas[1]) / 2)
        words = {text.get_text(): text.xy for text in axes.texts}
        assert (words["start"], words["end"]) == ((-0.5, 0.0), (2.5, 1.5))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "model on the trajectory, coloured by its own loss",
        "the same, 3 off the plane",
    ]
    assert cut_off(figure) == []


def test_a_trajectory_within_the_plane_is_said_to_be_nowhere_off_it():
    figure = plane_figure(plane(trajectory=trajectory(distance=np.zeros(4), losses={})))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["model on the trajectory"]


def test_both_panels_show_all_of_both_grids():
    surfaces = plane_surfaces()
    wide = (XS * 2, YS, surfaces["frozen"][2])
    figure = plane_figure(plane(frozen=wide, unfrozen=surfaces["unfrozen"]))
    for axes in panels(figure):
        assert (axes.get_xlim(), axes.get_ylim()) == ((-2, 6), (-1, 2))


def test_a_scale_covers_the_losses_on_the_trajectory_too():
    losses = {name: np.array([4.0, 5.0, 6.0, 900.0]) for name in ("transition", "volume", "sum")}
    data = plane(trajectory=trajectory(losses=losses))
    axes = panels(plane_figure(data, loss="transition"))[0]
    assert (filled(axes).norm.vmin, filled(axes).norm.vmax) == (4.0, 900.0)


def test_a_trajectory_that_ends_in_a_marked_model_needs_no_other_name():
    data = plane(trajectory=trajectory(x=np.array([0.0, 1, 2, 3]), y=np.zeros(4), losses={}))
    axes = Figure().subplots()
    axes.set(xlim=(-1, 3), ylim=(-1, 2))
    draw_trajectory(axes, data, "sum", scale_of([data.frozen.values]))
    mark_points(axes, data)
    assert [text.get_text() for text in axes.texts] == ["A", "B", "C (0.25 off the plane)"]


def test_surfaces_in_space_have_the_values_heights_and_one_view(monkeypatch):
    drawn = []

    def plot_surface(self, x, y, z, **style):
        drawn.append((x, y, z, style["facecolors"]))
        return original(self, x, y, z, **style)

    original = Axes3D.plot_surface
    monkeypatch.setattr(Axes3D, "plot_surface", plot_surface)
    data = plane(**plane_surfaces(offset=16.0))  # 0 to 48: logarithmic, cut five decades down
    figure = plane_figure_3d(data, loss="transition", elevation=30, azimuth=-50)
    first, second = panels(figure)
    assert (first.elev, first.azim) == (second.elev, second.azim) == (30, -50)
    low, high = np.log10([48e-5, 48])
    for axes, name, (x, y, z, colours) in zip(
        (first, second), ("frozen", "unfrozen"), drawn, strict=True
    ):
        values = data[name].sel(loss="transition")
        assert axes.get_zlim() == pytest.approx((low, high))
        expected = np.log10(np.maximum(values.values, 48e-5))
        np.testing.assert_allclose(z, expected)
        np.testing.assert_array_equal(x[:, 0], data[values.dims[0]])
        np.testing.assert_array_equal(y[0], data[values.dims[1]])
        middle = (z[0, 0] + z[0, 1] + z[1, 0] + z[1, 1]) / 4
        assert tuple(colours[0, 0]) == mpl.colormaps["viridis"]((middle - low) / (high - low))
    picture = rendered(figure)
    edges = [picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]]
    assert all((edge == 255).all() for edge in edges)  # nothing is cut off


def test_scores_stand_beside_their_standard_errors():
    score = slope(XS, YS)["transition"] - 12
    error = 0.1 + 0.01 * np.arange(12.0).reshape(4, 3)
    data = plane_dataset(scores=Scores(XS, YS, score, error), points=POINTS, axes=AXES, attrs={})
    figure = score_figure(data, title="Scores")
    first, second = panels(figure)
    assert (filled(first).norm.vmin, filled(first).norm.vmax) == (score.min(), score.max())
    assert (filled(second).norm.vmin, filled(second).norm.vmax) == (error.min(), error.max())
    assert not isinstance(filled(first).norm, LogNorm)
    bars = [axes.get_ylabel() for axes in figure.axes if axes not in (first, second)]
    assert bars == ["score of the planning policy", "standard error of the score"]
    assert cut_off(figure) == []
    with pytest.raises(InputError, match="with scores"):
        score_figure(plane())


def test_what_is_not_finite_stays_grey():
    z = slope(XS, YS, 20)
    z["transition"] = z["transition"].copy()
    z["transition"][:2] = np.nan
    axes = Figure(figsize=(4, 3), dpi=50).add_axes((0, 0, 1, 1))
    draw_filled(axes, XS, YS, z["transition"], scale_of([z["transition"]]))
    axes.set(xlim=(-1, 3), ylim=(-1, 2))
    picture = rendered(axes.figure)
    assert len(set(picture[75, 50, :3].tolist())) == 1  # x = 0
    assert len(set(picture[75, 150, :3].tolist())) == 3  # x = 2


def test_saved_twice_a_plane_is_the_same_small_file_with_its_fonts_in_it(tmp_path):
    xs, ys = np.linspace(-5, 23, 51), np.linspace(-9, 22, 51)
    x, y = np.meshgrid(xs, ys, indexing="ij")
    rough = {"sum": 10 ** (np.sin(x / 2) + np.cos(y / 3 + x) / 2 + (x / 30) ** 2)}
    data = plane_dataset(
        frozen=(xs, ys, Surface(rough, {})),
        unfrozen=(xs, ys, Surface(rough, {}, x > 0, np.ones((51, 51)))),
        points={"A": (0.0, 0.0, 0.0)},
        axes=AXES,
        attrs={},
    )
    for name, draw in (("flat", plane_figure), ("space", plane_figure_3d)):
        figure = draw(data)
        for ending in ("pdf", "svg", "png") if name == "flat" else ("pdf",):
            first, second = (tmp_path / f"{name}{k}.{ending}" for k in (1, 2))
            save_figure(figure, first)
            save_figure(figure, second)
            assert first.read_bytes() == second.read_bytes()
        pdf = (tmp_path / f"{name}1.pdf").read_bytes()
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf
        assert b"/Subtype /Image" not in pdf
        assert len(pdf) < 2_000_000


def test_what_is_not_there_is_refused():
    with pytest.raises(InputError, match="transition, volume, sum, found 'hue'"):
        plane_figure(plane(), loss="hue")
    scores = Scores(XS, YS, slope(XS, YS)["sum"], np.ones((4, 3)))
    data = plane_dataset(scores=scores, points={}, axes=AXES, attrs={})
    with pytest.raises(InputError, match="found neither"):
        plane_figure(data)
