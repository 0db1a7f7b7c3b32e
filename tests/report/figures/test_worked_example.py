"""The worked example of appendix A against the numbers that the paper's text states."""

import numpy as np
import pytest

from crar_diag.errors import InputError
from crar_diag.report.figures.worked_example import (
    AFTER_UP,
    START,
    UNROUNDED,
    encode,
    observed,
    simple_encoding,
    to_quarters,
    worked_example,
)
from crar_diag.report.figures.worked_example_figures import (
    CROSSES,
    mismatch_figure,
    swapped_figure,
)
from crar_diag.report.style import COLUMN
from tests.report.figures.test_images import drawn_picture
from tests.report.surfaces import cut_off


@pytest.fixture(scope="module")
def example():
    return worked_example()


def marks(axes) -> list:
    return [tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xydata()) == 1]


# Its numbers


def test_the_pictures_have_the_papers_values(example):
    """1, 0 and 0.5 for wall, path and player; -1, 0 and -0.5 in the inverse (appendix A.1)."""
    normal = example.picture.sel(place="before", domain="normal").values
    assert set(np.unique(normal)) == {0.0, 0.5, 1.0}
    assert normal[2, 3] == 0.5
    inverse = example.picture.sel(place="before", domain="inverse").values
    np.testing.assert_array_equal(inverse, -normal)
    assert inverse[2, 3] == -0.5
    assert example.picture.sel(place="after up", domain="inverse").values[1, 3] == -0.5


def test_the_encoding_function_is_minus_the_pixel_and_zero(example):
    """embeddingX = state(2,3)*-1, embeddingY = 0; for the next state -1 and 1 times its pixel."""
    assert example.factor.sel(place="before").values.tolist() == [-1, 0]
    assert example.factor.sel(place="after up").values.tolist() == [-1, 1]


def test_embeddings_swap_sides(example):
    """(-0.5, 0) becomes (0.5, 0), and (-0.5, 0.5) becomes (0.5, -0.5)."""
    found = example.embedding
    assert found.sel(place="before", domain="normal").values.tolist() == [-0.5, 0]
    assert found.sel(place="before", domain="inverse").values.tolist() == [0.5, 0]
    assert found.sel(place="after up", domain="normal").values.tolist() == [-0.5, 0.5]
    assert found.sel(place="after up", domain="inverse").values.tolist() == [0.5, -0.5]


def test_the_transition_function_predicts_the_neighbour_on_the_other_side(example):
    """From (0.5, -0.25) up leads to (0.5, 0.25), where (0.5, -0.5) is expected (appendix A.2)."""
    assert example.begun.values.tolist() == [0.5, -0.25]
    assert example.predicted.values.tolist() == [0.5, 0.25]
    assert example.expected.values.tolist() == [0.5, -0.5]
    assert float(example.distance) == 0.75


def test_the_distance_is_below_two_edges_of_an_embedding_of_six_states_between_minus_one_and_one():
    edge = 2 / 5
    assert float(worked_example().distance) <= 2 * edge


def test_quarters_are_what_the_paper_reads_off():
    """It rounds (-0.6, 0.2) to (-0.5, 0) to keep it simple, and its negative to (0.5, -0.25)."""
    assert to_quarters(-np.array(UNROUNDED)).tolist() == [0.5, -0.25]


def test_an_encoder_of_one_pixel_is_odd():
    factors = simple_encoding(AFTER_UP, (0.3, -0.7))
    there = encode(factors, observed(AFTER_UP, "normal"))
    np.testing.assert_allclose(there, [0.3, -0.7], rtol=1e-15)
    np.testing.assert_array_equal(encode(factors, observed(AFTER_UP, "inverse")), -there)
    assert np.count_nonzero(factors) == 2
    with pytest.raises(InputError, match=r"a free cell of the simple maze, found \(0, 0\)"):
        simple_encoding((0, 0), (0.0, 0.0))


def test_everything_in_it_says_what_it_is(example):
    for variable in example.variables.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]


# Figures 12 and 14


def test_figure_12_shows_the_matrices_and_the_embeddings(example):
    figure = swapped_figure(example, title="Swapped")
    above, below = figure.axes[:2], figure.axes[2:]
    for axes, domain in zip(above, ("normal", "inverse"), strict=True):
        picture = example.picture.sel(place="before", domain=domain).values
        np.testing.assert_array_equal(drawn_picture(axes), picture)
        numbers = [float(text.get_text().replace("\N{MINUS SIGN}", "-")) for text in axes.texts]
        assert numbers == picture.ravel().tolist()
        frame = axes.lines[0].get_xydata()
        assert tuple(frame.min(axis=0)) == START[::-1]
    assert [marks(axes) for axes in below] == [[(-0.5, 0.0)], [(0.5, 0.0)]]
    titles = [axes.get_title().replace("\N{MINUS SIGN}", "-") for axes in below]
    assert titles == ["(-1, 0) · (0.5) = (-0.5, 0)", "(-1, 0) · (-0.5) = (0.5, 0)"]
    assert figure.get_figwidth() == COLUMN
    assert cut_off(figure) == []


def test_figure_14_shows_predicted_against_expected_and_the_distance(example):
    figure = mismatch_figure(example, title="Mismatch")
    before, after, below = figure.axes
    for axes, place in ((before, "before"), (after, "after up")):
        picture = example.picture.sel(place=place, domain="inverse").values
        np.testing.assert_array_equal(drawn_picture(axes), picture)
    assert marks(below) == [(0.5, -0.25), (0.5, 0.25), (0.5, -0.5)]
    words = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in below.texts]
    assert {"encoded (0.5, -0.25)", "predicted (0.5, 0.25)", "expected (0.5, -0.5)"} <= set(words)
    assert "0.75" in words
    assert len({str(style["marker"]) for style in CROSSES.values()}) == 3
    assert cut_off(figure) == []
