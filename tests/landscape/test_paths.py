"""Minimum-loss curves on problems whose valleys are known."""

import math

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.curve import Bezier, evenly_spaced
from crar_diag.landscape.grids import Line
from crar_diag.landscape.path_settings import PathSettings
from crar_diag.landscape.paths import minimum_loss_curve
from crar_diag.landscape.problem import Problem, evaluate
from crar_diag.landscape.profiles import profile


def at(x, y):
    return {"x": torch.tensor(x, dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)}


LEFT, RIGHT = at(-1.0, 0.0), at(1.0, 0.0)


def ring(parameters, batch):
    """A circular valley; the straight line from left to right crosses its middle, of height 1."""
    return {"ring": (parameters["x"] ** 2 + parameters["y"] ** 2 - 1) ** 2}


def bowl(parameters, batch):
    return {"bowl": parameters["x"] ** 2 + 3 * (parameters["y"] - parameters["x"]) ** 2}


def boulder(parameters, batch):
    """It lies on the straight line, between two of its eighths, where nothing is felt of it."""
    x, y = parameters["x"], parameters["y"]
    return {"boulder": torch.relu(1 - ((x - 0.125) / 0.1) ** 2 - ((y - 0.1) / 0.3) ** 2)}


def search(losses, a=LEFT, b=RIGHT, **settings):
    progress = settings.pop("progress", lambda done, total: None)
    workers = settings.pop("workers", 1)
    return minimum_loss_curve(
        Problem(losses, None),
        a,
        b,
        {},
        PathSettings(**settings),
        workers=workers,
        progress=progress,
    )


def highest(losses, found, a=LEFT, b=RIGHT):
    """On the curve and on the straight segment, of a search of its own."""
    problem = Problem(losses, None)
    return [
        profile(problem, course, {}, points=101).highest["sum"]
        for course in (lambda ts: Bezier(a, b, found.inner, ts), lambda ts: Line(a, b, ts))
    ]


# Known valleys


def test_one_bend_finds_the_best_parabola_through_a_circular_valley():
    """With y = k^(1/2) u and x^2 = 1 - u, u = 4 t (1 - t), the loss is (k u^2 - u)^2.

    Its maximum over u is the larger of 1 / (16 k^2) and (k - 1)^2, least where they are equal: at
    k = (1 + sqrt 2) / 2, where it is (3 - 2 sqrt 2) / 4 = 0.0429.
    """
    found = search(ring, bends=1)
    best = (3 - 2 * math.sqrt(2)) / 4
    curve, straight = highest(ring, found)
    assert straight == pytest.approx(1, rel=1e-12)
    assert best <= curve < 1.01 * best
    k = (1 + math.sqrt(2)) / 2
    assert found.inner["x"].item() == pytest.approx(0, abs=1e-2)
    assert abs(found.inner["y"].item()) == pytest.approx(2 * math.sqrt(k), rel=1e-2)
    assert found.converged


def test_more_bends_leave_no_barrier():
    heights = [highest(ring, search(ring, bends=bends))[0] for bends in (1, 2, 3)]
    assert heights[0] < 0.05
    assert heights[1] < 1e-3
    assert heights[2] < 1e-6


def test_a_ridge_that_the_straight_line_follows_is_left():
    """On the line y = 0 no gradient points off it."""
    without = search(ring, bends=1, nudge=1e-30)
    assert highest(ring, without)[0] == pytest.approx(1)
    assert highest(ring, search(ring, bends=1))[0] < 0.05


def test_a_summit_between_the_points_is_found_and_gone_round():
    eighths = Line(LEFT, RIGHT, np.arange(9) / 8).points(0, 9)
    assert evaluate(Problem(boulder, None), eighths, {}).losses["sum"].max() == 0
    curve, straight = highest(boulder, search(boulder, points=8, bends=1))
    assert straight == pytest.approx(1 - 1 / 9, rel=1e-6)
    assert curve == 0


# What always holds


def test_the_ends_stay():
    a, b = at(-0.3, 1.7), at(2.0, -0.1)
    found = search(ring, a, b, bends=2, iterations=40)
    points = Bezier(a, b, found.inner, np.array([0.0, 1.0])).points(0, 2)
    for name in a:
        assert torch.equal(points[name], torch.stack([a[name], b[name]]))


