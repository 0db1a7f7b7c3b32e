"""Figures of scores: what is drawn are the tables' means, of the runs that each figure is about."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from crar_diag.errors import InputError
from crar_diag.report.score_figures import (
    FIGURES,
    approaches_figure,
    bases_figure,
    possible_figures,
    rates_figure,
)
from crar_diag.report.score_panel import LEVELS, levels_of, plot_scores
from crar_diag.report.score_study import study_scores
from crar_diag.report.score_table import read_scores
from crar_diag.report.style import PAGE, save_figure
from tests.report.scored import PAPER, history, level


@pytest.fixture(scope="module")
def paper():
    return read_scores(PAPER)


@pytest.fixture
def read(tmp_path):
    return lambda runs: history(tmp_path / "x.csv", runs)


def study(bases, approach="original", rate=5e-4, seeds=range(3), epochs=5):
    """Runs whose score is that of their base and a hundredth of their seed."""
    return {
        (approach, base, s, rate): level(score + s / 100, epochs)
        for base, score in bases.items()
        for s in seeds
    }


def curves(axes):
    """Drawn lines by what their labels say."""
    return {line.get_label(): line for line in axes.lines}


def drawn(axes):
    return {label.rpartition(" (")[0]: line.get_ydata() for label, line in curves(axes).items()}


def bands(axes):
    return [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]


def edges(band):
    """Lower and upper edge by epoch."""
    vertices = band.get_paths()[0].vertices
    epochs = np.unique(vertices[:, 0])
    ends = [vertices[vertices[:, 0] == e, 1] for e in epochs]
    return epochs, [e.min() for e in ends], [e.max() for e in ends]


# One panel


@pytest.mark.parametrize("by", ["base", "seed"])
def test_drawn_means_are_the_tables_means(paper, by):
    table = study_scores(PAPER).tables[by]
    means = dict(zip(map(str, table[by].values), table["mean"].values, strict=True))
    lines = drawn(plot_scores(paper, by))
    assert {name: pytest.approx(y[-20:].mean()) for name, y in lines.items()} == means


def test_lines_are_means_and_bands_one_standard_error(paper):
    axes = plot_scores(paper, "base")
    assert list(curves(axes)) == [f"{base} (6 runs)" for base in (41, 42, 43, 44, 45)]
    for base, line, band in zip((41, 42, 43, 44, 45), axes.lines, bands(axes), strict=True):
        own = paper.score.values[paper.base.values == str(base)]
        error = own.std(axis=0, ddof=1) / np.sqrt(6)
        np.testing.assert_allclose(line.get_ydata(), own.mean(axis=0))
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 101))
        epochs, low, high = edges(band)
        np.testing.assert_array_equal(epochs, np.arange(1, 101))
        np.testing.assert_allclose(low, own.mean(axis=0) - error)
        np.testing.assert_allclose(high, own.mean(axis=0) + error)


def test_runs_that_ended_are_left_out_and_one_alone_has_no_band(read):
    runs = {("original", "b", 0, 1e-4): [1, 2, 3, 4], ("original", "b", 1, 1e-4): [3, 4]}
    axes = plot_scores(read(runs), "base")
    (line,), (band,) = axes.lines, bands(axes)
    assert line.get_xydata().tolist() == [[1, 2], [2, 3], [3, 3], [4, 4]]
    epochs, low, high = edges(band)
    assert epochs.tolist() == [1, 2]
    np.testing.assert_allclose([low, high], [[1, 2], [3, 4]])


def test_epochs_at_which_runs_are_never_scored_are_no_gap(read):
    runs = {("a", "b", 0, 1e-4): {2: 1.0, 4: 3.0}, ("c", "b", 0, 1e-4): [0, 0, 0, 0]}
    line = curves(plot_scores(read(runs), "approach"))["a (1 run)"]
    assert line.get_xydata().tolist() == [[2, 1], [4, 3]]


def test_epochs_are_whole_numbers(read):
    axes = plot_scores(read(study({"a": 0.0}, epochs=5)), "base")
    ticks = axes.get_xticks()
    assert len(ticks) > 2
    assert (ticks == np.round(ticks)).all()


def test_names_keep_the_order_of_the_file_and_numbers_rise(read):
    runs = study({"z": 0, "b": 1, "10": 2}, seeds=(10, 9, 2)) | study({"z": 0}, rate=1e-5)
    found = read(runs)
    assert levels_of(found, "base") == ["z", "b", "10"]
    assert levels_of(found, "seed") == [0, 1, 2, 9, 10]
    assert levels_of(found, "learning_rate") == [1e-5, 5e-4]
    assert list(drawn(plot_scores(found, "learning_rate"))) == ["1e-05", "0.0005"]


def test_neighbours_differ_in_colour_and_in_dash(read):
    axes = plot_scores(read(study({str(k): k for k in range(28)})), "base")
    looks = [(line.get_color(), line._dash_pattern[1]) for line in axes.lines]
    assert len({(colour, str(dash)) for colour, dash in looks}) == 28
    for one, other in pairwise(looks):
        assert one[0] != other[0]
        assert one[1] != other[1]


def test_an_unknown_level_is_refused(paper):
    with pytest.raises(InputError, match=r"unknown level 'bass' .did you mean 'base'"):
        plot_scores(paper, "bass")
    assert set(LEVELS) == {"base", "seed", "approach", "learning_rate"}


# Figure 8


def test_figure_8_has_bases_beside_seeds(paper):
    left, right = bases_figure(paper).axes
    assert (left.get_title(), right.get_title()) == ("by base model", "by seed of the transfer")
    assert list(drawn(left)) == ["41", "42", "43", "44", "45"]
    assert list(drawn(right)) == [str(s) for s in range(18940, 18946)]
    for axes, by in ((left, "base"), (right, "seed")):
        for name, y in drawn(axes).items():
            own = paper.score.values[paper[by].values.astype(str) == name]
            np.testing.assert_allclose(y, own.mean(axis=0))
    assert left.get_ylim() == right.get_ylim()


def test_figure_8_is_of_the_approach_and_rate_with_the_most_bases(read):
    runs = study({"a": 0, "b": 1}, approach="finetune") | study({"a": 9, "b": 9, "c": 9})
    runs |= study({"a": -5}, rate=1e-3) | study({"": 7}, approach="scratch")
    left, _ = bases_figure(read(runs)).axes
    assert list(drawn(left)) == ["a", "b", "c"]
    runs = study({"a": 0, "b": 1}, approach="finetune") | study({"a": 9, "b": 9})
    for y in drawn(bases_figure(read(runs)).axes[0]).values():
        assert y.mean() == pytest.approx(9.01, abs=0.11)  # the proposed approach


# Figure 10


def variants(**scores):
    """Approaches on the bases good, poor and middling, of which the last has fewer."""
    found = study({"middling": -1, "poor": -4, "good": 1})
    for name, score in scores.items():
        found |= study({"good": score, "poor": score - 1}, approach=name)
    return found


def test_figure_10_has_the_good_base_beside_the_poor_one(read):
    runs = variants(finetune=2, reset=0) | study({"": 0.5}, approach="scratch", epochs=9)
    left, right = approaches_figure(read(runs)).axes
    assert (left.get_title(), right.get_title()) == ("base model good", "base model poor")
    for axes, scores in ((left, (1, 2, 0, 0.5)), (right, (-4, 1, -1, 0.5))):
        assert list(drawn(axes)) == ["original", "finetune", "reset", "scratch"]
        for y, score in zip(drawn(axes).values(), scores, strict=True):
            assert y.mean() == pytest.approx(score + 0.01, abs=0.11)
        assert len(drawn(axes)["scratch"]) == 9


def test_figure_10_gives_an_approach_one_look_in_both_panels(read):
    runs = variants(finetune=2, reset=0)
    runs = {key: v for key, v in runs.items() if key[:2] != ("finetune", "poor")}
    runs |= study({"poor": 0}, approach="other")
    left, right = approaches_figure(read(runs)).axes
    assert list(drawn(left)) == ["original", "finetune", "reset"]
    assert list(drawn(right)) == ["original", "reset", "other"]
    colours = [{k: v.get_color() for k, v in curves(axes).items()} for axes in (left, right)]
    for name in ("original (3 runs)", "reset (3 runs)"):
        assert colours[0][name] == colours[1][name]


def test_figure_10_leaves_other_rates_out(read):
    runs = variants(finetune=2) | study({"good": -5}, rate=1e-5) | study({"poor": 9}, rate=1e-2)
    left, right = approaches_figure(read(runs)).axes
    assert (left.get_title(), right.get_title()) == ("base model good", "base model poor")
    assert drawn(left)["original"].mean() == pytest.approx(1.01, abs=0.11)


def test_figure_10_of_one_base_has_one_panel(read):
    runs = study({"a": 0, "b": 0}) | study({"a": 1}, approach="finetune")
    (axes,) = approaches_figure(read(runs)).axes
    assert axes.get_title() == "base model a"


# Figure 18


def rates_study():
    """Base b at three rates; three extra seeds at one of them, as in the paper."""
    runs = study({"b": -1}, rate=1e-5) | study({"b": 1}, rate=1e-3)
    return runs | study({"b": 0}, rate=1e-4, seeds=range(6))


def test_figure_18_has_rates_beside_the_seeds_that_ran_at_several(read):
    left, right = rates_figure(read(rates_study())).axes
    assert list(curves(left)) == ["1e-05 (3 runs)", "0.0001 (6 runs)", "0.001 (3 runs)"]
    assert list(curves(right)) == ["0 (3 runs)", "1 (3 runs)", "2 (3 runs)"]
    for s, y in drawn(right).items():
        np.testing.assert_allclose(y.mean(), int(s) / 100 - 0.1)  # five epochs: -0.5 is once more


def test_figure_18_leaves_bases_at_one_rate_and_other_approaches_out(read):
    runs = rates_study() | study({"a": 9, "c": 9}, rate=1e-3)
    runs |= study({"b": 7}, approach="finetune", rate=1e-3)
    left, right = rates_figure(read(runs)).axes
    assert list(curves(left)) == ["1e-05 (3 runs)", "0.0001 (6 runs)", "0.001 (3 runs)"]
    assert all(y.max() < 2 for axes in (left, right) for y in drawn(axes).values())


def test_figure_18_of_seeds_that_all_differ_shows_them_all(read):
    runs = study({"b": -1}, rate=1e-5) | study({"b": 1}, rate=1e-3, seeds=(7, 8))
    _, right = rates_figure(read(runs)).axes
    assert list(drawn(right)) == ["0", "1", "2", "7", "8"]


# All of them


def test_the_papers_file_allows_figure_8_alone(paper):
    assert list(possible_figures(paper)) == [8]
    assert list(FIGURES) == [8, 10, 18]


def test_all_figures_of_all_studies(read):
    runs = rates_study() | variants(finetune=2, reset=0) | study({"": 0}, approach="scratch")
    assert list(possible_figures(read(runs))) == [8, 10, 18]


@pytest.mark.parametrize(
    ("number", "needs"),
    [
        (8, "figure 8 needs runs of one approach at one learning rate on at least 2 base models"),
        (10, "figure 10 needs runs of at least 2 approaches on one base model at one learning"),
        (18, "figure 18 needs runs of one approach on one base model at at least 2 learning rates"),
    ],
)
def test_what_a_figure_lacks_is_said(read, number, needs):
    found = read({("original", "a", 0, 1e-4): level(0.0, 5)})
    with pytest.raises(InputError, match=needs):
        FIGURES[number](found)
    with pytest.raises(InputError, match=needs):
        possible_figures(found)
    without = read({("scratch", "", s, 1e-4): level(0.0, 5) for s in range(3)})
    with pytest.raises(InputError, match=needs):
        FIGURES[number](without)


def test_text_lies_within_the_figure_and_apart_from_the_axes(read):
    runs = variants(**{"a-name" * 33 + str(k): k for k in range(9)}) | rates_study()
    assert levels_of(read(runs), "approach")[1] == "a-name" * 33 + "0"
    for figure in possible_figures(read(runs)).values():
        figure.draw_without_rendering()
        assert figure.get_figwidth() == PAGE
        for axes in figure.axes:
            legend = axes.get_legend().get_window_extent()
            assert legend.y1 < axes.xaxis.label.get_window_extent().y0 + 1
            assert legend.y0 >= 0
            assert legend.x0 >= 0
            assert legend.x1 <= figure.bbox.x1
            box = axes.get_window_extent()
            assert box.height > 1.2 * figure.dpi


def test_saved_twice_a_figure_is_the_same_file(tmp_path, paper):
    for ending in ("pdf", "svg"):
        first, second = (tmp_path / f"{k}.{ending}" for k in (1, 2))
        save_figure(bases_figure(paper), first)
        save_figure(bases_figure(paper), second)
        assert first.read_bytes() == second.read_bytes()
