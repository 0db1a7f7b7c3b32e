import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crar_diag.embedding.separation import (
    CLEAR,
    Separation,
    ashman_d,
    bimodality_coefficient,
    separation,
)
from crar_diag.errors import InputError


def hard(labels):
    return np.eye(max(labels) + 1)[labels]


def test_ashmans_d_is_the_distance_in_widths():
    assert ashman_d([1.0, 7.0], [4.0, 4.0]) == pytest.approx(3.0, abs=1e-14)
    assert ashman_d([7.0, 1.0], [1.0, 7.0]) == pytest.approx(6 * np.sqrt(2 / 8), abs=1e-14)
    assert ashman_d([1.0, 1.0], [0.0, 0.0]) == 0
    assert ashman_d([1.0, 2.0], [0.0, 0.0]) == np.inf
    with pytest.raises(InputError, match="two means"):
        ashman_d([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])


@pytest.mark.parametrize(("d", "modes"), [(CLEAR - 0.05, 1), (CLEAR + 0.05, 2)])
def test_two_equal_gaussians_have_two_modes_where_d_is_clear(d, modes):
    x = np.linspace(-4, d + 4, 20_001)
    density = np.exp(-(x**2) / 2) + np.exp(-((x - d) ** 2) / 2)
    inner = density[1:-1]
    assert ((inner > density[:-2]) & (inner > density[2:])).sum() == modes
    assert ashman_d([0.0, d], [1.0, 1.0]) == pytest.approx(d, abs=1e-14)


def test_bimodality_of_known_distributions():
    assert bimodality_coefficient(np.linspace(0, 1, 100_001)) == pytest.approx(5 / 9, abs=1e-4)
    assert bimodality_coefficient(np.repeat([0.0, 1.0], 50_000)) == pytest.approx(1, abs=1e-4)
    gaussian = np.random.default_rng(0).normal(size=400_000)
    assert bimodality_coefficient(gaussian) == pytest.approx(1 / 3, abs=0.01)
    # Skewness 2 and excess kurtosis 6.
    quantiles = -np.log1p(-(np.arange(10**6) + 0.5) / 10**6)
    assert bimodality_coefficient(quantiles) == pytest.approx(5 / 9, abs=0.01)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 40))
def test_bimodality_is_sarles_formula_written_out(seed, n):
    values = np.random.default_rng(seed).exponential(size=n)
    deviations = values - values.sum() / n
    variance = (deviations**2).sum() / (n - 1)
    skewness = n / ((n - 1) * (n - 2)) * (deviations**3).sum() / variance**1.5
    kurtosis = (
        n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * (deviations**4).sum() / variance**2
    ) - 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    expected = (skewness**2 + 1) / (kurtosis + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))
    assert bimodality_coefficient(values) == pytest.approx(expected, rel=1e-9)
    moved = bimodality_coefficient(5 - 3 * np.random.default_rng(seed).permutation(values))
    assert moved == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0], [5.0] * 20])
def test_bimodality_needs_four_values_that_differ(values):
    assert np.isnan(bimodality_coefficient(np.array(values)))


def test_separation_of_two_groups_on_a_line():
    values = np.array([0.0, 0.2, 0.4, 0.8, 5.0, 5.2, 5.4])[:, None]
    found = separation(values, hard([0, 0, 0, 0, 1, 1, 1]), (0, 1))
    first, second = values[:4, 0], values[4:, 0]
    expected = ashman_d([first.mean(), second.mean()], [first.var(), second.var()])
    assert found.ashman_d == pytest.approx(expected, rel=1e-12)
    assert found.gap == pytest.approx((5.0 - 0.8) / 0.8, rel=1e-12)
    assert found.dip_p < 0.05
    assert found.holds


def test_separation_weighs_runs_by_responsibility():
    values = np.array([0.0, 1.0, 2.0, 3.0])[:, None]
    weights = np.array([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    means = np.array([0.75 + 0.5, 0.25 + 1.5 + 3]) / 2
    variances = [
        sum(w * (x - m) ** 2 for w, x in zip(column, range(4), strict=True)) / 2
        for m, column in zip(means, weights.T, strict=True)
    ]
    found = separation(values, weights, (0, 1))
    assert found.ashman_d == pytest.approx(ashman_d(means, variances), rel=1e-12)


def test_separation_does_not_see_the_order_of_groups_or_a_third_one():
    generator = np.random.default_rng(1)
    values = generator.normal(size=(24, 2)) + 6 * np.repeat(np.eye(3), 8, axis=0)[:, :2]
    weights = hard(np.repeat([0, 1, 2], 8))
    found = separation(values, weights, (0, 1))
    turned = separation(values, weights, (1, 0))
    alone = separation(values[:16], weights[:16, :2], (0, 1))
    for other in (turned, alone):
        assert other.ashman_d == pytest.approx(found.ashman_d, rel=1e-12)
        assert other.gap == pytest.approx(found.gap, rel=1e-12)
        assert other.dip_p == found.dip_p


def test_a_feature_that_says_nothing_does_not_hide_two_groups():
    generator = np.random.default_rng(2)
    groups = np.repeat([0, 1], 15)
    telling = groups + 0.05 * generator.normal(size=30)
    noise = generator.normal(size=30)
    alone = separation(telling[:, None], hard(groups), (0, 1))
    found = separation(np.stack([telling, noise], axis=1), hard(groups), (0, 1))
    assert found.ashman_d > 0.7 * alone.ashman_d > 10
    assert found.holds


def test_groups_need_a_clear_d_and_a_dip_or_a_gap():
    assert Separation(2.1, 0.05, 0.0).holds
    assert Separation(2.1, 0.9, 1.5).holds
    assert Separation(2.1, 0.05, float("nan")).holds
    assert not Separation(2.1, 0.051, 1.49).holds
    assert not Separation(2.0, 0.01, 9.0).holds
    assert not Separation(float("nan"), float("nan"), float("nan")).holds


def test_a_few_runs_have_no_extent_to_measure_a_gap_in():
    values = np.array([0.0, 0.01, 1.0])[:, None]
    found = separation(values, hard([0, 0, 1]), (0, 1))
    assert np.isnan(found.gap)
    assert not found.holds
    points = np.array([0.0] * 4 + [1.0])[:, None]
    assert separation(points, hard([0, 0, 0, 0, 1]), (0, 1)).gap == np.inf


def test_a_group_that_no_run_belongs_to_is_not_separate():
    weights = np.array([[0.9, 0.1]] * 5)
    found = separation(np.arange(5.0)[:, None], weights, (0, 1))
    assert not found.holds
    assert np.isnan(found.ashman_d)
