"""The plane of a trajectory against a singular value decomposition of all differences."""

import numpy as np
import pytest
import torch

from crar_diag.agent import checkpoint
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.agent.snapshots import snapshot_files
from crar_diag.agent.training import train
from crar_diag.errors import InputError
from crar_diag.landscape.agents import agent_problem
from crar_diag.landscape.problem import SUM, Problem
from crar_diag.landscape.trajectory import losses_along, trajectory_plane
from crar_diag.landscape.vectors import dot, flatten
from tests.runs import BASES, transfer_config

SHAPES = {"encoder.0.weight": (4, 3), "encoder.0.bias": (4,), "encoder.1.weight": (2, 4)}
SIZE = 24


def random_walk(seed: int = 0, steps: int = 9, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def step(shape):
        return torch.randn(steps, *shape, generator=generator, dtype=torch.float64)

    walk = {name: step(shape).cumsum(0).to(dtype) for name, shape in SHAPES.items()}
    return [{name: p[k] for name, p in walk.items()} for k in range(steps)]


def flat_points(rows: np.ndarray):
    return [{"w": torch.from_numpy(row.copy())} for row in rows]


def matrix(points) -> np.ndarray:
    """All differences to the last point, `[T, P]`."""
    rows = np.stack([flatten(point).double().numpy() for point in points])
    return rows - rows[-1]


def orthogonal(seed: int, size: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def vectors(plane) -> np.ndarray:
    return np.stack([flatten(direction).numpy() for direction in (plane.u, plane.v)])


# Principal directions


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_directions_are_the_leading_singular_vectors_of_all_differences(dtype):
    points = random_walk(dtype=dtype)
    plane = trajectory_plane(points)
    rows = matrix(points)
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    cosines = vectors(plane) @ right[:2].T
    np.testing.assert_allclose(np.abs(cosines), np.eye(2), atol=1e-12)
    signs = np.diag(np.sign(np.diag(cosines)))
    expected = left[:, :2] * sizes[:2] @ signs
    np.testing.assert_allclose(plane.coordinates, expected, atol=1e-12)
    ratio = sizes[:2] ** 2 / (sizes**2).sum()
    np.testing.assert_allclose(plane.explained_variance_ratio, ratio, rtol=1e-12)
    residual = rows - expected @ signs @ right[:2]
    np.testing.assert_allclose(plane.distances, np.linalg.norm(residual, axis=1), atol=1e-12)
    assert plane.u["encoder.0.weight"].shape == (4, 3)
    assert plane.u["encoder.0.weight"].dtype == torch.float64


def test_directions_are_orthonormal_and_the_last_point_is_the_origin():
    points = random_walk(1)
    plane = trajectory_plane(points)
    assert dot(plane.u, plane.u) == pytest.approx(1, abs=1e-14)
    assert dot(plane.v, plane.v) == pytest.approx(1, abs=1e-14)
    assert dot(plane.u, plane.v) == pytest.approx(0, abs=1e-15)
    assert plane.coordinates[-1].tolist() == [0.0, 0.0]
    assert plane.distances[-1] == 0.0
    assert plane.origin is points[-1]


def test_a_second_direction_a_million_times_shorter_is_exact_too():
    u, v = orthogonal(2, SIZE)[:2]
    along = np.linspace(1.0, 0.0, 6)
    bend = 1e-6 * np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])
    bend -= along * (along @ bend) / (along @ along)  # so that u and v are principal
    bend[-1] = 0.0
    plane = trajectory_plane(flat_points(np.outer(along, u) + np.outer(bend, v)))
    cosines = vectors(plane) @ np.stack([u, v]).T
    np.testing.assert_allclose(np.abs(cosines), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(np.abs(plane.coordinates[:, 1]), np.abs(bend), atol=1e-15)


def test_points_of_a_plane_lie_in_it_and_it_reproduces_them():
    rng = np.random.default_rng(3)
    places = rng.normal(size=(7, 2)) * [3.0, 1.0]
    start = rng.normal(size=SIZE)
    points = flat_points(start + places @ orthogonal(4, SIZE)[:2])
    plane = trajectory_plane(points)
    np.testing.assert_allclose(plane.distances, 0.0, atol=1e-12)
    assert plane.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)
    found = plane.projected()["w"]
    expected = torch.stack([point["w"] for point in points])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    # Its coordinates keep all distances between points.
    for own in (plane.coordinates, places):
        apart = np.linalg.norm(own[:, None] - own[None], axis=-1)
        np.testing.assert_allclose(
            apart, np.linalg.norm(expected[:, None] - expected[None], axis=-1), atol=1e-12
        )


