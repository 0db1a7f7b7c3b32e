"""Rooms that change places, against embeddings made by hand and the shipped base models'."""

import math

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from crar_diag.agent.loading import load_agent
from crar_diag.embedding.kinds import KINDS, classify, classify_history
from crar_diag.embedding.outcome import base_embedding
from crar_diag.embedding.pieces import ROOMS, exchange, fit_pieces
from crar_diag.envs import simple_maze
from crar_diag.errors import InputError
from tests.runs import BASES

# Two rooms of three states and a door on the first axis.
LINE = np.array([[0.0, 0], [0.5, 0], [1, 0], [2, 0], [3, 0], [4.5, 0], [5, 0]])
PIECES = np.array([0, 0, 0, -1, 1, 1, 1])


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


def mirror(degrees):
    """Across the line at this angle."""
    return turn(2 * degrees) @ np.diag([1.0, -1])


def moved(base, pieces, maps, shifts):
    """Each piece mapped about its own centroid, then shifted; other states as they are."""
    made = base.copy()
    for k, (matrix, shift) in enumerate(zip(maps, shifts, strict=True)):
        own = base[pieces == k]
        made[pieces == k] = (own - own.mean(0)) @ np.array(matrix).T + own.mean(0) + shift
    return made


@pytest.fixture(scope="module", params=range(6))
def base(request):
    """The embedding of each shipped base model, which all have a direction of their own."""
    return base_embedding(load_agent(BASES / f"base-seed{request.param}.safetensors")).astype(float)


@pytest.fixture(scope="module")
def one():
    return base_embedding(load_agent(BASES / "base-seed0.safetensors")).astype(float)


def rooms_of_two_sizes(seed):
    rng = np.random.default_rng(seed)
    pieces = np.array([0] * 8 + [-1] + [1] * 5)
    return rng.normal(size=(14, 2)) + np.where(pieces == 1, 6, pieces * 3)[:, None], pieces


def test_the_rooms_are_the_states_on_either_side_of_the_door():
    columns = simple_maze.STATES[:, 1].tolist()
    assert [0 if c < 4 else 1 if c > 4 else -1 for c in columns] == ROOMS.tolist()
    assert [ROOMS.tolist().count(k) for k in (0, -1, 1)] == [18, 1, 12]


# Exchanged


def test_where_one_piece_began_the_other_begins():
    found = exchange(LINE, PIECES)
    assert found.tolist() == [[4, 0], [4.5, 0], [5, 0], [3, 0], [0, 0], [1.5, 0], [2, 0]]


def test_the_door_lies_between_the_rooms_again_as_far_from_each_as_before(base):
    found = exchange(base, ROOMS)
    line = base[ROOMS == 1].mean(0) - base[ROOMS == 0].mean(0)
    before, after = base @ line, found @ line
    gaps = [before[ROOMS == 1].min() - before[18], before[18] - before[ROOMS == 0].max()]
    assert after[18] - after[ROOMS == 1].max() == pytest.approx(gaps[0], abs=1e-12)
    assert after[ROOMS == 0].min() - after[18] == pytest.approx(gaps[1], abs=1e-12)


def test_each_room_is_moved_and_not_turned(base):
    found = exchange(base, ROOMS)
    for room in (0, 1):
        own = room == ROOMS
        (shift, *others) = found[own] - base[own]
        np.testing.assert_allclose(others, np.tile(shift, (len(others), 1)), rtol=0, atol=1e-14)
        assert np.linalg.norm(shift) > 0.3


def test_the_extent_along_the_line_and_all_that_is_across_it_stay(base):
    found = exchange(base, ROOMS)
    line = base[ROOMS == 1].mean(0) - base[ROOMS == 0].mean(0)
    line /= np.linalg.norm(line)
    in_rooms = ROOMS >= 0
    for end in (np.min, np.max):
        assert end((found @ line)[in_rooms]) == pytest.approx(end((base @ line)[in_rooms]))
    across = np.array([-line[1], line[0]])
    np.testing.assert_allclose(found @ across, base @ across, rtol=0, atol=1e-14)
    apart = (found[ROOMS == 1].mean(0) - found[ROOMS == 0].mean(0)) @ line
    assert apart < 0


def test_exchanged_twice_is_the_base_again(base):
    np.testing.assert_allclose(exchange(exchange(base, ROOMS), ROOMS), base, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "matrix", [turn(30), turn(90), turn(-135), mirror(0), mirror(70)], ids=lambda m: str(m[0, 0])
)
def test_pieces_may_lie_in_any_direction(seed, matrix):
    base, pieces = rooms_of_two_sizes(seed)
    expected = exchange(base, pieces) @ matrix.T + [3, -7]
    found = exchange(base @ matrix.T + [3, -7], pieces)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_the_names_of_the_pieces_do_not_matter():
    base, pieces = rooms_of_two_sizes(0)
    other = np.where(pieces < 0, pieces, 1 - pieces)
    np.testing.assert_allclose(exchange(base, other), exchange(base, pieces), rtol=0, atol=1e-14)


