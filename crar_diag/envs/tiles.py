"""The codes of which every maze is made: one uint8 a tile, an 8 x 8 grid of them a state."""

from typing import Final

PATH: Final = 0
WALL: Final = 1
PLAYER: Final = 2
KEY: Final = 3
EMPTY: Final = 4
"""No picture at all: its sprite is 0 in every table, so a grid of it is the all-zero observation.

It never occurs inside a maze. It stands for the next observation of a transition that has none
(`gather(..., mark_last_terminal=True)`), so that such a transition needs no second array.
"""

TILE_CODES: Final = 5
GRID_SIZE: Final = 8