def test_explained_variance_and_distances_make_up_the_whole():
    points = random_walk(5)
    plane = trajectory_plane(points)
    total = (matrix(points) ** 2).sum()
    left = (plane.distances**2).sum() / total
    assert plane.explained_variance_ratio.sum() + left == pytest.approx(1, abs=1e-13)
    first, second = plane.explained_variance_ratio
    assert first > second > 0


def test_a_rotation_of_parameter_space_changes_no_coordinate():
    rows = matrix(random_walk(6)) + np.random.default_rng(7).normal(size=SIZE)
    turn = orthogonal(8, SIZE)
    before, after = (trajectory_plane(flat_points(one)) for one in (rows, rows @ turn))
    np.testing.assert_allclose(after.coordinates, before.coordinates, atol=1e-11)
    np.testing.assert_allclose(after.distances, before.distances, atol=1e-11)
    np.testing.assert_allclose(
        after.explained_variance_ratio, before.explained_variance_ratio, rtol=1e-12
    )
    np.testing.assert_allclose(vectors(after), vectors(before) @ turn, atol=1e-11)


def test_the_order_of_a_points_parameters_does_not_matter():
    points = random_walk(9)
    other = [dict(reversed(point.items())) for point in points[:-1]] + points[-1:]
    np.testing.assert_array_equal(
        trajectory_plane(other).coordinates, trajectory_plane(points).coordinates
    )


# Signs


def test_points_that_train_are_taken_as_they_are():
    points = random_walk()
    training = [{n: p.clone().requires_grad_() for n, p in point.items()} for point in points]
    found, expected = trajectory_plane(training), trajectory_plane(points)
    np.testing.assert_array_equal(found.coordinates, expected.coordinates)
    assert not any(p.requires_grad for p in (*found.u.values(), *found.v.values()))


@pytest.mark.parametrize("seed", range(5))
def test_the_farthest_point_lies_on_the_positive_side(seed):
    points = random_walk(seed)
    plane = trajectory_plane(points)
    for coordinates in plane.coordinates.T:
        assert coordinates[np.abs(coordinates).argmax()] > 0
    # Mirrored about its end, a trajectory has the same coordinates and opposite directions.
    mirrored = [{n: 2 * points[-1][n] - p for n, p in point.items()} for point in points]
    other = trajectory_plane(mirrored)
    np.testing.assert_allclose(other.coordinates, plane.coordinates, atol=1e-12)
    np.testing.assert_allclose(vectors(other), -vectors(plane), atol=1e-12)


def test_of_points_equally_far_the_first_lies_on_the_positive_side():
    rows = np.zeros((5, 3))
    rows[:4, :2] = [[-2, 0], [0, -1], [2, 0], [0, 1]]
    plane = trajectory_plane(flat_points(rows))
    expected = [[2, 0], [0, 1], [-2, 0], [0, -1], [0, 0]]
    np.testing.assert_allclose(plane.coordinates, expected, atol=1e-15)


# Limits


def test_limits_leave_a_share_of_the_range_on_each_side():
    rows = np.zeros((4, 3))
    rows[:3, :2] = [[4, 0], [3, 1], [-1, 0]]
    plane = trajectory_plane(flat_points(rows))
    low, high = plane.coordinates.min(axis=0), plane.coordinates.max(axis=0)
    for margin in (0.0, 0.2, 1.5):
        (x0, x1), (y0, y1) = plane.limits(margin)
        np.testing.assert_allclose([x0, y0], low - margin * (high - low), atol=1e-15)
        np.testing.assert_allclose([x1, y1], high + margin * (high - low), atol=1e-15)
    grid = plane.grid(5, margin=0.1)
    assert grid.shape == (5, 5)
    assert (grid.xs[0], grid.xs[-1]) == plane.limits(0.1)[0]
    assert (grid.ys[0], grid.ys[-1]) == plane.limits(0.1)[1]
    torch.testing.assert_close(
        grid.at(np.zeros(1), np.zeros(1))["w"][0], plane.origin["w"], rtol=0, atol=0
    )


