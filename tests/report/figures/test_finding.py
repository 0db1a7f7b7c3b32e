"""What figures are drawn from: what a user chooses, and what is missing only in part."""

import numpy as np
import pytest
import xarray as xr

from crar_diag.errors import InputError
from crar_diag.report.figures.catalogue import find
from crar_diag.report.figures.comparisons import scores_of_runs
from crar_diag.report.figures.selection import Choice, Report
from crar_diag.report.score_table import read_scores
from crar_diag.report.store import add_to_report, read_report
from tests.report.figures import by_hand
from tests.report.labelled import MADE


def without(path, *names: str) -> Report:
    return Report(by_hand.report(path / "less.h5", *names))


# What a user chooses


def test_what_a_figure_leaves_no_choice_of_is_refused(report):
    for name, choice, argument in [
        ("3", Choice(seed=0), "seed"),
        ("5", Choice(loss="sum"), "loss"),
        ("12", Choice(run="moved"), "run"),
        ("15", Choice(members=("good",)), "member"),
    ]:
        with pytest.raises(InputError, match=f"figure {name} leaves no such choice") as told:
            find(name, report, choice)
        assert told.value.arguments == (argument,)


def test_a_chosen_member_is_drawn(report):
    assert find("5", report, Choice(members=("poor",))).words["member"] == "poor"
    found = find("7", report, Choice(members=("original-good-seed1",)))
    assert (found.words["member"], found.words["kind"]) == ("original-good-seed1", "unfinished")
    found = find("6", report, Choice(members=("oracle-good",)))
    assert found.words["member"] == "oracle-good"
    with pytest.raises(InputError, match="that is a failed transfer, found 'oracle-good'"):
        find("7", report, Choice(members=("oracle-good",)))
    chosen = ("original-good-seed1", "oracle-good")
    assert find("16", report, Choice(members=chosen)).words["member"] == ["good", *chosen[::-1]]
    assert find("9", report, Choice(members=chosen)).words["member"] == list(chosen)


def test_a_chosen_run_comparison_or_loss_is_drawn(report):
    with pytest.raises(InputError, match="runs that fit, found 'base'") as told:
        find("6", report, Choice(run="base"))
    assert told.value.arguments == ("run",)
    assert find("8", report, Choice(run="mazes-moved")).words == {"run": ["mazes-moved"]}
    with pytest.raises(InputError, match="with scores, found 'moved'"):
        find("8", report, Choice(run="moved"))
    assert find("barriers", report, Choice(run="c-to-d")).words == {"group": ["line/c-to-d"]}
    assert find("spectra", report, Choice(run="d")).words == {"group": ["hessian/d"]}
    found = find("15", report, Choice(run="a-to-b", loss="transition"))
    assert (found.words["group"], found.words["loss"]) == (
        "plane/a-to-b-dynamics-plane",
        "transition",
    )
    with pytest.raises(InputError, match="found 'b-to-a'"):
        find("surfaces", report, Choice(run="b-to-a"))
    with pytest.raises(InputError, match="expected one of the losses"):
        find("surfaces", report, Choice(loss="hue")).draw()
    with pytest.raises(InputError, match="report's runs, found 'base'"):
        find("kinds", report, Choice(run="base"))


def test_a_seed_draws_another_labyrinth():
    first, again, other = (find("4", None, Choice(seed=seed)) for seed in (1, 1, 2))
    assert first.data[0].identical(again.data[0])
    assert not first.data[0].picture.equals(other.data[0].picture)


# What is missing only in part


def test_transfers_of_which_none_fits_are_told(tmp_path):
    groups = by_hand.groups()
    names = ["original-good-seed1", "oracle-good"]
    groups["embedding/moved"] = by_hand.ended(names).isel(member=[0])
    add_to_report(tmp_path / "report.h5", groups, MADE)
    report = Report(tmp_path / "report.h5")
    with pytest.raises(
        InputError,
        match=r"^figure 6 needs a successful transfer in the simple maze: make it by crar-diag "
        r"transfer BASE\.\.\. --out RUN, and crar-diag report RUN -o report\.h5$",
    ):
        find("6", report)
    assert find("7", report).words["member"] == "original-good-seed1"
    with pytest.raises(InputError, match=r"needs a reset-encoder transfer .*--variant reset-enc"):
        find("17", report)


def test_a_base_model_whose_run_is_not_there_is_told(tmp_path):
    report = without(tmp_path, "config/base", "history/base")
    with pytest.raises(
        InputError,
        match=r"figure 13 needs the group /history/<run> of the base model 'poor': make it by "
        r"crar-diag report RUN_OF_BASE_MODELS -o report\.h5$",
    ):
        find("13", report)


def test_a_line_between_other_agents_is_not_drawn_beside_a_plane(tmp_path):
    groups = {"plane/a-to-b-dynamics-plane": by_hand.dynamics_plane()}
    for changed in (by_hand.line(sha256_b="c"), by_hand.line(domain="normal")):
        path = tmp_path / f"{changed.attrs['domain']}{changed.attrs['sha256_b']}.h5"
        add_to_report(path, {**groups, "line/a-to-b": changed}, MADE)
        found = find("15", Report(path))
        assert "line" not in found.words
        assert len(found.data) == 1


def test_without_realigned_transfers_the_remedies_say_what_is_left_out(tmp_path):
    found = find("remedies", without(tmp_path, "statistics"))
    assert found.words["left out"].startswith("realignment")
    assert len(found.data) == 1


# Scores of runs


def test_scores_of_runs_are_drawn_where_there_is_no_table(tmp_path):
    report = without(tmp_path, "history/scores")
    found = find("8", report)
    assert found.words == {"run": ["mazes-moved"]}
    (data,) = found.data
    own = read_report(report.path, "history/mazes-moved")
    np.testing.assert_array_equal(data.score.values, own.score.values)
    assert data.approach.values.tolist() == own.variant.values.tolist()
    assert data.base.values.tolist() == own.base.values.tolist()
    assert data.epoch.values.tolist() == [1, 2, 3]


def test_scores_of_runs_of_different_lengths_stand_together_as_a_table_has_them(tmp_path):
    names = ["original-good-seed0", "original-poor-seed0"]
    long, short = by_hand.history(names, scores=3), by_hand.history(names, scores=2)
    short = short.assign_coords(restart=("member", [0, 1], short.restart.attrs))
    long.score[1] = np.nan
    found = scores_of_runs([long, short])
    np.testing.assert_array_equal(
        found.score.values, [long.score.values[0], [*short.score.values[0], np.nan]]
    )
    assert found.recorded.values.tolist() == [[True] * 3, [True, True, False]]
    table = tmp_path / "scores.csv"
    header = "approach,base_model,seed,learning_rate,epoch,validation_score\n"
    table.write_text(header + "original,good,0,8e-5,1,0.5\n")
    wanted = read_scores(table)
    assert set(found.variables) == set(wanted.variables)
    for name, variable in wanted.variables.items():
        assert found[name].dims == variable.dims
        assert isinstance(found, xr.Dataset)
