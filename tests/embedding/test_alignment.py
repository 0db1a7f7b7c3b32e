from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crar_diag.embedding.alignment import (
    MAX_CHANNELS,
    align,
    align_channels,
    mirror_axis,
    rotation_angle,
)
from crar_diag.errors import InputError

seeds = st.integers(0, 2**32 - 1)


def rotation(degrees):
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def reflection(degrees):
    angle = 2 * np.radians(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])


def states(seed=0, *shape):
    return np.random.default_rng(seed).normal(size=shape or (31, 2))


def mapped(matrix, x):
    """R x_s for every state, written out."""
    return np.array([[sum(row[k] * s[k] for k in range(len(s))) for row in matrix] for s in x])


def rms(differences):
    return np.sqrt((differences.reshape(len(differences), -1) ** 2).sum(-1).mean())


# The plane


@pytest.mark.parametrize("degrees", [0, 22.5, 90, 135, 179.9, 180, -179.9, -90, -1e-3])
def test_a_rotation_is_recovered(degrees):
    x = states()
    found = align(x, mapped(rotation(degrees), x))
    np.testing.assert_allclose(found.rotation.matrix, rotation(degrees), atol=1e-12)
    assert found.rotation.residual < 1e-12
    assert rotation_angle(found.rotation.matrix) == pytest.approx(degrees, abs=1e-10)
    assert not found.reflected
    assert found.margin > 0.1


@pytest.mark.parametrize("degrees", [0, 10, 45, 90, 135, 179.9])
def test_a_reflection_is_recovered(degrees):
    x = states()
    found = align(x, mapped(reflection(degrees), x))
    np.testing.assert_allclose(found.reflection.matrix, reflection(degrees), atol=1e-12)
    assert found.reflection.residual < 1e-12
    # Half a turn further is the same line.
    distance = (mirror_axis(found.reflection.matrix) - degrees + 90) % 180 - 90
    assert distance == pytest.approx(0, abs=1e-10)
    assert found.reflected
    np.testing.assert_array_equal(found.better.matrix, found.reflection.matrix)
    assert found.better.residual == found.reflection.residual


def test_the_mirror_that_changes_the_first_sign_has_its_axis_at_90_degrees():
    assert mirror_axis(np.diag([-1.0, 1.0])) == 90.0
    assert mirror_axis(np.diag([1.0, -1.0])) == 0.0
    assert mirror_axis(np.array([[0.0, 1.0], [1.0, 0.0]])) == 45.0


def test_angles_stay_in_their_ranges_where_a_sine_is_a_negative_zero():
    assert rotation_angle(np.array([[-1.0, 0.0], [-0.0, -1.0]])) == 180.0
    tiny = np.array([[1.0, -1e-300], [-1e-300, -1.0]])
    assert 0 <= mirror_axis(tiny) < 180


@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_no_angle_of_a_fine_grid_fits_better_on_either_branch(seed):
    x, y = states(seed, 2, 7, 2)
    found = align(x, y)
    grid = np.arange(0, 360, 0.1)
    for branch, fit in ((rotation, found.rotation), (reflection, found.reflection)):
        tried = [rms(x @ branch(degrees).T - y) for degrees in grid]
        assert fit.residual <= min(tried) + 1e-12
        assert fit.residual == pytest.approx(min(tried), abs=1e-5)
        assert fit.residual == pytest.approx(rms(mapped(fit.matrix, x) - y), rel=1e-12)
    assert np.linalg.det(found.rotation.matrix) == pytest.approx(1, abs=1e-12)
    assert np.linalg.det(found.reflection.matrix) == pytest.approx(-1, abs=1e-12)
    worse = max(found.rotation.relative, found.reflection.relative)
    assert found.margin == pytest.approx(worse - found.better.relative, abs=1e-15)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, degrees=st.floats(-180, 180), scale=st.floats(0.01, 100))
