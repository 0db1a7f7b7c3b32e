import numpy as np
import pytest

from crar_diag.envs.labyrinth import (
    MetaLabyrinthEnv,
    from_maps,
    generate,
    step,
    tiles,
    truncated,
)
from crar_diag.errors import InputError
from tests.envs.twins import HAND_MAZE, LabyrinthTwin


def play(text, actions):
    """Rewards and terminals of a sequence of actions in one hand-made maze, and the last state."""
    state, rewards, terminals = from_maps([text]), [], []
    for action in actions:
        state, reward, terminal = step(state, np.array([action]))
        rewards.append(float(reward[0]))
        terminals.append(bool(terminal[0]))
    return state, rewards, terminals


def test_actions_are_down_right_up_left():
    state = from_maps([HAND_MAZE.replace("P", ".").replace("#....#.#", "#.P..#.#")] * 4)
    after, _, _ = step(state, np.arange(4))
    assert state.player.tolist() == [[5, 2]] * 4
    assert after.player.tolist() == [[6, 2], [5, 3], [5, 2], [5, 1]]  # (4, 2) is a wall


def test_a_wall_move_stays_and_costs_a_step():
    state, rewards, terminals = play(HAND_MAZE, [2, 3])
    assert state.player.tolist() == [[1, 1]]
    assert rewards == [pytest.approx(-0.1)] * 2
    assert terminals == [False, False]
    assert state.steps.tolist() == [2]


def test_a_key_gives_one_and_disappears():
    state, rewards, terminals = play(HAND_MAZE, [1, 1, 3, 1])
    assert rewards == pytest.approx([-0.1, 1.0, -0.1, -0.1])
    assert not any(terminals)
    assert np.argwhere(state.keys[0]).tolist() == [[3, 3], [6, 6]]
    assert tiles(state)[0, 1, 3] == 2


def test_the_last_key_ends_the_episode():
    text = HAND_MAZE.replace("#.#K.#.#", "#.#..#.#")
    _, rewards, terminals = play(text, [1] * 5 + [0] * 5)
    assert rewards == pytest.approx([-0.1, 1.0, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, 1.0])
    assert terminals == [False] * 9 + [True]


def test_tiles_of_a_hand_made_maze():
    codes = {"#": 1, ".": 0, "P": 2, "K": 3}
    expected = [[codes[sign] for sign in line] for line in HAND_MAZE.split()]
    assert tiles(from_maps([HAND_MAZE]))[0].tolist() == expected


def test_rules_equal_the_twin():
    rng = np.random.default_rng(3)
    state = generate(rng, 60)
    twins = [LabyrinthTwin(*one) for one in zip(state.walls, state.keys, state.player, strict=True)]
    keys_taken = 0
    for _ in range(300):
        actions = rng.integers(4, size=60)
        state, rewards, terminals = step(state, actions)
        outcomes = [twin.step(action) for twin, action in zip(twins, actions, strict=True)]
        assert rewards.dtype == np.float32
        assert rewards.tolist() == np.float32([reward for reward, _ in outcomes]).tolist()
        assert terminals.tolist() == [terminal for _, terminal in outcomes]
        assert tiles(state).tolist() == [twin.tiles() for twin in twins]
        keys_taken += (rewards == 1).sum()
    assert keys_taken > 60


def test_step_leaves_its_argument_alone():
    state = from_maps([HAND_MAZE])
    before = [state.walls.copy(), state.keys.copy(), state.player.copy(), state.steps.copy()]
    step(step(state, np.array([1]))[0], np.array([1]))
    for old, now in zip(before, (state.walls, state.keys, state.player, state.steps), strict=True):
        assert np.array_equal(old, now)


@pytest.mark.parametrize("actions", [[0], [0, 4], [-1, 0], [0.0, 1.0]])
def test_wrong_actions_are_named(actions):
    with pytest.raises(InputError, match="expected"):
        step(from_maps([HAND_MAZE] * 2), np.array(actions))


@pytest.mark.parametrize("evaluation", [False, True])
def test_truncation_after_50_steps_in_evaluation_only(evaluation):
    env = MetaLabyrinthEnv(evaluation=evaluation)
    env.reset(seed=0)
    env.state = from_maps([HAND_MAZE])
    cuts = [env.step(2)[3] for _ in range(120)]
    expected = [evaluation and number >= 50 for number in range(1, 121)]
    assert cuts == expected


def test_a_terminal_50th_step_is_not_truncated():
    env = MetaLabyrinthEnv(evaluation=True)
    env.reset(seed=0)
    env.state = from_maps([HAND_MAZE.replace("K", ".").replace("#P.", "#PK")])
    for _ in range(49):
        env.step(2)
    assert env.step(1)[1:4] == (1.0, True, False)


@pytest.mark.parametrize("cap", [1, 3])
def test_another_cap_cuts_off_after_as_many_steps(cap):
    state, cuts = from_maps([HAND_MAZE] * 2), []
    for _ in range(4):
        state, _, _ = step(state, np.array([2, 2]))
        cuts.append(truncated(state, np.array([False, True]), cap).tolist())
    assert cuts == [[number >= cap, False] for number in range(1, 5)]


def test_env_draws_a_new_maze_at_every_reset():
    env = MetaLabyrinthEnv(observation="symbolic")
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    again, _ = env.reset(seed=5)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)
