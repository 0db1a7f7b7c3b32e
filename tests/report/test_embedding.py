import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from crar_diag.envs import simple_maze
from crar_diag.errors import InputError
from crar_diag.report.embedding import SIDE_COLOURS, plot_embedding


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_crosses_stand_on_states_by_side_and_lines_end_on_predictions(axes):
    embedding = simple_maze.STATES / 4.0 - 1
    predictions = embedding[simple_maze.SUCCESSORS]
    assert plot_embedding(embedding, predictions, simple_maze.SIDES, ax=axes) is axes
    crosses = [c for c in axes.collections if isinstance(c, PathCollection)]
    assert [len(c.get_offsets()) for c in crosses] == [18, 1, 12]
    for side, c in enumerate(crosses):
        np.testing.assert_array_equal(c.get_offsets(), embedding[side == simple_maze.SIDES])
        assert matplotlib.colors.to_hex(c.get_edgecolor()[0]).upper() == SIDE_COLOURS[side]
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(lines) == 4
    for action, line in enumerate(lines):
        segments = np.array(line.get_segments())
        np.testing.assert_array_equal(segments[:, 0], embedding)
        np.testing.assert_array_equal(segments[:, 1], predictions[:, action])
    assert len({tuple(line.get_color()[0]) for line in lines}) == 4


def test_an_embedding_that_is_not_two_dimensional_is_refused(axes):
    with pytest.raises(InputError, match=r"\(31, 3\)"):
        plot_embedding(np.zeros((31, 3)), np.zeros((31, 4, 3)), simple_maze.SIDES, ax=axes)