def test_the_base_is_left_as_it_was_and_pieces_about_one_point_stay():
    before = LINE.copy()
    exchange(LINE, PIECES)
    np.testing.assert_array_equal(LINE, before)
    around = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
    found = exchange(around, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(found, around)
    assert found is not around


# Fitted


@pytest.mark.parametrize(("first", "second"), [(30, -70), (0, 0), (-20, 160), (179, -5)])
def test_turns_and_shifts_of_the_pieces_are_found(first, second):
    base, pieces = rooms_of_two_sizes(1)
    y = moved(base, pieces, [turn(first), turn(second)], [[10, -3], [0.5, 40]])
    found = fit_pieces(base, y, pieces)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.angle == pytest.approx(max(abs(first), abs(second)), abs=1e-9)
    assert not found.reflected


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_one_reflected_piece_is_enough(which):
    base, pieces = rooms_of_two_sizes(2)
    maps = [mirror(20) if k in which else np.eye(2) for k in (0, 1)]
    found = fit_pieces(base, moved(base, pieces, maps, [[1, 2], [3, 4]]), pieces)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.reflected


@pytest.mark.parametrize("seed", range(4))
def test_the_residual_is_that_of_two_procrustes_problems(seed):
    base, pieces = rooms_of_two_sizes(seed)
    rng = np.random.default_rng(100 + seed)
    y = moved(base, pieces, [turn(40), mirror(10)], [[5, 5], [0, 1]])
    y += rng.normal(0, 0.3, y.shape)
    squares = []
    for k in (0, 1):
        x, z = (e[pieces == k] - e[pieces == k].mean(0) for e in (base, y))
        squares += ((x @ orthogonal_procrustes(x, z)[0] - z) ** 2).sum(1).tolist()
    relative = math.sqrt(sum(squares) / 13) / math.sqrt((base**2).sum() / 14)
    found = fit_pieces(base, y, pieces)
    assert found.residual == pytest.approx(relative, rel=1e-12)
    assert 0.01 < found.residual < 0.3
    y[pieces < 0] += 100  # a state of neither piece has no part in it
    assert fit_pieces(base, y, pieces).residual == found.residual


@pytest.mark.parametrize(("degrees", "exchanged"), [(0, False), (89, False), (91, True)])
@pytest.mark.parametrize("side", [1, -1])
def test_exchanged_is_the_arrangement_and_not_the_pieces(degrees, exchanged, side):
    base, pieces = rooms_of_two_sizes(3)
    centres = [base[pieces == k].mean(0) for k in (0, 1)]
    wanted = centres[0] + turn(side * degrees) @ (centres[1] - centres[0])
    for own in (0, 200):  # degrees by which each piece is turned about its own centroid
        y = moved(base, pieces, [turn(own)] * 2, [[0, 0], wanted - centres[1]])
        assert fit_pieces(base, y, pieces).exchanged == exchanged


def test_many_embeddings_are_fitted_as_each_alone():
    base, pieces = rooms_of_two_sizes(4)
    rng = np.random.default_rng(0)
    many = rng.normal(0, 4, (2, 3, *base.shape))
    many[0, 1] = base + rng.normal(0, 0.1, base.shape)
    together = fit_pieces(base, many, pieces)
    assert len({*together.exchanged.flat}) == len({*together.reflected.flat}) == 2
    for i, j in np.ndindex(2, 3):
        alone = fit_pieces(base, many[i, j], pieces)
        for name in ("residual", "angle", "reflected", "exchanged"):
            assert getattr(together, name)[i, j] == pytest.approx(getattr(alone, name)), name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("state", [0, 13])
def test_what_is_not_finite_is_not_fitted_and_disturbs_no_other(bad, state):
    base, pieces = rooms_of_two_sizes(5)
    many = np.stack([exchange(base, pieces)] * 3)
    many[1, state, 0] = bad
    found = fit_pieces(base, many, pieces)
    assert np.isnan(found.residual).tolist() == [False, True, False]
    assert found.exchanged.tolist() == [True, False, True]
    assert found.reflected.tolist() == [False] * 3
    np.testing.assert_allclose(found.angle[[0, 2]], 0, atol=1e-9)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([0, 0, 0, -1, 1, 1], r"^expected two pieces of at least 3 of 7 states, found \[3, 2\]$"),
        ([0, 0, 0, 1, 1, -1, -1], r"found \[3, 2\]$"),
        ([0, 0, 1, 1, 1, 1, 1], r"found \[2, 5\]$"),
        ([-1] * 7, r"found \[0, 0\]$"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(pieces, why):
    with pytest.raises(InputError, match=why):
        fit_pieces(LINE, LINE, np.array(pieces))


def test_embeddings_of_other_states_are_refused():
    with pytest.raises(InputError, match="expected embeddings of the same states"):
        fit_pieces(LINE, LINE[:-1], PIECES)


# The kind of outcome


def test_exchanged_rooms_are_a_kind_of_their_own_where_rooms_are_known(base):
    exchanged = exchange(base, ROOMS)
    assert classify(base, exchanged, pieces=ROOMS).kind == "exchange"
    assert classify(base, exchanged).kind == "other"
    # And from the exchanged one, the base is the exchange.
    assert classify(exchanged, base, pieces=ROOMS).kind == "exchange"


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (np.eye(2), "identity"),
        (-np.eye(2), "swap"),
        (np.diag([-1.0, 1]), "mirror"),
        (np.diag([1.0, -1]), "mirror"),
        (turn(90), "rotation"),
    ],
)
def test_maps_of_the_whole_come_first(base, matrix, kind):
    """The rooms of a swap have changed places as well."""
    for pieces in (None, ROOMS):
        assert classify(base, base @ matrix.T, pieces=pieces).kind == kind


