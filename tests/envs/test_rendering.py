import numpy as np
import pytest
import torch

from crar_diag.envs.labyrinth import tiles as labyrinth_tiles
from crar_diag.envs.mazes import from_maps
from crar_diag.envs.pictures import picture
from crar_diag.envs.rendering import render, sprite_table
from crar_diag.envs.simple_maze import all_tiles
from crar_diag.envs.tiles import EMPTY, KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError
from tests.envs.twins import HAND_MAZE

TILES = labyrinth_tiles(from_maps([HAND_MAZE]))[0]

# 2x - 1 of the paper's sprites: 0 -> -1, 0.9 -> 0.8, 0.8 -> 0.6, 0.7 -> 0.4, 0.6 -> 0.2.
PLAYER_PIXELS = [
    [-1.0, -1.0, 0.6, -1.0, -1.0, -1.0],
    [0.8, 0.8, 0.8, 0.8, 0.8, -1.0],
    [-1.0, 0.8, 0.8, 0.8, -1.0, -1.0],
    [-1.0, 0.8, 0.8, 0.8, -1.0, -1.0],
    [-1.0, 0.8, -1.0, 0.8, -1.0, -1.0],
    [0.8, 0.8, -1.0, 0.8, 0.8, -1.0],
]
KEY_PIXELS = [
    [-1.0, 0.2, 0.2, 0.2, -1.0, -1.0],
    [-1.0, 0.4, -1.0, 0.4, -1.0, -1.0],
    [-1.0, 0.2, 0.2, 0.2, -1.0, -1.0],
    [-1.0, 0.4, -1.0, -1.0, -1.0, -1.0],
    [-1.0, 0.4, 0.4, -1.0, -1.0, -1.0],
    [-1.0, 0.4, 0.4, 0.4, -1.0, -1.0],
]


def tile_of(picture, row, column):
    return picture[0, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6]


def test_labyrinth_pixels_are_the_papers_sprites_in_their_places():
    pixels = render(TILES, sprite_table("labyrinth", "pixels"))
    assert pixels.shape == (1, 48, 48)
    assert pixels.dtype == np.float32
    expected = {
        PATH: np.full((6, 6), -1.0),
        WALL: np.full((6, 6), 1.0),
        PLAYER: np.array(PLAYER_PIXELS),
        KEY: np.array(KEY_PIXELS),
    }
    for row in range(8):
        for column in range(8):
            shown = tile_of(pixels, row, column)
            np.testing.assert_allclose(shown, expected[int(TILES[row, column])], atol=1e-6)


def test_simple_maze_pixels_use_the_same_sprites():
    simple, labyrinth = (sprite_table(name, "pixels") for name in ("simple-maze", "labyrinth"))
    for code in (PATH, WALL, PLAYER, EMPTY):
        assert np.array_equal(simple[code], labyrinth[code])


@pytest.mark.parametrize(
    ("environment", "values"),
    [
        ("simple-maze", {PATH: 0.0, WALL: 1.0, PLAYER: 0.5}),
        ("labyrinth", {PATH: 0.0, WALL: 0.99, PLAYER: 0.25, KEY: 0.5}),
    ],
)
def test_symbolic_values(environment, values):
    table = sprite_table(environment, "symbolic")
    assert table.shape == (5, 1, 1)
    assert table.dtype == np.float32
    for code, value in values.items():
        assert table[code, 0, 0] == np.float32(value)


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
@pytest.mark.parametrize("observation", ["symbolic", "pixels"])
def test_empty_is_the_all_zero_observation(environment, observation):
    tiles = np.full((2, 8, 8), EMPTY, dtype=np.uint8)
    assert not render(tiles, sprite_table(environment, observation)).any()


@pytest.mark.parametrize("observation", ["symbolic", "pixels"])
@pytest.mark.parametrize("leading", [(), (31,), (1, 31), (31, 1)])
def test_leading_axes_and_torch_give_the_same_pictures(observation, leading):
    table = sprite_table("simple-maze", observation)
    tiles = (all_tiles() if leading else all_tiles()[3]).reshape(*leading, 8, 8)
    drawn = render(tiles, table)
    edge = 8 * table.shape[-1]
    assert drawn.shape == (*leading, 1, edge, edge)
    singles = [render(one, table) for one in tiles.reshape(-1, 8, 8)]
    assert np.array_equal(drawn.reshape(-1, 1, edge, edge), np.stack(singles))
    tensor = render(torch.from_numpy(tiles), table)
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor.numpy(), drawn)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"unknown environment 'simplemaze' \(did you mean"):
        sprite_table("simplemaze", "pixels")
    with pytest.raises(InputError, match=r"unknown observation 'pixel' \(did you mean 'pixels'"):
        sprite_table("labyrinth", "pixel")
    with pytest.raises(InputError, match=r"shape \(..., 8, 8\), found \(8, 7\)"):
        render(np.zeros((8, 7), dtype=np.uint8), sprite_table("labyrinth", "pixels"))


def luminance(colour):
    linear = np.where(colour <= 10.31, colour / 3294.6, ((colour / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_peoples_picture_has_one_icon_a_tile_with_contrast():
    image = picture(TILES, cell=20)
    assert image.shape == (160, 160, 3)
    assert image.dtype == np.uint8
    icons = {}
    for row in range(8):
        for column in range(8):
            icon = image[20 * row : 20 * row + 20, 20 * column : 20 * column + 20]
            assert np.array_equal(icon, icons.setdefault(int(TILES[row, column]), icon))
    assert len({icon.tobytes() for icon in icons.values()}) == 4
    path, wall = icons[PATH][10, 10], icons[WALL][10, 10]
    ratio = (luminance(path) + 0.05) / (luminance(wall) + 0.05)
    assert ratio > 4.5  # readable without any colour vision (WCAG 2 AA)


def test_peoples_picture_refuses_batches_and_tiny_cells():
    with pytest.raises(InputError, match=r"shape \(8, 8\), found \(31, 8, 8\)"):
        picture(all_tiles())
    with pytest.raises(InputError, match="at least 4 pixels, found 2"):
        picture(TILES, cell=2)
