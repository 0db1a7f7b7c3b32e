"""Which groups, runs and members are chosen of a report."""

import pytest

from crar_diag.errors import InputError
from crar_diag.report.figures.selection import (
    Candidate,
    Choice,
    Report,
    base_candidates,
    failed,
    pick,
    restrict_runs,
    successful,
    transfer_candidates,
)
from crar_diag.report.store import add_to_report
from tests.report.figures.by_hand import BASES
from tests.report.labelled import MADE

SUCCESS = ("a successful transfer", successful)
FAILURE = ("a failed transfer", failed)

PLAIN = Candidate("run", "plain", "base", "original", "identity")
WRONG = Candidate("run", "wrong", "base", "original", "exchange")
OTHER = Candidate("run", "other", "base", "original", "other")
TUNED = Candidate("run", "tuned", "base", "finetune", "identity")


def names(found) -> list:
    return [None if one is None else one.name for one in found]


def test_a_pattern_has_one_level_a_star(report):
    assert report.matching("embedding/*") == ["embedding/mazes-moved", "embedding/moved"]
    assert report.matching("embedding/*/kinds") == ["embedding/moved/kinds"]
    assert report.matching("plane/*-dynamics-plane") == ["plane/a-to-b-dynamics-plane"]
    assert report.matching("none/*") == []


def test_runs_are_found_by_what_they_hold_and_have(report):
    assert report.runs_of("base models", "simple-maze", "embedding/{}/states") == ["base"]
    assert report.runs_of("transfers", "labyrinth", "history/{}") == ["mazes-moved"]
    assert report.runs_of("transfers", "simple-maze", "statistics/{}") == []


def test_a_group_is_read_once_and_one_that_is_not_there_is_refused(report):
    assert report.read("line/a-to-b") is report.read("line/a-to-b")
    with pytest.raises(InputError, match="has no group 'line/x'"):
        report.read("line/x")


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Report(tmp_path / "none.h5")
    add_to_report(tmp_path / "empty.h5", {}, MADE)
    empty = Report(tmp_path / "empty.h5")
    assert empty.names == ()
    assert empty.runs == {}


def test_members_of_base_models_are_the_agents_in_their_order(report):
    found = base_candidates(report, ["base"])
    assert [(one.run, one.name) for one in found] == [("base", name) for name in BASES]


def test_transfers_come_settled_and_original_ones_first(report):
    found = transfer_candidates(report, ["moved"])
    assert names(found) == [
        "original-good-seed0",
        "original-poor-seed0",
        "reset-encoder-poor-seed0",
        "oracle-good",
        "scratch-seed0",
        "original-good-seed1",  # unfinished
    ]
    assert (found[1].base, found[1].kind) == ("poor", "exchange")
    assert transfer_candidates(report, ["base"]) == []


def test_the_first_that_fits_is_picked():
    every = [TUNED, PLAIN, WRONG, OTHER]
    assert names(pick(every, [SUCCESS, FAILURE], Choice())) == ["plain", "wrong"]
    assert names(pick([OTHER], [SUCCESS, FAILURE], Choice())) == [None, "other"]
    assert names(pick([], [SUCCESS], Choice())) == [None]


def test_a_chosen_member_goes_where_it_fits_and_the_others_stay():
    every = [PLAIN, WRONG, OTHER, TUNED]
    chosen = Choice(members=("other",))
    assert names(pick(every, [SUCCESS, FAILURE], chosen)) == ["plain", "other"]
    chosen = Choice(members=("wrong", "tuned"))
    assert names(pick(every, [SUCCESS, FAILURE], chosen)) == ["tuned", "wrong"]


def test_a_chosen_member_that_is_not_there_or_fits_nowhere_is_refused():
    with pytest.raises(InputError, match=r"found 'wron' \(did you mean 'wrong'\?\)") as caught:
        pick([PLAIN, WRONG], [FAILURE], Choice(members=("wron",)))
    assert caught.value.arguments == ("member",)
    with pytest.raises(
        InputError,
        match=r"a member that is a failed transfer, found 'plain' of run 'run', identity$",
    ):
        pick([PLAIN, WRONG], [FAILURE], Choice(members=("plain",)))
    many = [Candidate("run", f"member{k}", kind="exchange") for k in range(50)]
    with pytest.raises(InputError, match=r"found 'zzz', such as 'member0'$"):
        pick(many, [FAILURE], Choice(members=("zzz",)))


def test_a_chosen_run_is_the_only_one_and_another_is_refused():
    assert restrict_runs(["a", "b"], Choice()) == ["a", "b"]
    assert restrict_runs(["a", "b"], Choice(run="b")) == ["b"]
    with pytest.raises(InputError, match=r"runs that fit, found 'c' \(choose from a, b\)"):
        restrict_runs(["a", "b"], Choice(run="c"))
