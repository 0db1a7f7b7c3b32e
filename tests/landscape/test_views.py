"""Where the agents lie in each view, and what its axes are, at the grids' own points."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent.checkpoint import Checkpoint, save
from crar_diag.agent.loading import load_agent
from crar_diag.agent.snapshots import snapshot_files
from crar_diag.agent.training import train
from crar_diag.errors import InputError
from crar_diag.landscape.vectors import added, difference, dot, norm
from crar_diag.landscape.views import (
    dynamics_plane,
    group_of,
    line,
    plane,
    random_plane,
    reward_plane,
    trajectory,
)
from tests.landscape.shipped import CORRECT, UNFINISHED, WRONG, between, distance, nearest
from tests.runs import BASES, transfer_config

# Lines


def test_a_line_has_both_agents_at_its_marks():
    agents = between(CORRECT, WRONG)
    view = line(agents, 13)
    assert view.marks == {"A": (0.0, 0.0, 0.0), "B": (1.0, 0.0, 0.0)}
    for k, alpha in enumerate((0.0, 1.0)):
        (place,) = np.flatnonzero(view.grid.axes[0] == alpha)
        point = view.grid.points(place, place + 1)
        assert all(torch.equal(point[n][0], p) for n, p in agents.moving(k).items())
    assert view.coarse is view.grid
    expected = distance(agents.moving(0), agents.moving(1))
    assert view.about["distance_a_b"] == pytest.approx(expected, rel=1e-12)
    assert view.held.keys() | view.grid.a.keys() == agents.ends.agents[0].parameters.keys()


# The plane of three agents


def test_three_agents_lie_in_their_plane_where_its_marks_say():
    agents = between(CORRECT, WRONG, UNFINISHED)
    view = plane(agents, 21, 11)
    assert view.grid.shape == (21, 21)
    assert view.coarse.shape == (11, 11)
    x, y, off = np.array([view.marks[name] for name in "ABC"]).T
    assert off.tolist() == [0.0, 0.0, 0.0]
    found = view.grid.at(x, y)
    for k in range(3):
        for name, p in agents.moving(k).items():
            torch.testing.assert_close(found[name][k], p, rtol=0, atol=1e-6)
    assert (
        view.about["distance_a_b"]
        == x[1]
        == pytest.approx(distance(agents.moving(0), agents.moving(1)), rel=1e-12)
    )
    assert view.about["height_of_c"] == y[2]
    for grid in (view.grid, view.coarse):
        for axis, at in zip(grid.axes, (x, y), strict=True):
            assert axis[0] <= min(at) - 0.12 * (max(at) - min(at))
            assert axis[-1] >= max(at) + 0.12 * (max(at) - min(at))


@pytest.mark.parametrize("view_of", [plane, random_plane])
def test_a_and_b_are_points_of_a_plane_to_the_bit_and_c_is_off_by_no_more_than_a_cell(view_of):
    agents = between(CORRECT, WRONG, UNFINISHED)
    view = view_of(agents, 21, 11, *([4] if view_of is random_plane else []))
    u = view.grid.u
    for grid in (view.grid, view.coarse):
        for k, name in enumerate("AB"):
            place, point = nearest(grid, *view.marks[name][:2])
            assert place == view.marks[name][:2]
            for n, p in agents.moving(k).items():
                torch.testing.assert_close(point[n], p, rtol=0, atol=3e-7)
    place, point = nearest(view.grid, *view.marks["C"][:2])
    cell = [axis[1] - axis[0] for axis in view.grid.axes]
    reach = norm(u) * math.dist(place, view.marks["C"][:2])
    assert all(
        abs(p - m) <= c / 2 + 1e-12 for p, m, c in zip(place, view.marks["C"], cell, strict=False)
    )
    expected = math.hypot(reach, view.marks["C"][2])
    assert distance(point, agents.moving(2)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [5.0, -2.0])
def test_a_third_agent_far_along_the_axis_is_within_the_plane(share):
    agents = between(CORRECT, WRONG, UNFINISHED)
    a, b, c = (agents.moving(k) for k in range(3))
    moved = added(added(a, difference(b, a), share), difference(c, a))
    third = replace(agents.ends.agents[2], parameters=agents.ends.agents[2].parameters | moved)
    ends = replace(agents.ends, agents=(*agents.ends.agents[:2], third))
    view = plane(replace(agents, ends=ends), 9, 7)
    x, y, _ = np.array(list(view.marks.values())).T
    assert x[2] / x[1] == pytest.approx(share, abs=1.5)
    for grid in (view.grid, view.coarse):
        for axis, at, unit in zip(grid.axes, (x, y), (x[1], y[2]), strict=True):
            assert axis[0] <= min(at) - 0.16 * unit
            assert axis[-1] >= max(at) + 0.16 * unit


# The random plane


@pytest.mark.parametrize("seed", range(3))
def test_a_random_plane_has_orthogonal_directions_of_the_distance_from_a_to_b(seed):
    agents = between(CORRECT, WRONG)
    view = random_plane(agents, 9, 7, seed)
    u, v = view.grid.u, view.grid.v
    length = distance(agents.moving(0), agents.moving(1))
    for found in (norm(u), norm(v), view.about["distance_a_b"]):
        assert found == pytest.approx(length, rel=1e-12)
    assert abs(dot(u, v)) <= 1e-12 * length**2
    # Filter by filter it has the model's ratios but for what orthogonality took off.
    factor = view.about["random_direction_norm"] / length
    for name, p in agents.moving(0).items():
        if p.dim() == 1:
            assert not v[name].any()
        else:
            rows = (v[name] * factor).flatten(1).norm(dim=1), p.double().flatten(1).norm(dim=1)
            torch.testing.assert_close(*rows, rtol=0.2, atol=0)
    assert view.about["random_seed"] == seed
    assert (view.grid.ys[0], view.grid.ys[-1]) == (-0.75, 0.75)
    again, other = random_plane(agents, 9, 7, seed), random_plane(agents, 9, 7, seed + 10)
    assert all(torch.equal(again.grid.v[name], p) for name, p in v.items())
    assert any(not torch.equal(other.grid.v[name], p) for name, p in v.items())


def test_a_reward_plane_is_that_of_three_agents_or_a_random_one():
    three, two = (
        reward_plane(between(CORRECT, WRONG, UNFINISHED), 7, 1),
        reward_plane(between(), 7, 1),
    )
    for found, expected in (
        (three, plane(between(CORRECT, WRONG, UNFINISHED), 7, 7)),
        (two, random_plane(between(), 7, 7, 1)),
    ):
        assert found.mode == "reward"
        assert found.coarse is None
        assert found.marks == expected.marks
        assert all(torch.equal(found.grid.v[name], p) for name, p in expected.grid.v.items())


# The plane of a trajectory


def test_a_trajectorys_plane_marks_its_end_and_others_with_their_distance(tmp_path):
    config = transfer_config(
        [BASES / "base-seed1.safetensors"], "snapshots_every=1", "updates_per_epoch=5"
    )
    (path,) = train(config, tmp_path / "run").checkpoints.values()
    snapshots = [load_agent(one.path) for one in snapshot_files(tmp_path / "run", path.stem)]
    agents = between(path, WRONG)
    view = trajectory(agents, snapshots, 9, 5)
    assert view.marks["A"] == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    x, y, off = view.marks["B"]
    at = {n: p[0] for n, p in view.grid.at(np.array([x]), np.array([y])).items()}
    assert distance(at, agents.moving(1)) == pytest.approx(off, rel=1e-5)
    assert off > 10 * norm(difference(snapshots[0].parameters, snapshots[-1].parameters))
    assert (view.grid.shape, view.coarse.shape) == ((9, 9), (5, 5))
    assert sum(view.about["explained_variance_ratio"]) <= 1


# What is refused


def test_what_makes_no_view_is_refused(tmp_path):
    two = between(CORRECT, WRONG)
    with pytest.raises(InputError, match="needs two checkpoints, CKPT_A and CKPT_B, found one"):
        line(between(CORRECT), 7)
    with pytest.raises(InputError, match="through three checkpoints needs a third one") as error:
        plane(two, 7, 7)
    assert error.value.arguments == ("third",)
    with pytest.raises(InputError, match="have the same encoder: there is nothing between them"):
        line(between(CORRECT, _with_other_seed(tmp_path)), 7)
    with pytest.raises(InputError, match="a line needs at least 7 points, found 6"):
        line(two, 6)
    for points in (8, 5):
        for fine, coarse in ((points, 7), (7, points)):
            with pytest.raises(InputError, match=f"7 at least, found {points}: take"):
                random_plane(two, fine, coarse, 0)
            with pytest.raises(InputError, match=f"7 at least, found {points}: take"):
                plane(between(CORRECT, WRONG, UNFINISHED), fine, coarse)
        with pytest.raises(InputError, match=f"7 at least, found {points}: take"):
            dynamics_plane(two, points, 0)


def _with_other_seed(folder):
    agent = load_agent(CORRECT)
    metadata = agent.metadata.model_copy(update={"seed": 99})
    save(Checkpoint(agent.parameters, metadata), folder / "other.safetensors")
    return folder / "other.safetensors"


def test_groups_are_named_by_what_they_hold():
    assert group_of("line", "a-to-b") == "line/a-to-b"
    assert group_of("plane", "a-to-b") == "plane/a-to-b"
    assert group_of("dynamics-plane", "x") == "plane/x-dynamics-plane"
