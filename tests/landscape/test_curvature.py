"""The curvature at a point: from products against from the dense matrix, and known cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.curvature import (
    CurvatureSettings,
    exact_curvature,
    krylov_curvature,
)
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.polish import polish
from crar_diag.landscape.problem import SUM, Problem
from tests.landscape import toys
from tests.landscape.test_operator import TOY

SETTINGS = CurvatureSettings(eigenvalues=4, steps=60, probes=400, density_probes=3)


@pytest.fixture(scope="module", params=["somewhere", "minimum"])
def twins(request):
    """The curvature of a tiny network both ways."""
    model = toys.model(0)
    if request.param == "minimum":
        model = polish(TOY, model).parameters
    return krylov_curvature(TOY, model, SETTINGS), exact_curvature(TOY, model, SETTINGS)


def test_products_tell_what_the_dense_matrix_does(twins):
    krylov, exact = twins
    assert krylov.size == exact.size == 20
    assert krylov.losses == exact.losses
    assert krylov.gradient_norms == exact.gradient_norms
    assert (krylov.negative, krylov.positive) == (exact.negative, exact.positive)
    assert krylov.verdict == exact.verdict
    assert krylov.decrement == pytest.approx(exact.decrement, rel=1e-6, abs=1e-15)
    for end in ("smallest", "largest"):
        found, expected = getattr(krylov, end), getattr(exact, end)
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-7, atol=1e-10)
        assert found.converged.all()
        assert expected.converged.all()
    assert krylov.trace.low <= exact.trace.value <= krylov.trace.high
    assert exact.trace.low == exact.trace.value == exact.trace.high


def test_the_dense_matrix_is_taken_apart_as_it_is(twins):
    _, exact = twins
    assert exact.trace.value == pytest.approx(exact.eigenvalues.sum())
    assert (exact.smallest.values == exact.eigenvalues[:4]).all()
    assert (exact.largest.values == exact.eigenvalues[::-1][:4]).all()
    moment = (exact.density.weights * exact.density.nodes).sum()
    assert moment == pytest.approx(exact.eigenvalues.mean())


def test_somewhere_is_not_stationary_and_a_minimum_is_one():
    model = toys.model(0)
    assert exact_curvature(TOY, model).verdict.startswith("not stationary (gradient norm ")
    found = exact_curvature(TOY, polish(TOY, model).parameters)
    assert found.verdict == "local minimum"
    assert found.negative == 0


def monkey(size=40):
    """A quadratic of five negative, ten flat and twenty-five positive directions, at its centre."""
    values = torch.cat([-torch.arange(1, 6), torch.zeros(10), torch.arange(1, size - 14)]).double()
    problem = Problem(lambda p, _: {"loss": 1 + (values * p["w"] ** 2).sum() / 2}, None)
    return problem, {"w": torch.zeros(size)}, values


@pytest.mark.parametrize("how", [krylov_curvature, exact_curvature])
def test_a_saddle_has_its_negative_directions_counted(how):
    problem, centre, values = monkey()
    found = how(problem, centre, SETTINGS)
    assert found.verdict == "saddle (5 negative directions found)"
    assert (found.negative, found.positive) == (5, 25)
    assert found.smallest.values.tolist() == pytest.approx([-5, -4, -3, -2])
    assert found.largest.values.tolist() == pytest.approx([25, 24, 23, 22])
    # A diagonal matrix: the trace is exact with Rademacher vectors.
    for end in (found.trace.low, found.trace.value, found.trace.high):
        assert end == pytest.approx(values.sum().item())


def test_few_steps_find_some_negative_directions_and_never_too_many():
    problem, centre, _ = monkey()
    counts = [
        krylov_curvature(problem, centre, replace(SETTINGS, steps=steps)).negative
        for steps in (1, 4, 8, 16, 32)
    ]
    assert counts == sorted(counts)
    assert 0 < counts[2] <= 5
    assert counts[-1] == 5


def test_the_weights_of_the_sum_decide():
    """x^2 alone has a minimum, and with enough of -x^2 beside it a maximum."""
    problem = Problem(
        lambda p, _: {"up": 1 + (p["w"] ** 2).sum(), "down": 2 - (p["w"] ** 2).sum()},
        None,
        weights={"down": 0.5},
    )
    centre = {"w": torch.zeros(3)}
    assert exact_curvature(problem, centre).verdict == "local minimum"
    other = replace(problem, weights={"down": 3.0})
    assert exact_curvature(other, centre).verdict == "saddle (3 negative directions found)"
    assert exact_curvature(other, centre).eigenvalues.tolist() == pytest.approx([-4, -4, -4])


def test_a_slope_without_curvature_is_not_stationary():
    problem = Problem(lambda p, _: {"line": 1 + p["w"].sum()}, None)
    for how in (krylov_curvature, exact_curvature):
        found = how(problem, {"w": torch.ones(4)})
        assert found.verdict == "not stationary (gradient norm 2)"
        assert found.negative == found.positive == 0


def test_a_loss_fitted_to_zero_is_a_minimum():
    x, _ = toys.data()
    true = torch.tensor([1.0, -2.0, 0.5]).double()
    problem = Problem(lambda p, _: {"fit": ((x @ (p["w"] - true)) ** 2).mean()}, None)
    found = polish(problem, {"w": torch.zeros(3)})
    assert exact_curvature(problem, found.parameters).verdict == "local minimum"
    assert krylov_curvature(problem, found.parameters).verdict == "local minimum"


def test_no_density_where_none_is_wanted():
    settings = CurvatureSettings(density_probes=0)
    model = toys.model(0)
    assert krylov_curvature(TOY, model, settings).density is None
    assert exact_curvature(TOY, model, settings).density is None


def test_the_same_seed_gives_the_same_numbers():
    model = toys.model(0)
    one, same = (krylov_curvature(TOY, model, replace(SETTINGS, probes=5)) for _ in range(2))
    other = krylov_curvature(TOY, model, replace(SETTINGS, probes=5, seed=1))
    assert one.trace == same.trace
    assert (one.density.values == same.density.values).all()
    assert one.trace != other.trace


def test_gradients_of_each_loss_and_of_the_sum():
    model = toys.model(0)
    found = krylov_curvature(TOY, model, SETTINGS)
    for name in ("fit", "ridge", "size", SUM):
        expected = Hessian(TOY, model, name).gradient.norm().item()
        assert found.gradient_norms[name] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("eigenvalues", 0, 1), ("steps", 0, 1), ("probes", 1, 2), ("density_probes", -1, 0)],
)
def test_numbers_that_mean_nothing_are_refused(name, value, least):
    with pytest.raises(InputError, match=f"{name} must be at least {least}, found {value}"):
        CurvatureSettings(**{name: value})
