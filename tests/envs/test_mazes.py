import numpy as np
import pytest

from crar_diag.envs.mazes import from_maps, generate
from crar_diag.errors import InputError
from tests.envs.twins import HAND_MAZE, LabyrinthTwin

BORDER = {(r, c) for r in range(8) for c in range(8) if r in (0, 7) or c in (0, 7)}


@pytest.fixture(scope="module")
def drawn():
    return generate(np.random.default_rng(0), 3000)


def test_walls_and_keys_are_where_the_rules_allow_them(drawn):
    for walls, keys, player in zip(drawn.walls, drawn.keys, drawn.player, strict=True):
        maze = LabyrinthTwin(walls, keys, player)
        inner = maze.walls - BORDER
        assert maze.walls >= BORDER
        assert len(inner) == 12
        assert all(1 <= r <= 5 and 1 <= c <= 5 for r, c in inner)
        assert len(maze.keys) == 3
        assert maze.player == (1, 1)
        assert not maze.keys & (maze.walls | {(1, 1)})
        assert (1, 1) not in inner


def test_every_key_can_be_reached(drawn):
    for walls, keys, player in zip(drawn.walls, drawn.keys, drawn.player, strict=True):
        maze = LabyrinthTwin(walls, keys, player)
        assert maze.keys <= maze.reachable()


def test_no_step_has_been_taken(drawn):
    assert not drawn.steps.any()
    assert len(drawn) == 3000


def test_equal_generators_draw_equal_labyrinths():
    first, again = (generate(np.random.default_rng(7), 50) for _ in range(2))
    other = generate(np.random.default_rng(8), 50)
    assert np.array_equal(first.walls, again.walls)
    assert np.array_equal(first.keys, again.keys)
    assert not np.array_equal(first.walls, other.walls)


def test_labyrinths_are_uniform_among_the_solvable_ones(drawn):
    """Rejection of whole labyrinths, done one by one, gives every cell the same frequencies."""
    rng = np.random.default_rng(1)
    inner = [(r, c) for r in range(1, 6) for c in range(1, 6) if (r, c) != (1, 1)]
    walls_at, keys_at, count = np.zeros((8, 8)), np.zeros((8, 8)), 0
    while count < 3000:
        walls = np.ones((8, 8), dtype=bool)
        walls[1:7, 1:7] = False
        for i in rng.choice(len(inner), 12, replace=False):
            walls[inner[i]] = True
        free = [
            (r, c) for r in range(1, 7) for c in range(1, 7) if not walls[r, c] and (r, c) != (1, 1)
        ]
        keys = np.zeros((8, 8), dtype=bool)
        for i in rng.choice(len(free), 3, replace=False):
            keys[free[i]] = True
        maze = LabyrinthTwin(walls, keys, (1, 1))
        if maze.keys <= maze.reachable():
            walls_at += walls
            keys_at += keys
            count += 1
    # Five standard errors of a difference of two frequencies of 3,000 draws are at most 0.065.
    assert np.abs(drawn.walls.mean(axis=0) - walls_at / count).max() < 0.065
    assert np.abs(drawn.keys.mean(axis=0) - keys_at / count).max() < 0.065


def test_a_map_is_read_as_drawn():
    state = from_maps([HAND_MAZE, HAND_MAZE])
    assert len(state) == 2
    assert state.player.tolist() == [[1, 1], [1, 1]]
    assert np.argwhere(state.keys[1]).tolist() == [[1, 3], [3, 3], [6, 6]]
    assert state.walls[0, 2].tolist() == [True, False, True, True, True, True, False, True]


def test_replaced_changes_only_the_named_labyrinths(drawn):
    fresh = from_maps([HAND_MAZE])
    mixed = drawn.replaced(np.array([5]), fresh)
    assert np.array_equal(mixed.walls[5], fresh.walls[0])
    assert np.array_equal(mixed.walls[:5], drawn.walls[:5])
    assert np.array_equal(mixed.keys[6:], drawn.keys[6:])
    assert not np.array_equal(drawn.walls[5], fresh.walls[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("####", "8 lines of 8 signs in map 0"),
        (HAND_MAZE.replace("K", "x"), "signs #.PK in map 0, found x"),
        (HAND_MAZE.replace("P", "."), "one player in map 0, found 0"),
        (HAND_MAZE.replace("K", "P"), "one player in map 0, found 4"),
        (HAND_MAZE.replace("#P", ".P"), "border of map 0"),
    ],
)
def test_wrong_maps_are_named(text, message):
    with pytest.raises(InputError, match=message):
        from_maps([text])


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="at least 1 labyrinth, found 0"):
        generate(np.random.default_rng(0), 0)
    with pytest.raises(InputError, match="at least 1 map"):
        from_maps([])
