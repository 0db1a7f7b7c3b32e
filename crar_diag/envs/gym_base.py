"""What both Gymnasium environments share: spaces, observer, rendering, checks."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from crar_diag.envs.observer import Observer
from crar_diag.envs.pictures import picture
from crar_diag.errors import InputError

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}
ACTIONS = 4


def check_actions(actions: np.ndarray, n: int) -> np.ndarray:
    """Check the actions of n mazes.

    Args:
        actions: what the caller gave.
        n: how many mazes there are.

    Returns:
        The actions as an integer array (n,).

    Raises:
        InputError: they are not (n,) integers in 0..3.
    """
    checked = np.asarray(actions)
    if checked.shape != (n,) or checked.dtype.kind not in "iu":
        raise InputError(
            f"expected integer actions of shape ({n},), found {checked.dtype} {checked.shape}"
        )
    if checked.size and not 0 <= checked.min() <= checked.max() < ACTIONS:
        raise InputError(f"expected actions in 0..3, found {checked.min()} to {checked.max()}")
    return checked


def check_render_mode(render_mode: str | None) -> str | None:
    """Return `render_mode` if it is None or 'rgb_array'.

    Args:
        render_mode: what the user wrote.

    Returns:
        The same mode.

    Raises:
        InputError: the mode is unknown.
    """
    if render_mode not in (None, *METADATA["render_modes"]):
        raise InputError(f"expected render_mode None or 'rgb_array', found '{render_mode}'")
    return render_mode


def observation_space(observer: Observer) -> gymnasium.spaces.Box:
    """Return the space of an observer's observations.

    Args:
        observer: what the agent sees.

    Returns:
        A float32 box of the observer's shape and bounds.
    """
    low, high = observer.bounds
    return gymnasium.spaces.Box(low, high, observer.shape, np.float32)


class MazeEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Base of both environments; a subclass has `reset`, `step` and `tiles`.

    Args:
        environment: one of `ENVIRONMENTS`.
        observation: one of `OBSERVATIONS`.
        domain: one of `domain_names()`.
        render_mode: None or 'rgb_array'.

    Raises:
        InputError: a name is unknown.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(
        self, environment: str, observation: str, domain: str, render_mode: str | None
    ) -> None:
        self.observer = Observer(environment, observation, domain)
        self.observation_space = observation_space(self.observer)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self.render_mode = check_render_mode(render_mode)

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of the current state, uint8 (8, 8)."""
        raise NotImplementedError

    def render(self) -> np.ndarray | None:
        """Return a picture for people, uint8 (256, 256, 3), or None without a render mode."""
        return picture(self.tiles) if self.render_mode == "rgb_array" else None

    @staticmethod
    def _check_reset(state: object) -> None:
        if state is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step or rendering")
