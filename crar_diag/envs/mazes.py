"""A batch of labyrinths as arrays, and how new ones are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from crar_diag.envs.tiles import GRID_SIZE
from crar_diag.errors import InputError

START: Final = (1, 1)
INNER_WALLS: Final = 12
KEYS: Final = 3

_BORDER: Final = np.pad(
    np.zeros((GRID_SIZE - 2, GRID_SIZE - 2), dtype=bool), 1, constant_values=True
).reshape(-1)


def _cells(last: int) -> np.ndarray:
    """Return the flat indices of the cells at coordinates 1..last, the start left out."""
    grid = np.arange(GRID_SIZE**2).reshape(GRID_SIZE, GRID_SIZE)[1 : last + 1, 1 : last + 1]
    return grid[grid != START[0] * GRID_SIZE + START[1]]


_WALL_CELLS: Final = _cells(5)
_KEY_CELLS: Final = _cells(6)


@dataclass(frozen=True, eq=False)
class LabyrinthState:
    """The state of n labyrinths.

    Args:
        walls: bool (n, 8, 8).
        keys: bool (n, 8, 8), the keys not yet taken.
        player: int64 (n, 2), row and column.
        steps: int64 (n,), steps since the labyrinth was drawn.
    """

    walls: np.ndarray
    keys: np.ndarray
    player: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def replaced(self, where: np.ndarray, fresh: "LabyrinthState") -> "LabyrinthState":
        """Return a copy in which some labyrinths are others.

        Args:
            where: bool (n,) or indices, the m labyrinths to be replaced.
            fresh: the m labyrinths that take their places.

        Returns:
            A new state of n labyrinths.
        """
        parts = []
        for name in ("walls", "keys", "player", "steps"):
            values = getattr(self, name).copy()
            values[where] = getattr(fresh, name)
            parts.append(values)
        return LabyrinthState(*parts)


def _at_start(walls: np.ndarray, keys: np.ndarray) -> LabyrinthState:
    n = len(walls)
    return LabyrinthState(
        walls=walls.reshape(n, GRID_SIZE, GRID_SIZE),
        keys=keys.reshape(n, GRID_SIZE, GRID_SIZE),
        player=np.tile(np.array(START, dtype=np.int64), (n, 1)),
        steps=np.zeros(n, dtype=np.int64),
    )


def _bitboards(cells: np.ndarray) -> np.ndarray:
    """Pack bool (n, 64) into uint64 (n,), cell i in bit i."""
    return np.packbits(cells, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def _reachable(walls: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Tell for bool (n, 64) walls and keys whether every key can be reached from the start.

    A flood fill of all mazes at once: a maze is the 64 bits of one integer, so that one step to
    each of the four sides is four shifts. The border of walls keeps rows from running over.
    """
    free = ~_bitboards(walls)
    wanted = _bitboards(keys)
    reached = np.full(len(walls), 1 << (START[0] * GRID_SIZE + START[1]), dtype=np.uint64)
    while True:
        grown = reached | reached << 1 | reached >> 1
        grown = (grown | reached << GRID_SIZE | reached >> GRID_SIZE) & free
        if np.array_equal(grown, reached):
            return (wanted & ~reached) == 0
        reached = grown


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw walls and keys, bool (n, 64) each, reachable or not."""
    rows = np.arange(n)[:, None]
    walls = np.tile(_BORDER, (n, 1))
    # The cells with the smallest of independent uniform numbers are a uniform choice of distinct
    # cells.
    order = rng.random((n, len(_WALL_CELLS))).argsort(axis=1)
    walls[rows, _WALL_CELLS[order[:, :INNER_WALLS]]] = True
    scores = rng.random((n, len(_KEY_CELLS)))
    scores[walls[:, _KEY_CELLS]] = np.inf
    keys = np.zeros_like(walls)
    keys[rows, _KEY_CELLS[scores.argsort(axis=1)[:, :KEYS]]] = True
    return walls, keys


def generate(rng: np.random.Generator, n: int) -> LabyrinthState:
    """Draw n labyrinths with the player at the start (1, 1).

    Border walls; 12 distinct inner walls at coordinates 1..5, not on the start; 3 distinct keys at
    coordinates 1..6, not on walls nor on the start. A labyrinth with a key that cannot be reached
    is redrawn as a whole, so the drawn ones are uniform among those that can be solved.

    Args:
        rng: the generator that all numbers come from.
        n: how many labyrinths, at least 1.

    Returns:
        The state of the n labyrinths.

    Raises:
        InputError: n is less than 1.
    """
    if n < 1:
        raise InputError(f"expected at least 1 labyrinth, found {n}")
    walls, keys = _draw(rng, n)
    waiting = np.flatnonzero(~_reachable(walls, keys))
    while waiting.size:
        new_walls, new_keys = _draw(rng, waiting.size)
        walls[waiting], keys[waiting] = new_walls, new_keys
        waiting = waiting[~_reachable(new_walls, new_keys)]
    return _at_start(walls, keys)


def from_maps(maps: Sequence[str]) -> LabyrinthState:
    """Read labyrinths drawn by hand.

    Args:
        maps: one text a labyrinth, eight lines of eight signs: `#` wall, `.` path, `P` the player
            (once), `K` a key. Blank lines and white space around lines are ignored.

    Returns:
        The state of the labyrinths, with no steps taken. Keys need not be reachable.

    Raises:
        InputError: a map has another size, other signs, no border of walls or not one player.
    """
    signs = []
    for number, text in enumerate(maps):
        lines = text.split()
        if [len(line) for line in lines] != [GRID_SIZE] * GRID_SIZE:
            raise InputError(
                f"expected 8 lines of 8 signs in map {number}, "
                f"found lengths {[len(line) for line in lines]}"
            )
        if strange := sorted(set("".join(lines)) - set("#.PK")):
            raise InputError(f"expected the signs #.PK in map {number}, found {''.join(strange)}")
        signs.append([list(line) for line in lines])
    if not signs:
        raise InputError("expected at least 1 map, found none")
    grid = np.array(signs)
    walls = grid == "#"
    for number, (open_border, players) in enumerate(
        zip(
            (_BORDER & ~walls.reshape(len(grid), -1)).any(axis=1),
            (grid == "P").sum(axis=(1, 2)),
            strict=True,
        )
    ):
        if open_border:
            raise InputError(f"expected walls along the border of map {number}, found a gap")
        if players != 1:
            raise InputError(f"expected one player in map {number}, found {players}")
    state = _at_start(walls, grid == "K")
    state.player[:] = np.argwhere(grid == "P")[:, 1:]
    return state
