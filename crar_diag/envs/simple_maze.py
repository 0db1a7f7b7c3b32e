"""The simple maze: two rooms and a door, 31 states (the paper's figure 3).

It is small enough to be written down whole: where each of the 124 (state, action) pairs leads is
one table, and expectations over it are exact.
"""

from typing import Any, Final

import numpy as np

from crar_diag.envs.gym_base import MazeEnv, check_actions
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.tiles import GRID_SIZE, PATH, PLAYER, WALL

DOOR: Final = (4, 4)
_MOVES: Final = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _walls() -> np.ndarray:
    walls = np.ones((GRID_SIZE, GRID_SIZE), dtype=bool)
    walls[1:-1, 1:-1] = False
    walls[:, DOOR[1]] = True
    walls[DOOR] = False
    return walls


def _successors(walls: np.ndarray, states: np.ndarray) -> np.ndarray:
    index = {(row, column): i for i, (row, column) in enumerate(states.tolist())}
    return np.array(
        [
            [index.get((row + down, column + right), i) for down, right in _MOVES]
            for i, (row, column) in enumerate(states.tolist())
        ],
        dtype=np.int64,
    )


_WALLS: Final = _walls()

STATES: Final = np.argwhere(~_WALLS)
"""int64 (31, 2): row and column of every free cell, row by row."""

SUCCESSORS: Final = _successors(_WALLS, STATES)
"""int64 (31, 4): the state after 0 up, 1 down, 2 left, 3 right; a move into a wall stays."""

START: Final = int(np.flatnonzero((STATES == DOOR).all(axis=1))[0])
"""The state at (4, 4), in the door."""

SIDES: Final = 1 + np.sign(STATES[:, 1] - DOOR[1])
"""int64 (31,): 0 left of the wall, 1 in the door, 2 right."""


def all_tiles() -> np.ndarray:
    """Return the tile codes of all states.

    Returns:
        uint8 (31, 8, 8), in the order of `STATES`, a new array.
    """
    tiles = np.tile(np.where(_WALLS, WALL, PATH).astype(np.uint8), (len(STATES), 1, 1))
    tiles[np.arange(len(STATES)), STATES[:, 0], STATES[:, 1]] = PLAYER
    return tiles


class SimpleMazeEnv(MazeEnv):
    """An 8 x 8 maze of two rooms joined by a door, without any reward.

    ## Description
    Border walls and a full wall in column 4 with one door at (4, 4): 18 free cells on its left, the
    door, 12 on its right. There is nothing to gain; the maze serves to study what an agent's
    encoder makes of it (section 5.1 and figure 3 of the paper).

    ## Action Space
    `Discrete(4)`: 0 up (row - 1), 1 down (row + 1), 2 left (column - 1), 3 right (column + 1). A
    move into a wall stays.

    ## Observation Space
    `Box(float32)`. 'symbolic': (1, 8, 8), wall 1, path 0, player 0.5; 'pixels': (1, 48, 48), each
    tile a 6 x 6 sprite, in [-1, 1]. The visual domain changes the values.

    ## Rewards
    Always 0.

    ## Starting State
    The player in the door, at (4, 4).

    ## Episode End
    Never.

    ## Arguments
    - `observation`: 'symbolic' (default) or 'pixels'.
    - `domain`: the visual domain, one of `crar_diag.envs.domain_names()`; 'normal' by default.
    - `render_mode`: None or 'rgb_array', a picture for people.

    ```python
    gymnasium.make("crar_diag/SimpleMaze-v0", domain="inverse")
    ```

    ## References
    - Component Transfer Learning for Deep RL Based on Abstract Representations, arXiv 2111.11525.
    - François-Lavet, Bengio, Precup, Pineau: Combined Reinforcement Learning via Abstract
      Representations, AAAI 2019, arXiv 1809.04506.

    ## Version History
    - v0: first version.
    """

    state: int | None = None
    """The index of the current state in `STATES`, None before the first reset."""

    def __init__(
        self,
        observation: str = "symbolic",
        domain: str = "normal",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(SIMPLE_MAZE, observation, domain, render_mode)
        self._all_tiles = all_tiles()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put the player into the door.

        Args:
            seed: starts the environment's generator, which this maze never asks.
            options: not used.

        Returns:
            The observation, float32 (1, H, W), and an empty dict.
        """
        super().reset(seed=seed)
        self.state = START
        return self.observer(self.tiles), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Args:
            action: 0 to 3, see the class.

        Returns:
            Observation, reward 0, terminated False, truncated False and an empty dict.

        Raises:
            InputError: the action is not 0 to 3.
            ResetNeeded: `reset` was never called.
        """
        self._check_reset(self.state)
        self.state = int(SUCCESSORS[self.state, check_actions(np.array([action]), 1)[0]])
        return self.observer(self.tiles), 0.0, False, False, {}

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of the current state, uint8 (8, 8)."""
        self._check_reset(self.state)
        return self._all_tiles[self.state].copy()
