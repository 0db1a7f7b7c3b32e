"""Pictures for people, as `env.render()` shows them; agents see `rendering.render` instead."""

from functools import lru_cache
from typing import Final

import numpy as np

from crar_diag.envs.tiles import EMPTY, GRID_SIZE, KEY, PATH, PLAYER, TILE_CODES, WALL
from crar_diag.errors import InputError

# Blue and vermilion of the Okabe-Ito palette, which stay apart under every colour blindness;
# player and key differ in shape and in lightness from their ground as well.
_PATH_COLOUR: Final = (246, 242, 231)
_SEAM_COLOUR: Final = (231, 225, 208)
_WALL_COLOUR: Final = (55, 71, 79)
_WALL_LIGHT: Final = (84, 104, 114)
_PLAYER_COLOUR: Final = (0, 114, 178)
_EYE_COLOUR: Final = (255, 255, 255)
_KEY_COLOUR: Final = (213, 94, 0)
_EMPTY_COLOUR: Final = (190, 190, 190)
_FINER: Final = 4
"""Shapes are drawn on a grid this many times finer, then averaged, for smooth edges."""


def _paint(canvas: np.ndarray, shape: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Lay `colour` over the part of `canvas` (cell, cell, 3) that the fine mask `shape` covers."""
    cell = canvas.shape[0]
    cover = shape.reshape(cell, _FINER, cell, _FINER).mean(axis=(1, 3))[..., None]
    canvas[:] = (1.0 - cover) * canvas + cover * np.asarray(colour, dtype=np.float64)


@lru_cache(maxsize=8)
def _icons(cell: int) -> np.ndarray:
    """Return the picture of each tile code, uint8 (5, cell, cell, 3)."""
    middle = (np.arange(cell * _FINER) + 0.5) / (cell * _FINER)
    y, x = np.meshgrid(middle, middle, indexing="ij")

    def disc(row: float, column: float, radius: float) -> np.ndarray:
        return (y - row) ** 2 + (x - column) ** 2 <= radius**2

    def box(top: float, bottom: float, left: float, right: float) -> np.ndarray:
        return (y >= top) & (y < bottom) & (x >= left) & (x < right)

    icons = np.zeros((TILE_CODES, cell, cell, 3))
    for code in (PATH, PLAYER, KEY):
        icons[code] = _PATH_COLOUR
        _paint(icons[code], ~box(0.02, 0.98, 0.02, 0.98), _SEAM_COLOUR)
    icons[WALL] = _WALL_COLOUR
    _paint(icons[WALL], box(0.0, 0.08, 0.0, 1.0), _WALL_LIGHT)
    icons[EMPTY] = _EMPTY_COLOUR
    _paint(icons[PLAYER], disc(0.5, 0.5, 0.36), _PLAYER_COLOUR)
    _paint(icons[PLAYER], disc(0.42, 0.37, 0.07) | disc(0.42, 0.63, 0.07), _EYE_COLOUR)
    bow = disc(0.45, 0.3, 0.19) & ~disc(0.45, 0.3, 0.09)
    blade = box(0.4, 0.5, 0.47, 0.87) | box(0.5, 0.64, 0.66, 0.73) | box(0.5, 0.6, 0.8, 0.87)
    _paint(icons[KEY], bow | blade, _KEY_COLOUR)
    return np.rint(icons).astype(np.uint8)


def picture(tiles: np.ndarray, cell: int = 32) -> np.ndarray:
    """Draw one maze for people.

    Visual domains do not change it: it shows the state, not the observation.

    Args:
        tiles: tile codes (8, 8).
        cell: the edge of a tile in screen pixels, at least 4.

    Returns:
        uint8 (8 cell, 8 cell, 3), red, green, blue.

    Raises:
        InputError: the shape is not (8, 8) or `cell` is too small.
    """
    codes = np.asarray(tiles)
    if codes.shape != (GRID_SIZE, GRID_SIZE):
        raise InputError(f"expected tiles of shape (8, 8), found {codes.shape}")
    if cell < 4:
        raise InputError(f"expected a cell of at least 4 pixels, found {cell}")
    edge = GRID_SIZE * cell
    return _icons(cell)[codes].swapaxes(1, 2).reshape(edge, edge, 3)
