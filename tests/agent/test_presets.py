import pytest

from crar_diag.agent.config import COMPONENTS, LOSSES, flatten
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.presets import preset
from crar_diag.envs.data import STEPS_PER_GATHERING
from crar_diag.errors import InputError


def test_presets_hold_the_published_numbers():
    maze, labyrinth = preset("simple-maze", "paper"), preset("labyrinth", "paper")
    assert (maze.updates, maze.updates_per_epoch, maze.data.transitions) == (160_000, 5000, 5000)
    assert (maze.double_q, maze.evaluation.every, maze.observation) == (False, 0, "symbolic")
    assert maze.optimizer.learning_rate_decay == 0.9
    assert maze.loss_weights.consecutive_pairs.weight_at(0) == 0.2
    assert labyrinth.updates == 200 * labyrinth.updates_per_epoch == 200 * 2000
    assert labyrinth.data.transitions == 200_000
    assert maze.data.steps_per_gathering == STEPS_PER_GATHERING["simple-maze"] == 500
    assert labyrinth.data.steps_per_gathering == STEPS_PER_GATHERING["labyrinth"] == 10_000
    assert (labyrinth.double_q, labyrinth.evaluation.every) == (True, 1)
    assert labyrinth.observation == "pixels"
    assert labyrinth.optimizer.learning_rate_decay == 1.0
    assert labyrinth.loss_weights.consecutive_pairs.weight_at(0) == 1.0
    for config in (maze, labyrinth):
        assert config.batch_size == 32
        assert config.optimizer.learning_rate == 5e-4
        assert (config.optimizer.rho, config.optimizer.epsilon) == (0.9, 1e-4)
        assert (config.optimizer.clip_norm, config.optimizer.clip_scope) == (1.0, "tensor")
        assert config.optimizer.mode == "sequential"
        assert (config.discount_factor, config.target_period, config.pair_scale) == (0.9, 1000, 5)
        assert config.trainable == COMPONENTS
        evaluation = config.evaluation
        assert (evaluation.depth, evaluation.epsilon) == (3, 0.1)
        assert (evaluation.steps, evaluation.episode_cap, evaluation.environments) == (200, 50, 1)
        others = [loss for loss in LOSSES if loss != "consecutive_pairs"]
        assert {getattr(config.loss_weights, loss).weight_at(7) for loss in others} == {1.0}


@pytest.mark.parametrize(
    ("environment", "changed"),
    [
        ("simple-maze", {"updates": 40_000, "optimizer.learning_rate_decay": 0.9**4}),
        ("labyrinth", {"updates": 20_000, "data.transitions": 20_000}),
    ],
)
def test_quick_differs_from_paper_in_size_alone(environment, changed):
    paper, quick = flatten(preset(environment, "paper")), flatten(preset(environment, "quick"))
    assert quick == {**paper, **changed}


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
def test_the_rate_of_base_models_falls_as_far_in_quick_as_in_paper(environment):
    ends = []
    for name in ("paper", "quick"):
        config = preset(environment, name)
        epochs = config.updates / config.updates_per_epoch
        ends.append(config.optimizer.learning_rate_decay**epochs)
    assert ends[1] == pytest.approx(ends[0])


def test_unknown_environment_and_preset():
    with pytest.raises(InputError, match=r"'labirinth' \(did you mean 'labyrinth'\?\)"):
        build_config("labirinth")
    with pytest.raises(InputError, match=r"'quik' \(did you mean 'quick'\?\)"):
        build_config("labyrinth", "quik")
    with pytest.raises(InputError, match="unknown environment 3"):
        build_config(overrides=["environment=3"])
