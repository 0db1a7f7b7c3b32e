"""Transitions of a uniformly random policy: what every agent is trained on (offline)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from crar_diag.envs import labyrinth, simple_maze
from crar_diag.envs.gym_base import ACTIONS
from crar_diag.envs.mazes import generate
from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE, check_environment
from crar_diag.envs.tiles import EMPTY, GRID_SIZE, TILE_CODES
from crar_diag.errors import InputError

STEPS_PER_GATHERING: Final = {SIMPLE_MAZE: 500, LABYRINTH: 10_000}
"""How long one gathering runs before the next starts from a fresh maze.

Simple maze: the published data are 10 gatherings of 500 steps. Labyrinth: episodes of a random
policy last hundreds of steps, and short gatherings would show too many mazes with all their keys.
"""


@dataclass(frozen=True, eq=False)
class TransitionData:
    """T transitions (s, a, r, s', terminal), states as tile codes, so that any domain can be drawn.

    Args:
        environment: one of `ENVIRONMENTS`.
        tiles: uint8 (T, 8, 8), the states s.
        next_tiles: uint8 (T, 8, 8), the states s'. A grid of `EMPTY` is an all-zero observation.
        actions: uint8 (T,), 0 to 3.
        rewards: float32 (T,).
        terminals: bool (T,).

    Raises:
        InputError: a shape, a dtype or a value is not as stated, or T is 0.
    """

    environment: str
    tiles: np.ndarray
    next_tiles: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray

    def __post_init__(self) -> None:
        check_environment(self.environment)
        length = len(self.actions)
        if length == 0:
            raise InputError("expected at least 1 transition, found none")
        grid = (length, GRID_SIZE, GRID_SIZE)
        for name, dtype, shape in (
            ("tiles", np.uint8, grid),
            ("next_tiles", np.uint8, grid),
            ("actions", np.uint8, (length,)),
            ("rewards", np.float32, (length,)),
            ("terminals", np.bool_, (length,)),
        ):
            values = getattr(self, name)
            if values.shape != shape or values.dtype != dtype:
                raise InputError(
                    f"expected {name} to be {np.dtype(dtype)} {shape}, "
                    f"found {values.dtype} {values.shape}"
                )
        for name, limit in (
            ("tiles", TILE_CODES),
            ("next_tiles", TILE_CODES),
            ("actions", ACTIONS),
        ):
            greatest = getattr(self, name).max()
            if greatest >= limit:
                raise InputError(f"expected {name} below {limit}, found {greatest}")
        if not np.isfinite(self.rewards).all():
            raise InputError("expected finite rewards, found infinities or NaN")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def nbytes(self) -> int:
        """The memory of all arrays in bytes."""
        arrays = (self.tiles, self.next_tiles, self.actions, self.rewards, self.terminals)
        return sum(array.nbytes for array in arrays)

    def distinct(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return every picture once, so that an encoder need see each only once.

        Returns:
            The K distinct pictures, uint8 (K, 8, 8), in the order in which they first occur in
            `tiles` followed by `next_tiles`; index, int64 (T,), with tiles = pictures[index];
            next_index, int64 (T,), with next_tiles = pictures[next_index].
        """
        grids = np.concatenate([self.tiles, self.next_tiles])
        _, first, inverse = np.unique(_identities(grids), return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        index = rank[inverse]
        return grids[first[order]], index[: len(self)], index[len(self) :]


def _identities(grids: np.ndarray) -> np.ndarray:
    """Return one number or byte string a grid, equal exactly where the grids are equal.

    Sorting 64-bit numbers is many times faster than sorting grids of 64 bytes, so each grid is
    hashed; should two different grids ever share a number, the grids themselves are used.
    """
    words = grids.reshape(len(grids), -1).view(np.uint64)
    odd = np.uint64(2) * np.arange(words.shape[1], dtype=np.uint64) + np.uint64(1)
    hashes = np.zeros(len(grids), dtype=np.uint64)
    for word, weight in zip(words.T, odd, strict=True):
        hashes = (hashes ^ (word * weight)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    if np.array_equal(words[first[inverse]], words):
        return hashes
    return np.ascontiguousarray(words).view(np.dtype((np.void, words.shape[1] * 8)))[:, 0]


def exact_transitions() -> TransitionData:
    """Return all 124 transitions of the simple maze.

    Returns:
        The transitions in state-major order: row 4 s + a is action a in state s, with states in
        the order of `simple_maze.STATES`. Their mean is the exact expectation over a uniform
        (state, action) pair.
    """
    count = len(simple_maze.STATES)
    states = np.repeat(np.arange(count), ACTIONS)
    actions = np.tile(np.arange(ACTIONS, dtype=np.uint8), count)
    return _simple_maze_data(states, actions, simple_maze.SUCCESSORS.reshape(-1))


def _simple_maze_data(
    states: np.ndarray, actions: np.ndarray, next_states: np.ndarray
) -> TransitionData:
    pictures = simple_maze.all_tiles()
    return TransitionData(
        environment=SIMPLE_MAZE,
        tiles=pictures[states],
        next_tiles=pictures[next_states],
        actions=actions,
        rewards=np.zeros(len(actions), dtype=np.float32),
        terminals=np.zeros(len(actions), dtype=bool),
    )


def gather(
    environment: str,
    transitions: int,
    rng: np.random.Generator,
    mark_last_terminal: bool = False,
    steps_per_gathering: int | None = None,
) -> TransitionData:
    """Let a uniformly random policy play.

    The gatherings run side by side, each from a fresh start, and are written one after the other;
    the last is cut off where `transitions` is no multiple of their length. In the labyrinth a new
    maze follows a terminal step, whose next state is the actual final picture. Episodes are never
    truncated: the 50-step limit belongs to evaluation.

    Args:
        environment: one of `ENVIRONMENTS`.
        transitions: T, how many; the paper has 5,000 in the simple maze, 200,000 in the labyrinth.
        rng: the generator that all numbers come from; equal generators give equal data.
        mark_last_terminal: as the published code did in the simple maze, make the last step of
            each gathering terminal, with a next state of `EMPTY`, the all-zero observation.
        steps_per_gathering: the length of one gathering; `STEPS_PER_GATHERING` by default.

    Returns:
        The T transitions.

    Raises:
        InputError: the environment is unknown, a number is less than 1, or `mark_last_terminal`
            is asked of the labyrinth.
    """
    check_environment(environment)
    if steps_per_gathering is None:
        steps_per_gathering = STEPS_PER_GATHERING[environment]
    for name, value in (("transitions", transitions), ("steps_per_gathering", steps_per_gathering)):
        if value < 1:
            raise InputError(f"expected {name} of at least 1, found {value}")
    if mark_last_terminal and environment != SIMPLE_MAZE:
        raise InputError(
            f"expected mark_last_terminal with '{SIMPLE_MAZE}' only, found '{environment}'"
        )
    steps = min(steps_per_gathering, transitions)
    lanes = -(-transitions // steps)
    actions = rng.integers(ACTIONS, size=(lanes, steps), dtype=np.uint8)
    if environment == LABYRINTH:
        return _gather_labyrinth(transitions, actions, rng)
    data = _gather_simple_maze(transitions, actions)
    if mark_last_terminal:
        last = np.append(np.arange(steps - 1, transitions - 1, steps), transitions - 1)
        data.terminals[last] = True
        data.next_tiles[last] = EMPTY
    return data


def _gather_simple_maze(transitions: int, actions: np.ndarray) -> TransitionData:
    lanes, steps = actions.shape
    states = np.full((lanes, steps + 1), simple_maze.START)
    for t in range(steps):
        states[:, t + 1] = simple_maze.SUCCESSORS[states[:, t], actions[:, t]]
    return _simple_maze_data(
        states[:, :-1].reshape(-1)[:transitions],
        actions.reshape(-1)[:transitions],
        states[:, 1:].reshape(-1)[:transitions],
    )


def _gather_labyrinth(
    transitions: int, actions: np.ndarray, rng: np.random.Generator
) -> TransitionData:
    lanes, steps = actions.shape
    tiles = np.empty((lanes, steps, GRID_SIZE, GRID_SIZE), dtype=np.uint8)
    next_tiles = np.empty_like(tiles)
    rewards = np.empty((lanes, steps), dtype=np.float32)
    terminals = np.empty((lanes, steps), dtype=bool)
    state = generate(rng, lanes)
    for t in range(steps):
        tiles[:, t] = labyrinth.tiles(state)
        state, rewards[:, t], terminals[:, t] = labyrinth.step(state, actions[:, t])
        next_tiles[:, t] = labyrinth.tiles(state)
        done = np.flatnonzero(terminals[:, t])
        if done.size:
            state = state.replaced(done, generate(rng, done.size))
    return TransitionData(
        environment=LABYRINTH,
        tiles=tiles.reshape(-1, GRID_SIZE, GRID_SIZE)[:transitions],
        next_tiles=next_tiles.reshape(-1, GRID_SIZE, GRID_SIZE)[:transitions],
        actions=actions.reshape(-1)[:transitions],
        rewards=rewards.reshape(-1)[:transitions],
        terminals=terminals.reshape(-1)[:transitions],
    )