# Losses


def test_a_square_falls_by_the_squared_distance_where_a_point_is_projected():
    points = random_walk(10)
    end = points[-1]
    plane = trajectory_plane(points)

    def losses(parameters, scale):
        apart = [(parameters[n] - p).square().sum() for n, p in end.items()]
        return {"square": scale * sum(apart), "held": parameters["other"].sum()}

    held = {"other": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    problem = Problem(losses=losses, batch=2.0, moves=("encoder.*",))
    found = losses_along(problem, points, plane, held)
    true, projected = (one.losses["square"].numpy() for one in (found.true, found.projected))
    np.testing.assert_allclose(true, 2 * (matrix(points) ** 2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(projected, 2 * (plane.coordinates**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(true - projected, 2 * plane.distances**2, atol=1e-10)
    np.testing.assert_array_equal(found.true.losses[SUM], true + 3.0)


def test_the_losses_along_a_transfers_snapshots_are_those_that_it_recorded(tmp_path):
    base = BASES / "base-seed1.safetensors"
    config = transfer_config([base], "snapshots_every=1", "updates_per_epoch=5")
    (path,) = train(config, tmp_path / "run").checkpoints.values()
    snapshots = snapshot_files(tmp_path / "run", path.stem)
    assert [one.updates for one in snapshots] == [0, 5, 10, 15, 20]
    agents = [load_agent(one.path) for one in snapshots]
    problem = agent_problem(agents[-1], "inverse")
    points = [problem.moving(agent.parameters) for agent in agents]
    plane = trajectory_plane(points)
    found = losses_along(problem, points, plane, agents[-1].parameters)
    for k, one in enumerate(snapshots):
        recorded = checkpoint.load(one.path).metadata.losses
        for name in LOSSES:
            loss = found.true.losses[name][k].item()
            assert loss == pytest.approx(recorded[name], rel=1e-4, abs=1e-9)
    assert found.projected.losses["transition"][-1] == found.true.losses["transition"][-1]


# What is refused


def test_what_is_no_trajectory_is_refused_in_one_sentence():
    points = random_walk(11)
    with pytest.raises(InputError, match=r"needs at least 3 points, found 2$"):
        trajectory_plane(points[:2])
    with pytest.raises(InputError, match=r"found its 4 points all equal$"):
        trajectory_plane([points[0]] * 4)
    line = [{n: k * p for n, p in points[0].items()} for k in range(5)]
    with pytest.raises(InputError, match=r"found its 5 points on one line$"):
        trajectory_plane(line)
    name = "encoder.0.bias"
    for other, found in ((torch.zeros(5), r"\(5,\)"), (None, "None")):
        bad = {n: p for n, p in points[1].items() if n != name}
        bad |= {} if other is None else {name: other}
        sentence = rf"point 2 .* parameter '{name}': expected the shape \(4,\), found {found}$"
        with pytest.raises(InputError, match=sentence):
            trajectory_plane([points[0], bad, *points[2:]])
    with pytest.raises(InputError, match=r"point 1 .* 'more': expected the shape None, found \(\)"):
        trajectory_plane([points[0] | {"more": torch.tensor(1.0)}, *points[1:]])
    bad = points[2] | {name: torch.full((4,), float("nan"))}
    with pytest.raises(InputError, match=rf"point 3 .* finite, its parameter '{name}' is not$"):
        trajectory_plane([*points[:2], bad, *points[3:]])


@pytest.mark.parametrize("margin", [-0.1, float("inf"), float("nan")])
def test_a_margin_that_makes_no_axis_is_refused(margin):
    plane = trajectory_plane(random_walk(12))
    with pytest.raises(InputError, match="margin must be a finite number of at least 0") as caught:
        plane.limits(margin)
    assert caught.value.arguments == ("margin",)


def test_a_grid_has_a_middle():
    with pytest.raises(InputError, match="odd number of points"):
        trajectory_plane(random_walk(13)).grid(4)
