"""Barriers by hand."""

import math

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.landscape.barriers import Barrier, barrier
from crar_diag.landscape.grids import line_alphas

PLACES = np.array([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5])


def test_a_barrier_by_hand():
    # The straight line from 1 to 3 is 1.5, 2, 2.5 between: rises of 2, 1.5, 1.75.
    losses = np.array([99.0, 1.0, 3.5, 3.5, 4.25, 3.0, 99.0])
    assert barrier(PLACES, losses) == Barrier(2.0, 0.25, 1.25, 0.75)


def test_a_valley_has_no_barrier_and_its_place_is_the_worse_end():
    losses = np.array([99.0, 4.0, 1.0, 0.0, 1.0, 2.0, 99.0])
    assert barrier(PLACES, losses) == Barrier(0.0, 0.0, 0.0, 0.0)
    assert barrier(PLACES, losses[::-1]) == Barrier(0.0, 0.0, 0.0, 1.0)


def test_a_rise_above_the_line_need_not_be_one_above_the_ends():
    losses = np.array([0.0, 0.0, 2.0, 2.5, 3.5, 4.0, 9.0])
    found = barrier(PLACES, losses)
    assert (found.above_line, found.above_line_at) == (1.0, 0.25)
    assert (found.above_ends, found.above_ends_at) == (0.0, 1.0)


def test_of_equal_heights_the_first_counts():
    losses = np.array([0.0, 1.0, 3.0, 2.0, 3.0, 1.0, 0.0])
    assert barrier(PLACES, losses) == Barrier(2.0, 0.25, 2.0, 0.25)
    flat = np.full(7, 0.1)
    assert barrier(PLACES, flat) == Barrier(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("count", [7, 13, 61, 100])
@pytest.mark.parametrize("ends", [(0.1, 0.3), (1e-8, 1e8), (-3.0, 7.0)])
def test_a_straight_line_has_none_but_rounding(count, ends):
    alphas = line_alphas(count)
    losses = (1 - alphas) * ends[0] + alphas * ends[1]
    found = barrier(alphas, losses)
    assert 0 <= found.above_line <= 1e-15 * max(map(abs, ends))
    assert found.above_ends == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_heights_are_those_of_a_search_through_all_places_between(seed):
    rng = np.random.default_rng(seed)
    places = np.sort(rng.uniform(-3, 3, 30))
    losses = rng.normal(size=30)
    first, last = 4, 25
    start, end = places[first], places[last]
    best, at, top, top_at = 0.0, start, -math.inf, None
    for k in range(first, last + 1):
        share = (places[k] - start) / (end - start)
        rise = losses[k] - (losses[first] + share * (losses[last] - losses[first]))
        if first < k < last and rise > best:
            best, at = rise, places[k]
        if losses[k] > top:
            top, top_at = losses[k], places[k]
    found = barrier(places, losses, start, end)
    assert found.above_line == pytest.approx(best, rel=1e-12)
    assert found.above_ends == pytest.approx(top - max(losses[first], losses[last]), abs=1e-15)
    assert (found.above_line_at, found.above_ends_at) == (at, top_at)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_between_the_ends_gives_no_barrier(value):
    losses = np.ones(7)
    losses[3] = value
    found = barrier(PLACES, losses)
    assert all(math.isnan(number) for number in vars(found).values())
    outside = np.ones(7)
    outside[[0, 6]] = value
    assert barrier(PLACES, outside) == Barrier(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("start", "end"), [(0.0, 0.9), (0.1, 1.0), (1.0, 0.0), (0.5, 0.5), (0.0, math.nan)]
)
def test_ends_must_be_places_in_order(start, end):
    with pytest.raises(InputError, match=f"expected both ends {start} and {end} among the places"):
        barrier(PLACES, np.zeros(7), start, end)


@pytest.mark.parametrize(
    "places",
    [
        PLACES[::-1],
        np.array([-1.0, 0.0, 0.0, 0.5, 0.75, 1.0, 2.0]),
        np.array([-1.0, 0.0, math.nan, 0.5, 0.75, 1.0, 2.0]),
        PLACES[:6],
    ],
    ids=["falling", "twice", "no number", "fewer"],
)
def test_places_that_do_not_increase_are_refused(places):
    with pytest.raises(InputError, match="losses at increasing places along a curve"):
        barrier(places, np.zeros(7))
