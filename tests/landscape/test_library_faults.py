"""Faults of loss-landscapes 3.0.6, pinned.

Where one of these fails, a later release has mended it: the coordinates of `library_line` and
`library_random_plane` are found from the walk and stay right, docs/loss-landscapes.md must change.
"""

import loss_landscapes
import pytest
import torch

from crar_diag.landscape.bridge import AgentModule, LossMetric
from crar_diag.landscape.problem import Problem
from tests.landscape.bridged import Where, bits, bowl, bowl_model, bowl_problem


def walked_plane(steps, distance=1.0):
    """Run the library's random plane on a module of ones in float64; return where it was."""
    model = {"weight": torch.ones(4, 5, dtype=torch.float64), "bias": torch.ones(4).double()}
    where = Where()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        order = loss_landscapes.random_plane(
            AgentModule(Problem(losses=bowl, batch=None), model),
            where,
            distance=distance,
            steps=steps,
        )
    return torch.stack(where.points)[torch.from_numpy(order)], torch.ones(24).double()


def test_the_library_never_evaluates_the_start_of_a_line():
    start, end = ({"layer.weight": torch.full((2, 3), float(x)).double()} for x in (0, 1))
    problem, where = Problem(losses=bowl, batch=None), Where()
    loss_landscapes.linear_interpolation(
        AgentModule(problem, start), AgentModule(problem, end), where, steps=4
    )
    assert [point[0].item() for point in where.points] == [0.25, 0.5, 0.75, 1.0]


def test_the_library_shifts_every_other_row_of_a_plane_by_one_cell():
    points, _ = walked_plane(5)
    step = points[0, 1] - points[0, 0]
    row = (points[2, 0] - points[0, 0]) / 2
    torch.testing.assert_close(points[1, 0], points[0, 0] + row - step)
    torch.testing.assert_close(points[3, 4], points[0, 4] + 3 * row - step)


def test_the_library_spans_less_the_larger_the_distance():
    (near, model), (far, _) = walked_plane(5, 1.0), walked_plane(5, 4.0)
    lengths = [(points[4, 0] - points[0, 0]).norm().item() for points in (near, far)]
    # Four of five steps, of the model's length and of a quarter of it.
    assert lengths[0] == pytest.approx(0.8 * model.norm().item(), rel=1e-9)
    assert lengths[1] == pytest.approx(0.2 * model.norm().item(), rel=1e-9)


def test_the_library_draws_directions_without_negative_entries():
    points, _ = walked_plane(5)
    direction = points[2, 0] - points[0, 0]
    assert (direction > 0).all()


def test_the_library_never_evaluates_the_model_itself_on_an_odd_plane():
    points, model = walked_plane(5)
    step = (points[0, 4] - points[0, 0]).norm().item() / 4
    nearest = (points - model).norm(dim=-1).min().item()
    assert nearest > 0.4 * step


def test_the_library_gives_each_bias_a_direction_as_long_as_itself():
    model = {"weight": torch.ones(2, 3), "bias": torch.tensor([0.5, -3.0])}
    where = Where()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        loss_landscapes.random_line(
            AgentModule(Problem(losses=bowl, batch=None), model), where, steps=2
        )
    bias = (where.points[1] - where.points[0])[:2]
    # Each entry is a filter to it: Li et al. give biases no direction at all.
    assert (bias[1] / bias[0]).item() == pytest.approx(6.0, rel=1e-4)


def test_the_library_divides_by_zero_where_a_bias_is_zero():
    model = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    with pytest.raises(ZeroDivisionError):
        loss_landscapes.random_plane(
            AgentModule(Problem(losses=bowl, batch=None), model), Where(), steps=2
        )


def test_the_library_moves_the_model_and_forbids_its_gradients_unless_it_copies_it():
    problem, model = bowl_problem(torch.float32), bowl_model(torch.float32, 1)
    module = AgentModule(problem, {name: p.requires_grad_() for name, p in model.items()})
    metric, before = LossMetric(problem, model), bits(problem.moving(model))
    loss_landscapes.random_plane(module, metric, steps=2, deepcopy_model=True)
    assert bits(module.named()) == before
    assert all(p.requires_grad for p in module.parameters())
    loss_landscapes.random_plane(module, metric, steps=2)
    assert bits(module.named()) != before
    assert not any(p.requires_grad for p in module.parameters())
