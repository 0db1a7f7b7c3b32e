"""Statistics of transfers against numbers worked out by hand."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from crar_diag.embedding.kinds import KINDS
from crar_diag.report.transfer_statistics import conditions, statistics_of
from tests.embedding.ended import ended, won
from tests.report.intervals import wilson


@pytest.fixture(scope="module")
def paper():
    """The paper's two base models: 3 of 22 transfers of the first succeeded, 21 of the second."""
    success = np.array(won(3, 22) + won(21, 22))
    finals = ended(
        base=["good"] * 22 + ["poor"] * 22,
        seed=[*range(22)] * 2,
        kind=np.where(success, "identity", ["exchange", "swap"] * 22),
        distance=np.where(success, 0.1, 2.0),
        transition=np.where(success, 1e-3, 2e-3) + np.arange(44) * 1e-6,
    )
    return finals, success, statistics_of(finals, success)


# Conditions


def test_conditions_are_named_by_variant_rate_and_remedies():
    finals = ended(
        variant=["original", "original", "original", "finetune", "oracle", "scratch"],
        initial_learning_rate=[8e-5, 1e-4, 8e-5, 0.005, 8e-5, 5e-4],
        realign=[False, False, True, True, False, False],
        restarts=[1, 1, 5, 1, 1, 2],
    )
    assert conditions(finals).tolist() == [
        "original, lr 8e-05",
        "original, lr 0.0001",
        "original, lr 8e-05, realign, best of 5",
        "finetune, lr 0.005, realign",
        "oracle",
        "scratch, lr 0.0005, best of 2",
    ]


def test_of_several_environments_each_is_a_condition():
    finals = ended(environment=["labyrinth", "simple-maze"], variant=["original", "oracle"])
    assert conditions(finals).tolist() == ["labyrinth, original, lr 8e-05", "simple-maze, oracle"]


def test_statistics_are_by_condition_in_the_order_of_the_rows():
    finals = ended(variant=["scratch", "original", "finetune", "original"], base=["", *"bab"])
    found = statistics_of(finals, np.array([True, False, True, True]))
    names = ["scratch, lr 8e-05", "original, lr 8e-05", "finetune, lr 8e-05"]
    for name, data in found.items():
        assert data.condition.values.tolist() == names, name
    rates = found["rates"]
    assert rates.base.values.tolist() == ["", "a", "b"]
    assert rates.runs.values.tolist() == [[1, 0, 0], [0, 0, 2], [0, 1, 0]]
    assert rates.successes.values.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    np.testing.assert_array_equal(
        rates.rate, [[1, np.nan, np.nan], [np.nan, np.nan, 0.5], [np.nan, 1, np.nan]]
    )
    assert np.isnan(rates.low).values.tolist() == np.isnan(rates.rate).values.tolist()


# Rates


def test_rates_are_the_papers(paper):
    rates = paper[2]["rates"].isel(condition=0)
    assert rates.base.values.tolist() == ["good", "poor"]
    assert rates.successes.values.tolist() == [3, 21]
    assert rates.runs.values.tolist() == [22, 22]
    np.testing.assert_allclose(rates.rate, [3 / 22, 21 / 22], rtol=1e-15)
    for b, successes in enumerate((3, 21)):
        assert (rates.low[b], rates.high[b]) == pytest.approx(wilson(successes, 22), rel=1e-9)
    assert rates.mean_rate.item() == pytest.approx(24 / 44)
    # Two bases drawn with replacement: a quarter of the draws each are twice the same one.
    assert (rates.mean_low.item(), rates.mean_high.item()) == (3 / 22, 21 / 22)


def test_the_mean_weighs_bases_alike():
    finals = ended(base=["a"] * 4 + ["b"] * 5)
    rates = statistics_of(finals, np.array(won(3, 4) + won(1, 5)))["rates"]
    assert rates.mean_rate.item() == pytest.approx((0.75 + 0.2) / 2)
    alone = statistics_of(finals.isel(transfer=slice(4)), np.array(won(3, 4)))["rates"]
    assert alone.mean_rate.item() == 0.75
    assert np.isnan([alone.mean_low.item(), alone.mean_high.item()]).all()