def test_residuals_do_not_see_common_maps_and_the_order_of_states(seed, degrees, scale):
    x, y = states(seed, 2, 9, 2)
    found = align(x, y)
    order = np.random.default_rng(seed).permutation(9)
    turn, mirror = rotation(degrees), reflection(degrees)
    same = [
        align(x[order], y[order]),
        align(x @ turn.T, y @ turn.T),
        align(x, y @ turn.T),
        align(y, x),
    ]
    for other in same:
        assert other.rotation.residual == pytest.approx(found.rotation.residual, abs=1e-12)
        assert other.reflection.residual == pytest.approx(found.reflection.residual, abs=1e-12)
    exchanged = align(x, y @ mirror.T)
    assert exchanged.rotation.residual == pytest.approx(found.reflection.residual, abs=1e-12)
    assert exchanged.reflection.residual == pytest.approx(found.rotation.residual, abs=1e-12)
    larger = align(scale * x, scale * y)
    assert larger.rotation.residual == pytest.approx(scale * found.rotation.residual, rel=1e-9)
    assert larger.rotation.relative == pytest.approx(found.rotation.relative, rel=1e-9)


def test_relative_residual_is_in_units_of_the_bases_rms_norm():
    x = states(4)
    # Twice as far out, every state is off by its own norm, whatever the map.
    assert align(x, 2 * x).rotation.relative == pytest.approx(1.0, abs=1e-14)
    assert align(x, 2 * x).rotation.residual == pytest.approx(rms(x), rel=1e-14)
    # Nothing can be carried onto the origin better than by its own norm.
    assert align(x, 0 * x).better.relative == pytest.approx(1.0, abs=1e-14)


def test_states_on_a_line_are_turned_and_mirrored_alike():
    for seed in range(50):
        line = np.outer(states(seed, 31), states(seed + 1000, 2))
        found = align(line, line @ rotation(7.0 * seed).T)
        assert found.margin < 1e-9
        assert not found.reflected


