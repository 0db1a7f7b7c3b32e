"""L-BFGS against SciPy and known minima, on many functions at once."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der

from crar_diag.errors import InputError
from crar_diag.landscape.lbfgs import RefitSettings, lbfgs

TIGHT = RefitSettings(iterations=5000, tolerance=1e-12)


def objective_of(function):
    """Values and gradients of `function(vectors [n, P], rows [n])`."""

    def objective(vectors, rows):
        vectors = vectors.detach().requires_grad_()
        values = function(vectors, rows)
        (gradients,) = torch.autograd.grad(values.sum(), vectors)
        return values.detach(), gradients

    return objective


def rosenbrock(v, rows=None):
    return (100 * (v[:, 1:] - v[:, :-1] ** 2) ** 2 + (1 - v[:, :-1]) ** 2).sum(1)


def starts(count, size, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, size))).to(dtype)


def quadratics(count, size, seed=0):
    """Hessians of condition numbers from 1 to 1e6 and sizes from 1e-6 to 1e6, and their minima."""
    rng = np.random.default_rng(seed)
    turns = np.stack([np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(count)])
    spectra = [np.logspace(0, power, size) for power in np.linspace(0, 6, count)]
    scales = 10.0 ** rng.uniform(-6, 6, count)
    hessians = np.einsum("gij,gj,gkj,g->gik", turns, spectra, turns, scales)
    return torch.from_numpy(hessians), torch.from_numpy(rng.normal(size=(count, size)))


def test_it_finds_the_minimum_of_rosenbrocks_function_as_scipy_does():
    begin = 2 * starts(20, 2)
    found = lbfgs(objective_of(rosenbrock), begin, TIGHT)
    np.testing.assert_allclose(found.vectors.numpy(), 1.0, atol=1e-7)
    assert found.converged.all()
    by_scipy = [minimize(rosen, x, jac=rosen_der, method="L-BFGS-B") for x in begin.numpy()]
    for k, other in enumerate(by_scipy):
        assert found.before[k].item() == pytest.approx(rosen(begin[k].numpy()), rel=1e-12)
        assert found.after[k].item() <= max(other.fun, 1e-15)
    # The last 20 iterations are those over which nothing is gained.
    assert found.iterations.double().mean() <= 20 + 1.5 * np.mean([one.nit for one in by_scipy])


def test_it_solves_quadratics_of_all_difficulties_at_once():
    hessians, minima = quadratics(12, 10)

    def function(v, rows):
        gap = v - minima[rows]
        return 0.5 * torch.einsum("gi,gij,gj->g", gap, hessians[rows], gap) + rows

    found = lbfgs(objective_of(function), starts(12, 10, 1), TIGHT)
    assert found.converged.all()
    gained = (found.after - torch.arange(12)) / (found.before - torch.arange(12))
    assert gained.max() < 1e-8
    assert found.iterations.min() < found.iterations.max() / 5
    easy = (found.vectors - minima).norm(dim=1)[:4]
    assert easy.max() < 1e-3


def test_problems_do_not_depend_on_their_neighbours():
    hessians, minima = quadratics(6, 8, seed=2)

    def function(which):
        def own(v, rows):
            gap = v - minima[which][rows]
            product = (hessians[which][rows] @ gap[:, :, None])[:, :, 0]
            return 0.5 * (gap * product).sum(1) + rosenbrock(v)

        return objective_of(own)

    begin = starts(6, 8, 3)
    together = lbfgs(function(list(range(6))), begin, TIGHT)
    for which in ([0], [5], [4, 2], [5, 4, 3, 2, 1, 0]):
        apart = lbfgs(function(which), begin[which], TIGHT)
        torch.testing.assert_close(apart.after, together.after[which], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(apart.vectors, together.vectors[which], rtol=0, atol=1e-4)
    assert torch.equal(begin, starts(6, 8, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_larger_budget_is_nowhere_worse(dtype):
    begin = 2 * starts(10, 6, 4, dtype)
    after = torch.stack(
        [
            lbfgs(objective_of(rosenbrock), begin, RefitSettings(iterations=n)).after
            for n in range(1, 40)
        ]
    )
    assert (after[0] < rosenbrock(begin)).all()
    assert (after.diff(dim=0) <= 0).all()


def test_it_returns_the_best_vector_that_it_saw():
    seen = []

    def objective(vectors, rows):
        values, gradients = objective_of(rosenbrock)(vectors, rows)
        seen.append(values.item())
        return values, gradients

    found = lbfgs(objective, 2 * starts(1, 4, 5), RefitSettings(iterations=60))
    assert min(seen) == found.after.item()
    assert found.after.item() == rosenbrock(found.vectors).item()


def test_what_has_converged_is_told_from_what_ran_out_of_budget():
    def slow_and_fast(v, rows):
        return torch.where(rows == 0, rosenbrock(v), (v * v).sum(1))

    found = lbfgs(objective_of(slow_and_fast), 3 * starts(2, 4), RefitSettings(25, tolerance=1e-9))
    assert found.converged.tolist() == [False, True]
    assert found.iterations[0] == 25
    assert found.iterations[1] < 25
    assert found.after[1] < 1e-12


def test_it_stops_once_patience_iterations_gain_less_than_the_tolerance_of_all():
    # Values after n iterations, one budget after the other; what is constant in them is no gain.
    def function(v, rows=None):
        return rosenbrock(v) + 1e4

    settings = {"patience": 5, "tolerance": 0.05}
    begin = 2 * starts(1, 8, 7)
    values = [function(begin).item()]
    for n in range(1, 200):
        found = lbfgs(objective_of(function), begin, RefitSettings(iterations=n, **settings))
        values.append(found.after.item())
        if found.converged:
            break
    ends = [
        k
        for k in range(5, len(values))
        if values[k - 5] - values[k] <= 0.05 * (values[0] - values[k])
    ]
    assert ends == [len(values) - 1]
    assert found.iterations.item() == ends[0]


def test_a_start_that_is_a_minimum_stays():
    begin = torch.ones(1, 3, dtype=torch.float64)
    found = lbfgs(objective_of(rosenbrock), begin, TIGHT)
    assert torch.equal(found.vectors, begin)
    assert found.converged.item()
    assert found.after == found.before == 0
    assert found.iterations == 1


def test_what_is_not_finite_at_the_start_stays_there():
    def function(v, rows):
        return torch.tensor([1.0, float("nan"), float("inf"), 1.0])[rows] * (v * v).sum(1)

    begin = starts(4, 3)
    found = lbfgs(objective_of(function), begin, TIGHT)
    assert found.converged.tolist() == [True, False, False, True]
    assert torch.equal(found.vectors[1:3], begin[1:3])
    assert found.iterations.tolist()[1:3] == [0, 0]
    assert found.after[[0, 3]].max() < 1e-15
    assert found.after[1].isnan()
    assert found.after[2].isinf()


def test_it_steps_back_from_where_the_value_is_not_finite():
    def function(v, rows):
        return (v - torch.log(v)).sum(1)  # NaN for v < 0; least at 1

    found = lbfgs(objective_of(function), torch.tensor([[0.01, 50.0], [1e-6, 3.0]]).double(), TIGHT)
    np.testing.assert_allclose(found.vectors.numpy(), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"iterations": 0}, "iterations must be at least 1, found 0"),
        ({"patience": 0}, "patience must be at least 1, found 0"),
        ({"memory": -1}, "memory must be at least 1, found -1"),
        ({"tolerance": 0.0}, r"tolerance must be between 0 and 1, found 0\.0"),
        ({"tolerance": 1.0}, r"tolerance must be between 0 and 1, found 1\.0"),
        ({"tolerance": float("nan")}, "tolerance must be between 0 and 1, found nan"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, sentence):
    with pytest.raises(InputError, match=f"^{sentence}$"):
        RefitSettings(**settings)
