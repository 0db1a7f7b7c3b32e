import json
import math

import numpy as np
import pytest
import torch

from crar_diag.agent import probes
from crar_diag.agent.assessment import Play, assess, settings_of
from crar_diag.agent.config import LOSSES
from crar_diag.agent.evaluation import evaluate_episodes, evaluate_labyrinth
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation, held_out_labyrinth, sampled_losses
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.streams import episode_streams
from crar_diag.envs.mazes import generate
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.runs import HELD_OUT, labyrinth_config, maze_config, save_agent


@pytest.fixture
def maze(tmp_path):
    return save_agent(tmp_path / "maze.safetensors", maze_config("0", 9, "domain=inverse"), 3)


@pytest.fixture
def labyrinth(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
    config = labyrinth_config("0", 9, "discount_factor=0.7", "pair_scale=3.0")
    return save_agent(tmp_path / "labyrinth.safetensors", config, 4, updates=9)


def population_of(path):
    agent = load_agent(path)
    return agent.architecture, {name: p.unsqueeze(0) for name, p in agent.parameters.items()}


@pytest.mark.parametrize("domain", [None, "normal", "permuted"])
def test_losses_in_the_simple_maze_are_exact_in_any_domain(maze, domain):
    (found,) = assess([maze], domain)
    architecture, population = population_of(maze)
    observer = Observer("simple-maze", "symbolic", domain or "inverse")
    expected = exact_evaluation(architecture, population, observer, LossSettings())
    assert list(found.losses) == list(LOSSES)
    assert found.losses == {name: values[0] for name, values in expected.losses.items()}
    assert found.losses_error == dict.fromkeys(LOSSES, 0.0)
    assert found.domain == (domain or "inverse")
    assert (found.path, found.environment, found.seed) == (maze, "simple-maze", 3)
    assert found.score is None
    assert found.score_error is None


def test_losses_in_the_labyrinth_are_those_of_held_out_mazes(labyrinth):
    (found,) = assess([labyrinth], "noise", Play(steps=1))
    architecture, population = population_of(labyrinth)
    observer = Observer("labyrinth", "symbolic", "noise")
    settings = LossSettings(0.7, True, 3.0)  # the configuration's
    expected = sampled_losses(
        architecture, population, observer, held_out_labyrinth(HELD_OUT), settings
    )
    for name in LOSSES:
        assert found.losses[name] == pytest.approx(expected.mean[name][0], rel=1e-6)
        assert found.losses_error[name] == pytest.approx(expected.standard_error[name][0], rel=1e-4)
    assert (found.updates, found.seed, found.domain) == (9, 4, "noise")


def test_the_score_is_the_published_one_of_a_seed(labyrinth):
    architecture, population = population_of(labyrinth)
    observer = Observer("labyrinth", "symbolic")
    for seed in (0, 7):
        play = Play(depth=1, epsilon=0.8, steps=60)
        (found,) = assess([labyrinth], play=play, seed=seed)
        expected = evaluate_labyrinth(
            architecture,
            population,
            observer,
            [episode_streams(seed)],
            depth=1,
            epsilon=0.8,
            steps=60,
            episode_cap=50,
        )
        assert found.score == expected.mean[0]
        assert found.score_error is None  # one environment has no standard error
        assert assess([labyrinth], play=play, seed=seed)[0].score == found.score
    scores = {assess([labyrinth], play=play, seed=seed)[0].score for seed in range(5)}
    assert len(scores) > 1


def test_whole_episodes_have_a_standard_error(labyrinth):
    architecture, population = population_of(labyrinth)
    observer = Observer("labyrinth", "symbolic")
    (found,) = assess([labyrinth], play=Play(depth=0, epsilon=1.0, episodes=6), seed=2)
    expected = evaluate_episodes(
        architecture,
        population,
        observer,
        [episode_streams(2)],
        episodes=6,
        depth=0,
        epsilon=1.0,
        episode_cap=50,
    )
    assert found.score == expected.returns[0].mean()
    assert found.score_error == pytest.approx(expected.returns[0].std(ddof=1) / math.sqrt(6))
    assert found.score_error > 0
    assert np.ptp(expected.returns) > 0
    (one,) = assess([labyrinth], play=Play(depth=0, episodes=1))
    assert one.score_error is None


def test_an_epsilon_and_a_depth_of_zero_are_not_the_default(labyrinth, monkeypatch):
    asked, one = {}, {"environments": 1}

    def evaluate(*_: object, **how: object) -> object:
        asked.update(how)
        return type("Scores", (), {"mean": np.zeros(1), "standard_error": np.full(1, np.nan)})

    monkeypatch.setattr("crar_diag.agent.assessment.evaluate_labyrinth", evaluate)
    assess([labyrinth], play=Play(depth=0, epsilon=0.0))
    assert asked == {"depth": 0, "epsilon": 0.0, "steps": 200, "episode_cap": 50, **one}
    assess([labyrinth])
    assert asked == {"depth": 3, "epsilon": 0.1, "steps": 200, "episode_cap": 50, **one}
    assess([labyrinth], play=Play(2, 0.5, 7, None, 4, 3))
    assert asked == {
        "depth": 2, "epsilon": 0.5, "steps": 7, "episode_cap": 4, "environments": 3
    }  # fmt: skip


def test_agents_of_different_tasks_and_precisions_in_one_call(maze, labyrinth, tmp_path):
    double = maze_config("0", 9, "precision=float64", "observation=pixels")
    pixels = save_agent(tmp_path / "pixels.safetensors", double)
    found = assess([labyrinth, maze, pixels], "inverse", Play(steps=2, depth=0))
    assert [one.environment for one in found] == ["labyrinth", "simple-maze", "simple-maze"]
    assert [one.score is None for one in found] == [False, True, True]
    for one in found:
        (alone,) = assess(
            [one.path], "inverse", None if one.score is None else Play(steps=2, depth=0)
        )
        assert alone == one


def test_what_is_found_is_plain_json(maze):
    (found,) = assess([maze])
    assert json.loads(json.dumps(found.as_dict())) == {
        "path": str(maze),
        "environment": "simple-maze",
        "domain": "inverse",
        "seed": 3,
        "updates": 0,
        "losses": found.losses,
        "losses_error": found.losses_error,
        "score": None,
        "score_error": None,
    }


def test_several_environments_have_a_standard_error(labyrinth):
    play = Play(depth=0, epsilon=1.0, steps=30, environments=4, episode_cap=9)
    (found,) = assess([labyrinth], play=play)
    architecture, population = population_of(labyrinth)
    expected = evaluate_labyrinth(
        architecture,
        population,
        Observer("labyrinth", "symbolic"),
        [episode_streams(0)],
        depth=0,
        epsilon=1.0,
        steps=30,
        episode_cap=9,
        environments=4,
    )
    assert (found.score, found.score_error) == (expected.mean[0], expected.standard_error[0])
    assert found.score_error > 0


def test_agents_are_compared_on_the_same_mazes(labyrinth, tmp_path, monkeypatch):
    other = save_agent(tmp_path / "other.safetensors", labyrinth_config("0", 9), 5)
    met = []

    def note(rng, n):
        maze = generate(rng, n)
        met.append((maze.walls.tobytes(), maze.keys.tobytes()))
        return maze

    monkeypatch.setattr("crar_diag.agent.evaluation.generate", note)
    assess([labyrinth, other], play=Play(depth=0, episodes=5), seed=3)
    assert met[:5] == met[5:]
    assert len(set(met)) == 5


def test_episodes_are_cut_off_where_it_is_said(labyrinth):
    (found,) = assess([labyrinth], play=Play(depth=0, episodes=3, episode_cap=2))
    possible = [2.0, 0.9, -0.2]
    assert any(
        math.isclose(3 * found.score, a + b + c)
        for a in possible
        for b in possible
        for c in possible
    )


def test_progress_is_told_agent_by_agent(maze):
    told = []
    assess([maze] * 3, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("depth", 0), ("epsilon", 0.0), ("steps", 1), ("episodes", 1)),
        *(("episode_cap", 50), ("environments", 1)),
    ],
)
def test_options_of_the_score_are_refused_where_there_is_none(maze, option, value):
    expected = f"^{option} belongs to the score, which the simple maze does not have"
    with pytest.raises(InputError, match=expected) as caught:
        assess([maze, maze], play=Play(**{option: value}))
    assert caught.value.arguments == (option,)


