"""What foretells success, on bases whose rates are known to follow one measure and no other."""

import numpy as np
import pytest
from scipy import stats

from crar_diag.errors import InputError
from crar_diag.report.prediction import conclusion, foretell
from crar_diag.report.statistics.association import rank_correlation
from crar_diag.report.store import add_to_report, read_report
from tests.report.labelled import MADE, assert_same


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setitem(rank_correlation.__kwdefaults__, "resamples", 2000)


def bases(n):
    return [f"base-seed{k}" for k in range(n)]


def told(n, seed=0, **measures):
    """Foretell rates k / n of n bases by measures `[n]`."""
    names = bases(n)
    rates = {name: k / n for k, name in enumerate(names)}
    of_base = {
        name: {measure: float(values[k]) for measure, values in measures.items()}
        for k, name in enumerate(names)
    }
    return foretell(of_base, rates, dict.fromkeys(names, 22), seed)


def noise(n, seed=3):
    return np.random.default_rng(seed).permutation(n).astype(float)


def row(found, predictor):
    return {name: x.item() for name, x in found.sel(predictor=predictor).items() if x.ndim == 0}


def test_what_goes_with_the_rate_of_many_bases_is_informative_and_noise_is_weak():
    n = 30
    found = told(n, same=np.arange(n) ** 3, against=-np.arange(n), noise=noise(n))
    assert found.predictor.values.tolist() == ["same", "against", "noise"]
    for name, sign in (("same", 1), ("against", -1)):
        own = row(found, name)
        assert (own["rho"], own["tau"]) == (sign, sign)
        assert own["rho_low"] == own["rho_high"] == sign
        assert own["verdict"] == "informative"
    own = row(found, "noise")
    assert own["rho"] == pytest.approx(stats.spearmanr(noise(n), np.arange(n)).statistic)
    assert own["tau"] == pytest.approx(stats.kendalltau(noise(n), np.arange(n)).statistic)
    assert own["rho_low"] < own["rho"] < own["rho_high"]
    assert own["verdict"] == "weak"
    assert own["p_value"] == pytest.approx(stats.spearmanr(noise(n), np.arange(n)).pvalue, abs=0.05)


def test_a_perfect_order_of_six_bases_is_weak_among_many_predictors():
    """2 of 6! orders are perfect: p = 1/360, which 55 predictors make 0.15."""
    perfect = np.arange(6)
    alone = row(told(6, perfect=perfect), "perfect")
    assert alone["p_value"] == pytest.approx(2 / 720)
    assert alone["p_holm"] == alone["p_value"]
    assert alone["verdict"] == "informative"
    others = {f"noise{k}": noise(6, k) for k in range(54)}
    among = row(told(6, perfect=perfect, **others), "perfect")
    assert among["p_value"] == alone["p_value"]
    assert among["p_holm"] == pytest.approx(55 * 2 / 720)
    assert among["rho"] == 1
    assert among["verdict"] == "weak"


def test_p_values_are_corrected_as_holm_does():
    found = told(8, a=np.arange(8), b=noise(8, 0), c=noise(8, 1), d=noise(8, 2))
    p = found.p_value.values
    order = np.argsort(p)
    corrected, least = np.empty(4), 0.0
    for k, place in enumerate(order):
        least = max(least, min(1.0, (4 - k) * p[place]))
        corrected[place] = least
    np.testing.assert_allclose(found.p_holm, corrected, rtol=1e-12)
    assert (found.p_holm > found.p_value).any()


def test_a_correlation_below_a_half_is_weak_however_sure():
    n = 100
    weak = np.arange(n) + 200 * np.random.default_rng(1).random(n)
    own = row(told(n, weak=weak), "weak")
    assert 0.2 < own["rho"] < 0.5
    assert own["p_holm"] < 0.01
    assert own["rho_low"] > 0
    assert own["verdict"] == "weak"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_measures_that_are_the_same_or_not_finite_are_left_out(bad):
    holes = np.arange(6.0)
    holes[3] = bad
    found = told(6, holes=holes, same=np.full(6, 0.25), good=noise(6))
    assert found.predictor.values.tolist() == ["good"]
    # They count for nothing else either.
    assert found.p_holm.item() == found.p_value.item()
    assert found.value.values.tolist() == [noise(6).tolist()]


