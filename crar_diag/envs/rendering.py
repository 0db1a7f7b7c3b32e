"""From tile codes to what an agent sees: sprites and their assembly.

A sprite table has one s x s sprite a tile code; a picture is the grid of its tiles' sprites. The
agent's symbolic observation is the case s = 1, its pixels the case s = 6.
"""

from typing import Any, Final

import numpy as np

from crar_diag.envs.arrays import ArrayT, is_tensor, namespace
from crar_diag.envs.names import (
    LABYRINTH,
    PIXELS,
    SIMPLE_MAZE,
    SYMBOLIC,
    check_environment,
    check_observation,
)
from crar_diag.envs.tiles import EMPTY, GRID_SIZE, KEY, PATH, PLAYER, TILE_CODES, WALL
from crar_diag.errors import InputError

SPRITE_SIZE: Final = 6

# The published code's sprites, before 2x - 1 takes them from [0, 1] to [-1, 1].
_PLAYER_SPRITE: Final = (
    (0.0, 0.0, 0.8, 0.0, 0.0, 0.0),
    (0.9, 0.9, 0.9, 0.9, 0.9, 0.0),
    (0.0, 0.9, 0.9, 0.9, 0.0, 0.0),
    (0.0, 0.9, 0.9, 0.9, 0.0, 0.0),
    (0.0, 0.9, 0.0, 0.9, 0.0, 0.0),
    (0.9, 0.9, 0.0, 0.9, 0.9, 0.0),
)
_KEY_SPRITE: Final = (
    (0.0, 0.6, 0.6, 0.6, 0.0, 0.0),
    (0.0, 0.7, 0.0, 0.7, 0.0, 0.0),
    (0.0, 0.6, 0.6, 0.6, 0.0, 0.0),
    (0.0, 0.7, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.7, 0.7, 0.0, 0.0, 0.0),
    (0.0, 0.7, 0.7, 0.7, 0.0, 0.0),
)
# The simple maze has no key; the row repeats the player's, so that a domain which exchanges the
# two leaves its player alone.
_SYMBOLS: Final = {
    SIMPLE_MAZE: {PATH: 0.0, WALL: 1.0, PLAYER: 0.5, KEY: 0.5},
    LABYRINTH: {PATH: 0.0, WALL: 0.99, PLAYER: 0.25, KEY: 0.5},
}


def sprite_table(environment: str, observation: str) -> np.ndarray:
    """Return the sprite of every tile code in the normal domain.

    The simple maze has no keys; its row for `KEY` repeats its player.

    Args:
        environment: one of `ENVIRONMENTS`.
        observation: 'symbolic' (s = 1, values in [0, 1]) or 'pixels' (s = 6, in [-1, 1]).

    Returns:
        float32 (5, s, s), indexed by tile code; the last row, `EMPTY`, is zero.

    Raises:
        InputError: a name is unknown.
    """
    check_environment(environment)
    if check_observation(observation) == SYMBOLIC:
        table = np.zeros((TILE_CODES, 1, 1))
        for code, value in _SYMBOLS[environment].items():
            table[code] = value
        return table.astype(np.float32)
    table = np.zeros((TILE_CODES, SPRITE_SIZE, SPRITE_SIZE))
    table[WALL] = 1.0
    table[PLAYER] = _PLAYER_SPRITE
    table[KEY] = _KEY_SPRITE if environment == LABYRINTH else _PLAYER_SPRITE
    table = 2.0 * table - 1.0
    table[EMPTY] = 0.0
    return table.astype(np.float32)


def picture_shape(observation: str) -> tuple[int, int, int]:
    """Return the shape of one observation.

    Args:
        observation: one of `OBSERVATIONS`.

    Returns:
        (1, 8, 8) for 'symbolic', (1, 48, 48) for 'pixels'.

    Raises:
        InputError: the kind is unknown.
    """
    scale = SPRITE_SIZE if check_observation(observation) == PIXELS else 1
    return (1, GRID_SIZE * scale, GRID_SIZE * scale)


def check_grid(tiles: Any) -> None:
    """Check that an array can hold mazes.

    Args:
        tiles: anything with a `shape`.

    Raises:
        InputError: its last two axes are not 8 x 8.
    """
    if tuple(tiles.shape[-2:]) != (GRID_SIZE, GRID_SIZE):
        raise InputError(f"expected tiles of shape (..., 8, 8), found {tuple(tiles.shape)}")


def render(tiles: ArrayT, table: Any) -> ArrayT:
    """Draw mazes with a sprite table.

    Args:
        tiles: integer tile codes (..., 8, 8), NumPy or torch.
        table: float32 (5, s, s), NumPy or of the kind of `tiles`.

    Returns:
        float32 (..., 1, 8s, 8s), the kind and device of `tiles`.

    Raises:
        InputError: `tiles` is not made of 8 x 8 grids.
        IndexError: a code has no row in the table.
    """
    check_grid(tiles)
    codes: Any = tiles
    if is_tensor(codes):
        torch = namespace(codes)
        sprites = torch.asarray(table, device=codes.device)[codes.long()]
    else:
        sprites = np.asarray(table)[codes]
    edge = GRID_SIZE * sprites.shape[-1]
    # (..., row, column, y, x) -> (..., row, y, column, x): pixel rows then run across tiles.
    result: ArrayT = sprites.swapaxes(-3, -2).reshape(*codes.shape[:-2], 1, edge, edge)
    return result
