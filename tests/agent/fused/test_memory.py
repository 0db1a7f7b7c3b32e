import numpy as np
import pytest
import torch

from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
)
from crar_diag.agent.config import MODES
from crar_diag.agent.fused.memory import (
    find_quads,
    group_pixels,
    has_trunk,
    image_memory,
    is_dense,
    vector_inputs,
    vector_memory,
)
from crar_diag.agent.replay import Transitions
from crar_diag.agent.streams import stream
from crar_diag.envs.data import exact_transitions, gather
from crar_diag.envs.observer import Observer
from tests.agent.populations import make

CPU = torch.device("cpu")


def maze_table(domain="normal"):
    observer = Observer("simple-maze", "symbolic", domain)
    data = Transitions.of(exact_transitions(), observer, torch.float64, CPU)
    return data.table.flatten(1).numpy()


def test_pixels_that_are_equal_in_every_picture_share_a_number():
    table = np.array([[1.0, 0, 1, 2, 0], [3, 5, 3, 3, 5]])
    assert group_pixels(table).tolist() == [0, 1, 0, 2, 1]


def test_the_simple_maze_has_31_places_and_its_walls():
    table = maze_table()
    groups = group_pixels(table)
    assert groups.max() + 1 == 32
    assert np.bincount(groups).max() == 64 - 31
    inputs = vector_inputs(table, groups)
    assert inputs.dense.shape == (31, 32)
    assert inputs.places.shape == (31, 2)  # the walls and the player


@pytest.mark.parametrize("domain", ["normal", "inverse", "swapped", "noise"])
def test_the_inputs_say_what_the_pictures_say(domain):
    table = maze_table(domain)
    groups = group_pixels(table)
    inputs = vector_inputs(table, groups)
    np.testing.assert_array_equal(inputs.dense[:, groups], table)
    assert bool(inputs.places.shape[1]) == (domain in ("normal", "inverse"))
    if inputs.places.shape[1]:
        again = np.zeros_like(inputs.dense)
        for k in range(len(again)):
            np.add.at(again[k], inputs.places[k], inputs.values[k])
        np.testing.assert_array_equal(again, inputs.dense)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tied", [False, True])
def test_what_goes_there_and_back_is_what_it_was(mode, tied):
    population, _ = make(mode=mode)
    groups = group_pixels(maze_table()) if tied else np.arange(64)
    memory = vector_memory(SIMPLE_MAZE, mode, groups)
    orders = memory.orders
    parameters = population.parameters[0].numpy()
    np.testing.assert_array_equal(parameters[orders.pick][orders.spread], parameters)
    squares = np.random.default_rng(0).random(population.squares.shape[1])
    assert memory.holds(squares) != tied
    if tied:
        squares = squares[orders.pick_squares][orders.spread_squares]
        assert memory.holds(squares)
        largest = orders.pick_squares[orders.spread_squares] != np.arange(len(squares))
        squares[np.flatnonzero(largest)[-1]] += 1e-16
        assert not memory.holds(squares)
    assert (orders.pick_squares.size < squares.size) == tied


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("architecture", [LABYRINTH, LABYRINTH_SYMBOLIC, SIMPLE_MAZE_PIXELS])
def test_images_are_reordered_only(architecture, tiled):
    orders = image_memory(architecture, "sequential", tiled).orders
    for pick, spread in ((orders.pick, orders.spread), orders[2:]):
        np.testing.assert_array_equal(pick[spread], np.arange(len(pick)))
        np.testing.assert_array_equal(np.sort(pick), np.arange(len(pick)))


def test_which_architectures_have_what():
    known = (SIMPLE_MAZE, SIMPLE_MAZE_PIXELS, LABYRINTH, LABYRINTH_SYMBOLIC)
    assert [is_dense(a) for a in known] == [True, False, False, False]
    assert [has_trunk(a) for a in known] == [False, True, True, False]


def labyrinth(domain="normal", transitions=2000):
    data = gather("labyrinth", transitions, stream(0, "data"))
    observer = Observer("labyrinth", "pixels", domain)
    return Transitions.of(data, observer, torch.float64, CPU)


def maze_with_missing_pictures():
    data = gather("simple-maze", 200, stream(0, "data"), mark_last_terminal=True)
    return Transitions.of(data, Observer("simple-maze", "pixels"), torch.float64, CPU)


@pytest.mark.parametrize(
    "data",
    [labyrinth(), labyrinth("inverse"), labyrinth("swapped"), maze_with_missing_pictures()],
    ids=["normal", "inverse", "swapped", "simple maze"],
)
def test_a_quad_shows_what_the_picture_shows_there(data):
    quads = find_quads(data)
    some = range(0, len(data.tiles), max(1, len(data.tiles) // 40))
    pictures = data.observe(torch.arange(len(data.tiles)))[:, 0].numpy()
    padded = np.pad(pictures, ((0, 0), (0, 6), (0, 6)))  # zero outside, as a convolution pads
    for k in some:
        for tile in range(64):
            y, x = 6 * (tile // 8), 6 * (tile % 8)
            quad = quads.of_picture[k, tile]
            np.testing.assert_array_equal(quads.seen[quad], padded[k, y : y + 8, x : x + 8])
            assert quads.inside[quad].tolist() == [x < 42, y < 42]


def test_there_are_few_different_quads():
    quads = find_quads(labyrinth(transitions=30_000))
    assert len(quads.seen) == len(quads.inside) <= 200  # 184 in 200,000 transitions
    assert sorted(np.unique(quads.of_picture)) == list(range(len(quads.seen)))
