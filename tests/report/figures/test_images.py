"""States that are images, and small pictures: every pixel is drawn once, with its value."""

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure

from crar_diag.errors import InputError
from crar_diag.report.figures.images import MOST, images_figure, pair_of
from crar_diag.report.figures.pixels import draw_pixels, frame_pixel, rectangles
from crar_diag.report.style import COLUMN, PAGE
from tests.report.figures.by_hand import ENDS, states
from tests.report.surfaces import cut_off, rendered

NAMES = ("original-good-seed0", "original-poor-seed0")


def drawn_picture(axes) -> np.ndarray:
    """The picture that the rectangles of some axes make up, each pixel covered once."""
    (collection,) = [c for c in axes.collections if isinstance(c, PatchCollection)]
    rows, columns = int(axes.get_ylim()[0]), int(axes.get_xlim()[1])
    picture, covered = np.full((rows, columns), np.nan), np.zeros((rows, columns), int)
    for path, value in zip(collection.get_paths(), collection.get_array(), strict=True):
        (left, top), (right, bottom) = path.get_extents().get_points().round().astype(int)
        picture[top:bottom, left:right] = value
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()
    return picture


@pytest.fixture(scope="module")
def data():
    return states(tuple(ENDS), images=True)


# Pixels


def test_rectangles_of_one_value_cover_every_pixel_once():
    rng = np.random.default_rng(0)
    for levels in (1, 2, 3, 100):
        picture = rng.integers(0, levels, (7, 5)).astype(float)
        axes = Figure().subplots()
        draw_pixels(axes, picture, low=0, high=levels)
        np.testing.assert_array_equal(drawn_picture(axes), picture)
    assert rectangles(np.zeros((8, 8))) == [(0, 0, 8, 8)]
    assert rectangles(np.array([[1.0, 1.0], [1.0, 2.0]])) == [
        (0, 0, 1, 2),
        (1, 0, 1, 1),
        (1, 1, 1, 1),
    ]


def test_the_first_row_is_on_top_and_small_values_are_dark():
    figure = Figure(figsize=(1, 1), dpi=80)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_pixels(axes, np.array([[-1.0, 0.0], [1.0, 1.0]]))
    axes.set_axis_off()
    picture = rendered(figure)[..., 0].astype(int)
    assert picture[20, 20] < 5
    assert 120 < picture[20, 60] < 135
    assert picture[60, 20] > 250


def test_values_are_written_into_their_pixels():
    axes = Figure().subplots()
    draw_pixels(axes, np.array([[-1.0, 0.5], [-0.0, 0.0]]), values=True)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    minus = "\N{MINUS SIGN}"
    assert written == {
        (0.5, 0.5): f"{minus}1",
        (1.5, 0.5): "0.5",
        (0.5, 1.5): "0",
        (1.5, 1.5): "0",
    }


def test_a_frame_goes_round_its_pixel():
    axes = Figure().subplots()
    frame_pixel(axes, 2, 3, "red")
    corners = axes.lines[0].get_xydata()
    assert {tuple(corner) for corner in corners} == {(3, 2), (4, 2), (4, 3), (3, 3)}


# Figure 9


def test_bases_stand_above_their_transfers_channel_by_channel(data):
    figure = images_figure(data, members=NAMES, picture=3, title="States")
    panels = [axes for axes in figure.axes if axes.collections and axes.get_ylim() == (8, 0)]
    assert len(panels) == 2 * 2 * 3
    pictures = np.array([drawn_picture(axes) for axes in panels]).reshape(2, 2, 3, 8, 8)
    for column, (name, base) in enumerate(zip(NAMES, ("good", "poor"), strict=True)):
        above = data.base_embedding.sel(base_model=base, picture=3).values
        below = data.embedding.sel(member=name, picture=3).isel(time=-1).values
        np.testing.assert_array_equal(pictures[0, column], above)
        np.testing.assert_array_equal(pictures[1, column], below)
    assert cut_off(figure) == []


def test_the_distance_is_the_l2_distance_over_all_entries(data):
    base, transfer = pair_of(data, NAMES[1])
    distance = np.sqrt(((base.astype(float) - transfer) ** 2).sum())
    figure = images_figure(data, members=NAMES[1:])
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert f"distance {distance:.2f}" in labels
    assert figure.get_figwidth() == COLUMN
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["poor"]


@pytest.mark.parametrize("count", [2, 4, MOST])
def test_a_page_has_room_for_six_pairs(data, count):
    figure = images_figure(data, members=(NAMES * 3)[:count])
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []


def test_what_cannot_be_drawn_is_refused(data):
    with pytest.raises(InputError, match="expected 1 to 6 transfers, found 0"):
        images_figure(data, members=())
    with pytest.raises(InputError, match="expected 1 to 6 transfers, found 7"):
        images_figure(data, members=NAMES[:1] * 7)
    with pytest.raises(InputError, match="found 'none'"):
        images_figure(data, members=["none"])
    with pytest.raises(InputError, match="that has a base model, found 'scratch-seed0'"):
        images_figure(data, members=["scratch-seed0"])
    with pytest.raises(InputError, match="that are images"):
        images_figure(states(tuple(ENDS)), members=NAMES)
