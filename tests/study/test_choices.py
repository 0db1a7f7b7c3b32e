"""Which transfers a study goes on with, in reports whose outcomes are known."""

import pytest

from crar_diag.errors import InputError
from crar_diag.study.choices import Pair, by_success, files_of, outcomes, pair, pairs
from tests.study.reported import Ended, of_base, report


def test_a_pair_is_the_nearest_success_and_the_settled_failure_with_the_least_loss(tmp_path):
    ended = [
        Ended("a", 0, True, distance=0.2),
        Ended("a", 1, True, distance=0.1),
        Ended("a", 2, False, "exchange", transition=0.04),
        Ended("a", 3, False, "mirror", transition=0.03),
        Ended("a", 4, False, "unfinished", transition=0.01),
    ]
    assert pairs(report(tmp_path, ended)) == [
        Pair("a", "transfers/original-a-lr0.0001-seed1", "transfers/original-a-lr0.0001-seed3")
    ]


def test_a_failure_that_is_nowhere_serves_where_none_has_settled(tmp_path):
    ended = [Ended("a", 0, True), Ended("a", 1, False, "unfinished", transition=0.1)]
    found = pairs(report(tmp_path, ended))
    assert [one.wrong for one in found] == ["transfers/original-a-lr0.0001-seed1"]


def test_restarts_serve_only_where_no_plain_transfer_is_correct(tmp_path):
    remedied = {"restarts": 3, "run": "restarts"}
    ended = [
        *of_base("a", 1, 2),
        Ended("a", 0, True, distance=0.01, **remedied),
        *of_base("b", 0, 2),
        Ended("b", 0, True, distance=0.01, **remedied),
        *of_base("c", 2, 2),
    ]
    found = {one.base: one.correct for one in pairs(report(tmp_path, ended))}
    assert found == {
        "a": "transfers/original-a-lr0.0001-seed0",
        "b": "restarts/original-b-lr0.0001-seed0",
    }


def test_a_pair_that_is_not_there_is_named(tmp_path):
    found = report(tmp_path, [*of_base("a", 1, 2), *of_base("b", 0, 2)])
    assert pair(found, 0).base == "a"
    with pytest.raises(InputError, match="wrong transfer besides a, found no other"):
        pair(found, 1)


def test_bases_are_ordered_by_success_and_then_by_distance(tmp_path):
    ended = [*of_base("a", 1, 4), *of_base("b", 3, 4), *of_base("c", 0, 2), *of_base("d", 0, 4)]
    # c's failures are at 1 and 2, d's at 1 to 4
    assert by_success(report(tmp_path, ended)) == ["b", "a", "c", "d"]


def test_remedied_transfers_do_not_count_as_plain_ones(tmp_path):
    found = report(tmp_path, [*of_base("a", 1, 2), *of_base("a", 2, 2, restarts=3, run="restarts")])
    assert outcomes(found).sizes["transfer"] == 2
    assert outcomes(found, remedied=True).sizes["transfer"] == 4
    with pytest.raises(InputError, match="no transfer of the variant 'finetune'"):
        outcomes(found, "finetune")


def test_files_are_found_by_the_labels_of_base_models():
    files = ["x/base-seed0.safetensors", "y/base-seed1.safetensors"]
    assert files_of(["base-seed1", "base-seed0"], files) == files[::-1]
    with pytest.raises(InputError, match="'base-seed2' among base-seed0, base-seed1"):
        files_of(["base-seed2"], files)
