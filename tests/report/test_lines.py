import json

import h5py
import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.config import LOSSES
from crar_diag.errors import InputError
from crar_diag.landscape.surface import Surface
from crar_diag.report.labelling import DYNAMICS_LOSSES
from crar_diag.report.lines import line_dataset
from crar_diag.report.store import add_to_report, read_report
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.report.surfaces import ALPHAS, TRANSITION, VOLUME, WEIGHTS, line_surface, refitted_line


def line(surfaces=None, **changed) -> xr.Dataset:
    given = {"attrs": {}, "weights": WEIGHTS, "depends_on_dynamics": {"transition"}} | changed
    both = {"unfrozen": refitted_line(), "frozen": line_surface()}
    return line_dataset(ALPHAS, both if surfaces is None else surfaces, **given)


def test_values_stand_at_their_dynamics_loss_and_coordinate():
    found = line()
    assert list(found.dynamics.values) == ["frozen", "unfrozen"]
    np.testing.assert_array_equal(found.alpha, ALPHAS)
    np.testing.assert_array_equal(found.value.sel(dynamics="frozen", loss="volume"), VOLUME)
    half = found.value.sel(dynamics="unfrozen", loss="transition")
    np.testing.assert_array_equal(half, TRANSITION / 2)
    assert float(found.value.sel(dynamics="frozen", loss="sum", alpha=0.75)) == 7 + 2.25
    np.testing.assert_array_equal(found.iterations, np.arange(7) + 10)
    assert bool(found.converged.all())


def test_barriers_are_those_by_hand():
    # transition: 7 lies 4.5 above the line at 0.75 and 4 above the worse end; volume: 4.5 lies 2.5
    # above its line at 0.75, but the highest loss is 6 at 0.25, 1 above the worse end.
    frozen = line().sel(dynamics="frozen")
    for loss, expected in (
        ("transition", (4.5, 0.75, 4.0, 0.75)),
        ("volume", (2.5, 0.75, 1.0, 0.25)),
        ("sum", (5.75, 0.75, 5.75, 0.75)),
    ):
        own = frozen.sel(loss=loss)
        names = ("above_line", "above_line_at", "above_ends", "above_ends_at")
        assert tuple(float(own[name]) for name in names) == expected
    half = line().above_line.sel(dynamics="unfrozen", loss="transition")
    assert float(half) == 2.25


def test_the_sum_comes_last_without_a_weight_and_depends_on_what_its_losses_do():
    first = {"sum": TRANSITION, "transition": TRANSITION, "volume": VOLUME}
    found = line({"frozen": Surface(first, {})})
    assert list(found.loss.values) == ["transition", "volume", "sum"]
    np.testing.assert_array_equal(found.weight, [1.0, 0.5, np.nan])
    assert found.depends_on_dynamics.values.tolist() == [True, False, True]
    unweighted = line({"frozen": line_surface()}, weights={"transition": 0.0})
    assert unweighted.depends_on_dynamics.values.tolist() == [True, False, False]


def test_losses_of_agents_that_depend_on_the_dynamics_are_all_but_the_structure_losses():
    structure = {"volume", "random_pairs", "consecutive_pairs"}
    assert set(LOSSES) - structure == DYNAMICS_LOSSES


def test_one_surface_alone_has_no_other_and_no_refit():
    found = line({"frozen": line_surface()})
    assert found.value.dims == ("dynamics", "loss", "alpha")
    assert found.sizes["dynamics"] == 1
    assert "converged" not in found
    assert "iterations" not in found
    assert "error" not in found


def test_errors_are_kept_where_a_surface_has_them_and_nan_elsewhere():
    errors = {"transition": np.arange(7.0)}
    found = line({"frozen": line_surface(errors=errors), "unfrozen": refitted_line()})
    np.testing.assert_array_equal(
        found.error.sel(dynamics="frozen", loss="transition"), np.arange(7.0)
    )
    assert np.isnan(found.error.sel(dynamics="frozen", loss="volume")).all()
    assert np.isnan(found.error.sel(dynamics="unfrozen")).all()


def test_everything_says_what_it_is():
    found = line(embedding=np.zeros((7, 31, 2)))
    for name, variable in found.variables.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


def test_a_report_gives_a_line_back_to_xarray_and_h5py(tmp_path):
    embedding = np.arange(7 * 31 * 2, dtype=np.float32).reshape(7, 31, 2)
    given = line(
        embedding=embedding,
        attrs={"sha256": ["a" * 64, "b" * 64], "settings": {"iterations": 400}, "exact": True},
    )
    report = tmp_path / "report.h5"
    add_to_report(report, {"line/a_b": given}, MADE)
    assert_same(read_report(report, "line/a_b"), given)
    assert_netcdf4(report)
    with xr.open_dataset(report, group="line/a_b", engine="h5netcdf") as opened:
        assert bool(opened.depends_on_dynamics.sel(loss="transition"))
        assert json.loads(opened.attrs["settings"]) == {"iterations": 400}
        assert opened.attrs["exact"] == 1
    with h5py.File(report) as file:
        group = file["line/a_b"]
        assert group["value"].shape == (2, 3, 7)
        assert group["value"][0, 0, 4] == 7.0
        assert group["embedding"][6, 30, 1] == embedding[-1, -1, -1]
        np.testing.assert_array_equal(group["alpha"], ALPHAS)


@pytest.mark.parametrize(
    ("surfaces", "sentence"),
    [
        ({}, "found neither"),
        ({"thawed": line_surface()}, "found 'thawed'"),
        ({"frozen": Surface({"sum": np.zeros(5)}, {})}, r"shape \(7,\), found \(5,\)"),
        ({"frozen": line_surface(), "unfrozen": line_surface()}, "'converged'.*found None"),
        (
            {"frozen": line_surface(), "unfrozen": Surface({"sum": TRANSITION}, {})},
            "the same losses",
        ),
    ],
)
def test_surfaces_that_do_not_fit_are_refused(surfaces, sentence):
    with pytest.raises(InputError, match=sentence):
        line(surfaces, depends_on_dynamics=())


def test_a_loss_that_is_said_not_to_depend_on_the_dynamics_but_does_is_refused():
    with pytest.raises(InputError, match="'transition' to be the same for frozen"):
        line(depends_on_dynamics=())


def test_an_unknown_loss_among_those_that_depend_is_refused():
    with pytest.raises(InputError, match="found 'transitoin'"):
        line(depends_on_dynamics={"transitoin"})


def test_a_line_without_its_ends_is_refused():
    with pytest.raises(InputError, match="both ends"):
        line_dataset(
            ALPHAS + 0.1,
            {"frozen": line_surface()},
            attrs={},
            weights={},
            depends_on_dynamics=["transition"],
        )


def test_an_embedding_of_other_points_is_refused():
    with pytest.raises(InputError, match=r"\[7, states, d\]"):
        line(embedding=np.zeros((6, 31, 2)))


def test_a_prediction_of_other_states_is_refused():
    with pytest.raises(InputError, match=r"\[7, 31, actions, 2\].*\(7, 30, 4, 2\)"):
        line(embedding=np.zeros((7, 31, 2)), prediction=np.zeros((7, 30, 4, 2)))


def test_a_prediction_is_kept_beside_its_states():
    prediction = np.arange(7 * 31 * 4 * 2, dtype=np.float32).reshape(7, 31, 4, 2)
    found = line(embedding=np.zeros((7, 31, 2)), prediction=prediction)
    assert found.prediction.dims == ("alpha", "state", "action", "dim")
    assert (found.prediction.values == prediction).all()
    assert "prediction" not in line(embedding=np.zeros((7, 31, 2)))
