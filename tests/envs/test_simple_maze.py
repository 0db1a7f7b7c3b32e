import numpy as np
import pytest

from crar_diag.envs.simple_maze import SIDES, START, STATES, SUCCESSORS, SimpleMazeEnv, all_tiles
from crar_diag.errors import InputError
from tests.envs.twins import SIMPLE_MAZE, simple_step

CELLS = [(r, c) for r in range(8) for c in range(8) if SIMPLE_MAZE[r][c] == "."]


def test_states_are_the_31_free_cells_in_row_major_order():
    assert STATES.shape == (31, 2)
    assert [tuple(cell) for cell in STATES.tolist()] == CELLS


def test_start_is_the_door():
    assert STATES[START].tolist() == [4, 4]
    assert CELLS.index((4, 4)) == START


def test_successors_equal_the_twin():
    expected = [[CELLS.index(simple_step(cell, action)) for action in range(4)] for cell in CELLS]
    assert SUCCESSORS.tolist() == expected


def test_34_of_124_moves_go_into_walls():
    assert SUCCESSORS.size == 124
    assert (np.arange(31)[:, None] == SUCCESSORS).sum() == 34


def test_sides_are_18_left_1_door_12_right():
    assert np.bincount(SIDES).tolist() == [18, 1, 12]
    assert SIDES[START] == 1
    assert SIDES[CELLS.index((1, 1))] == 0
    assert SIDES[CELLS.index((6, 6))] == 2


def test_all_tiles_show_walls_paths_and_one_player():
    tiles = all_tiles()
    assert tiles.shape == (31, 8, 8)
    assert tiles.dtype == np.uint8
    for state, cell in enumerate(CELLS):
        expected = [[int(sign == "#") for sign in row] for row in SIMPLE_MAZE]
        expected[cell[0]][cell[1]] = 2
        assert tiles[state].tolist() == expected


def test_observation_of_the_start_by_hand():
    observation, info = SimpleMazeEnv().reset()
    expected = [[float(sign == "#") for sign in row] for row in SIMPLE_MAZE]
    expected[4][4] = 0.5
    assert observation.dtype == np.float32
    assert observation.tolist() == [expected]
    assert info == {}


def test_env_walks_the_table_without_reward_or_end():
    env = SimpleMazeEnv()
    env.reset(seed=0)
    state = START
    for action in np.random.default_rng(0).integers(4, size=2000):
        observation, reward, terminated, truncated, _ = env.step(action)
        state = SUCCESSORS[state, action]
        assert np.array_equal(observation, env.observer(all_tiles()[state]))
        assert (reward, terminated, truncated) == (0.0, False, False)


def test_a_move_into_a_wall_stays():
    env = SimpleMazeEnv()
    before, _ = env.reset()
    after, *_ = env.step(0)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("action", [-1, 4, 1.5])
def test_wrong_actions_are_named(action):
    env = SimpleMazeEnv()
    env.reset()
    with pytest.raises(InputError, match="expected"):
        env.step(action)
