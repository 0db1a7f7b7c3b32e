"""Polishing against closed forms, known saddles, and what may not move."""

import math

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.curvature import exact_curvature
from crar_diag.landscape.polish import CONVERGED, polish
from crar_diag.landscape.problem import SUM, Problem
from tests.landscape import toys
from tests.landscape.test_lanczos import symmetric


def quadratic(seed=0, size=15):
    rng = np.random.default_rng(seed)
    h = symmetric(np.geomspace(1e-2, 10, size), seed)
    best = torch.from_numpy(rng.normal(size=size))
    problem = Problem(
        lambda p, _: {"square": (p["w"] - best) @ h @ (p["w"] - best) / 2 + 0.7}, None
    )
    return problem, torch.from_numpy(rng.normal(size=size)), best


def saddle(power=4):
    """x^2 - y^2 + y^4: a saddle at 0, minima at y = +-1/sqrt(2)."""
    return Problem(lambda p, _: {"loss": p["x"] ** 2 - p["y"] ** 2 + p["y"] ** power}, None)


def at(x, y):
    return {"x": torch.tensor(x, dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)}


def test_a_quadratic_is_polished_to_its_minimum():
    problem, begin, best = quadratic()
    found = polish(problem, {"w": begin})
    torch.testing.assert_close(found.parameters["w"], best, rtol=0, atol=1e-7)
    assert found.converged
    assert found.losses_after == pytest.approx({"square": 0.7, SUM: 0.7})
    expected = (begin - best).norm().item()
    assert found.distance == pytest.approx(expected)
    assert found.relative_distance == pytest.approx(expected / begin.norm().item())


def test_ridge_regression_is_polished_to_its_closed_form():
    model = toys.model(0)
    found = polish(toys.problem(moves=("readout.*",), refits=()), model)
    np.testing.assert_allclose(found.parameters["readout.weight"], toys.best_readout(model))
    assert found.converged
    assert found.losses_before == pytest.approx(toys.losses_by_hand(model))
    assert found.losses_after == pytest.approx(toys.losses_by_hand(model, toys.best_readout(model)))


def test_what_does_not_move_stays_to_the_last_bit():
    model = toys.model(1) | {"target": torch.tensor([0.1, 0.2])}
    found = polish(toys.problem(moves=("hidden.*",), refits=()), model, iterations=5)
    assert list(found.parameters) == list(model)
    for name in ("readout.weight", "target"):
        assert torch.equal(found.parameters[name], model[name].double())
    for name in toys.HIDDEN:
        assert not torch.equal(found.parameters[name], model[name])


def test_a_network_comes_to_a_point_without_gradient():
    problem = toys.problem(moves=("*",), refits=())
    found = polish(problem, toys.model(2))
    assert found.converged
    assert found.gradient_norm_after <= CONVERGED * found.gradient_norm_before
    assert found.losses_after[SUM] < found.losses_before[SUM]
    curvature = exact_curvature(problem, found.parameters)
    assert curvature.gradient_norms[SUM] == found.gradient_norm_after
    assert curvature.losses == found.losses_after
    assert curvature.eigenvalues.min() > -1e-9
    assert curvature.verdict == "local minimum"


def test_on_the_way_that_leads_to_a_saddle_it_ends_there_and_the_verdict_says_so():
    found = polish(saddle(), at(1.0, 0.0))
    assert found.converged
    assert found.parameters["x"].item() == pytest.approx(0, abs=1e-9)
    assert found.parameters["y"].item() == 0
    curvature = exact_curvature(saddle(), found.parameters)
    assert curvature.verdict == "saddle (1 negative direction found)"
    assert curvature.eigenvalues.tolist() == pytest.approx([-2, 2])


def test_beside_that_way_it_descends_to_a_minimum():
    found = polish(saddle(), at(1.0, 1e-3))
    assert found.converged
    assert found.parameters["y"].item() == pytest.approx(math.sqrt(0.5))
    curvature = exact_curvature(saddle(), found.parameters)
    assert curvature.verdict == "local minimum"
    assert curvature.eigenvalues.tolist() == pytest.approx([2, 4])


def test_from_a_minimum_it_goes_nowhere():
    problem, _, best = quadratic()
    found = polish(problem, {"w": best})
    assert found.converged
    assert found.distance == 0
    assert torch.equal(found.parameters["w"], best)


def test_where_there_is_no_gradient_at_all_it_goes_nowhere():
    problem = Problem(lambda p, _: {"nothing": 0.0 * p["w"].sum()}, None)
    found = polish(problem, {"w": torch.ones(3)})
    assert found.converged
    assert (found.iterations, found.products, found.distance) == (0, 0, 0)
    assert exact_curvature(saddle(), at(0.0, 0.0)).negative == 1
    assert polish(saddle(), at(0.0, 0.0)).distance == 0


def test_it_does_not_leave_the_basin_for_a_deeper_one():
    """cos(x) + x / 20: minima near 3 pi, 5 pi, ..., ever deeper towards the left."""
    problem = Problem(lambda p, _: {"loss": torch.cos(p["x"]) + p["x"] / 20}, None)
    found = polish(problem, {"x": torch.tensor(9.0)})
    assert found.parameters["x"].item() == pytest.approx(3 * math.pi - math.asin(1 / 20))


def test_too_few_iterations_do_not_converge():
    problem, begin, _ = quadratic()
    found = polish(problem, {"w": begin}, iterations=2)
    assert not found.converged
    assert found.iterations == 2
    assert found.losses_after[SUM] < found.losses_before[SUM]


def test_from_the_origin_there_is_no_relative_distance():
    problem, begin, best = quadratic()
    found = polish(problem, {"w": torch.zeros_like(begin)})
    assert math.isnan(found.relative_distance)
    torch.testing.assert_close(found.parameters["w"], best, rtol=0, atol=1e-6)


def test_steps_to_where_the_loss_is_not_finite_are_not_taken():
    problem = Problem(lambda p, _: {"barrier": p["x"] - torch.log(p["x"])}, None)
    found = polish(problem, {"x": torch.tensor(90.0)})
    assert found.converged
    assert found.parameters["x"].item() == pytest.approx(1)


def test_the_same_start_ends_in_the_same_bits():
    problem = toys.problem(moves=("*",), refits=())
    first, second = (polish(problem, toys.model(3)) for _ in range(2))
    for name, p in first.parameters.items():
        assert torch.equal(p, second.parameters[name])
    assert first.products == second.products


def test_no_iterations_and_losses_that_are_not_finite_are_refused():
    problem, begin, _ = quadratic()
    with pytest.raises(InputError, match="iterations must be at least 1, found 0"):
        polish(problem, {"w": begin}, iterations=0)
    with pytest.raises(InputError, match="not finite"):
        polish(problem, {"w": begin * math.nan})
