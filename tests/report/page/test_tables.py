"""The tables of a page: what their rows say, by hand."""

import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.figures.selection import Report
from crar_diag.report.page.cells import interval, text
from crar_diag.report.page.tables import tables_of_report
from crar_diag.report.transfer_statistics import statistics_of
from tests.embedding.ended import ended
from tests.report.figures import by_hand
from tests.report.page import hand


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    others = {
        "hessian/a": by_hand.spectrum(),
        "statistics/comparisons": statistics_of(
            ended(variant=["original", "reset-encoder", "scratch"], base=["a", "a", ""]),
            np.array([False, True, True]),
        )["comparisons"],
        "statistics/own": xr.Dataset(
            {"p": labelled(["kind"], np.array([0.5, np.nan]), "p")},
            coords={"kind": labelled(["kind"], by_hand.text(["a<b", "c"]), "kind")},
        ),
    }
    path = hand.report(tmp_path_factory.mktemp("tables") / "r.h5", **others)
    return {table.key: table for table in tables_of_report(Report(path))}


def test_rates_stand_with_their_intervals(tables):
    rows = tables["statistics/rates"].rows
    # 1 and 0 of two bases: a mean of 0.5, by hand between its half and 0.75.
    assert rows[0] == ("original, lr 8e-05", "mean over bases", "", "0.50", "0.25 to 0.75")
    assert rows[1][:4] == ("original, lr 8e-05", "good", "", "1.00")


def test_each_pair_of_conditions_with_a_base_in_common_stands_once(tables):
    (row,) = tables["statistics/comparisons"].rows  # from scratch there is no base
    assert row == ("reset-encoder, lr 8e-05", "original, lr 8e-05", "1", "+1.00", "", "", "")


def test_every_transfer_has_a_row(tables):
    rows = tables["outcome"].rows
    assert [row[0] for row in rows] == list(hand.NAMES)
    assert rows[0][3:7] == ("identity", "yes", "0.05", "0.025")
    assert rows[5][4:7] == ("no", "", "")


def test_barriers_stand_for_every_loss_and_kind_of_dynamics(tables):
    line = hand.moving_line()
    rows = {row[:3]: row[3:] for row in tables["line"].rows if row[0] == "a-to-b"}
    assert len(rows) == line.sizes["loss"] * 2
    for loss in line.loss.values:
        own = line.sel(loss=loss, dynamics="frozen")
        found = rows["a-to-b", str(loss), "frozen, line"]
        assert float(found[0]) == pytest.approx(float(own.value.sel(alpha=0.0)), rel=0.01)
        assert float(found[2]) == pytest.approx(float(own.above_line), rel=0.01, abs=1e-9)


def test_verdicts_stand_for_every_space(tables):
    rows = tables["hessian"].rows
    assert [row[:3] for row in rows] == [
        ("a", "frozen", "saddle"),
        ("a", "unfrozen", "local minimum"),
    ]
    assert rows[0][5:7] == ("2", "2")


def test_statistics_without_a_table_of_their_own_stand_as_they_are(tables):
    table = tables["statistics/own"]
    assert (table.header, table.rows) == (("kind", "p"), (("a<b", "0.5"), ("c", "")))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.bool_(True), "yes"), (1234, "1,234"), (0.00123456, "0.00123"), (np.nan, ""), ("a", "a")],
)
def test_values_are_short(value, shown):
    assert text(value) == shown


def test_an_interval_without_an_end_is_empty():
    assert (interval(0.1, 0.25), interval(np.nan, 1)) == ("0.10 to 0.25", "")
