import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from crar_diag.embedding.dip import dip, dip_p_value
from crar_diag.errors import InputError


def dip_by_definition(values):
    """The least d for which a unimodal G stays within d of F_n, for every mode: linear programs.

    Unknown are G at the points up to the mode (from the left), at the points from the mode on (from
    the right), and d. G is continuous except at the mode.
    """
    points, counts = np.unique(np.asarray(values, float), return_counts=True)
    above = np.cumsum(counts) / counts.sum()
    below = above - counts / counts.sum()
    best = np.inf
    for mode in range(len(points)):
        left, right = list(range(mode + 1)), list(range(mode, len(points)))
        unknowns = len(left) + len(right) + 1
        rows, limits = [], []

        def at_most(limit, terms, unknowns=unknowns, rows=rows, limits=limits):
            row = np.zeros(unknowns)
            for column, factor in terms:
                row[column] += factor
            rows.append(row)
            limits.append(limit)

        d = unknowns - 1
        for side, first in ((left, 0), (right, len(left))):
            for column, i in enumerate(side, start=first):
                if i < mode or side is left:
                    at_most(below[i], [(column, 1), (d, -1)])
                if i > mode or side is right:
                    at_most(-above[i], [(column, -1), (d, -1)])
                if i < mode:
                    at_most(-above[i], [(column, -1), (d, -1)])
                if i > mode:
                    at_most(below[i], [(column, 1), (d, -1)])
            for column in range(first + 1, first + len(side)):
                at_most(0, [(column - 1, 1), (column, -1)])
            for column in range(first + 2, first + len(side)):
                i = side[column - first]
                before, after = 1 / (points[i - 1] - points[i - 2]), 1 / (points[i] - points[i - 1])
                # Slopes rise up to the mode and fall after it.
                sign = 1 if side is left else -1
                at_most(
                    0,
                    [
                        (column - 2, -sign * before),
                        (column - 1, sign * (before + after)),
                        (column, -sign * after),
                    ],
                )
        at_most(0, [(len(left) - 1, 1), (len(left), -1)])
        goal = np.zeros(unknowns)
        goal[d] = 1
        bounds = [(0, 1)] * (unknowns - 1) + [(0, None)]
        best = min(best, linprog(goal, np.array(rows), np.array(limits), bounds=bounds).fun)
    return best


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_dip_is_the_least_distance_from_a_unimodal_distribution(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    n = data.draw(st.integers(2, 13))
    sample = data.draw(
        st.sampled_from(
            [
                generator.normal(size=n),
                generator.exponential(size=n),
                generator.integers(0, 6, n).astype(float),
                generator.normal(size=n) + 6 * generator.integers(0, 2, n),
                generator.normal(size=n) + 9 * generator.integers(0, 3, n),
            ]
        )
    )
    # A sample of equal values has distance 0 from its own distribution; 1/(2n) is the convention.
    expected = max(dip_by_definition(sample), 1 / (2 * n))
    assert dip(sample) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101])
def test_equally_spaced_points_have_the_least_dip(n):
    assert dip(np.linspace(-3, 5, n)) == pytest.approx(1 / (2 * n), abs=1e-14)


def test_one_mode_in_the_data_has_the_least_dip():
    # Spacings that fall and then rise are exactly those of a convex and then concave F_n.
    spacings = np.array([5.0, 3.0, 2.0, 1.0, 1.0, 2.0, 4.0])
    assert dip(np.cumsum(spacings)) == pytest.approx(1 / 14, abs=1e-14)


def test_two_far_points_of_equal_weight_have_the_largest_dip():
    assert dip(np.repeat([0.0, 1.0], 10)) == pytest.approx(0.25, abs=1e-14)
    tight = np.concatenate([np.linspace(0, 1e-6, 50), np.linspace(1, 1 + 1e-6, 50)])
    assert dip(tight) == pytest.approx(0.25, abs=0.006)


def test_a_group_beside_a_larger_one_has_half_its_share():
    # G has the larger group's step as its mode and passes the smaller one halfway up.
    assert dip(np.repeat([0.0, 1.0], [3, 7])) == pytest.approx(0.15, abs=1e-14)


def test_ties_at_the_mode_are_a_step_of_g():
    assert dip([0.0, 1.0, 1.0, 1.0, 1.0, 2.0]) == pytest.approx(1 / 12, abs=1e-14)
    assert dip(np.ones(9)) == pytest.approx(1 / 18, abs=1e-14)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_dip_does_not_see_order_units_and_direction(seed, scale, shift):
    generator = np.random.default_rng(seed)
    sample = generator.normal(size=30) + 3 * generator.integers(0, 2, 30)
    value = dip(sample)
    assert dip(generator.permutation(sample)) == value
    assert dip(scale * sample + shift) == pytest.approx(value, abs=1e-9)
    assert dip(-sample) == pytest.approx(value, abs=1e-12)
    assert 1 / 60 <= value <= 0.25


def test_p_values_of_uniform_samples_are_uniform():
    draws = np.random.default_rng(1).random((400, 15))
    p = np.array([dip_p_value(dip(row), 15) for row in draws])
    for level in (0.05, 0.2, 0.5, 0.8):
        error = 4 * np.sqrt(level * (1 - level) / 400)
        assert (p <= level).mean() == pytest.approx(level, abs=error)


def test_p_values_tell_one_group_from_two():
    generator = np.random.default_rng(2)
    one = generator.normal(size=22)
    two = one + 8 * np.repeat([0, 1], 11)
    assert dip_p_value(dip(one), 22) > 0.2
    assert dip_p_value(dip(two), 22) == 1 / 2001


def test_p_values_come_from_their_seed():
    first, again = (dip_p_value(0.08, 20, samples=200, seed=3) for _ in range(2))
    others = {dip_p_value(0.08, 20, samples=200, seed=seed) for seed in range(4, 10)}
    assert first == again
    assert len(others) > 1
    assert dip_p_value(0.25, 20, samples=200, seed=3) == 1 / 201
    assert dip_p_value(0.0, 20, samples=200, seed=3) == 1.0


@pytest.mark.parametrize("sample", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_samples_without_a_distribution_are_refused(sample):
    with pytest.raises(InputError, match="finite numbers"):
        dip(np.array(sample))