# The base's effect


def test_two_bases_are_compared_by_fishers_test(paper):
    effect = paper[2]["base_effect"].isel(condition=0)
    ratio, p = stats.fisher_exact([[3, 21], [19, 1]])
    assert effect.test.item() == "fisher"
    assert effect.p_value.item() == pytest.approx(p, rel=1e-12)
    assert effect.p_value.item() == pytest.approx(3.9e-8, rel=0.01)  # the paper's figure
    assert effect.statistic.item() == pytest.approx(ratio)
    assert effect.reason.item() == ""


def test_more_bases_are_compared_by_permutation_and_one_not_at_all():
    finals = ended(base=["a"] * 6 + ["b"] * 6 + ["c"] * 6, seed=[*range(6)] * 3)
    success = np.array(won(6, 6) + won(3, 6) + won(0, 6))
    effect = statistics_of(finals, success)["base_effect"].isel(condition=0)
    assert effect.test.item() == "permutation"
    assert effect.statistic.item() == pytest.approx(1 / 6)  # the variance of 1, 1/2 and 0
    assert 1e-4 < effect.p_value.item() < 0.05
    one = statistics_of(finals.isel(transfer=slice(6)), success[:6])["base_effect"]
    assert one.test.values.tolist() == ["undecidable"]
    assert np.isnan(one.p_value).all()
    assert one.reason.values.tolist() == ["there is one base only"]


# Variance


def test_variances_are_those_of_a_two_way_analysis():
    table = np.random.default_rng(0).normal(np.array([[0], [2], [5]]), 1, (3, 4))
    finals = ended(
        base=np.repeat(["a", "b", "c"], 4),
        seed=[*range(4)] * 3,
        distance=table.ravel(),
        transition=10 ** table.ravel(),
    )
    found = statistics_of(finals, np.array([True, False] * 6))["variance"].isel(condition=0)
    rows, columns = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    rest = table - rows - columns + table.mean()
    residual = (rest**2).sum() / (2 * 3)
    base = (4 * rows.var(ddof=1) - residual) / 4
    seed = max((3 * columns.var(ddof=1) - residual) / 3, 0)
    for measure in ("distance", "log10 transition loss"):
        own = found.sel(measure=measure)
        np.testing.assert_allclose(own.variance, [base, seed, residual], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            own.share.values, own.variance.values / own.variance.values.sum()
        )
        assert (own.share_low <= own.share_high).all()
    # Success alternates with the seeds, the same for every base.
    np.testing.assert_allclose(found.share.sel(measure="success"), [0, 1, 0], atol=1e-12)
    assert np.isnan(found.variance.sel(measure="score")).all()


@pytest.mark.parametrize(
    "columns",
    [
        {"base": "a"},
        {"base": ["a", "b"] * 4, "seed": 3},
        {"base": ["a", "a", "b", "b"] * 2, "seed": [0, 0, 1, 1, 2, 2, 3, 3]},  # two in a cell
        {"variant": "scratch", "base": "", "distance": np.nan},
    ],
)
def test_a_design_that_cannot_tell_has_no_variance(columns):
    found = statistics_of(ended(transition=[1e-3, 1e-2] * 4, **columns), np.array([True] * 8))
    assert np.isnan(found["variance"].share).all()
    assert np.isnan(found["variance"].share_low).all()