def test_wrong_choices_are_refused(maze, labyrinth, tmp_path):
    for name in ("steps", "environments"):
        with pytest.raises(InputError, match=f"^{name} and episodes exclude each other") as caught:
            assess([labyrinth], play=Play(episodes=1, **{name: 1}))
        assert caught.value.arguments == (name, "episodes")
    with pytest.raises(InputError, match=r"^unknown domain 'invers' \(did you mean 'inverse'\?\)$"):
        assess([maze], "invers")
    with pytest.raises(InputError, match="at least one checkpoint"):
        assess([])
    with pytest.raises(InputError, match="depth must be from 0 to 6, found 7"):
        assess([labyrinth], play=Play(depth=7, steps=1))
    own = save_agent(tmp_path / "own.safetensors", maze_config(), domain="my-own")
    with pytest.raises(InputError, match=r"own.safetensors': unknown domain 'my-own'"):
        assess([own])
    assert assess([own], "normal")[0].domain == "normal"


@pytest.mark.parametrize("configuration", [{}, {"discount_factor": [], "double_q": 1}])
def test_a_file_without_the_losses_constants_is_refused(tmp_path, configuration):
    path = save_agent(tmp_path / "a.safetensors", maze_config(), configuration=configuration)
    with pytest.raises(InputError, match=r"a.safetensors': its configuration must hold discount_f"):
        assess([path])


def test_the_losses_constants_are_those_of_the_training(tmp_path):
    config = maze_config("0", 1, "discount_factor=0.5", "double_q=true", "pair_scale=2.5")
    agent = load_agent(save_agent(tmp_path / "a.safetensors", config))
    assert settings_of(agent) == LossSettings(0.5, True, 2.5)


def test_assessing_leaves_the_random_state_alone(maze):
    state = torch.get_rng_state()
    assess([maze])
    assert torch.equal(torch.get_rng_state(), state)
