"""The meta-labyrinth: a new maze with three keys every episode (the paper's figure 4)."""

from typing import Any, Final

import numpy as np

from crar_diag.envs.gym_base import MazeEnv, check_actions
from crar_diag.envs.mazes import LabyrinthState, from_maps, generate
from crar_diag.envs.names import LABYRINTH
from crar_diag.envs.tiles import KEY, PLAYER

__all__ = [
    "EVALUATION_STEPS",
    "LabyrinthState",
    "MetaLabyrinthEnv",
    "from_maps",
    "generate",
    "step",
    "tiles",
    "truncated",
]

STEP_REWARD: Final = -0.1
KEY_REWARD: Final = 1.0
EVALUATION_STEPS: Final = 50
"""After so many steps an episode is cut off in evaluation; the rules themselves never cut."""

_MOVES: Final = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], dtype=np.int64)


def step(
    state: LabyrinthState, actions: np.ndarray
) -> tuple[LabyrinthState, np.ndarray, np.ndarray]:
    """Take one step in each of n labyrinths.

    Args:
        state: the n labyrinths; left as it is.
        actions: integers (n,): 0 row + 1, 1 column + 1, 2 row - 1, 3 column - 1.

    Returns:
        The new state; the rewards, float32 (n,): +1 on a key, which then disappears, else -0.1;
        the terminals, bool (n,): no key is left.

    Raises:
        InputError: the actions are not (n,) integers in 0..3.
    """
    rows = np.arange(len(state))
    moved = state.player + _MOVES[check_actions(actions, len(state))]
    blocked = state.walls[rows, moved[:, 0], moved[:, 1]]
    player = np.where(blocked[:, None], state.player, moved)
    here = (rows, player[:, 0], player[:, 1])
    taken = state.keys[here]
    keys = state.keys.copy()
    keys[here] = False
    rewards = np.where(taken, np.float32(KEY_REWARD), np.float32(STEP_REWARD))
    after = LabyrinthState(state.walls, keys, player, state.steps + 1)
    return after, rewards, np.logical_not(keys.any(axis=(1, 2)))


def truncated(
    state: LabyrinthState, terminals: np.ndarray, cap: int = EVALUATION_STEPS
) -> np.ndarray:
    """Tell which episodes evaluation cuts off: after `cap` steps, unless they end by themselves.

    Args:
        state: n labyrinths.
        terminals: bool (n,), as `step` returned them.
        cap: the number of steps.

    Returns:
        bool (n,).
    """
    return (state.steps >= cap) & ~terminals


def tiles(state: LabyrinthState) -> np.ndarray:
    """Return the tile codes of n labyrinths.

    Args:
        state: the labyrinths.

    Returns:
        uint8 (n, 8, 8), a new array.
    """
    codes = state.walls.view(np.uint8) + KEY * state.keys.view(np.uint8)
    codes[np.arange(len(state)), state.player[:, 0], state.player[:, 1]] = PLAYER
    return codes


class MetaLabyrinthEnv(MazeEnv):
    """An 8 x 8 maze with three keys, drawn anew at every reset.

    ## Description
    Border walls, 12 inner walls and three keys; every key can be reached. The agent sees the whole
    maze and has to take all keys. As no maze comes twice, it has to learn the rule of all mazes
    (section 5.2 and figure 4 of the paper).

    ## Action Space
    `Discrete(4)`: 0 row + 1 (down), 1 column + 1 (right), 2 row - 1 (up), 3 column - 1 (left). A
    move into a wall stays.

    ## Observation Space
    `Box(float32)`. 'pixels': (1, 48, 48), each tile a 6 x 6 sprite, in [-1, 1]; 'symbolic':
    (1, 8, 8), wall 0.99, key 0.5, player 0.25, path 0. The visual domain changes the values.

    ## Rewards
    +1 for a step onto a key, which then disappears; -0.1 for every other step.

    ## Starting State
    The player at (1, 1). 12 distinct walls at coordinates 1..5 and three distinct keys at
    coordinates 1..6, redrawn until every key can be reached.

    ## Episode End
    Terminated when all keys are taken. Truncated after 50 steps with `evaluation=True`, else never.

    ## Arguments
    - `observation`: 'pixels' (default) or 'symbolic'.
    - `domain`: the visual domain, one of `crar_diag.envs.domain_names()`; 'normal' by default.
    - `evaluation`: cut episodes off after 50 steps; False by default.
    - `render_mode`: None or 'rgb_array', a picture for people.

    ```python
    gymnasium.make("crar_diag/MetaLabyrinth-v0", domain="inverse", evaluation=True)
    ```

    ## References
    - Component Transfer Learning for Deep RL Based on Abstract Representations, arXiv 2111.11525.
    - François-Lavet, Bengio, Precup, Pineau: Combined Reinforcement Learning via Abstract
      Representations, AAAI 2019, arXiv 1809.04506.

    ## Version History
    - v0: first version.
    """

    _state: LabyrinthState | None = None

    def __init__(
        self,
        observation: str = "pixels",
        domain: str = "normal",
        evaluation: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(LABYRINTH, observation, domain, render_mode)
        self.evaluation = evaluation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new maze.

        Args:
            seed: start the environment's generator anew from this seed.
            options: not used.

        Returns:
            The observation, float32 (1, H, W), and an empty dict.
        """
        super().reset(seed=seed)
        self._state = generate(self.np_random, 1)
        return self.observer(self.tiles), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Args:
            action: 0 to 3, see the class.

        Returns:
            Observation, reward, terminated, truncated and an empty dict.

        Raises:
            InputError: the action is not 0 to 3.
            ResetNeeded: `reset` was never called.
        """
        self._state, rewards, terminals = step(self.state, np.array([action]))
        cut = self.evaluation and bool(truncated(self._state, terminals)[0])
        return self.observer(self.tiles), float(rewards[0]), bool(terminals[0]), cut, {}

    @property
    def state(self) -> LabyrinthState:
        """The maze as a batch of one; assign `from_maps([...])` to place one made by hand."""
        self._check_reset(self._state)
        assert self._state is not None
        return self._state

    @state.setter
    def state(self, state: LabyrinthState) -> None:
        self._state = state

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of the current state, uint8 (8, 8)."""
        return tiles(self.state)[0]
