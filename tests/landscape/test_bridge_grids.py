import math

import loss_landscapes
import numpy as np
import pytest
import torch
from loss_landscapes.model_interface.model_parameters import ModelParameters

from crar_diag.errors import InputError
from crar_diag.landscape.bridge import AgentModule, LossMetric
from crar_diag.landscape.bridge_grids import library_line, library_random_plane
from crar_diag.landscape.grids import Line, Plane
from crar_diag.landscape.problem import SUM, Problem, evaluate
from crar_diag.landscape.vectors import doubled, norm
from tests.landscape.bridged import CASES, assert_close, bits, bowl, bowl_model, bowl_problem, case


@pytest.fixture(scope="module", params=CASES)
def make(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bridge")
    return lambda dtype: case(request.param, dtype, folder)


@pytest.fixture(scope="module")
def given(make):
    return make(torch.float32)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_our_values_are_the_librarys_on_its_line(make, dtype, tolerance):
    problem, a, b = make(dtype)
    alphas, surface = library_line(problem, a, b, steps=5)
    np.testing.assert_allclose(alphas, [0.2, 0.4, 0.6, 0.8, 1.0], atol=1e-12)
    line = Line(problem.moving(a), problem.moving(b), alphas)
    expected = evaluate(problem, line.points(0, 5), a)
    assert_close(surface.losses, expected.losses, tolerance)
    assert_close(surface.errors, expected.errors, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_our_values_are_the_librarys_on_its_random_plane(make, dtype, tolerance):
    problem, a, _ = make(dtype)
    coordinates, u, v, surface = library_random_plane(problem, a, a, 4, distance=3.0, seed=7)
    plane = Plane(problem.moving(a), u, v, np.zeros(1), np.zeros(1))
    points = plane.at(*coordinates.reshape(-1, 2).T)
    expected = evaluate(problem, points, a)
    for found, wanted in ((surface.losses, expected.losses), (surface.errors, expected.errors)):
        assert_close(found, {n: p.reshape(4, 4) for n, p in wanted.items()}, tolerance)


@pytest.mark.parametrize("steps", [4, 5])
def test_the_plane_is_labelled_with_the_coordinates_that_the_walk_has(steps):
    problem, model = bowl_problem(torch.float64), bowl_model(torch.float64, 1)
    coordinates, u, v, _ = library_random_plane(problem, model, model, steps, 2.0, seed=1)
    rows, columns = np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij")
    expected = np.stack([rows, columns + (rows % 2 == 0)], axis=-1) - steps / 2
    np.testing.assert_allclose(coordinates, expected / (2.0 * steps), atol=1e-12)
    length = norm(problem.moving(model))
    assert norm(u) == pytest.approx(length, rel=1e-12)
    assert norm(v) == pytest.approx(length, rel=1e-12)


def test_the_order_in_which_a_file_gives_the_parameters_changes_nothing(given):
    problem, a, b = given
    backwards = dict(reversed(b.items()))
    in_order, mixed = (library_line(problem, a, end, 2).surface.losses for end in (b, backwards))
    assert {n: v.tolist() for n, v in in_order.items()} == {n: v.tolist() for n, v in mixed.items()}
    drawn, again = (library_random_plane(problem, p, a, 3) for p in (b, backwards))
    assert bits(drawn.u) == bits(again.u)
    np.testing.assert_array_equal(drawn.surface.losses[SUM], again.surface.losses[SUM])


def test_the_librarys_own_single_precision_stays_near_our_points(given):
    problem, a, _ = given
    _, u, v, _ = library_random_plane(problem, a, a, 5, distance=3.0, seed=7)
    # The same draw in single precision would be other numbers: lead the module along ours.
    plane = Plane(problem.moving(a), u, v, np.zeros(1), np.zeros(1))
    ends = plane.at(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    modules = [AgentModule(problem, {n: p[k] for n, p in ends.items()}) for k in range(2)]
    metric = LossMetric(problem, a)
    found = loss_landscapes.planar_interpolation(AgentModule(problem, a), *modules, metric, steps=4)
    x, y = np.meshgrid(np.arange(4) / 4, np.arange(4) / 4, indexing="ij")
    y[::2] += 1 / 4
    expected = evaluate(problem, plane.at(x.flatten(), y.flatten()), a).losses[SUM]
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-5, atol=1e-5)


def test_the_directions_are_the_librarys_draw():
    problem, model = bowl_problem(torch.float64), bowl_model(torch.float64, 1)
    moving = AgentModule(problem, model).named()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        drawn = ModelParameters([torch.rand(p.shape, dtype=torch.float64) for p in moving.values()])
    drawn.filter_normalize_(ModelParameters([p.detach() for p in moving.values()]))
    _, u, _, _ = library_random_plane(problem, model, model, 3, 1.0, seed=4)
    factor = norm(moving) / drawn.model_norm()
    for name, q in zip(moving, drawn.parameters, strict=True):
        torch.testing.assert_close(u[name], q * factor, rtol=1e-12, atol=1e-12)


def test_equal_seeds_give_equal_planes_and_leave_the_random_state_alone():
    problem, model = bowl_problem(torch.float32), bowl_model(torch.float32, 1)
    before = torch.random.get_rng_state()
    first, again, other = (
        library_random_plane(problem, model, model, 3, 1.0, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert bits(first.u) == bits(again.u) != bits(other.u)
    np.testing.assert_array_equal(first.surface.losses["fit"], again.surface.losses["fit"])


def test_a_line_holds_the_parameters_that_it_is_given():
    problem = bowl_problem(torch.float64)
    a, b, held = (bowl_model(torch.float64, seed) for seed in (1, 2, 3))
    of_a, of_held = (library_line(problem, a, b, 2, p).surface.losses for p in (None, held))
    np.testing.assert_array_equal(of_a["size"], of_held["size"])
    ratio = (held["scale"] / a["scale"]).item()
    np.testing.assert_allclose(of_held["fit"], of_a["fit"] * ratio, rtol=1e-12)


def test_progress_is_told_of_every_point():
    problem, model = bowl_problem(torch.float32), bowl_model(torch.float32, 1)
    told = []
    other = bowl_model(torch.float32, 2)
    library_line(problem, model, other, 2, progress=lambda *now: told.append(now))
    library_random_plane(problem, model, model, 3, progress=lambda *now: told.append(now))
    assert told == [(1, 2), (2, 2), *((k, 9) for k in range(1, 10))]


def test_what_the_library_cannot_do_is_refused_in_one_sentence():
    problem, model = bowl_problem(torch.float64), bowl_model(torch.float64, 1)
    broken = model | {"layer.bias": torch.tensor([1.0, math.nan]).double()}
    unmoved = model | {"layer.bias": torch.zeros(2).double()}
    scalar = Problem(losses=bowl, batch=problem.batch)
    for match, call in (
        ("at least 1 step, found 0", lambda: library_line(problem, model, doubled(model), 0)),
        ("found them equal", lambda: library_line(problem, model, doubled(model), 2)),
        ("'layer.bias' must be finite", lambda: library_line(problem, broken, model, 2)),
        ("'layer.bias' must be finite", lambda: library_line(problem, model, broken, 2)),
        ("at least 3 steps", lambda: library_random_plane(problem, model, model, 2)),
        ("positive, found 0", lambda: library_random_plane(problem, model, model, 3, 0.0)),
        ("must be finite", lambda: library_random_plane(problem, broken, model, 3)),
        ("zero throughout", lambda: library_random_plane(problem, unmoved, model, 3)),
        ("'scale' is a scalar", lambda: library_random_plane(scalar, model, model, 3)),
    ):
        with pytest.raises(InputError, match=match):
            call()
