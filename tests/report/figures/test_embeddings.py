"""Embeddings over time and beside each other: what is drawn is what the data hold."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from crar_diag.envs import simple_maze
from crar_diag.errors import InputError
from crar_diag.report.embedding import SIDE_MARKERS
from crar_diag.report.figures.embeddings import (
    beside_base_figure,
    nearest_records,
    training_figure,
    variant_figure,
)
from crar_diag.report.style import PAGE
from tests.report.figures.by_hand import ENDS, TIMES, history, states
from tests.report.surfaces import cut_off

MEMBER = "original-poor-seed0"


@pytest.fixture(scope="module")
def data():
    return states(tuple(ENDS))


def assert_drawn(axes, embedding, predictions):
    """Crosses stand on the states, and four grey lines lead from each to its predictions."""
    crosses = [c for c in axes.collections if isinstance(c, PathCollection)]
    for side, cross in enumerate(crosses):
        np.testing.assert_array_equal(cross.get_offsets(), embedding[side == simple_maze.SIDES])
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(lines) == 4
    for action, line in enumerate(lines):
        segments = np.array(line.get_segments())
        np.testing.assert_array_equal(segments[:, 0], embedding)
        np.testing.assert_array_equal(segments[:, 1], predictions[:, action])


# Which records


@pytest.mark.parametrize(
    ("times", "wanted", "found"),
    [
        ([0, 5_000, 20_000, 160_000], (5_000, 20_000, 160_000), [5_000, 20_000, 160_000]),
        # 4,000 is nearer to 5,000 by ratio than 10,000; 21,000 to 20,000 than 18,000.
        (
            [0, 4_000, 10_000, 18_000, 21_000, 80_000],
            (5_000, 20_000, 80_000),
            [4_000, 21_000, 80_000],
        ),
        # A quarter of the length: at a quarter of the times.
        ([0, 1_000, 1_250, 5_000, 20_000], (5_000, 20_000, 80_000), [1_250, 5_000, 20_000]),
        # A longer one: at the times themselves.
        ([0, 5_000, 20_000, 155_000, 250_000], (5_000, 20_000, 160_000), [5_000, 20_000, 155_000]),
        ([0, 1], (5_000, 20_000, 80_000), [0, 0, 1]),
    ],
)
def test_records_are_the_nearest_by_ratio_at_the_same_shares_of_shorter_runs(times, wanted, found):
    assert [times[k] for k in nearest_records(np.array(times), wanted)] == found


# Figures 5 to 7


def test_panels_show_the_member_at_the_nearest_records(data):
    figure = training_figure(data, member=MEMBER, title="Failing")
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == [
        "4,000 updates",
        "21,000 updates",
        "80,000 updates",
    ]
    for axes, time in zip(panels, (4_000, 21_000, 80_000), strict=True):
        own = data.sel(member=MEMBER, time=time)
        assert_drawn(axes, own.embedding.values, own.prediction.values)
    assert figure.get_figwidth() == PAGE
    assert cut_off(figure) == []


def test_all_panels_have_one_square_frame_that_holds_all_they_show(data):
    for figure in (training_figure(data, member=MEMBER), beside_base_figure(data, member=MEMBER)):
        limits = {(*axes.get_xlim(), *axes.get_ylim()) for axes in figure.axes}
        assert len(limits) == 1
        left, right, bottom, top = limits.pop()
        assert (left, right) == (bottom, top) == (-right, right)
        for axes in figure.axes:
            assert right >= np.abs(axes.dataLim.get_points()).max()
            assert axes.get_aspect() == 1


def test_the_legend_names_rooms_and_actions(data):
    (legend,) = training_figure(data, member=MEMBER).legends
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "left room",
        "door",
        "right room",
        *(f"predicted, {action}" for action in ("up", "down", "left", "right")),
    ]


def test_rooms_differ_in_shape_and_not_in_colour_alone():
    assert len(set(SIDE_MARKERS)) == 3


# Figures 11 and 17


def test_the_base_stands_beside_what_its_own_transfer_ended_with(data):
    left, right = beside_base_figure(data, member=MEMBER).axes
    base, own = data.sel(base_model="poor"), data.sel(member=MEMBER, time=80_000)
    assert_drawn(left, base.base_embedding.values, base.base_prediction.values)
    assert_drawn(right, own.embedding.values, own.prediction.values)
    assert left.get_title() == "base model, domain 'normal'"
    assert right.get_title() == "transfer, domain 'inverse', 80,000 updates"


def test_a_variant_has_its_losses_as_well(data):
    record = history(tuple(ENDS))
    figure = variant_figure(data, record, member=MEMBER, title="Reset")
    left, middle, right = figure.axes
    base, own = data.sel(base_model="poor"), data.sel(member=MEMBER, time=80_000)
    assert_drawn(left, base.base_embedding.values, base.base_prediction.values)
    assert_drawn(middle, own.embedding.values, own.prediction.values)
    (curve,) = [line for line in right.lines if line.get_label() == "transition"]
    values = record.expected_loss.sel(member=MEMBER, loss="transition").values
    np.testing.assert_array_equal(curve.get_ydata(), values)
    np.testing.assert_array_equal(curve.get_xdata(), np.maximum(TIMES, 1))
    assert left.get_ylim() == middle.get_ylim()
    assert cut_off(figure) == []


# What cannot be drawn


def test_what_is_not_there_is_refused(data):
    with pytest.raises(InputError, match=r"found 'original-poor-seed1' \(did you mean"):
        training_figure(data, member="original-poor-seed1")
    with pytest.raises(InputError, match="that has a base model, found 'scratch-seed0'"):
        beside_base_figure(data, member="scratch-seed0")
    bases = states(("good", "poor"), transfers=False)
    with pytest.raises(InputError, match="that has a base model, found 'good'"):
        beside_base_figure(bases, member="good")
    with pytest.raises(InputError, match="that are points of a plane"):
        training_figure(states(tuple(ENDS), images=True), member=MEMBER)