def test_more_dimensions_have_a_best_map_of_either_determinant():
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(2, 20, 3))
    exact, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    found = align(x, y)
    for fit, determinant in ((found.rotation, 1), (found.reflection, -1)):
        assert np.linalg.det(fit.matrix) == pytest.approx(determinant, abs=1e-12)
        np.testing.assert_allclose(fit.matrix @ fit.matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(align(x, x @ exact.T).better.matrix) == pytest.approx(
            np.linalg.det(exact), abs=1e-12
        )
        for _ in range(300):
            # Small steps around the best map, and maps from anywhere.
            size = generator.choice([0.05, 5.0])
            step, _ = np.linalg.qr(np.eye(3) + size * generator.normal(size=(3, 3)))
            other = fit.matrix @ step * np.sign(np.linalg.det(step))
            assert fit.residual <= rms(x @ other.T - y) + 1e-12
    np.testing.assert_allclose(align(x, x @ exact.T).better.matrix, exact, atol=1e-12)


def test_leading_axes_are_aligned_one_by_one():
    x, y = states(6), states(7, 3, 4, 31, 2)
    together = align(x, y)
    assert together.reflected.shape == (3, 4)
    for index in np.ndindex(3, 4):
        alone = align(x, y[index])
        for name in ("rotation", "reflection", "better"):
            fit, own = getattr(together, name), getattr(alone, name)
            np.testing.assert_allclose(fit.matrix[index], own.matrix, atol=1e-13)
            assert fit.residual[index] == pytest.approx(own.residual, rel=1e-13)
    assert align(x, y[:0]).margin.shape == (0, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_has_no_map_and_leaves_the_others(bad):
    x, y = states(8), states(9, 3, 31, 2)
    whole = align(x, y)
    y[1, 4, 1] = bad
    found = align(x, y)
    for fit, before in ((found.rotation, whole.rotation), (found.better, whole.better)):
        assert np.isnan(fit.residual).tolist() == [False, True, False]
        assert np.isnan(fit.relative).tolist() == [False, True, False]
        np.testing.assert_array_equal(fit.matrix[[0, 2]], before.matrix[[0, 2]])
        assert np.isnan(fit.matrix[1]).all()
    assert np.isnan(rotation_angle(found.rotation.matrix)).tolist() == [False, True, False]
    assert np.isnan(align(np.where(x == x[0, 0], bad, x), y[0]).better.residual)


def test_a_base_of_zeros_has_no_relative_residual():
    found = align(np.zeros((5, 2)), states(10, 5, 2))
    assert np.isfinite(found.better.residual)
    assert np.isnan(found.better.relative)


def test_maps_that_are_not_of_the_plane_have_no_angle():
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        rotation_angle(np.eye(3))


# Channels


def signed_permutations(channels):
    for order in permutations(range(channels)):
        for signs in product((1.0, -1.0), repeat=channels):
            matrix = np.zeros((channels, channels))
            matrix[np.arange(channels), order] = signs
            yield matrix


def channels_mapped(matrix, x):
    return np.einsum("ck,skhw->schw", matrix, x)


def test_every_signed_permutation_of_three_channels_is_recovered():
    x = states(11, 4, 3, 2, 2)
    every = list(signed_permutations(3))
    assert len(every) == 48
    for matrix in every:
        found = align_channels(x, channels_mapped(matrix, x))
        np.testing.assert_array_equal(found.best.matrix, matrix)
        assert found.best.residual == 0
        assert found.margin > 0.1
        # An orthogonal matrix is the identity exactly where its trace is 3.
        assert (found.identity.residual == 0) == (np.trace(matrix) == 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_best_and_runner_up_are_those_of_a_brute_force_search(channels):
    x, y = states(12, 2, 5, channels, 3, 2)
    tried = {
        tuple(matrix.ravel()): rms(channels_mapped(matrix, x) - y)
        for matrix in signed_permutations(channels)
    }
    first, second = sorted(tried.values())[:2]
    found = align_channels(x, y)
    assert found.best.residual == pytest.approx(first, rel=1e-13)
    assert found.runner_up.residual == pytest.approx(second, rel=1e-13)
    assert found.identity.residual == pytest.approx(rms(x - y), rel=1e-13)
    for fit in (found.best, found.runner_up, found.identity):
        assert tried[tuple(fit.matrix.ravel())] == pytest.approx(fit.residual, rel=1e-13)
        assert fit.relative == pytest.approx(fit.residual / rms(x), rel=1e-13)
    assert found.margin == pytest.approx((second - first) / rms(x), rel=1e-9)


def test_channels_of_leading_axes_are_aligned_one_by_one():
    x, y = states(13, 5, 3, 2, 2), states(14, 2, 3, 5, 3, 2, 2).astype(np.float32)
    y[1, 2] = np.nan
    together = align_channels(x, y)
    for index in np.ndindex(2, 3):
        alone = align_channels(x, y[index])
        for name in ("best", "identity", "runner_up"):
            fit, own = getattr(together, name), getattr(alone, name)
            np.testing.assert_array_equal(fit.matrix[index], own.matrix)
            np.testing.assert_array_equal(fit.relative[index], own.relative)
    assert np.isnan(together.margin).sum() == 1
    assert np.isnan(together.margin[1, 2])


def test_of_maps_that_cost_the_same_the_identity_is_taken():
    found = align_channels(states(15, 5, 3, 2, 2), np.zeros((5, 3, 2, 2)))
    assert (found.best.matrix == np.eye(3)).all()
    assert found.margin == pytest.approx(0, abs=1e-15)


def test_more_channels_than_can_be_tried_are_refused():
    x = np.zeros((2, MAX_CHANNELS + 1, 1, 1))
    with pytest.raises(InputError, match="at most 5 channels"):
        align_channels(x, x)
