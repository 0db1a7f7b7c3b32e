"""The published networks: parameter counts, and the description that goes into a file's header."""

import copy
import itertools
import json

import pytest

from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
    Architecture,
    architecture_for,
)
from crar_diag.agent.config import COMPONENTS
from crar_diag.errors import InputError

ALL = (SIMPLE_MAZE, SIMPLE_MAZE_PIXELS, LABYRINTH, LABYRINTH_SYMBOLIC)


def dense(*sizes: int) -> int:
    return sum((n + 1) * m for n, m in itertools.pairwise(sizes))


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return (inputs * kernel * kernel + 1) * outputs


def component_counts(architecture: Architecture) -> dict[str, int]:
    counts = dict.fromkeys(COMPONENTS, 0)
    for name, shape in architecture.shapes().items():
        size = 1
        for n in shape:
            size *= n
        counts[name.split(".")[0]] += size
    return counts


def test_simple_maze_has_the_published_number_of_parameters():
    assert SIMPLE_MAZE.parameter_count() == 45_880
    assert component_counts(SIMPLE_MAZE) == {
        "encoder": dense(64, 200, 100, 50, 10, 2),
        "transition": dense(6, 10, 30, 30, 10, 2),
        "reward": dense(6, 10, 50, 20, 1),
        "discount": dense(6, 10, 50, 20, 1),
        "q": dense(2, 20, 50, 20, 4),
    }


def test_labyrinth_has_the_published_number_of_parameters():
    def head(channels: int, outputs: int) -> int:
        convolutions = conv(channels, 16, 2) + conv(16, 32, 3) + conv(32, 16, 2) + conv(16, 4, 1)
        return convolutions + dense(64, 200, 50, 20, outputs)

    assert LABYRINTH.parameter_count() == 128_602
    assert component_counts(LABYRINTH) == {
        "encoder": conv(1, 8, 2) + conv(8, 16, 2) + conv(16, 32, 3) + conv(32, 3, 1),
        "transition": conv(7, 16, 1)
        + conv(16, 32, 2)
        + conv(32, 64, 3)
        + conv(64, 32, 2)
        + conv(32, 16, 1)
        + conv(16, 3, 1),
        "reward": head(7, 1),
        "discount": head(7, 1),
        "q": head(3, 4),
    }


def test_pooling_has_no_parameters():
    assert component_counts(LABYRINTH_SYMBOLIC) == component_counts(LABYRINTH)


def test_pixel_encoder_of_the_simple_maze_is_the_trunk_before_the_mlp():
    expected = conv(1, 8, 2) + conv(8, 16, 2) + conv(16, 32, 3)
    expected += dense(32 * 8 * 8, 200, 100, 50, 10, 2)
    assert component_counts(SIMPLE_MAZE_PIXELS)["encoder"] == expected
    assert SIMPLE_MAZE_PIXELS.transition == SIMPLE_MAZE.transition


@pytest.mark.parametrize("architecture", ALL, ids=lambda a: a.name)
def test_description_survives_json(architecture):
    text = json.dumps(architecture.spec())
    assert Architecture.from_spec(json.loads(text)) == architecture


@pytest.mark.parametrize("architecture", ALL, ids=lambda a: a.name)
def test_last_layer_of_every_component_is_linear(architecture):
    for component in COMPONENTS:
        layers = architecture.layers(component)
        assert not layers[-1].tanh
        assert all(layer.tanh for layer in layers[:-1] if hasattr(layer, "tanh"))


def _without_q(spec):
    del spec["q"]


def _unknown_layer(spec):
    spec["encoder"][0][0] = "Attention"


def _too_many_values(spec):
    spec["q"][0].append(7)


def _no_list(spec):
    spec["transition"] = 3


def _empty_layer(spec):
    spec["reward"][0] = []


def _shape_of_words(spec):
    spec["state_shape"] = ["two"]


def _no_actions(spec):
    spec["actions"] = None


@pytest.mark.parametrize(
    "break_it",
    [
        _without_q,
        _unknown_layer,
        _too_many_values,
        _no_list,
        _empty_layer,
        _shape_of_words,
        _no_actions,
    ],
)
def test_broken_description_is_refused(break_it):
    spec = copy.deepcopy(SIMPLE_MAZE.spec())
    break_it(spec)
    with pytest.raises(InputError, match="description of the architecture"):
        Architecture.from_spec(spec)


def test_architecture_for_knows_the_four_tasks():
    assert architecture_for("simple-maze", "symbolic") is SIMPLE_MAZE
    assert architecture_for("simple-maze", "pixels") is SIMPLE_MAZE_PIXELS
    assert architecture_for("labyrinth", "symbolic") is LABYRINTH_SYMBOLIC
    assert architecture_for("labyrinth", "pixels") is LABYRINTH


def test_unknown_task_gets_a_suggestion():
    with pytest.raises(InputError, match="did you mean 'labyrinth/pixels'"):
        architecture_for("labyrinth", "pixel")
