"""Tables of scored runs: worked by hand, by scipy, and by the shapes of the design."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.report.score_outcomes import judge_scores
from crar_diag.report.score_statistics import (
    OVER_BASES,
    TABLES,
    WILSON,
    score_effects,
    score_tables,
)
from crar_diag.report.score_table import read_scores
from crar_diag.report.statistics import rates, scores
from crar_diag.report.statistics.resampling import RESAMPLES
from tests.report.intervals import wilson
from tests.report.scored import PAPER, history, level

GOOD, BAD = 1.0, -4.7


@pytest.fixture
def tabled(tmp_path):
    def table(runs, seed=0):
        found = history(tmp_path / "scores.csv", runs)
        outcomes = judge_scores(found)
        return score_tables(found, outcomes, seed), score_effects(found, outcomes, seed)

    return table


def row(table, **keys):
    """The one row with these keys."""
    chosen = np.ones(table.sizes["row"], bool)
    for key, value in keys.items():
        chosen &= table[key].values == value
    (place,) = np.flatnonzero(chosen)
    return {str(name): x.values[place].item() for name, x in table.variables.items()}


def noisy(score, k):
    """A little off, so that no group has a width of zero."""
    return level(score + 0.01 * k)


def study(base_wins, approach="original", rate=1e-4, seeds=6):
    """Runs of which so many succeed on each base."""
    return {
        (approach, base, s, rate): noisy(GOOD if s < wins else BAD, s)
        for base, wins in base_wins.items()
        for s in range(seeds)
    }


# Counts and rates


def test_counts_and_wilson_intervals_of_bases(tabled):
    tables, _ = tabled(study({"a": 6, "b": 4, "c": 0}))
    for base, wins in (("a", 6), ("b", 4), ("c", 0)):
        own = row(tables["base"], base=base)
        assert (own["runs"], own["complete"], own["successes"]) == (6, 6, wins)
        assert (own["failures"], own["unfinished"]) == (6 - wins, 0)
        assert own["rate"] == wins / 6
        assert (own["low"], own["high"]) == pytest.approx(wilson(wins, 6))
        assert own["interval"] == WILSON
        assert (own["approach"], own["learning_rate"]) == ("original", 1e-4)


def test_rates_of_seeds_go_over_bases(tabled):
    tables, _ = tabled(study({"a": 6, "b": 4, "c": 0}))
    assert tables["seed"].seed.values.tolist() == list(range(6))
    for s, wins in enumerate([2, 2, 2, 2, 1, 1]):
        own = row(tables["seed"], seed=s)
        assert (own["runs"], own["successes"], own["rate"]) == (3, wins, wins / 3)
        assert (own["low"], own["high"]) == pytest.approx(wilson(wins, 3))


def test_rates_of_approaches_are_means_over_bases(tabled):
    """Base b has twice the runs, and counts once."""
    runs = study({"a": 3}, seeds=3) | study({"b": 0}, seeds=6)
    tables, _ = tabled(runs)
    for name in ("approach", "learning_rate"):
        (own,) = (row(tables[name], approach="original"),)
        assert (own["runs"], own["successes"]) == (9, 3)
        assert own["rate"] == 0.5
        assert own["interval"] == OVER_BASES
        assert (own["low"], own["high"]) == (0, 1)


def test_intervals_over_bases_agree_with_scipy(tabled):
    wins = {"a": 6, "b": 4, "c": 0, "d": 5, "e": 1}
    own = row(tabled(study(wins))[0]["approach"], approach="original")
    sample = np.array(list(wins.values())) / 6
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0
    ).confidence_interval
    assert (own["low"], own["high"]) == pytest.approx(tuple(expected), abs=0.02)
    assert own["rate"] == pytest.approx(sample.mean())


def test_one_base_has_wilsons_interval_in_every_table(tabled):
    tables, _ = tabled(study({"a": 4}, seeds=9))
    for name in ("approach", "learning_rate", "base"):
        own = row(tables[name], approach="original")
        assert own["interval"] == WILSON
        assert (own["low"], own["high"]) == pytest.approx(wilson(4, 9))


def test_each_table_is_one_within_those_before(tabled):
    runs = study({"a": 6, "b": 0}) | study({"a": 3, "b": 3}, rate=1e-3)
    runs |= study({"b": 6}, approach="finetune") | study({"": 6}, approach="scratch", rate=5e-4)
    tables, _ = tabled(runs)
    assert list(tables) == list(TABLES)
    keys = ["approach", "learning_rate", "base", "seed"]
    expected = {
        "approach": keys[:1],
        "learning_rate": keys[:2],
        "base": keys[:3],
        "seed": [*keys[:2], "seed"],
    }
    for name, table in tables.items():
        assert sorted(table.coords) == sorted(expected[name])
        assert table.runs.sum() == len(runs)
        assert table.successes.sum() == 6 + 0 + 3 + 3 + 6 + 6
    bases = [tables["base"][key].values.tolist() for key in keys[:3]]
    assert list(zip(*bases, strict=True)) == [
        ("original", 1e-4, "a"),
        ("original", 1e-4, "b"),
        ("original", 1e-3, "a"),
        ("original", 1e-3, "b"),
        ("finetune", 1e-4, "b"),
        ("scratch", 5e-4, ""),
    ]
    assert row(tables["learning_rate"], approach="original", learning_rate=1e-3)["rate"] == 0.5
    assert row(tables["approach"], approach="finetune")["rate"] == 1


def test_unfinished_runs_count_where_they_ended_and_not_where_they_were_cut_off(tabled):
    runs = study({"a": 6, "b": 0})
    runs["original", "a", 6, 1e-4] = noisy(-2.0, 0)
    runs["original", "a", 7, 1e-4] = noisy(GOOD, 0)[:15]
    own = row(tabled(runs)[0]["base"], base="a")
    assert (own["runs"], own["complete"], own["successes"], own["unfinished"]) == (8, 7, 6, 2)
    assert own["rate"] == 6 / 7
    assert (own["low"], own["high"]) == pytest.approx(wilson(6, 7))
    assert own["mean"] == pytest.approx((sum(GOOD + 0.01 * s for s in range(6)) - 2.0) / 7)


def test_without_groups_there_are_scores_and_no_rates(tabled):
    tables, effects = tabled(study({"a": 3, "b": 0}, seeds=3))
    own = row(tables["base"], base="a")
    assert (own["runs"], own["complete"], own["successes"], own["failures"]) == (3, 3, 0, 0)
    assert np.isnan([own["rate"], own["low"], own["high"]]).all()
    assert own["interval"] == ""
    assert own["mean"] == pytest.approx(GOOD + 0.01)
    assert effects.test.values.tolist() == ["undecidable"]
    assert effects.reason.values.tolist() == ["success and failure are not known"]
    assert np.isnan(effects.share.sel(measure="success"))
    assert effects.share.sel(measure="score") > 0.99


def test_a_row_of_runs_that_were_all_cut_off_has_no_numbers(tabled):
    runs = study({"a": 6, "b": 0}) | {("original", "c", 0, 1e-4): level(0.0)[:10]}
    own = row(tabled(runs)[0]["base"], base="c")
    assert (own["runs"], own["complete"], own["unfinished"]) == (1, 0, 1)
    assert np.isnan([own["rate"], own["mean"], own["median_low"]]).all()


# Scores


def test_score_summaries_of_the_papers_bases_agree_with_scipy():
    found = read_scores(PAPER)
    table = score_tables(found, judge_scores(found))["base"]
    for base in ("41", "42", "43", "44", "45"):
        own = row(table, base=base)
        sample = found.score.values[found.base.values == base][:, -20:].mean(axis=1)
        for name, statistic in (
            ("mean", np.mean),
            ("median", np.median),
            ("interquartile_mean", lambda x, axis: stats.trim_mean(x, 0.25, axis=axis)),
        ):
            expected = stats.bootstrap(
                (sample,), statistic, n_resamples=RESAMPLES, method="percentile", rng=1
            ).confidence_interval
            assert own[name] == pytest.approx(statistic(sample, axis=0))
            wide = expected.high - expected.low
            assert own[f"{name}_low"] == pytest.approx(expected.low, abs=0.05 * wide)
            assert own[f"{name}_high"] == pytest.approx(expected.high, abs=0.05 * wide)


def test_scores_of_an_approach_are_resampled_within_its_bases():
    found = read_scores(PAPER)
    outcomes = judge_scores(found)
    own = row(score_tables(found, outcomes, 3)["approach"], approach="original")
    expected = scores.summarise_scores(outcomes.score, found.base.values, rng=3)
    assert own["mean"] == pytest.approx(outcomes.score.mean())
    assert own["mean_low"] == expected.mean.interval.low
    assert own["interquartile_mean_high"] == expected.interquartile_mean.interval.high
    wider = scores.summarise_scores(outcomes.score, rng=3).mean.interval
    assert own["mean_low"] > wider.low


def test_the_same_seed_gives_the_same_tables():
    found = read_scores(PAPER)
    outcomes = judge_scores(found)
    first, again, other = (score_tables(found, outcomes, seed) for seed in (0, 0, 1))
    for name in TABLES:
        assert first[name].identical(again[name])
    assert not np.array_equal(first["base"].mean_low, other["base"].mean_low)
    np.testing.assert_array_equal(first["base"].low, other["base"].low)


# The base's effect


def test_two_bases_by_fishers_test(tabled):
    _, effects = tabled(study({"a": 6, "b": 1}))
    assert effects.test.values.tolist() == ["fisher"]
    assert effects.p_value.item() == pytest.approx(stats.fisher_exact([[6, 1], [0, 5]]).pvalue)


def test_the_papers_bases_have_an_effect():
    """Of all ways to deal each seed's successes to five bases, hardly any part them so."""
    found = read_scores(PAPER)
    outcomes = judge_scores(found)
    effects = score_effects(found, outcomes)
    assert effects.condition.values.tolist() == ["original, lr 0.0005"]
    assert effects.test.values.tolist() == ["permutation"]
    won = (outcomes.outcome == "success").reshape(5, 6)  # bases x seeds
    observed = won.mean(axis=1).var()
    rng = np.random.default_rng(5)
    permuted = rng.permuted(np.tile(won, (20_000, 1, 1)), axis=1).mean(axis=2).var(axis=1)
    expected = (permuted >= observed - 1e-12).mean()
    assert effects.p_value.item() == pytest.approx(expected, abs=1e-3)
    assert effects.p_value.item() < 0.005


