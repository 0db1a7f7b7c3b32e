"""Both environments as Gymnasium vector environments, all copies stepped by one batch of rules.

Lane i draws its mazes from its own generator, seeded `seed + i`, so that a vector environment
does, step for step, what `SyncVectorEnv` does with the single environments.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from crar_diag.envs import labyrinth, simple_maze
from crar_diag.envs.gym_base import ACTIONS, METADATA, check_actions, check_render_mode
from crar_diag.envs.gym_base import observation_space as observation_space_of
from crar_diag.envs.mazes import LabyrinthState, generate
from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.envs.pictures import picture
from crar_diag.errors import InputError


class MazeVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Base of both vector environments; a subclass has `_start`, `_advance` and `tiles`.

    An episode that ended is reset by the next step (`AutoresetMode.NEXT_STEP`), which ignores the
    lane's action and returns its first observation with reward 0.

    Args:
        environment: one of `ENVIRONMENTS`.
        num_envs: n, the number of lanes, at least 1.
        observation: one of `OBSERVATIONS`.
        domain: one of `domain_names()`.
        render_mode: None or 'rgb_array'.

    Raises:
        InputError: a name is unknown or there is no lane.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **METADATA,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        environment: str,
        num_envs: int,
        observation: str,
        domain: str,
        render_mode: str | None,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"expected num_envs of at least 1, found {num_envs}")
        self.num_envs = num_envs
        self.observer = Observer(environment, observation, domain)
        self.render_mode = check_render_mode(render_mode)
        self.single_observation_space = observation_space_of(self.observer)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = gymnasium.spaces.Discrete(ACTIONS)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._ended: np.ndarray | None = None

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of all lanes, uint8 (n, 8, 8)."""
        raise NotImplementedError

    def _start(self, lanes: np.ndarray) -> None:
        """Put the lanes with these indices into a starting state."""
        raise NotImplementedError

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step every lane; return rewards float32, terminations and truncations bool, (n,) each."""
        raise NotImplementedError

    def _generator(self, lane: int) -> np.random.Generator:
        """Return a lane's generator, seeded by the system if `reset` was given no seed."""
        generator = self._generators[lane]
        if generator is None:
            generator = self._generators[lane] = seeding.np_random()[0]
        return generator

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all lanes anew.

        Args:
            seed: lane i is seeded with `seed + i`, or with entry i of a sequence; None leaves its
                generator as it is.
            options: not used.

        Returns:
            Observations, float32 (n, 1, H, W), and an empty dict.

        Raises:
            InputError: the sequence of seeds has not one entry a lane.
        """
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + lane for lane in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"expected {self.num_envs} seeds, found {len(seeds)}")
        for lane, one in enumerate(seeds):
            if one is not None:
                self._generators[lane] = seeding.np_random(one)[0]
        self._start(np.arange(self.num_envs))
        self._ended = np.zeros(self.num_envs, dtype=bool)
        return self.observer(self.tiles), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all lanes; a lane whose episode ended is reset instead.

        Args:
            actions: integers (n,), 0 to 3.

        Returns:
            Observations, float32 (n, 1, H, W); rewards, float32 (n,); terminations and
            truncations, bool (n,); and an empty dict.

        Raises:
            InputError: the actions are not (n,) integers in 0..3.
            ResetNeeded: `reset` was never called.
        """
        if self._ended is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step")
        rewards, terminations, truncations = self._advance(check_actions(actions, self.num_envs))
        lanes = np.flatnonzero(self._ended)
        if lanes.size:
            self._start(lanes)
            rewards[lanes], terminations[lanes], truncations[lanes] = 0.0, False, False
        self._ended = terminations | truncations
        return self.observer(self.tiles), rewards, terminations, truncations, {}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture for people a lane, uint8 (256, 256, 3), or None without a mode."""
        if self.render_mode is None:
            return None
        return tuple(picture(tiles) for tiles in self.tiles)


class SimpleMazeVectorEnv(MazeVectorEnv):
    """Many simple mazes at once; see `SimpleMazeEnv` for the rules.

    Args:
        num_envs: n, the number of lanes.
        observation: 'symbolic' or 'pixels'.
        domain: the visual domain.
        render_mode: None or 'rgb_array'.

    Raises:
        InputError: a name is unknown or there is no lane.
    """

    def __init__(
        self,
        num_envs: int = 1,
        observation: str = "symbolic",
        domain: str = "normal",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(SIMPLE_MAZE, num_envs, observation, domain, render_mode)
        self._all_tiles = simple_maze.all_tiles()
        self._states = np.full(num_envs, simple_maze.START)

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of all lanes, uint8 (n, 8, 8)."""
        return self._all_tiles[self._states]

    def _start(self, lanes: np.ndarray) -> None:
        self._states[lanes] = simple_maze.START

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._states = simple_maze.SUCCESSORS[self._states, actions]
        never = np.zeros(self.num_envs, dtype=bool)
        return np.zeros(self.num_envs, dtype=np.float32), never, never.copy()


class MetaLabyrinthVectorEnv(MazeVectorEnv):
    """Many labyrinths at once; see `MetaLabyrinthEnv` for the rules.

    Args:
        num_envs: n, the number of lanes.
        observation: 'pixels' or 'symbolic'.
        domain: the visual domain.
        evaluation: cut episodes off after 50 steps.
        render_mode: None or 'rgb_array'.

    Raises:
        InputError: a name is unknown or there is no lane.
    """

    def __init__(
        self,
        num_envs: int = 1,
        observation: str = "pixels",
        domain: str = "normal",
        evaluation: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(LABYRINTH, num_envs, observation, domain, render_mode)
        self.evaluation = evaluation
        self._state: LabyrinthState | None = None

    @property
    def state(self) -> LabyrinthState:
        """The labyrinths of all lanes."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step or rendering")
        return self._state

    @property
    def tiles(self) -> np.ndarray:
        """The tile codes of all lanes, uint8 (n, 8, 8)."""
        return labyrinth.tiles(self.state)

    def _start(self, lanes: np.ndarray) -> None:
        drawn = [generate(self._generator(lane), 1) for lane in lanes.tolist()]
        fresh = LabyrinthState(
            *(
                np.concatenate([getattr(one, name) for one in drawn])
                for name in ("walls", "keys", "player", "steps")
            )
        )
        self._state = fresh if len(fresh) == self.num_envs else self.state.replaced(lanes, fresh)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._state, rewards, terminals = labyrinth.step(self.state, actions)
        if self.evaluation:
            return rewards, terminals, labyrinth.truncated(self._state, terminals)
        return rewards, terminals, np.zeros(self.num_envs, dtype=bool)
