"""Findings on reports in which the answer is known."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from crar_diag.agent.history import labelled
from crar_diag.report.store import add_to_report, read_report
from crar_diag.study import (
    labyrinth_findings,
    learning_rates_findings,
    simple_maze_findings,
    variants_findings,
)
from crar_diag.study.findings import GROUP, Finding, contains, findings_dataset, median, mostly
from tests.report.labelled import MADE
from tests.study.reported import Ended, of_base, report, sha_of


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.what: one for one in findings}


def test_an_interval_agrees_differs_or_tells_nothing():
    assert contains(0.1, 0.3, 0.2, 0.5) == "agrees"
    assert contains(0.1, 0.9, 0.2, 0.5) == "undecided"
    assert contains(0.3, 0.4, 0.2, 0.5) == "differs"
    assert [mostly(0.6, 0.9), mostly(0.1, 0.4), mostly(0.4, 0.6)] == [
        "agrees",
        "differs",
        "undecided",
    ]


def test_the_interval_of_a_median_is_that_of_scipy():
    values = np.random.default_rng(3).normal(size=25)
    middle, low, high = median(values)
    other = stats.bootstrap((values,), np.median, method="percentile", rng=1, n_resamples=10_000)
    assert middle == np.median(values)
    # medians of resamples are order statistics: the two may differ by a neighbour
    places = np.searchsorted(np.sort(values), [low, high, *other.confidence_interval])
    assert np.abs(places[:2] - places[2:]).max() <= 1


def test_the_papers_own_counts_agree_with_the_paper(tmp_path):
    """19 of 22 transfers of one base model fail, 1 of 22 of the other, all of them turned."""
    ended = [
        Ended(base, seed, seed < k, "identity" if seed < k else "swap", transition=loss)
        for base, k in (("one", 3), ("two", 21))
        for seed in range(22)
        for loss in [0.001 if seed < k else 0.0015 + 0.00001 * seed]
    ]
    found = by_name(simple_maze_findings.findings(report(tmp_path, ended)))
    poorest = found["transfers of the poorest base model that succeed"]
    assert (poorest.ours, poorest.verdict) == ("3 of 22", "agrees")
    best = found["transfers of the best base model that succeed"]
    assert (best.ours, best.verdict) == ("21 of 22", "agrees")
    effect = found["the base model decides"]
    assert (effect.ours, effect.verdict) == ("p = 3.9e-08", "agrees")
    turned = found["failed embeddings are the base's turned by 180 degrees"]
    assert (turned.ours, turned.verdict) == ("20 of 20", "agrees")
    ratio = found["transition loss of failures over that of successes"]
    assert ratio.verdict == "agrees"
    assert ratio.low <= float(ratio.ours.split()[0]) <= ratio.high
    assert found["failed transfers lie in a local minimum"].verdict == "undecided"


def test_exchanges_are_not_turned_and_their_loss_is_not_slightly_higher(tmp_path):
    ended = [*of_base("one", 3, 22), *of_base("two", 21, 22)]
    found = by_name(simple_maze_findings.findings(report(tmp_path, ended)))
    turned = found["failed embeddings are the base's turned by 180 degrees"]
    assert (turned.ours, turned.verdict) == ("0 of 20", "differs")
    assert "20 exchange" in turned.note
    assert found["transition loss of failures over that of successes"].verdict == "differs"


def hessian(one: Ended, verdicts: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {"verdict": labelled(["space", "point"], np.array(verdicts)[:, None], "verdict")},
        coords={
            "space": labelled(["space"], ["frozen", "unfrozen"], "space"),
            "point": labelled(["point"], ["polished"], "point"),
        },
        attrs={"sha256": sha_of(one.run, one.name)},
    )


def test_verdicts_of_failed_transfers_alone_are_counted(tmp_path):
    plain = of_base("a", 1, 9)
    # A remedied transfer has the name of a plain one.
    again = Ended("a", 1, True, restarts=3, run="restarts")
    wrong = {
        f"hessian__{one.name}": hessian(one, ["local minimum", "not stationary (gradient norm 1)"])
        for one in plain[1:]
    }
    right = {
        f"hessian__{one.run}-{one.name}": hessian(one, ["saddle", "local minimum"])
        for one in (plain[0], again)
    }
    given = report(tmp_path, [*plain, again], **wrong, **right)
    found = by_name(simple_maze_findings.findings(given))
    for what in ("failed transfers lie in a local minimum", "with free dynamics they lie in none"):
        assert (found[what].ours, found[what].verdict) == ("8 of 8", "agrees")


def test_a_path_bounds_the_barrier_as_a_share_of_the_straight_lines(tmp_path):
    rise = np.array([[[0.8], [0.2]]])
    path = xr.Dataset(
        {"above_ends": labelled(["dynamics", "path", "loss"], rise, "rise")},
        coords={
            "dynamics": labelled(["dynamics"], ["frozen"], "dynamics"),
            "path": labelled(["path"], ["straight", "curve"], "path"),
            "loss": labelled(["loss"], ["sum"], "loss"),
        },
    )
    given = report(tmp_path, of_base("a", 1, 2), path__some=path)
    found = by_name(simple_maze_findings.findings(given))
    one = found["barrier from wrong to correct, of that of the straight line"]
    assert one.ours == "at most 25.0%"


def test_distances_and_scores_of_the_labyrinth(tmp_path):
    good = [Ended("a", s, True, distance=1.1 + 0.01 * (s - 2), score=0.5) for s in range(5)]
    bad = [Ended("b", s, False, "other", distance=3.0 + 0.01 * s, score=-4.8) for s in range(5)]
    found = by_name(labyrinth_findings.findings(report(tmp_path, good + bad)))
    near = found["L2 distance of successful transfers to their base"]
    assert (near.ours, near.verdict) == ("1.1", "agrees")
    assert found["L2 distance of failed transfers to their base"].verdict == "differs"
    scores = found["final scores of failed transfers lie in the paper's range"]
    assert (scores.ours, scores.verdict) == ("5 of 5", "agrees")
    without = found["base models without a successful transfer"]
    assert (without.ours, without.verdict) == ("1 of 2", "undecided")


SCORES = {
    "original": (0.9, -4.8),
    "reset-encoder": (0.3, -1.0),
    "finetune": (1.0, 0.95),
    "no-disambiguation": (0.4, 0.2),
    "delayed-structure": (0.5, -2.0),
    "scratch": (0.8, 0.8),
}


def approaches(scores: dict[str, tuple[float, float]], noise: float) -> list[Ended]:
    found = []
    for variant, means in scores.items():
        bases = ("",) if variant == "scratch" else ("good", "poor")
        for base, mean in zip(bases, means, strict=False):
            for seed in range(6):
                score = mean + noise * (seed - 2.5)
                ok = score > 0
                kind = "identity" if ok else "other"
                found.append(Ended(base, seed, ok, kind, variant=variant, score=score))
    return found


def test_the_papers_order_of_approaches_agrees_and_another_differs(tmp_path):
    papers = report(tmp_path, approaches(SCORES, 0.01))
    found = by_name(variants_findings.findings(papers))
    assert found["the best approach"].verdict == "agrees"
    assert found["the best approach"].ours.startswith("finetune 0.97, scratch 0.80")
    assert found["rank of learning from scratch"].ours == "2"
    assert found["rank of learning from scratch"].verdict == "agrees"
    assert found["no-disambiguation is better than scratch"].verdict == "differs"
    assert found["original transfers of the poor base model fail"].ours == "6 of 6"
    (tmp_path / "other").mkdir()
    other = SCORES | {"original": (2.5, -0.1)}
    found = by_name(variants_findings.findings(report(tmp_path / "other", approaches(other, 0.01))))
    assert found["the best approach"].verdict == "differs"


def test_close_approaches_are_undecided(tmp_path):
    close = dict.fromkeys(SCORES, (0.5, 0.5)) | {"original": (0.6, -0.2), "finetune": (0.6, 0.6)}
    found = by_name(variants_findings.findings(report(tmp_path, approaches(close, 0.5))))
    assert found["the best approach"].verdict == "undecided"


def test_a_tie_decides_nothing(tmp_path):
    tied = dict.fromkeys(SCORES, (-1.0, -1.0)) | {"finetune": (1.0, 1.0), "scratch": (1.0, 1.0)}
    found = by_name(variants_findings.findings(report(tmp_path, approaches(tied, 0.0))))
    for what in ("the best approach", "rank of learning from scratch"):
        assert found[what].verdict == "undecided"
        assert "in 50% of resamples" in found[what].note
    assert found["a reset encoder does as the original approach"].verdict == "undecided"


def test_rates_in_the_middle_and_at_the_extremes(tmp_path):
    # b is the better base once the poor rates of a count, too
    ended = [*of_base("a", 6, 6, rate=5e-4), *of_base("b", 5, 6, rate=5e-4)]
    for rate, k in zip((1e-5, 5e-5, 1e-4, 1e-3, 5e-3), (0, 6, 2, 6, 0), strict=True):
        ended += of_base("a", k, 6, rate=rate, run="rates")
    found = by_name(learning_rates_findings.findings(report(tmp_path, ended)))
    middle = found["rates in the middle do better than the extremes"]
    assert middle.verdict == "agrees"
    # means 1, 1/3, 1, 1 against 0, 0
    assert middle.low < 10 / 12 < middle.high
    assert found["transfers at 1e-05 mostly fail"].verdict == "agrees"
    assert found["1e-4 does worse than both its neighbours"].verdict == "agrees"


def test_a_rate_that_was_not_run_is_named(tmp_path):
    found = by_name(learning_rates_findings.findings(report(tmp_path, of_base("a", 1, 3))))
    one = found["transfers at 1e-05 mostly fail"]
    assert (one.verdict, one.note) == ("undecided", "no transfer at 5e-05")


def test_findings_come_back_from_a_report(tmp_path):
    given = [Finding("a", "section 1", "3 of 22", "1 of 2", "undecided", 0.1, 0.9, "why")]
    add_to_report(tmp_path / "r.h5", {GROUP: findings_dataset(given)}, MADE)
    back = read_report(tmp_path / "r.h5", GROUP)
    assert back.finding.values.tolist() == ["a"]
    assert back.verdict.values.tolist() == ["undecided"]
    assert float(back.low[0]) == pytest.approx(0.1)
