"""Kinds over time and what the remedies do: areas, points and intervals are the data's."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from crar_diag.errors import InputError
from crar_diag.report.figures.outcomes import (
    kinds_figure,
    plot_rates,
    plot_restarts,
    realigned_conditions,
    remedies_figure,
)
from crar_diag.report.style import COLUMN, PAGE
from tests.report.figures.by_hand import TIMES, rates, restarts, shares
from tests.report.surfaces import cut_off


def intervals(axes) -> list[list[tuple[float, float]]]:
    """The ends of each error bar, low and high."""
    found = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [[tuple(part[:, 1].tolist()) for part in c.get_segments()] for c in found]


# Kinds


def test_every_base_has_a_panel_and_all_of_them_the_first():
    data = shares()
    figure = kinds_figure(data, title="Kinds")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["all base models", "good", "poor"]
    for axes, base in zip(panels, ("all", "good", "poor"), strict=True):
        kind = "identity" if base == "good" else "exchange"
        below, above = axes.collections  # the good kind lies at the bottom, unfinished ones above
        assert (below.get_label(), above.get_label()) == (kind, "unfinished")
        share = data.share.sel(base=base, kind=kind).values
        tops = {tuple(point) for point in below.get_paths()[0].vertices.round(12)}
        wanted = zip(np.maximum(TIMES, 1), share.round(12), strict=True)
        assert {(float(x), float(y)) for x, y in wanted} <= tops
    assert cut_off(figure) == []


def test_kinds_have_hatches_that_tell_them_apart_in_grey():
    figure = kinds_figure(shares())
    hatches = {
        area.get_label(): area.get_hatch() for axes in figure.axes for area in axes.collections
    }
    assert hatches["exchange"]
    assert not hatches["identity"]
    (legend,) = figure.legends
    patches = {p.get_label(): p.get_hatch() for p in legend.get_patches()}
    assert list(patches) == ["identity", "exchange", "unfinished"]
    assert patches == {kind: hatches[kind] for kind in patches}


def test_a_lone_base_has_one_panel_and_transfers_from_scratch_have_none():
    one = kinds_figure(shares().sel(base=["all", "good"]))
    assert [axes.get_title() for axes in one.axes if axes.axison] == ["good"]
    assert one.get_figwidth() == COLUMN
    scratch = shares().assign_coords(base=["all", "", "poor"])
    titles = [axes.get_title() for axes in kinds_figure(scratch).axes if axes.axison]
    assert titles == ["poor"]


def test_the_legend_takes_a_free_cell_where_there_is_one():
    data = shares().isel(base=[0, 1, 2, 1, 2, 1, 2])
    data = data.assign_coords(base=["all", *"abcdef"])
    figure = kinds_figure(data)
    assert not figure.legends
    (cell,) = [axes for axes in figure.axes if not axes.axison]
    assert cell.get_legend() is not None
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []


# Remedies


def test_points_are_the_mean_over_bases_with_its_interval():
    data = restarts()
    axes = plot_restarts(data, ax=Figure().subplots())
    lines = {line.get_label(): line for line in axes.lines}
    own = data.sel(base="all")
    np.testing.assert_array_equal(
        lines["the K-th start alone, mean over bases"].get_ydata(), own.alone
    )
    assert lines["each base model"].get_ydata().tolist() == [0.5, 1.0, 1.0]
    mean = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(mean.get_xydata(), [[1, 0.25], [2, 0.5], [3, 0.75]])
    (ends,) = intervals(axes)
    np.testing.assert_allclose(ends, np.stack([own.low, own.high], axis=1))


def test_conditions_with_realignment_stand_beside_the_same_without_it():
    assert realigned_conditions(rates()) == ["original, lr 8e-05", "original, lr 8e-05, realign"]
    assert realigned_conditions(rates().isel(condition=[0, 1])) == []
    assert realigned_conditions(rates().isel(condition=[1, 2])) == []
    axes = plot_rates(rates(), realigned_conditions(rates()), ax=Figure().subplots())
    means = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert means == [[[0, 0.5]], [[1, 0.5]]]
    bases = [line.get_ydata().tolist() for line in axes.lines if line.get_label() == "_base"]
    assert bases == [[1.0, 0.75], [0.0, 0.25]]
    np.testing.assert_allclose(intervals(axes), [[(0.25, 0.75)], [(0.25, 0.75)]])
    with pytest.raises(InputError, match="found 'none'"):
        plot_rates(rates(), ["none"], ax=Figure().subplots())


def test_without_realigned_transfers_there_is_one_panel_of_a_columns_width():
    both = remedies_figure(restarts(), rates(), title="Remedies")
    assert [axes.get_title() for axes in both.axes] == ["restarts", "realignment"]
    assert both.get_figwidth() == PAGE
    for alone in (
        remedies_figure(restarts()),
        remedies_figure(restarts(), rates()[{"condition": [1]}]),
    ):
        assert [axes.get_title() for axes in alone.axes] == ["restarts"]
        assert alone.get_figwidth() == COLUMN
        assert cut_off(alone) == []
    assert cut_off(both) == []