def test_where_all_measures_are_left_out_nothing_is_told(tmp_path):
    found = told(5, same=np.ones(5))
    assert found.sizes == {"predictor": 0, "base": 5}
    assert conclusion(found).startswith("all 0 predictors are weak over these 5 bases")
    add_to_report(tmp_path / "r.h5", {"statistics/prediction": found}, MADE)
    assert read_report(tmp_path / "r.h5", "statistics/prediction").sizes["predictor"] == 0


def test_equal_rates_tell_nothing():
    names = bases(6)
    measures = {name: {"x": float(k)} for k, name in enumerate(names)}
    found = foretell(measures, dict.fromkeys(names, 0.5), dict.fromkeys(names, 2))
    own = row(found, "x")
    for name in ("rho", "tau", "p_value", "p_holm", "rho_low", "rho_high"):
        assert np.isnan(own[name]), name
    assert own["verdict"] == "weak"


def test_bases_without_transfers_and_transfers_of_other_bases_are_left_out():
    names = bases(7)
    measures = {name: {"x": k**2.0} for k, name in enumerate(names)}
    rates = {name: k / 10 for k, name in enumerate(names) if k != 2} | {"another": 0.9}
    runs = {name: k + 1 for k, name in enumerate(names)} | {"another": 5}
    found = foretell(measures, rates, runs)
    assert found.base.values.tolist() == [name for k, name in enumerate(names) if k != 2]
    assert found.rate.values.tolist() == [0, 0.1, 0.3, 0.4, 0.5, 0.6]
    assert found.runs.values.tolist() == [1, 2, 4, 5, 6, 7]
    assert found.value.values.tolist() == [[0, 1, 9, 16, 25, 36]]
    assert found.rho.values.tolist() == [1]


@pytest.mark.parametrize("n", [0, 1, 4])
def test_fewer_than_five_bases_are_refused(n):
    measures = {name: {"x": float(k)} for k, name in enumerate(bases(9))}
    rates = dict.fromkeys(bases(n), 0.5)
    with pytest.raises(InputError) as caught:
        foretell(measures, rates, dict.fromkeys(rates, 22))
    assert str(caught.value) == (
        "expected transfers of at least 5 of the base models, found them of "
        f"{n}: a predictor is one number a base"
    )


def test_the_same_seed_gives_the_same_numbers():
    measures = {"a": noise(9, 0), "b": noise(9, 1)}
    first, again, other = (told(9, seed, **measures) for seed in (0, 0, 1))
    assert first.identical(again)
    assert not np.array_equal(first.rho_low, other.rho_low)
    np.testing.assert_array_equal(first.rho, other.rho)


def test_a_report_holds_it_as_it_was(tmp_path):
    found = told(9, a=noise(9), b=np.arange(9))
    add_to_report(tmp_path / "r.h5", {"statistics/prediction": found}, MADE)
    assert_same(read_report(tmp_path / "r.h5", "statistics/prediction"), found)


# In a sentence


def test_the_conclusion_names_what_tells_something():
    n = 30
    found = told(n, oddness=-np.arange(n), noise=noise(n), other=noise(n, 5))
    assert conclusion(found) == (
        "1 of 3 predictors tell something over 30 bases: oddness (rho -1.00)"
    )
    both = told(n, oddness=-np.arange(n), noise=noise(n), start=np.arange(n))
    assert conclusion(both) == (
        "2 of 3 predictors tell something over 30 bases: oddness (rho -1.00), start (rho 1.00)"
    )


def test_the_conclusion_says_where_nothing_does():
    assert conclusion(told(6, noise=noise(6), other=noise(6, 5))) == (
        "all 2 predictors are weak over these 6 bases: none correlates with the success rate "
        "beyond what chance gives so many predictors"
    )