def test_values_that_are_not_finite_are_left_out_of_the_variance():
    table = np.random.default_rng(1).normal(size=(3, 4))
    finals = ended(base=np.repeat(["a", "b", "c"], 4), seed=[*range(4)] * 3, distance=table.ravel())
    expected = statistics_of(finals.isel(transfer=slice(1, None)), np.ones(11, bool))["variance"]
    assert np.isfinite(expected.variance.sel(measure="distance")).all()
    for bad in (np.nan, np.inf):
        finals["distance"][0] = bad
        found = statistics_of(finals, np.ones(12, bool))["variance"]
        np.testing.assert_allclose(
            found.variance.sel(measure="distance"), expected.variance.sel(measure="distance")
        )


# Kinds and scores


def test_kinds_are_counted_and_sum_to_the_runs(paper):
    _, _, found = paper
    counts = found["kinds"]["count"].isel(condition=0)
    assert counts.kind.values.tolist() == [*KINDS, "no base"]
    assert counts.sel(kind="identity").values.tolist() == [3, 21]
    assert counts.sel(kind="exchange").values.tolist() == [9, 0]
    assert counts.sel(kind="swap").values.tolist() == [10, 1]
    np.testing.assert_array_equal(counts.sum("kind"), found["rates"].runs.isel(condition=0))


def test_every_kind_can_be_counted():
    kinds = [*KINDS, "no base"]
    found = statistics_of(ended(kind=kinds), np.zeros(len(kinds), bool))["kinds"]
    assert found["count"].values.tolist() == [[[1] * len(kinds)]]


def test_there_are_no_scores_in_the_simple_maze(paper):
    scores = paper[2]["scores"]
    for name in ("value", "low", "high"):
        assert np.isnan(scores[name]).all()


def test_scores_are_summarised():
    score = np.array([-5.0, -1, 0, 1, 2, 3, 4, 100] * 2)
    finals = ended(environment="labyrinth", score=score, base=np.repeat(["a", "b"], 8))
    found = statistics_of(finals, score > 0)["scores"].isel(condition=0)
    assert found.value.sel(summary="mean").item() == 13
    assert found.value.sel(summary="median").item() == 1.5
    assert found.value.sel(summary="interquartile_mean").item() == 1.5  # of 0, 1, 2, 3
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


# What the loss tells


def test_losses_that_separate_perfectly_tell_success(paper):
    finals, success, found = paper
    assert found["detection"].area.values.tolist() == [1.0]
    assert found["detection"].low.values.tolist() == [1.0]
    other = statistics_of(finals, ~success)["detection"]
    assert other.area.values.tolist() == [0.0]
    equal = statistics_of(ended(transition=[1e-3] * 4), np.array([True, False] * 2))["detection"]
    assert equal.area.values.tolist() == [0.5]


def test_losses_that_are_not_finite_tell_nothing():
    finals = ended(transition=[1e-3, 2e-3, np.nan, np.inf])
    found = statistics_of(finals, np.array([True, False, True, True]))["detection"]
    assert found.area.values.tolist() == [1.0]
    for transition, success in (
        ([np.nan] * 2, [True, False]),
        ([1.0, 2.0], [True, True]),
        ([1.0, 2.0], [False, False]),
    ):
        found = statistics_of(ended(transition=transition), np.array(success))["detection"]
        assert np.isnan(found.area).all()


# Seeds


def test_the_same_seed_gives_the_same_numbers():
    rng, runs = np.random.default_rng(0), [3, 4, 5, 6, 7, 8, 9]
    finals = ended(
        environment="labyrinth",
        base=np.repeat(list("abcdefg"), runs),
        seed=[seed for n in runs for seed in range(n)],
        distance=rng.random(42),
        transition=rng.random(42),
        score=rng.random(42),
    )
    success = rng.random(42) < 0.5
    first, again, *others = (statistics_of(finals, success, seed) for seed in (0, 0, 1, 2))
    for name, data in first.items():
        xr.testing.assert_identical(again[name], data)
        same = all(other[name].equals(data) for other in others)
        # What is counted is not drawn; of one condition there is nothing to compare.
        assert same == (name in ("kinds", "comparisons")), name
    np.testing.assert_array_equal(others[0]["rates"].rate, first["rates"].rate)
