import numpy as np
import pytest

from crar_diag.embedding.distance import SPATIAL, mean_distance, size, spread
from crar_diag.errors import InputError


def test_distance_is_the_mean_of_the_states_distances():
    first = np.array([[0.0, 0.0], [1.0, 2.0], [5.0, 5.0]])
    second = np.array([[3.0, 4.0], [1.0, 1.0], [5.0, 5.0]])
    assert mean_distance(first, second) == pytest.approx((5 + 1 + 0) / 3, abs=1e-15)


def test_distance_of_images_takes_the_norm_of_the_flattened_difference():
    first, second = np.zeros((2, 3, 8, 8)), np.zeros((2, 3, 8, 8))
    second[0, 0, 0, 0], second[0, 2, 7, 7] = 3.0, -4.0
    assert mean_distance(first, second, state_axes=SPATIAL) == pytest.approx(2.5, abs=1e-15)


def test_size_and_spread():
    states = np.array([[4.0, 0.0], [2.0, 0.0], [3.0, 1.0], [3.0, -1.0]])
    assert size(states) == pytest.approx(np.sqrt((16 + 4 + 10 + 10) / 4), abs=1e-15)
    # Around (3, 0) each is at distance 1.
    assert spread(states) == pytest.approx(1.0, abs=1e-15)


def test_mean_square_is_that_of_the_spread_plus_that_of_the_centroid():
    states = np.random.default_rng(0).normal(1.0, 2.0, (5, 31, 2))
    centroid = (states.mean(1) ** 2).sum(-1)
    np.testing.assert_allclose(size(states) ** 2, spread(states) ** 2 + centroid, rtol=1e-13)


def test_spread_does_not_see_a_shift_nor_distance_a_common_one():
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 31, 2))
    shift = np.array([3.0, -7.0])
    assert spread(first + shift) == pytest.approx(spread(first), rel=1e-13)
    moved = mean_distance(first + shift, second + shift)
    assert moved == pytest.approx(mean_distance(first, second), rel=1e-13)


def test_a_history_is_compared_with_its_base_record_by_record():
    generator = np.random.default_rng(2)
    base, history = generator.normal(size=(31, 2)), generator.normal(size=(4, 6, 31, 2))
    found = mean_distance(base, history)
    assert found.shape == (4, 6)
    for m, k in np.ndindex(4, 6):
        assert found[m, k] == pytest.approx(mean_distance(base, history[m, k]), rel=1e-14)
    assert mean_distance(base, history[:0]).shape == (0, 6)


def test_single_precision_is_computed_in_double():
    states = np.full((2, 2), 1e30, np.float32)
    assert size(states) == pytest.approx(float(states[0, 0]) * np.sqrt(2), rel=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_not_finite_or_overflows_is_nan_and_leaves_the_others(bad):
    states = np.random.default_rng(3).normal(size=(3, 5, 2))
    broken = states.copy()
    broken[1, 2, 0] = bad
    for found in (mean_distance(states[0] + 1, broken), size(broken), spread(broken)):
        assert np.isnan(found).tolist() == [False, True, False]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="same states"):
        mean_distance(np.zeros((31, 2)), np.zeros((30, 2)))
    with pytest.raises(InputError, match="broadcast"):
        mean_distance(np.zeros((3, 31, 2)), np.zeros((4, 31, 2)))
    with pytest.raises(InputError, match="at least one state"):
        size(np.zeros((0, 2)))
    with pytest.raises(InputError, match="at least 4 axes"):
        size(np.zeros((31, 2)), state_axes=SPATIAL)
