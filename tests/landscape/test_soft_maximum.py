"""The soft maximum by hand, and gradients at many points against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.landscape.curve import flatten_points
from crar_diag.landscape.problem import Problem
from crar_diag.landscape.soft_maximum import CurveLosses, soft_maximum
from crar_diag.landscape.vectors import flatten
from tests.landscape import toys

VALUES = torch.tensor([0.3, 1.0, 0.9, 0.2], dtype=torch.float64)


def test_without_sharpness_it_is_the_mean():
    value, shares = soft_maximum(VALUES, 0.0)
    assert value == pytest.approx(0.6, rel=1e-15)
    assert shares.tolist() == [0.25] * 4


@pytest.mark.parametrize("beta", [1e-6, 1.0, 7.0, 1e3])
def test_it_is_the_log_mean_exp_and_lies_between_mean_and_maximum(beta):
    value, _ = soft_maximum(VALUES, beta)
    weights = np.exp(beta * (VALUES.numpy() - 1))
    assert value == pytest.approx(1 + np.log(weights.mean()) / beta, rel=1e-12)
    assert 0.6 <= value <= 1
    # The largest of four terms is no less than their mean, and no more than four times that.
    assert value >= 1 - np.log(4) / beta


def test_sharp_enough_it_is_the_maximum_without_overflow():
    value, shares = soft_maximum(1e6 * VALUES, 1e6)
    assert value == pytest.approx(1e6 - np.log(4) / 1e6, rel=1e-15)
    assert shares.tolist() == [0, 1, 0, 0]


def test_shares_are_its_derivatives():
    _, shares = soft_maximum(VALUES, 5.0)
    for k in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[k] = 1e-6
        up, down = soft_maximum(VALUES + step, 5.0)[0], soft_maximum(VALUES - step, 5.0)[0]
        assert shares[k].item() == pytest.approx((up - down) / 2e-6, rel=1e-8)


# Losses at points


def points(count=5):
    return flatten_points(toys.population([toys.hidden(toys.model(s)) for s in range(count)]))


def losses(**changes):
    own = {name: changes.pop(name) for name in ("workers", "at_once") if name in changes}
    problem = replace(toys.problem(), **changes)
    return CurveLosses(problem, toys.hidden(toys.model(0)), toys.readout(toys.model(7)), **own)


def test_values_are_the_weighted_sums_by_hand():
    with losses() as at:
        values, _ = at(points(), {})
    readout = toys.readout(toys.model(7))
    expected = [toys.losses_by_hand(toys.hidden(toys.model(s)) | readout)["sum"] for s in range(5)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_gradients_are_those_of_finite_differences():
    some, step = points(2), 1e-6
    with losses() as at:
        _, gradients = at(some, {})
        for k in range(some.shape[1]):
            moved = torch.zeros(some.shape[1], dtype=torch.float64)
            moved[k] = step
            up, down = at(some + moved, {})[0], at(some - moved, {})[0]
            np.testing.assert_allclose(gradients[:, k], (up - down) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("changes", [{"looped": True}, {"workers": 3}, {"at_once": 2}])
def test_pieces_threads_and_loops_change_nothing(changes):
    with losses() as whole, losses(**changes) as parts:
        for one, other in zip(whole(points(), {}), parts(points(), {}), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-15)


def bootstrapped(parameters, batch):
    """x is drawn to half of itself, which it is said not to move."""
    x = parameters["x"]
    target = parameters.get("target", (0.5 * x).detach())
    return {"error": (x - target) ** 2}


def own_target(parameters, batch):
    return {"target": (0.5 * parameters["x"]).detach()}


@pytest.mark.parametrize("looped", [False, True])
def test_constants_are_those_of_the_points_and_do_not_move(looped):
    problem = Problem(bootstrapped, None, constants=own_target, looped=looped)
    like = {"x": torch.tensor(0.0, dtype=torch.float64)}
    some = torch.tensor([[2.0], [6.0]], dtype=torch.float64)
    with CurveLosses(problem, like, {}) as at:
        constants = at.constants(some)
        assert constants["target"].tolist() == [1, 3]
        values, gradients = at(some + 1, constants)
    assert values.tolist() == [4, 16]
    assert gradients.tolist() == [[4], [8]]


def test_without_constants_there_are_none():
    with losses() as at:
        assert at.constants(points()) == {}
        assert flatten(toys.hidden(toys.model(0))).shape == (points().shape[1],)
