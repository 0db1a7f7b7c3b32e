import numpy as np
import pytest

from crar_diag.embedding.scaling import standardise, varies


def test_a_gaussian_group_has_a_width_near_one_whatever_stands_beside_it():
    generator = np.random.default_rng(0)
    sample = 0.3 * generator.normal(size=(20_000, 1)) + 7
    assert standardise(sample).std() == pytest.approx(1, rel=0.03)
    for share, least in ((0.1, 0.75), (0.5, 0.15)):
        beside = sample + 100 * (np.arange(len(sample)) < share * len(sample))[:, None]
        within = standardise(beside)[-len(sample) // 2 :]
        # The shortest half holds more than half of the group, at worst all of it: 7 sigma here.
        assert least < within.std() < 1.03


def test_the_median_goes_to_zero_and_units_fall_out():
    sample = np.random.default_rng(1).exponential(size=(21, 3))
    scaled = standardise(sample)
    np.testing.assert_allclose(np.median(scaled, axis=0), 0, atol=1e-15)
    moved = standardise(sample * [1e-3, 1.0, 1e6] + [5.0, -5.0, 0.0])
    np.testing.assert_allclose(moved, scaled, atol=1e-9)


def test_the_scale_is_the_shortest_half():
    # Eight values: the shortest interval with four of them is 4.0 to 4.9.
    sample = np.array([0.0, 1.0, 2.5, 4.0, 4.2, 4.5, 4.9, 9.0])[:, None]
    assert np.ptp(standardise(sample)) == pytest.approx(9 / (0.9 / 1.349), rel=1e-12)


def test_equal_values_do_not_divide_by_zero():
    sample = np.array([1.0] * 12 + [3.0] * 3)[:, None]
    assert np.ptp(standardise(sample)) == pytest.approx(1000, rel=1e-12)


def test_rounding_is_no_variation():
    generator = np.random.default_rng(2)
    noise = generator.normal(size=20)
    features = np.stack([7 + 1e-12 * noise, 7 + 1e-6 * noise, 1e-20 * noise, 0 * noise], axis=1)
    assert varies(features).tolist() == [False, True, True, False]
