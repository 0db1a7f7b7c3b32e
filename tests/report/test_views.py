import json

import numpy as np
import pytest

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agents
from crar_diag.envs import simple_maze
from crar_diag.landscape.drawing import Drawing, draw
from crar_diag.landscape.reward import RewardSurface
from crar_diag.landscape.trajectory import losses_along
from crar_diag.landscape.views import line, plane, random_plane, reward_plane, trajectory
from crar_diag.report.store import add_to_report, read_report
from crar_diag.report.views import ends_of, view_dataset, view_figures
from tests.cli.landscapes import A, B, C
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.report.views_between import between
from tests.runs import BASES

ABOUT = {"seed": 7, "engine": "crar-diag"}
SHORT = Drawing(refit={"iterations": 2})


def drawn(view, kinds=("frozen", "unfrozen"), **more):
    return view_dataset(view, between(), draw(view, kinds, SHORT), ABOUT, **more)


def test_a_line_has_the_states_that_its_losses_are_of():
    found = drawn(line(between(), 13), ("frozen",))
    assert found.embedding.dims == ("alpha", "state", "dim")
    assert found.embedding.shape == (13, 31, 2)
    # L_d2, by hand.
    volume = (np.square(found.embedding).max("dim") - 1).clip(0, 100).mean("state")
    stored = found.value.sel(dynamics="frozen", loss="volume")
    assert (stored > 0.01).any()
    np.testing.assert_allclose(volume, stored, rtol=1e-5, atol=1e-7)


def test_a_line_has_where_the_frozen_dynamics_lead_from_its_states():
    found = drawn(line(between(), 13), ("frozen",))
    assert found.prediction.dims == ("alpha", "state", "action", "dim")
    assert found.action.values.tolist() == ["up", "down", "left", "right"]
    assert found.side.values.tolist() == simple_maze.SIDES.tolist()
    # L_p, by hand.
    following = found.embedding.values[:, simple_maze.SUCCESSORS]
    squares = np.square(found.prediction.values.astype(float) - following).mean((1, 2, 3))
    stored = found.value.sel(dynamics="frozen", loss="transition").values
    assert (stored > 0.01).any()
    np.testing.assert_allclose(squares, stored, rtol=1e-4, atol=1e-7)


def test_a_line_says_what_it_is_and_whose():
    found = drawn(line(between(), 7), ("frozen",))
    for key, value in {
        "mode": "line",
        "seed": 7,
        "engine": "crar-diag",
        "domain": "inverse",
        "checkpoint_a": str(A),
        "checkpoint_b": str(B),
        "dynamics_of": str(A),
        "sha256_a": file_sha256(A),
        "sha256_b": file_sha256(B),
    }.items():
        assert found.attrs[key] == value
    assert "checkpoint_c" not in found.attrs
    assert found.loss.values.tolist() == [*LOSSES, "sum"]
    weights = {**dict.fromkeys(LOSSES, 1.0), "consecutive_pairs": 0.2, "sum": np.nan}
    np.testing.assert_allclose(found.weight, list(weights.values()))
    structure = {"volume", "random_pairs", "consecutive_pairs"}
    depends = dict(zip(found.loss.values, found.depends_on_dynamics.values, strict=True))
    assert {name for name, does in depends.items() if not does} == structure


def test_a_third_agent_is_among_the_ends():
    found = ends_of(between(third=True))
    assert found["checkpoint_c"] == str(C)
    assert found["sha256_c"] == file_sha256(C)


def test_both_surfaces_of_a_plane_stand_on_their_own_grids(tmp_path):
    view = random_plane(between(), 9, 7, seed=3)
    surfaces = draw(view, ("frozen", "unfrozen"), SHORT)
    found = view_dataset(view, between(), surfaces, ABOUT)
    for name, suffix, grid in (("frozen", "", view.grid), ("unfrozen", "_unfrozen", view.coarse)):
        np.testing.assert_array_equal(found[f"x{suffix}"], grid.axes[0])
        np.testing.assert_array_equal(found[f"y{suffix}"], grid.axes[1])
        for loss, values in surfaces[name].losses.items():
            np.testing.assert_array_equal(found[name].sel(loss=loss), values)
    assert found.attrs["random_seed"] == 3
    np.testing.assert_array_equal(found.iterations, surfaces["unfrozen"].iterations)
    assert found.x.attrs["long_name"] == "along B - A, A at 0 and B at 1"
    report = tmp_path / "report.h5"
    add_to_report(report, {"plane/x": found}, MADE)
    assert_same(read_report(report, "plane/x"), found)
    assert_netcdf4(report)


def test_the_points_of_a_plane_of_three_are_where_they_were_put():
    three = between(third=True)
    view = plane(three, 7, 7)
    found = view_dataset(view, three, draw(view, ("frozen",), SHORT), ABOUT)
    for name, place in view.marks.items():
        own = found.sel(point=name)
        assert [float(own[f"point_{w}"]) for w in ("x", "y", "distance")] == list(place)
    assert "unfrozen" not in found


def test_a_trajectory_keeps_what_its_agents_were():
    # Four base models, as if each had become the next.
    agents = load_agents([BASES / f"base-seed{seed}.safetensors" for seed in range(4)])
    view = trajectory(between(), agents, 3, 3)
    points = [between().problem.moving(agent.parameters) for agent in agents]
    along = losses_along(between().problem, points, view.trajectory, between().held)
    found = drawn(view, ("frozen",), along=(np.arange(4) * 100, along))
    assert found.trajectory_updates.values.tolist() == [0, 100, 200, 300]
    np.testing.assert_array_equal(found.trajectory_x, view.trajectory.coordinates[:, 0])
    np.testing.assert_array_equal(found.trajectory_y, view.trajectory.coordinates[:, 1])
    np.testing.assert_array_equal(found.trajectory_distance, view.trajectory.distances)
    for loss, values in along.true.losses.items():
        np.testing.assert_array_equal(found.trajectory_loss.sel(loss=loss), values)
    assert found.attrs["explained_variance_ratio"].shape == (2,)


def test_scores_alone_make_a_plane():
    view = reward_plane(between(), 7, seed=0)
    scores = np.random.default_rng(0).normal(size=(7, 7, 4))
    mean, error = scores.mean(-1), scores.std(-1, ddof=1) / 2
    rewards = RewardSurface(scores, mean, error)
    found = view_dataset(view, between(), {}, ABOUT, rewards=rewards)
    np.testing.assert_array_equal(found.score, mean)
    np.testing.assert_array_equal(found.score_error, error)
    assert "frozen" not in found
    assert found.attrs["mode"] == "reward"
    assert list(view_figures(found)) == ["reward"]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: line(between(), 7), ["line"]),
        (lambda: random_plane(between(), 7, 7, 0), ["random-plane", "random-plane-3d"]),
    ],
)
def test_figures_are_named_and_titled(make, names):
    figures = view_figures(drawn(make(), ("frozen",)), title="a title")
    assert list(figures) == names
    for figure in figures.values():
        assert figure.get_suptitle() == "a title"


def test_settings_that_are_dicts_become_json():
    view = line(between(), 7)
    about = ABOUT | {"refit": {"iterations": 2}}
    found = view_dataset(view, between(), draw(view, ("frozen",), SHORT), about)
    assert json.loads(found.attrs["refit"]) == {"iterations": 2}
