"""Variance components against a table worked by hand, the mean squares, and simulated data."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.statistics.variance import variance_components


def decompose(table, **options):
    """The components of a table `[bases, seeds]`, NaN where there is no run."""
    table = np.asarray(table, dtype=float)
    bases, seeds = np.indices(table.shape)
    options = {"resamples": 200, **options}
    return variance_components(table.ravel(), bases.ravel(), seeds.ravel(), **options)


def estimates(found):
    return np.array([found.base.estimate, found.seed.estimate, found.residual.estimate])


def simulate(generator, bases, seeds, variances):
    base, seed, residual = np.sqrt(variances)
    return (
        base * generator.normal(size=(bases, 1))
        + seed * generator.normal(size=(1, seeds))
        + residual * generator.normal(size=(bases, seeds))
    )


def test_a_table_worked_by_hand():
    # Row means 2 and 6, column means 2, 4, 6, mean 4. SS_base = 3 (4 + 4) = 24 with 1 degree of
    # freedom, SS_seed = 2 (4 + 0 + 4) = 16 with 2, residuals (1, 1, -2) and their negatives:
    # SS = 12 with 2. MS = 24, 8, 6: base (24 - 6) / 3 = 6, seed (8 - 6) / 2 = 1, residual 6.
    found = decompose([[1, 3, 2], [3, 5, 10]])
    assert estimates(found) == pytest.approx([6, 1, 6])
    assert [found.base.share, found.seed.share, found.residual.share] == pytest.approx(
        [6 / 13, 1 / 13, 6 / 13]
    )
    assert found.total == pytest.approx(13)
    assert (found.bases, found.seeds, found.missing, found.reason) == (2, 3, 0, "")


@pytest.mark.parametrize("shape", [(2, 2), (6, 22), (5, 3)])
def test_complete_tables_give_the_moment_estimates_of_the_analysis_of_variance(shape):
    table = np.random.default_rng(0).normal(size=shape)
    b, s = shape
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    ms_base = s * ((rows - table.mean()) ** 2).sum() / (b - 1)
    ms_seed = b * ((columns - table.mean()) ** 2).sum() / (s - 1)
    ms_rest = ((table - rows - columns + table.mean()) ** 2).sum() / ((b - 1) * (s - 1))
    expected = [(ms_base - ms_rest) / s, (ms_seed - ms_rest) / b, ms_rest]
    assert estimates(decompose(table)) == pytest.approx(expected, abs=1e-13)


def test_missing_cells_by_comparing_all_pairs():
    table = np.random.default_rng(1).normal(size=(4, 5))
    table[[0, 1, 1, 3], [4, 0, 2, 1]] = np.nan
    squares = {"base": [], "seed": [], "neither": []}
    cells = list(zip(*np.nonzero(~np.isnan(table)), strict=True))
    for i, first in enumerate(cells):
        for second in cells[:i]:
            same = (
                "base" if first[0] == second[0] else "seed" if first[1] == second[1] else "neither"
            )
            squares[same].append((table[first] - table[second]) ** 2 / 2)
    d_base, d_seed, d = (np.mean(squares[same]) for same in ("base", "seed", "neither"))
    found = decompose(table)
    assert found.missing == 4
    assert estimates(found) == pytest.approx([d - d_base, d - d_seed, d_base + d_seed - d])


@pytest.mark.parametrize("holes", [0, 8])
def test_estimates_are_unbiased(holes):
    generator, variances = np.random.default_rng(2), np.array([2.0, 0.5, 1.0])
    found = []
    for _ in range(1500):
        table = simulate(generator, 6, 5, variances)
        table.ravel()[generator.choice(30, holes, replace=False)] = np.nan
        found.append(estimates(decompose(table, resamples=1)))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - variances) <= 4 * error).all()
    assert (error < 0.06).all()


@pytest.mark.parametrize(
    ("variances", "least"),
    [
        ((1.0, 0.5, 1.0), 0.86),
        ((0.0, 0.0, 1.0), 0.95),
        ((1.0, 0.0, 0.2), 0.78),  # the variance of 8 numbers: a percentile interval is narrow
    ],
)
def test_intervals_cover_known_components(variances, least):
    generator, trials = np.random.default_rng(4), 200
    held = np.zeros((2, 3))
    for trial in range(trials):
        found = decompose(simulate(generator, 8, 10, variances), resamples=300, rng=trial)
        for i, component in enumerate((found.base, found.seed, found.residual)):
            truths = variances[i], variances[i] / sum(variances)
            intervals = component.variance_interval, component.share_interval
            for j, (truth, ends) in enumerate(zip(truths, intervals, strict=True)):
                held[j, i] += ends.low - 1e-12 <= truth <= ends.high + 1e-12
    assert (held / trials >= least).all()


def test_the_residual_does_not_pass_for_a_base_effect():
    # Mean squares of tables with copied columns would put every tenth interval above 0 here.
    generator = np.random.default_rng(5)
    above = [
        decompose(simulate(generator, 20, 4, (0.0, 0.0, 1.0)), rng=trial).base.variance_interval.low
        for trial in range(200)
    ]
    assert np.mean(np.array(above) > 0) <= 0.02


def test_an_outcome_that_the_base_decides():
    found = decompose(np.repeat([[0.0], [1.0], [1.0], [0.0]], 7, axis=1))
    assert estimates(found) == pytest.approx([1 / 3, 0, 0], abs=1e-15)
    assert found.base.share == 1.0
    assert not found.seed.clipped
    assert not found.residual.clipped


def test_negative_estimates_are_clipped_and_flagged():
    # Rows are alike on average but not in any column: MS_base = 0 < MS_residual.
    found = decompose([[1, -1, 1, -1], [-1, 1, -1, 1], [1, -1, -1, 1]])
    assert found.base.estimate < 0
    assert (found.base.variance, found.base.share, found.base.clipped) == (0.0, 0.0, True)
    assert not found.residual.clipped
    assert found.total == found.seed.variance + found.residual.variance


def test_shifts_renames_and_scales():
    table = np.random.default_rng(6).normal(size=(4, 6))
    first = decompose(table)
    shifted = decompose(table + 1e3)
    assert estimates(shifted) == pytest.approx(estimates(first), rel=1e-8)
    assert shifted.base.share_interval.high == pytest.approx(first.base.share_interval.high)
    assert estimates(decompose(-3 * table)) == pytest.approx(9 * estimates(first))
    moved = decompose(table[[2, 0, 3, 1]][:, ::-1])
    assert estimates(moved) == pytest.approx(estimates(first))
    turned = decompose(table.T)
    assert estimates(turned) == pytest.approx(estimates(first)[[1, 0, 2]])


def test_equal_values_have_no_variance_and_no_shares():
    found = decompose(np.full((3, 4), 0.1))
    assert estimates(found).tolist() == [0, 0, 0]
    assert np.isnan([found.base.share, found.residual.share]).all()
    assert found.base.variance_interval.high == 0.0
    assert "no value" in found.base.share_interval.reason


def test_two_bases_have_estimates_but_no_intervals():
    found = decompose([[1, 3, 2], [3, 5, 10]])
    interval = found.base.variance_interval
    assert np.isnan([interval.low, interval.high]).all()
    assert "at least 3 bases" in interval.reason


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[1, 2, 3]], "found 1 and 3"),
        ([[1], [2]], "found 2 and 1"),
        ([[1]], "found 1 and 1"),
        ([[1, 2], [np.nan, np.nan]], "found 1 and 2"),
        ([[np.nan, np.nan]], "found 0 and 0"),
        ([[1, np.nan, np.nan], [np.nan, 2, 3]], "too few bases share a seed"),
    ],
)
def test_designs_that_cannot_tell_say_why(table, words):
    found = decompose(table)
    assert words in found.reason
    assert np.isnan(estimates(found)).all()
    assert found.base.share_interval.reason == found.reason


def test_two_runs_in_a_cell_are_refused():
    with pytest.raises(InputError, match="one run of each seed on each base"):
        variance_components([1, 2, 3], ["a", "a", "b"], [0, 0, 0])


def test_seed_fixes_the_intervals():
    table = np.random.default_rng(7).normal(size=(5, 6))
    assert decompose(table, rng=1) == decompose(table, rng=1)
    assert decompose(table, rng=1) != decompose(table, rng=2)
