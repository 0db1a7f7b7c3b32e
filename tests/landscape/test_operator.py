"""Hessian products against finite differences of gradients, and against the dense Hessian."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.errors import InputError
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.problem import SUM, Problem
from crar_diag.landscape.spaces import agent_spaces
from crar_diag.landscape.vectors import flatten, unflatten
from tests.landscape import toys
from tests.landscape.shipped import WRONG
from tests.runs import labyrinth_config, maze_config, save_agent

TOY = replace(toys.problem(), moves=("*",), refits=())


def direction(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def differences(problem, parameters, loss, v, step=1e-7):
    """The change of the gradient along a direction, by central differences."""
    moving = problem.moving(parameters)

    def gradient(sign):
        moved = unflatten(flatten(moving) + sign * step * v, moving)
        return Hessian(problem, parameters | moved, loss).gradient

    return (gradient(1) - gradient(-1)) / (2 * step)


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """The spaces of an untrained agent, whose Q targets are not small as those of the shipped."""
    path = save_agent(tmp_path_factory.mktemp("maze") / "agent.safetensors", maze_config())
    return agent_spaces(load_agent(path), "normal")


# Products


@pytest.mark.parametrize("loss", [*LOSSES, SUM])
@pytest.mark.parametrize("space", ["embedding", "frozen", "unfrozen"])
def test_a_product_is_the_change_of_the_gradient(spaces, space, loss):
    problem, start = spaces[space].problem, spaces[space].start
    hessian = Hessian(problem, start, loss)
    v = direction(hessian.size)
    expected = differences(problem, start, loss, v)
    assert expected.norm() > 0
    assert (hessian.product(v) - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("loss", ["transition", "volume", SUM])
def test_a_product_of_a_trained_agent(loss):
    space = agent_spaces(load_agent(WRONG), "inverse")["unfrozen"]
    hessian = Hessian(space.problem, space.start, loss)
    v = direction(hessian.size)
    expected = differences(space.problem, space.start, loss, v)
    assert (hessian.product(v) - expected).norm() <= 1e-6 * expected.norm()


def test_a_product_on_a_sample_of_labyrinths(tmp_path):
    config = labyrinth_config("0:1", 10)
    agent = load_agent(save_agent(tmp_path / "agent.safetensors", config))
    for space in agent_spaces(agent, "normal", transitions=6).values():
        hessian = Hessian(space.problem, space.start)
        v = direction(hessian.size)
        # A longer step would cross a kink of the max-pooling.
        expected = differences(space.problem, space.start, SUM, v, step=1e-8)
        assert (hessian.product(v) - expected).norm() <= 1e-6 * expected.norm()


def test_the_q_target_is_held_even_where_nobody_holds_it(spaces):
    """Differences of a gradient whose target moves along are those of another function."""
    space = spaces["unfrozen"]
    loose = {name: p for name, p in space.start.items() if name != "q_target"}
    assert len(loose) == len(space.start) - 1
    held, detached = (Hessian(space.problem, p, "q") for p in (space.start, loose))
    assert torch.equal(held.gradient, detached.gradient)
    v = direction(held.size)
    torch.testing.assert_close(detached.product(v), held.product(v), rtol=1e-12, atol=1e-15)
    along = differences(space.problem, loose, "q", v)
    assert (held.product(v) - along).norm() > 0.1 * along.norm()


# The matrix


def test_the_dense_hessian_is_that_of_automatic_differentiation():
    model = toys.model(0)
    found = Hessian(TOY, model).dense()

    def total(vector):
        return TOY.total(TOY.values(unflatten(vector, model)))

    expected = torch.func.hessian(total)(flatten(model))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(found, found.T)


def test_the_hessian_by_some_parameters_is_a_block_of_that_by_all():
    model = toys.model(1)
    whole = Hessian(TOY, model).dense()
    block = Hessian(toys.problem(), model)
    size = sum(p.numel() for p in toys.hidden(model).values())
    assert block.size == size
    torch.testing.assert_close(block.dense(), whole[:size, :size], rtol=1e-12, atol=1e-14)


def test_least_squares_has_the_hessian_of_the_normal_equations():
    x, y = toys.data()
    problem = Problem(lambda w, _: {"fit": ((x @ w["w"] - y) ** 2).mean()}, None)
    hessian = Hessian(problem, {"w": torch.tensor([1.0, -2.0, 3.0])})
    torch.testing.assert_close(hessian.dense(), 2 * x.T @ x / len(y))
    expected = 2 * x.T @ (x @ torch.tensor([1.0, -2.0, 3.0]).double() - y) / len(y)
    torch.testing.assert_close(hessian.gradient, expected)


def test_the_sum_is_weighted():
    model = toys.model(2)
    parts = {name: Hessian(TOY, model, name) for name in ("fit", "ridge", "size")}
    total = Hessian(TOY, model)
    v = direction(total.size)
    weights = {"fit": 1.0, "ridge": toys.RIDGE, "size": 1.0}
    for of in (lambda h: h.gradient, lambda h: h.product(v)):
        expected = sum(weights[name] * of(part) for name, part in parts.items())
        torch.testing.assert_close(of(total), expected, rtol=1e-12, atol=1e-14)


# What else it tells


def test_losses_and_gradient_norms_are_those_of_each():
    model = toys.model(3)
    hessian = Hessian(TOY, model)
    assert hessian.losses == pytest.approx(toys.losses_by_hand(model))
    norms = hessian.gradient_norms()
    assert list(norms) == ["fit", "ridge", "size", SUM]
    for name, norm in norms.items():
        assert norm == Hessian(TOY, model, name).gradient.norm().item()
    # The loss of the units does not see the readout, that of the readout not the units.
    alone = replace(TOY, moves=("readout.*",))
    assert Hessian(alone, model).gradient_norms()["size"] == 0
    assert norms["ridge"] == pytest.approx(2 * model["readout.weight"].norm().item())


def test_a_linear_loss_has_no_curvature():
    problem = Problem(lambda p, _: {"line": (3.0 * p["w"]).sum()}, None)
    hessian = Hessian(problem, {"w": torch.ones(4)})
    assert hessian.gradient.tolist() == [3.0] * 4
    assert hessian.dense().count_nonzero() == 0


def test_directions_come_back_by_name():
    model = toys.model(0)
    hessian = Hessian(TOY, model)
    for name, p in hessian.split(flatten(model)).items():
        assert torch.equal(p, model[name])


def test_the_parameters_stay_as_they_are():
    model = {name: p.float() for name, p in toys.model(0).items()}
    before = {name: p.clone() for name, p in model.items()}
    hessian = Hessian(TOY, model)
    hessian.product(hessian.gradient)
    for name, p in model.items():
        assert torch.equal(p, before[name])
        assert not p.requires_grad


# What is refused


def test_unknown_losses_and_parameters_are_refused():
    with pytest.raises(InputError, match="one of the losses fit, ridge, size, sum, found 'fitt'"):
        Hessian(TOY, toys.model(0), "fitt")
    with pytest.raises(InputError, match="nothing"):
        Hessian(replace(TOY, moves=("nothing.*",)), toys.model(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    model = toys.model(0)
    model["readout.weight"][1] = bad
    with pytest.raises(InputError, match="the loss 'sum' is not finite"):
        Hessian(TOY, model)
    root = Problem(lambda p, _: {"root": p["w"].sqrt().sum()}, None)
    with pytest.raises(InputError, match="the gradient of 'root' is not finite"):
        _ = Hessian(root, {"w": torch.zeros(2)}, "root").gradient
