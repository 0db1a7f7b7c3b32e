"""Curvature as a group of a report, and its figure."""

import math

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from crar_diag.agent.loading import load_agent
from crar_diag.errors import InputError
from crar_diag.landscape.agent_curvature import agent_curvature
from crar_diag.landscape.curvature import CurvatureSettings
from crar_diag.report.curvature import curvature_dataset
from crar_diag.report.curvature_figure import LINEAR, curvature_figure, per_decade, plot_density
from crar_diag.report.store import add_to_report, read_report
from crar_diag.report.style import COLUMN
from tests.landscape.shipped import WRONG
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.runs import labyrinth_config, save_agent

FEW = CurvatureSettings(eigenvalues=3, steps=6, probes=2, density_probes=2)
ATTRS = {"checkpoint": "wrong.safetensors", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def found():
    return agent_curvature(
        load_agent(WRONG), settings=FEW, polish_iterations=2, weights={"transition": 2.0}
    )


@pytest.fixture(scope="module")
def dataset(found):
    return curvature_dataset(found, attrs=ATTRS)


# Data


def test_each_space_and_point_is_found_under_its_name(found, dataset):
    assert dataset.space.values.tolist() == ["embedding", "frozen", "unfrozen"]
    assert dataset.point.values.tolist() == ["checkpoint", "polished"]
    for space, analysis in found.analyses.items():
        for point, curvature in analysis.points.items():
            own = dataset.sel(space=space, point=point)
            assert own.verdict.item() == curvature.verdict
            assert own["size"].item() == curvature.size
            for name in ("negative", "positive", "decrement"):
                assert own[name].item() == getattr(curvature, name)
            for name in ("value", "low", "high"):
                stored = own["trace" if name == "value" else f"trace_{name}"]
                assert stored.item() == getattr(curvature.trace, name)
            for loss in (*found.weights, "sum"):
                assert own.value.sel(loss=loss).item() == curvature.losses[loss]
                assert own.gradient_norm.sel(loss=loss).item() == curvature.gradient_norms[loss]
            for end in ("smallest", "largest"):
                pairs, stored = getattr(curvature, end), own.sel(end=end)
                np.testing.assert_array_equal(stored.eigenvalue, pairs.values)
                np.testing.assert_array_equal(stored.residual, pairs.residuals)
                np.testing.assert_array_equal(stored.eigenvalue_converged, pairs.converged)
            np.testing.assert_array_equal(own.density, curvature.density.values)
            np.testing.assert_array_equal(own.density_at, curvature.density.grid)
            assert np.trapezoid(own.density, own.density_at) == pytest.approx(1, abs=1e-4)
            assert own.node_weight.sum().item() == pytest.approx(1)
            nodes = own.node_at.values[: len(curvature.density.nodes)]
            np.testing.assert_array_equal(nodes, curvature.density.nodes)


def test_the_embedding_has_all_its_eigenvalues_and_a_displacement(found, dataset):
    own = found.analyses["embedding"]
    for point, curvature in own.points.items():
        stored = dataset.sel(point=point)
        np.testing.assert_array_equal(stored.embedding_eigenvalue, curvature.eigenvalues)
        moved = stored.displacement.values
        assert moved.shape == (31, 2)
        assert np.linalg.norm(moved) == pytest.approx(1)
        np.testing.assert_array_equal(moved.ravel(), curvature.smallest.directions[0])
    for space, analysis in found.analyses.items():
        for point, states in analysis.states.items():
            np.testing.assert_array_equal(dataset.states.sel(space=space, point=point), states)


def test_the_polish_is_told(found, dataset):
    for space, analysis in found.analyses.items():
        own = dataset.sel(space=space)
        for name in ("distance", "relative_distance", "iterations", "products", "converged"):
            assert own[f"polish_{name}"].item() == getattr(analysis.polish, name)
        assert own.embedding_distance.item() == analysis.embedding_distance


def test_weights_and_settings_are_told(found, dataset):
    weights = dict(zip(dataset.loss.values.tolist(), dataset.weight.values, strict=True))
    assert math.isnan(weights.pop("sum"))
    assert weights == found.weights
    assert weights["transition"] == 2
    about = {
        "domain": "inverse",
        "smoothing": 0.01,
        "steps": 6,
        "probes": 2,
        "density_probes": 2,
        "seed": 0,
        "polish_iterations": 2,
        **ATTRS,
    }
    assert {name: dataset.attrs[name] for name in about} == about
    assert dataset.attrs["smoothing_bound"] == pytest.approx(0.01 * math.log(4))
    assert "held_out_transitions" not in dataset.attrs


def test_a_report_holds_it_as_it_was(dataset, tmp_path):
    path = tmp_path / "report.h5"
    add_to_report(path, {"hessian/wrong": dataset}, MADE)
    assert_same(read_report(path, "hessian/wrong"), dataset)
    assert_netcdf4(path)
    with xr.open_dataset(path, group="hessian/wrong", engine="h5netcdf") as opened:
        assert opened.eigenvalue.sizes == {"space": 3, "point": 2, "end": 2, "rank": 3}


def test_without_polish_or_density_these_are_left_out(tmp_path):
    settings = CurvatureSettings(eigenvalues=2, steps=3, probes=2, density_probes=0)
    found = agent_curvature(load_agent(WRONG), kinds=["unfrozen"], settings=settings)
    dataset = curvature_dataset(found, attrs={})
    assert dataset.space.values.tolist() == ["unfrozen"]
    assert dataset.point.values.tolist() == ["checkpoint"]
    absent = ["density", "node_at", "embedding_distance", "displacement", "embedding_eigenvalue"]
    assert not {*absent, "polish_distance"} & set(dataset.variables)
    add_to_report(tmp_path / "r.h5", {"hessian/a": dataset}, MADE)
    assert_same(read_report(tmp_path / "r.h5", "hessian/a"), dataset)


def test_a_labyrinth_says_that_its_sample_is_one(tmp_path):
    path = save_agent(tmp_path / "agent.safetensors", labyrinth_config("0:1", 10))
    found = agent_curvature(load_agent(path), settings=FEW, transitions=4)
    dataset = curvature_dataset(found, attrs={})
    assert dataset.attrs["held_out_transitions"] == 4
    assert dataset.space.values.tolist() == ["frozen", "unfrozen"]
    assert "states" not in dataset
    add_to_report(tmp_path / "r.h5", {"hessian/a": dataset}, MADE)
    assert_same(read_report(tmp_path / "r.h5", "hessian/a"), dataset)


def test_spaces_of_few_variables_leave_the_rest_empty():
    """Three steps give three Ritz values; the embedding has all that are asked for."""
    settings = CurvatureSettings(eigenvalues=5, steps=3, probes=2, density_probes=1)
    found = agent_curvature(load_agent(WRONG), kinds=["frozen"], settings=settings)
    dataset = curvature_dataset(found, attrs={}).isel(point=0)
    assert dataset.eigenvalue.sel(space="embedding").notnull().all()
    frozen = dataset.sel(space="frozen")
    assert frozen.eigenvalue.notnull().sum("rank").values.tolist() == [3, 3]
    assert not frozen.eigenvalue_converged.isel(rank=slice(3, None)).any()
    assert frozen.node_at.notnull().sum().item() == 3
    assert frozen.node_weight.sum().item() == pytest.approx(1)


# Figure


def one_space(nodes, weights, size=1000, space="frozen"):
    """A data set of one space with given nodes and extreme eigenvalues."""
    nodes, weights = np.array(nodes, float), np.array(weights, float)
    ends = np.array([[nodes.min()], [nodes.max()]])
    return xr.Dataset(
        {
            "node_at": (("space", "point", "node"), nodes[None, None]),
            "node_weight": (("space", "point", "node"), weights[None, None]),
            "density": (("space", "point", "grid"), np.ones((1, 1, 5))),
            "size": ("space", [size]),
            "verdict": (("space", "point"), [["local minimum"]]),
            "eigenvalue": (("space", "point", "end", "rank"), ends[None, None]),
            "eigenvalue_converged": (
                ("space", "point", "end", "rank"),
                np.array([[[[True], [False]]]]),
            ),
        },
        coords={"space": [space], "point": ["checkpoint"]},
    )


def test_the_density_over_decades_counts_eigenvalues():
    own = one_space([-1.0, 0.0, 10.0, 1000.0], [0.1, 0.6, 0.2, 0.1]).isel(space=0, point=0)
    linear = 1e-3
    at, density = per_decade(own, linear)
    decades = np.arcsinh(at / linear) / math.log(10)
    assert np.trapezoid(density, decades) == pytest.approx(1000, rel=1e-4)
    for low, high, expected in ((-10, -0.1, 100), (-0.1, 0.1, 600), (1, 100, 200), (100, 1e4, 100)):
        inside = (at > low) & (at < high)
        assert np.trapezoid(density[inside], decades[inside]) == pytest.approx(expected, rel=1e-3)


def test_curves_are_those_of_the_data_and_marks_stand_at_the_extreme_eigenvalues(dataset):
    axes = plot_density(dataset, point="polished")
    lines = {line.get_label(): line for line in axes.lines}
    own = dataset.sel(point="polished")
    largest = abs(own.node_at.sel(space=["frozen", "unfrozen"])).max().item()
    for space in ("frozen", "unfrozen"):
        line = lines[f"{space}: {own.verdict.sel(space=space).item()}"]
        at, density = per_decade(own.sel(space=space), LINEAR * largest)
        np.testing.assert_allclose(line.get_xdata(), at)
        np.testing.assert_allclose(line.get_ydata(), density)
    marked = np.concatenate([line.get_xdata() for line in axes.lines if len(line.get_xdata()) < 50])
    expected = own.eigenvalue.sel(space=["frozen", "unfrozen"]).values.ravel()
    assert sorted(marked) == sorted(expected)
    assert not any(label.startswith("embedding") for label in lines)


def test_eigenvalues_that_have_not_converged_are_open_circles():
    axes = plot_density(one_space([-2.0, 5.0], [0.5, 0.5]))
    marks = {line.get_marker(): line.get_xdata() for line in axes.lines[1:]}
    assert {marker: list(x) for marker, x in marks.items()} == {"|": [-2], "o": [5]}


def test_the_polished_point_is_drawn_unless_another_is_named(dataset):
    assert "polished" in plot_density(dataset).get_xlabel()
    assert "checkpoint" in plot_density(dataset, point="checkpoint").get_xlabel()
    only = dataset.sel(point=["checkpoint"])
    assert "checkpoint" in plot_density(only).get_xlabel()


def test_a_figure_is_a_column_wide_and_has_a_panel_a_checkpoint(dataset):
    figure = curvature_figure({"one": dataset, "two": dataset})
    assert figure.get_figwidth() == COLUMN
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]


def test_axes_of_ones_own_are_drawn_on(dataset):
    axes = Figure().subplots()
    assert plot_density(dataset, ax=axes) is axes


def test_a_spectrum_of_zeros_is_drawn():
    axes = plot_density(one_space([0.0, 0.0], [0.5, 0.5]))
    assert axes.lines[0].get_ydata().max() > 0


def test_what_cannot_be_drawn_is_refused(dataset):
    with pytest.raises(InputError, match="at least one checkpoint, found none"):
        curvature_figure({})
    with pytest.raises(InputError, match="a density of the eigenvalues at 'end', found one at"):
        curvature_figure({"a": dataset}, point="end")
    without = dataset.drop_vars(["density", "density_at"])
    with pytest.raises(InputError, match="a density of the eigenvalues at 'polished', found none"):
        plot_density(without)