@pytest.mark.parametrize(("degrees", "kind"), [(20, "exchange"), (-22, "exchange"), (25, "other")])
@pytest.mark.parametrize("room", [0, 1])
def test_the_rooms_of_an_exchange_are_not_turned(one, degrees, kind, room):
    maps = [turn(degrees) if k == room else np.eye(2) for k in (0, 1)]
    y = moved(exchange(one, ROOMS), ROOMS, maps, [[0, 0]] * 2)
    assert classify(one, y, pieces=ROOMS).kind == kind


def test_a_mirrored_room_is_no_exchange(one):
    """Mirrored along its longer side, so that the best turn of it would be small."""
    room = one[ROOMS == 0] - one[ROOMS == 0].mean(0)
    longer = np.linalg.svd(room)[2][0]
    matrix = 2 * np.outer(longer, longer) - np.eye(2)
    y = moved(exchange(one, ROOMS), ROOMS, [matrix, np.eye(2)], [[0, 0]] * 2)
    found = fit_pieces(one, y, ROOMS)
    assert found.residual < 1e-12
    assert found.angle < 22.5
    assert found.exchanged
    assert classify(one, y, pieces=ROOMS).kind == "other"


def test_rooms_that_only_moved_apart_are_no_exchange(one):
    line = one[ROOMS == 1].mean(0) - one[ROOMS == 0].mean(0)
    y = moved(one, ROOMS, [np.eye(2)] * 2, [-2 * line, 2 * line])
    assert fit_pieces(one, y, ROOMS).residual < 1e-12
    assert classify(one, y, pieces=ROOMS).kind == "other"


@pytest.mark.parametrize(("share", "kind"), [(0.9, "exchange"), (1.1, "other")])
def test_an_exchange_fits_as_well_as_a_map_has_to(one, share, kind):
    noise = np.random.default_rng(0).normal(size=one.shape)
    y = exchange(one, ROOMS)
    noisy = fit_pieces(one, y + 0.1 * noise, ROOMS).residual
    y = y + noise * 0.1 * share * 0.25 / noisy
    found = classify(one, y, pieces=ROOMS)
    assert found.kind == kind
    assert found.residual > 0.25


def test_an_exchange_that_moves_is_one_and_what_is_none_is_unfinished(one):
    exchanged = exchange(one, ROOMS)
    assert classify(one, exchanged, one, pieces=ROOMS).kind == "exchange"
    assert classify(one, exchanged, one).kind == "unfinished"


def test_kinds_over_time_hold_exchanges_and_what_is_not_finite(one):
    exchanged = exchange(one, ROOMS)
    lost = np.where(ROOMS[:, None] == 1, np.nan, exchanged)
    history = np.stack([[one, exchanged, lost], [exchanged, -one, exchanged]])
    found = classify_history(one, history, pieces=ROOMS)
    assert found.kinds.tolist() == [
        ["identity", "exchange", "diverged"],
        ["exchange", "swap", "exchange"],
    ]
    assert KINDS[found.codes[0, 1]] == "exchange"
    without = classify_history(one, history)
    assert without.kinds[0].tolist() == ["identity", "unfinished", "diverged"]


def test_rooms_of_images_change_no_places():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8, 3, 4, 4))
    flipped = base[:, [1, 0, 2]]
    pieces = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    for embedding, kind in ((base, "identity"), (flipped, "channels"), (base[::-1], "other")):
        assert classify(base, embedding, pieces=pieces).kind == kind
