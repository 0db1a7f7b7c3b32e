"""What an agent sees of its task: the paper's values, negated in the inverse domain."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.figures.mazes import maze_pictures, pictures_figure
from crar_diag.report.style import COLUMN
from tests.report.figures.test_images import drawn_picture
from tests.report.surfaces import cut_off


def test_the_simple_maze_has_a_wall_of_ones_and_its_player_in_the_door():
    found = maze_pictures("simple-maze")
    normal = found.picture.sel(domain="normal").values
    expected = np.ones((8, 8))
    expected[1:7, 1:4] = expected[1:7, 5:7] = 0
    expected[4, 4] = 0.5
    np.testing.assert_array_equal(normal, expected)
    np.testing.assert_array_equal(found.picture.sel(domain="inverse").values, -normal)


def test_a_seed_draws_a_labyrinth_of_48_by_48_pixels():
    found = maze_pictures("labyrinth", seed=3)
    normal = found.picture.sel(domain="normal").values
    assert normal.shape == (48, 48)
    np.testing.assert_array_equal(found.picture.sel(domain="inverse").values, -normal)
    assert (normal[:6] == 1).all()  # the border is a wall
    walls = (normal.reshape(8, 6, 8, 6) == 1).all(axis=(1, 3)).sum()
    assert walls == 28 + 12
    again, other = maze_pictures("labyrinth", seed=3), maze_pictures("labyrinth", seed=4)
    assert again.identical(found)
    assert not other.picture.equals(found.picture)


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
def test_both_domains_are_drawn_pixel_by_pixel_on_one_scale(environment):
    found = maze_pictures(environment)
    figure = pictures_figure(found, title="A maze")
    panels = figure.axes[:2]
    assert [axes.get_title() for axes in panels] == ["normal", "inverse"]
    for axes, picture in zip(panels, found.picture.values, strict=True):
        np.testing.assert_array_equal(drawn_picture(axes), picture)
    scales = {(c.norm.vmin, c.norm.vmax) for axes in panels for c in axes.collections}
    assert scales == {(-1.0, 1.0)}
    assert figure.get_figwidth() == COLUMN
    assert cut_off(figure) == []


def test_an_unknown_domain_is_refused():
    with pytest.raises(InputError, match="invrse"):
        maze_pictures("simple-maze", domains=("normal", "invrse"))
