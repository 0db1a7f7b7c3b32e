import h5py
import numpy as np
import pytest
import xarray as xr

from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.planes import Axis, Scores, Trajectory, plane_dataset
from crar_diag.report.store import add_to_report, read_report
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.report.surfaces import (
    AXES,
    POINTS,
    XS,
    XS_UNFROZEN,
    YS,
    YS_UNFROZEN,
    plane,
    plane_surfaces,
    slope,
)

SCORES = Scores(XS, YS, slope(XS, YS)["transition"], 0.1 * np.ones((4, 3)))


def trajectory(**changed) -> Trajectory:
    steps = np.arange(5.0)
    given = {
        "x": steps / 2,
        "y": steps / 4,
        "distance": 4 - steps,
        "updates": 100 * np.arange(5),
        "losses": {"transition": steps + 1, "volume": steps + 2, "sum": steps + 3},
    }
    return Trajectory(**(given | changed))


def test_values_stand_at_x_first_and_y_second_on_each_surface_s_own_grid():
    found = plane()
    assert found.frozen.dims == ("loss", "x", "y")
    assert found.unfrozen.dims == ("loss", "x_unfrozen", "y_unfrozen")
    for x in XS:
        for y in YS:
            assert float(found.frozen.sel(loss="transition", x=x, y=y)) == 10 * x + y + 20
    for x in XS_UNFROZEN:
        for y in YS_UNFROZEN:
            own = found.unfrozen.sel(loss="volume", x_unfrozen=x, y_unfrozen=y)
            assert float(own) == 10 * x + y + 8
    assert list(found.loss.values) == ["transition", "volume", "sum"]


def test_points_have_their_coordinates_and_distance():
    found = plane().sel(point="C")
    assert (float(found.point_x), float(found.point_y)) == (1.0, 2.0)
    assert float(found.point_distance) == 0.25


def test_axes_say_what_they_are_on_both_grids():
    found = plane(axes=(Axis("share of B's encoder"), Axis("random direction", "radians")))
    for name in ("x", "x_unfrozen", "point_x"):
        assert found[name].attrs == {"long_name": "share of B's encoder", "units": "1"}
    for name in ("y", "y_unfrozen", "point_y"):
        assert found[name].attrs == {"long_name": "random direction", "units": "radians"}


def test_weights_and_what_depends_on_the_dynamics_stand_by_loss():
    found = plane(weights={"volume": 0.2}, depends_on_dynamics={"transition"})
    np.testing.assert_array_equal(found.weight, [1.0, 0.2, np.nan])
    assert found.depends_on_dynamics.values.tolist() == [True, False, True]
    assert plane().depends_on_dynamics.values.all()


def test_what_is_not_given_is_not_there():
    frozen = plane_dataset(frozen=plane_surfaces()["frozen"], points={}, axes=AXES, attrs={})
    assert set(frozen.variables) == {"frozen", "weight", "depends_on_dynamics", "loss", "x", "y"}
    scores = plane_dataset(scores=SCORES, points={}, axes=AXES, attrs={})
    assert set(scores.variables) == {"score", "score_error", "x", "y"}


def test_a_trajectory_keeps_its_own_losses():
    found = plane(trajectory=trajectory())
    np.testing.assert_array_equal(found.trajectory_x, [0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(found.trajectory_distance, [4, 3, 2, 1, 0])
    np.testing.assert_array_equal(found.trajectory_updates, [0, 100, 200, 300, 400])
    np.testing.assert_array_equal(found.trajectory_loss.sel(loss="volume"), [2, 3, 4, 5, 6])
    assert "trajectory_loss" not in plane(trajectory=trajectory(losses={}))


def test_errors_stand_beside_each_surface():
    xs, ys, surface = plane_surfaces()["frozen"]
    errors = {"sum": np.arange(12.0).reshape(4, 3)}
    found = plane(frozen=(xs, ys, Surface(surface.losses, errors)))
    np.testing.assert_array_equal(found.frozen_error.sel(loss="sum"), errors["sum"])
    assert np.isnan(found.frozen_error.sel(loss="volume")).all()
    assert "unfrozen_error" not in found


def test_everything_says_what_it_is():
    found = plane(trajectory=trajectory(), scores=SCORES)
    for name, variable in found.variables.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


def test_a_report_gives_a_plane_back_to_xarray_and_h5py(tmp_path):
    attrs = {"directions": {"u": {"norm": 18.6}, "v": {"seed": 3}}, "sha256": ["a" * 64, "b" * 64]}
    given = plane(trajectory=trajectory(), scores=SCORES, attrs=attrs)
    report = tmp_path / "report.h5"
    add_to_report(report, {"plane/a_b_c": given}, MADE)
    assert_same(read_report(report, "plane/a_b_c"), given)
    assert_netcdf4(report)
    with xr.open_dataset(report, group="plane/a_b_c", engine="h5netcdf") as opened:
        assert float(opened.score.sel(x=1.5, y=2.0)) == 17.0
        assert list(opened.attrs["sha256"]) == attrs["sha256"]
    with h5py.File(report) as file:
        group = file["plane/a_b_c"]
        assert group["frozen"][0, 2, 1] == 10 * XS[2] + YS[1] + 20
        np.testing.assert_array_equal(group["y_unfrozen"], YS_UNFROZEN)


def test_a_surface_with_x_and_y_exchanged_is_refused():
    exchanged = Surface({name: z.T for name, z in slope(XS, YS).items()}, {})
    with pytest.raises(InputError, match=r"'transition' of shape \(4, 3\), found \(3, 4\)"):
        plane(frozen=(XS, YS, exchanged))


def test_a_plane_of_nothing_is_refused():
    with pytest.raises(InputError, match="found none of them"):
        plane_dataset(points=POINTS, axes=AXES, attrs={})


def test_scores_on_another_grid_or_of_another_shape_are_refused():
    with pytest.raises(InputError, match="on the grid of the frozen surface"):
        plane(scores=Scores(XS + 1, YS, SCORES.score, SCORES.error))
    with pytest.raises(InputError, match=r"'score_error' of shape \(4, 3\), found \(3, 4\)"):
        plane(scores=Scores(XS, YS, SCORES.score, SCORES.error.T))


def test_a_trajectory_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"'distance' of a trajectory of shape \(5,\)"):
        plane(trajectory=trajectory(distance=np.zeros(4)))
    with pytest.raises(InputError, match="expected loss 'sum' of a trajectory"):
        plane(trajectory=trajectory(losses={"transition": np.ones(5), "volume": np.ones(5)}))
