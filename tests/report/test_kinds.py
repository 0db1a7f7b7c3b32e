import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from crar_diag.embedding.kinds import KINDS
from crar_diag.embedding.outcome import NO_BASE
from crar_diag.errors import InputError
from crar_diag.report.kinds import KIND_COLOURS, plot_kinds


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def shares() -> xr.Dataset:
    """Of four transfers: all unfinished, then half, then none; the rest identity."""
    kinds = [*KINDS, NO_BASE]
    share = np.zeros((2, len(kinds), 3))
    share[0, kinds.index("identity")] = [0, 0.5, 1]
    share[0, kinds.index("unfinished")] = [1, 0.5, 0]
    share[1, kinds.index("exchange")] = 1
    return xr.Dataset(
        {"share": (("base", "kind", "time"), share)},
        coords={"base": ["all", "poor"], "kind": kinds, "time": [0, 10, 100]},
    )


def test_every_kind_has_a_colour_of_its_own():
    assert set(KIND_COLOURS) == {*KINDS, NO_BASE}
    assert len(set(KIND_COLOURS.values())) == len(KIND_COLOURS)


def test_areas_stand_on_each_other_and_only_kinds_that_occur_have_one(axes):
    assert plot_kinds(shares(), ax=axes) is axes
    assert axes.get_legend_handles_labels()[1] == ["identity", "unfinished"]
    tops = [area.get_paths()[0].vertices for area in axes.collections]
    at_ten = [sorted({float(y) for x, y in area if x == 10}) for area in tops]
    assert at_ten == [[0.0, 0.5], [0.5, 1.0]]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (1, 100)


def test_one_base_alone(axes):
    plot_kinds(shares(), "poor", ax=axes)
    assert axes.get_legend_handles_labels()[1] == ["exchange"]


def test_a_base_that_is_not_there_is_refused(axes):
    with pytest.raises(InputError, match="all, poor, found 'rich'"):
        plot_kinds(shares(), "rich", ax=axes)