@pytest.mark.parametrize("ends", [(LEFT, RIGHT), (at(-0.4, 1.0), at(0.7, 0.9))])
def test_of_a_convex_problem_no_curve_is_higher_than_the_straight_line(ends):
    a, b = ends
    found = search(bowl, a, b)
    curve, straight = highest(bowl, found, a, b)
    assert straight == max(bowl(end, None)["bowl"].item() for end in ends)
    assert curve <= straight
    assert (found.iterations, found.converged) == (0, True)


def hills(seed):
    """A rough landscape without any symmetry."""
    rng = np.random.default_rng(seed)
    directions, phases = rng.normal(scale=3, size=(6, 2)), rng.uniform(0, 6, size=6)

    def losses(parameters, batch):
        place = torch.stack([parameters["x"], parameters["y"]])
        waves = torch.sin(torch.from_numpy(directions) @ place + torch.from_numpy(phases))
        return {"waves": waves.sum(), "size": 0.1 * (place * place).sum()}

    return losses


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iterations", [1, 7])
def test_no_curve_is_higher_than_the_straight_line_whatever_the_budget(seed, iterations):
    losses = hills(seed)
    found = search(losses, bends=2, iterations=iterations, per_round=3)
    curve, straight = highest(losses, found)
    assert curve <= straight
    assert [curve, straight] == pytest.approx([found.highest.min(), found.highest[0]], rel=1e-3)
    assert found.iterations <= iterations
    assert found.iterations == iterations or found.converged


def test_the_scale_of_the_losses_does_not_matter():
    def tiny(parameters, batch):
        return {"ring": 1e-9 * ring(parameters, batch)["ring"]}

    one, other = search(ring, bends=1), search(tiny, bends=1)
    np.testing.assert_allclose(1e9 * other.highest, one.highest, rtol=1e-6)


def test_weights_and_order_of_names_are_heeded():
    def two(parameters, batch):
        return ring(parameters, batch) | {"other": 10 * parameters["y"] ** 2}

    problem = Problem(two, None, weights={"other": 0.0})
    turned = dict(reversed(RIGHT.items()))
    found = minimum_loss_curve(problem, LEFT, turned, {}, PathSettings(bends=1))
    np.testing.assert_allclose(found.highest, search(ring, bends=1).highest, rtol=1e-9)


def test_same_seed_same_curve_however_many_threads():
    one, same, other = (
        search(ring, bends=2, iterations=30, **changes)
        for changes in ({}, {"workers": 2}, {"seed": 1})
    )
    for name in LEFT:
        torch.testing.assert_close(one.inner[name], same.inner[name], rtol=1e-9, atol=1e-9)
    assert (one.inner["y"] - other.inner["y"]).abs().max() > 1e-6


def test_another_start_is_taken():
    below = {"x": torch.tensor([0.0]), "y": torch.tensor([-2.0])}
    found = minimum_loss_curve(
        Problem(ring, None), LEFT, RIGHT, {}, PathSettings(bends=1), start=below
    )
    assert found.inner["y"].item() < -2
    assert found.highest[0] == pytest.approx(highest(ring, found=_Inner(below))[0], rel=1e-3)


class _Inner:
    def __init__(self, inner):
        self.inner = {name: p.double() for name, p in inner.items()}


# Progress, and what is refused


def test_progress_counts_up_to_the_budget():
    told = []
    found = search(
        ring,
        bends=1,
        iterations=25,
        per_round=6,
        tolerance=1e-12,
        progress=lambda *n: told.append(n),
    )
    done, totals = zip(*told, strict=True)
    assert set(totals) == {25}
    assert list(done) == sorted(set(done))
    assert done[-1] == found.iterations <= 25


def test_what_progress_raises_ends_the_search():
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(ring, bends=1, progress=stop)


def test_losses_that_are_not_finite_are_refused():
    def broken(parameters, batch):
        return {"log": torch.log(parameters["x"])}

    with pytest.raises(InputError, match="expected losses that are finite along the path, found"):
        search(broken, at(1.0, 0.0), at(-1.0, 0.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"bends": 0},
        {"iterations": 0},
        {"per_round": 0},
        {"points": 0},
        {"patience": 0},
        {"sharpness": 0.0},
        {"sharpening": -1.0},
        {"tolerance": math.nan},
    ],
)
def test_settings_mean_something(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} must be "):
        PathSettings(**wrong)


def test_control_points_start_on_the_straight_segment():
    assert evenly_spaced(LEFT, RIGHT, 3)["x"].tolist() == [-0.5, 0, 0.5]
