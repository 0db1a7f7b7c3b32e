import copy

import loss_landscapes
import numpy as np
import pytest
import torch
from loss_landscapes import GeneralModelWrapper
from loss_landscapes.metrics.sl_metrics import Loss

from crar_diag.agent import networks
from crar_diag.agent.loading import load_agent
from crar_diag.errors import InputError
from crar_diag.landscape.bridge import AgentModule, AgentWrapper, LossesMetric, LossMetric
from crar_diag.landscape.bridge_grids import library_line, library_random_plane
from crar_diag.landscape.grids import Line
from crar_diag.landscape.problem import SUM, Problem, evaluate, matching
from tests import runs
from tests.landscape.bridged import (
    CASES,
    Where,
    assert_close,
    bits,
    bowl,
    bowl_model,
    bowl_problem,
    case,
    maze,
    one,
)


@pytest.fixture(scope="module", params=CASES)
def make(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bridge")
    return lambda dtype: case(request.param, dtype, folder)


@pytest.fixture(scope="module")
def given(make):
    return make(torch.float32)


def test_the_module_holds_copies_of_the_moving_parameters_by_their_names(given):
    problem, a, _ = given
    module = AgentModule(problem, a)
    expected = matching(a, problem.moves)
    assert list(module.named()) == sorted(expected)
    for name, p in module.named().items():
        assert torch.equal(p, expected[name])
        assert p.data_ptr() != expected[name].data_ptr()
    assert [id(p) for p in module.parameters()] == [id(p) for p in module.named().values()]
    assert bits(copy.deepcopy(module).named()) == bits(expected)


def test_names_that_a_module_would_not_accept_come_back_as_they_were():
    names = ["a.b", "a", "train", "a/b", "0:a", "parameters", "a.b.c"]
    model = {name: torch.full((1,), float(k)) for k, name in enumerate(names)}
    module = AgentModule(Problem(losses=bowl, batch=None), model)
    assert {name: p.item() for name, p in module.named().items()} == {
        name: float(k) for k, name in enumerate(names)
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_the_metrics_are_the_evaluation_of_that_model(make, dtype, tolerance):
    problem, a, b = make(dtype)
    expected = evaluate(problem, one(problem.moving(b)), a).losses
    module, every = AgentModule(problem, b), LossesMetric(problem, a)
    found = loss_landscapes.point(module, every)
    assert every.names == tuple(expected)
    assert every.names[-1] == SUM
    assert_close(dict(zip(every.names, found[:, None], strict=True)), expected, tolerance)
    for name, value in zip(every.names, found, strict=True):
        assert loss_landscapes.point(module, LossMetric(problem, a, name)) == value
    assert loss_landscapes.point(module, LossMetric(problem, a)) == found[-1]


def test_the_library_leads_a_module_through_our_points_by_itself(given):
    problem, a, b = given
    every = LossesMetric(problem, a)
    found = loss_landscapes.linear_interpolation(
        AgentModule(problem, a), AgentModule(problem, b), every, steps=4
    )
    line = Line(problem.moving(a), problem.moving(b), np.array([0.25, 0.5, 0.75, 1.0]))
    expected = evaluate(problem, line.points(0, 4), a).losses
    assert_close(dict(zip(every.names, found.T, strict=True)), expected, 1e-5)


def test_the_library_leads_a_wrapper_as_it_leads_a_module(given):
    problem, a, b = given
    metric = LossMetric(problem, a)
    of_modules, of_wrappers = (
        loss_landscapes.planar_interpolation(
            *(kind(problem, p) for p in (a, b, b)), metric, steps=2
        )
        for kind in (AgentModule, AgentWrapper)
    )
    np.testing.assert_array_equal(of_modules, of_wrappers)


def test_a_random_line_begins_one_step_behind_the_model(given):
    problem, a, _ = given
    where = Where()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        loss_landscapes.random_line(AgentModule(problem, a), where, distance=1, steps=2)
    start = torch.cat([p.flatten() for p in AgentModule(problem, a).parameters()]).detach()
    first, second = (point - start for point in where.points)
    torch.testing.assert_close(second, 2 * first, rtol=1e-4, atol=1e-5)
    assert second.norm().item() == pytest.approx(start.norm().item(), rel=1e-3)


def test_the_wrapper_lets_the_librarys_own_loss_see_the_abstract_states():
    problem, a, b = maze(torch.float32)
    agent = load_agent(runs.BASES / "base-seed0.safetensors")
    with torch.no_grad():
        mine, theirs = (networks.encode(agent.architecture, p, problem.batch) for p in (a, b))
    square = Loss(torch.nn.functional.mse_loss, problem.batch, theirs)
    found = loss_landscapes.point(AgentWrapper(problem, a), square)
    assert found == pytest.approx((mine - theirs).square().mean().item(), rel=1e-6)
    assert loss_landscapes.point(AgentWrapper(problem, b), square) == 0
    general = GeneralModelWrapper(
        module := AgentModule(problem, a),
        [module],
        lambda m, x: networks.encode(agent.architecture, m.named(), x),
    )
    assert loss_landscapes.point(general, square) == found


def test_without_features_the_wrapper_hands_the_batch_on():
    problem, model = bowl_problem(torch.float32), bowl_model(torch.float32, 1)
    assert AgentWrapper(problem, model).forward(problem.batch) is problem.batch


def test_the_callers_parameters_stay_bit_for_bit_and_keep_requires_grad(given):
    problem, a, b = ({**p} if isinstance(p, dict) else p for p in given)
    a = {name: p.clone().requires_grad_() for name, p in a.items()}
    before = bits(a), bits(b)
    metric = LossMetric(problem, a)
    loss_landscapes.random_plane(AgentModule(problem, b), metric, steps=2)
    modules = [AgentModule(problem, p) for p in (a, b)]
    loss_landscapes.linear_interpolation(*modules, metric, steps=2)
    library_line(problem, a, b, 2)
    library_random_plane(problem, b, a, 3)
    assert (bits(a), bits(b)) == before
    assert all(p.requires_grad for p in a.values())
    assert not any(p.requires_grad for p in b.values())


def test_metrics_refuse_an_unknown_loss_and_a_model_of_another_kind():
    problem, model = bowl_problem(torch.float32), bowl_model(torch.float32, 1)
    with pytest.raises(InputError, match=r"unknown loss 'fits' \(did you mean 'fit'\?\)"):
        loss_landscapes.point(AgentModule(problem, model), LossMetric(problem, model, "fits"))
    with pytest.raises(InputError, match="expected a model that is an AgentModule, found Linear"):
        loss_landscapes.point(torch.nn.Linear(2, 2), LossMetric(problem, model))
