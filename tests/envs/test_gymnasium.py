import re

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import crar_diag.envs as envs
from crar_diag.errors import InputError

IDS = sorted(name for name in gymnasium.registry if name.startswith("crar_diag/"))
HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Arguments",
    "References",
    "Version History",
]


def test_both_ids_are_registered():
    assert IDS == ["crar_diag/MetaLabyrinth-v0", "crar_diag/SimpleMaze-v0"]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("observation", envs.OBSERVATIONS)
@pytest.mark.parametrize("domain", envs.domain_names())
def test_gymnasium_accepts_every_id(name, observation, domain):
    env = gymnasium.make(name, observation=observation, domain=domain, render_mode="rgb_array")
    check_env(env.unwrapped)
    picture = env.unwrapped.render()
    assert picture.shape == (256, 256, 3)
    env.close()


@pytest.mark.parametrize("env_class", [envs.SimpleMazeEnv, envs.MetaLabyrinthEnv])
def test_docstrings_have_the_fixed_headings(env_class):
    assert re.findall(r"^ *## (.+)$", env_class.__doc__, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crar_diag/SimpleMaze-v0", {}),
        ("crar_diag/SimpleMaze-v0", {"observation": "pixels", "domain": "swapped"}),
        ("crar_diag/MetaLabyrinth-v0", {"observation": "symbolic"}),
        ("crar_diag/MetaLabyrinth-v0", {"evaluation": True, "domain": "inverse"}),
    ],
)
def test_vector_env_equals_single_envs_step_for_step(name, options):
    lanes, steps = 5, 1200
    vector = gymnasium.make_vec(name, num_envs=lanes, **options)
    singles = SyncVectorEnv([lambda: gymnasium.make(name, **options)] * lanes)
    assert isinstance(vector.unwrapped, envs.vector.MazeVectorEnv)
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert vector.observation_space == singles.observation_space
    assert vector.action_space == singles.action_space
    actions = np.random.default_rng(0).integers(4, size=(steps, lanes))
    ended = 0
    for seed in (3, None):
        first, _ = vector.reset(seed=seed)
        assert np.array_equal(first, singles.reset(seed=seed)[0])
        for one in actions:
            seen, rewards, terminations, truncations, _ = vector.step(one)
            expected = singles.step(one)
            assert np.array_equal(seen, expected[0])
            assert np.array_equal(rewards, expected[1])
            assert np.array_equal(terminations, expected[2])
            assert np.array_equal(truncations, expected[3])
            ended += (terminations | truncations).sum()
    assert seen in vector.observation_space
    assert (ended > 0) == ("Labyrinth" in name)


def test_a_list_of_seeds_seeds_each_lane():
    vector = envs.MetaLabyrinthVectorEnv(3, observation="symbolic")
    seen, _ = vector.reset(seed=[8, 2, 8])
    single, _ = envs.MetaLabyrinthEnv(observation="symbolic").reset(seed=8)
    assert np.array_equal(seen[0], single)
    assert np.array_equal(seen[2], single)
    assert not np.array_equal(seen[1], single)
    with pytest.raises(InputError, match="expected 3 seeds, found 2"):
        vector.reset(seed=[1, 2])


def test_vector_render_shows_every_lane():
    vector = envs.MetaLabyrinthVectorEnv(2, render_mode="rgb_array")
    vector.reset(seed=0)
    frames = vector.render()
    assert len(frames) == 2
    for frame, tiles in zip(frames, vector.tiles, strict=True):
        assert np.array_equal(frame, envs.picture(tiles))
    assert envs.SimpleMazeVectorEnv(2).render() is None


@pytest.mark.parametrize(
    "make",
    [
        envs.SimpleMazeEnv,
        envs.MetaLabyrinthEnv,
        lambda: envs.SimpleMazeVectorEnv(2),
        lambda: envs.MetaLabyrinthVectorEnv(2),
    ],
)
def test_a_step_before_reset_is_refused(make):
    env = make()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="found 'human'"):
        envs.SimpleMazeEnv(render_mode="human")
    with pytest.raises(InputError, match="num_envs of at least 1, found 0"):
        envs.SimpleMazeVectorEnv(0)
    with pytest.raises(InputError, match="did you mean 'inverse'"):
        envs.MetaLabyrinthEnv(domain="inversed")
