import dataclasses

import numpy as np
import pytest

from crar_diag.envs import data as data_module
from crar_diag.envs.data import TransitionData, exact_transitions, gather
from crar_diag.envs.observer import Observer
from crar_diag.envs.simple_maze import START, STATES, SUCCESSORS, all_tiles
from crar_diag.envs.tiles import EMPTY
from crar_diag.errors import InputError
from tests.envs.twins import LabyrinthTwin

FIELDS = ("tiles", "next_tiles", "actions", "rewards", "terminals")


def twin_of(tiles):
    return LabyrinthTwin(tiles == 1, tiles == 3, np.argwhere(tiles == 2)[0])


@pytest.fixture(scope="module")
def simple():
    return gather("simple-maze", 5000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def labyrinth():
    return gather("labyrinth", 6000, np.random.default_rng(0), steps_per_gathering=2000)


def test_exact_transitions_are_all_pairs_in_state_major_order():
    data = exact_transitions()
    pictures = all_tiles()
    assert len(data) == 124
    for state in range(31):
        for action in range(4):
            row = 4 * state + action
            assert np.array_equal(data.tiles[row], pictures[state])
            assert np.array_equal(data.next_tiles[row], pictures[SUCCESSORS[state, action]])
            assert data.actions[row] == action
    assert not data.rewards.any()
    assert not data.terminals.any()


def test_simple_maze_data_are_10_gatherings_of_500_steps(simple):
    index = {one.tobytes(): i for i, one in enumerate(all_tiles())}
    states = np.array([index[one.tobytes()] for one in simple.tiles])
    next_states = np.array([index[one.tobytes()] for one in simple.next_tiles])
    assert np.array_equal(next_states, SUCCESSORS[states, simple.actions])
    assert (states.reshape(10, 500)[:, 0] == START).all()
    assert np.array_equal(states.reshape(10, 500)[:, 1:], next_states.reshape(10, 500)[:, :-1])
    assert not simple.rewards.any()
    assert not simple.terminals.any()


def test_actions_are_uniform(simple):
    counts = np.bincount(simple.actions, minlength=4)
    assert np.abs(counts - 1250).max() < 5 * (5000 * 0.25 * 0.75) ** 0.5


def test_the_random_walk_visits_all_cells_alike(simple):
    """Blocked moves stay, so the walk's stationary distribution is uniform over the 31 cells."""
    visits = np.zeros((8, 8))
    np.add.at(visits, tuple(np.argwhere(simple.tiles == 2)[:, 1:].T), 1)
    shares = visits[STATES[:, 0], STATES[:, 1]] / 5000
    assert shares.min() > 0.25 / 31
    assert shares.max() < 4 / 31


def test_marked_gatherings_end_with_a_terminal_and_no_picture(simple):
    marked = gather("simple-maze", 5000, np.random.default_rng(0), mark_last_terminal=True)
    last = np.arange(499, 5000, 500)
    assert np.flatnonzero(marked.terminals).tolist() == last.tolist()
    assert (marked.next_tiles[last] == EMPTY).all()
    assert not Observer("simple-maze", "symbolic", "inverse")(marked.next_tiles[last]).any()
    rest = np.setdiff1d(np.arange(5000), last)
    assert np.array_equal(marked.next_tiles[rest], simple.next_tiles[rest])
    assert np.array_equal(marked.tiles, simple.tiles)


def test_a_cut_off_gathering_is_marked_as_well():
    marked = gather("simple-maze", 1200, np.random.default_rng(0), mark_last_terminal=True)
    assert len(marked) == 1200
    assert np.flatnonzero(marked.terminals).tolist() == [499, 999, 1199]
    short = gather("simple-maze", 7, np.random.default_rng(0), mark_last_terminal=True)
    assert np.flatnonzero(short.terminals).tolist() == [6]


def test_labyrinth_transitions_equal_the_twin(labyrinth):
    assert labyrinth.terminals.sum() >= 3
    for row in range(len(labyrinth)):
        twin = twin_of(labyrinth.tiles[row])
        reward, terminal = twin.step(labyrinth.actions[row])
        assert labyrinth.rewards[row] == np.float32(reward)
        assert labyrinth.terminals[row] == terminal
        assert labyrinth.next_tiles[row].tolist() == twin.tiles()


def test_a_terminal_shows_the_final_picture_and_a_new_maze_follows(labyrinth):
    starts = set(range(0, 6000, 2000)) | set((np.flatnonzero(labyrinth.terminals) + 1).tolist())
    starts.discard(6000)
    for row in range(6000):
        if row in starts:
            assert labyrinth.tiles[row, 1, 1] == 2
            assert (labyrinth.tiles[row] == 3).sum() == 3
        else:
            assert np.array_equal(labyrinth.tiles[row], labyrinth.next_tiles[row - 1])
    assert not (labyrinth.next_tiles[labyrinth.terminals] == 3).any()


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
def test_equal_generators_give_equal_data(environment):
    first, again = (gather(environment, 3000, np.random.default_rng(4)) for _ in range(2))
    other = gather(environment, 3000, np.random.default_rng(5))
    for name in FIELDS:
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.actions, other.actions)