def test_the_bases_share_of_variance_by_hand(tabled):
    """Scores a_b + c_s without any interaction: the moments of the two-way table."""
    base, seed = np.array([-4.0, -4.5, 0.5, 1.0]), np.array([0.0, 0.1, -0.2])
    runs = {
        ("original", f"b{b}", s, 1e-4): level(base[b] + seed[s]) for b in range(4) for s in range(3)
    }
    _, effects = tabled(runs)
    parts = base.var(ddof=1), seed.var(ddof=1)
    assert effects.share.sel(measure="score").item() == pytest.approx(parts[0] / sum(parts))


def test_runs_without_a_base_take_no_part(tabled):
    runs = study({"a": 6, "b": 0}) | study({"": 3}, approach="scratch")
    _, effects = tabled(runs)
    assert effects.test.values.tolist() == ["fisher", "undecidable"]
    assert effects.reason.values.tolist()[1] == "no run of a base has a final score"


def test_rates_are_those_of_the_statistics_of_transfers(tabled):
    """One function computes both."""
    wins = {"a": 5, "b": 2, "c": 0}
    tables, _ = tabled(study(wins), seed=4)
    won = np.concatenate([np.arange(6) < n for n in wins.values()])
    expected = rates.rate_over_bases(won, np.repeat(list(wins), 6), rng=4)
    own = row(tables["learning_rate"], approach="original")
    assert (own["low"], own["high"]) == (expected.interval.low, expected.interval.high)