def test_200000_labyrinth_transitions_fit_in_50_megabytes(labyrinth):
    assert labyrinth.nbytes == 6000 * (64 + 64 + 1 + 4 + 1)
    assert labyrinth.nbytes / 6000 * 200_000 < 50e6


@pytest.mark.parametrize("collide", [False, True])
@pytest.mark.parametrize("name", ["simple", "labyrinth"])
def test_distinct_equals_a_dictionary(name, collide, request, monkeypatch):
    data = request.getfixturevalue(name)
    if collide:  # a hash that maps everything to few numbers must not change the answer
        unique = np.unique
        calls = []

        def bad(values, **options):
            calls.append(values.dtype)
            return unique(values % 3 if len(calls) == 1 else values, **options)

        monkeypatch.setattr(data_module.np, "unique", bad)
    pictures, index, next_index = data.distinct()
    seen = {}
    expected = [
        seen.setdefault(one.tobytes(), len(seen))
        for one in np.concatenate([data.tiles, data.next_tiles])
    ]
    assert (index.dtype, next_index.dtype) == (np.int64, np.int64)
    assert index.tolist() == expected[: len(data)]
    assert next_index.tolist() == expected[len(data) :]
    assert [one.tobytes() for one in pictures] == list(seen)
    if collide:
        assert calls[-1].kind == "V"


def test_distinct_exact_transitions_are_the_states_in_order():
    pictures, index, next_index = exact_transitions().distinct()
    assert np.array_equal(pictures, all_tiles())
    assert np.array_equal(index, np.repeat(np.arange(31), 4))
    assert np.array_equal(next_index, SUCCESSORS.ravel())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"environment": "labyrint"}, "unknown environment 'labyrint'"),
        ({"tiles": np.zeros((3, 8, 8))}, r"tiles to be uint8 \(4, 8, 8\), found float64 \(3"),
        ({"rewards": np.zeros(4)}, r"rewards to be float32 \(4,\), found float64"),
        ({"actions": np.full(4, 4, np.uint8)}, "actions below 4, found 4"),
        ({"next_tiles": np.full((4, 8, 8), 5, np.uint8)}, "next_tiles below 5, found 5"),
        ({"terminals": np.zeros(4, np.uint8)}, r"terminals to be bool \(4,\)"),
        ({"rewards": np.full(4, np.nan, np.float32)}, "finite rewards"),
    ],
)
def test_wrong_data_are_named(change, message):
    good = TransitionData(
        "simple-maze",
        all_tiles()[:4],
        all_tiles()[1:5],
        np.zeros(4, np.uint8),
        np.zeros(4, np.float32),
        np.zeros(4, bool),
    )
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simple-mazes", 10), "did you mean 'simple-maze'"),
        (("labyrinth", 0), "transitions of at least 1, found 0"),
        (("labyrinth", 10, True), "mark_last_terminal with 'simple-maze' only"),
        (("labyrinth", 10, False, 0), "steps_per_gathering of at least 1, found 0"),
    ],
)
def test_wrong_requests_are_named(arguments, message):
    environment, transitions, *options = arguments
    with pytest.raises(InputError, match=message):
        gather(environment, transitions, np.random.default_rng(0), *options)
