"""`crar-diag path` between two shipped transfers, by small budgets."""

import hashlib

import numpy as np
import pytest
import xarray as xr

from tests.cli.conftest import snapshot
from tests.cli.landscapes import LABEL, A, B
from tests.runs import BASES

SMALL = ["--points", 5, "--iterations", 4, "--bends", 1, "--threads", 1]
INVARIANT = ("transition", "reward", "discount", "random_pairs", "consecutive_pairs", "q")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The report of one call, and where its figure is."""
    return tmp_path_factory.mktemp("path")


@pytest.fixture
def answer(cli, found):
    """The answer of one call with both dynamics, a report and a figure; made once."""
    if not hasattr(answer_once, "value"):
        answer_once.value = cli(
            "path", A, B, *SMALL, "-o", found / "r.h5", "--figure", found / "f.pdf", "--json"
        )
    return answer_once.value


def answer_once():
    """Hold the answer, which takes seconds to make."""


def test_the_ends_of_both_frozen_paths_are_what_evaluate_prints(cli, answer):
    assert (answer.code, answer.err) == (0, "")
    expected = cli("evaluate", A, B, "--json").json["checkpoints"]
    for course in ("straight", "curve"):
        losses = answer.json["paths"]["frozen"][course]["losses"]
        for end, place in ((0, 0), (1, -1)):
            for name, value in expected[end]["losses"].items():
                seen = losses[name]["values"][place]
                assert seen == pytest.approx(value, rel=1e-3, abs=1e-9), (course, name)


def test_barriers_are_the_rise_above_the_worse_end(answer):
    for kind in ("frozen", "unfrozen"):
        for course in ("straight", "curve"):
            for name, loss in answer.json["paths"][kind][course]["losses"].items():
                values = loss["values"]
                ends = max(values[0], values[-1])
                assert loss["highest"] >= max(values) * (1 - 1e-9)
                assert loss["above_ends"] == pytest.approx(
                    loss["highest"] - ends, rel=1e-6, abs=1e-12
                ), (kind, course, name)


def test_the_curve_is_no_higher_than_the_straight_segment(answer):
    for kind in ("frozen", "unfrozen"):
        straight, curve = (
            answer.json["paths"][kind][course]["losses"]["sum"]["highest"]
            for course in ("straight", "curve")
        )
        assert curve < straight


def test_turning_with_the_dynamics_costs_nothing_but_volume(answer):
    together = answer.json["rotation"]["together"]["losses"]
    for name in INVARIANT:
        values = together[name]["values"]
        assert values == pytest.approx([values[0]] * 5, rel=1e-5, abs=1e-9), name
    assert together["volume"]["above_ends"] > 0.01
    alone = answer.json["rotation"]["encoder"]["losses"]["transition"]["values"]
    assert alone[-1] > 100 * alone[0]
    assert answer.json["rotation"]["angle"] == [0, 45, 90, 135, 180]


def test_the_report_holds_what_was_printed(answer, found):
    group = f"path/{answer.json['report'] and LABEL}"
    dataset = xr.open_dataset(found / "r.h5", group=group, engine="h5netcdf")
    for kind in ("frozen", "unfrozen"):
        for course in ("straight", "curve"):
            own = dataset.value.sel(dynamics=kind, path=course)
            for name, loss in answer.json["paths"][kind][course]["losses"].items():
                np.testing.assert_array_equal(own.sel(loss=name), loss["values"])
    assert dataset.attrs["sha256_a"] == hashlib.sha256(A.read_bytes()).hexdigest()
    assert dataset.attrs["sha256_b"] == hashlib.sha256(B.read_bytes()).hexdigest()
    for name, variable in dataset.variables.items():
        assert variable.attrs.keys() >= {"units", "long_name"}, name
    assert (found / "f.pdf").read_bytes().startswith(b"%PDF")


def test_the_text_says_whether_there_is_a_barrier(cli):
    text = cli("path", A, B, *SMALL, "--dynamics", "frozen").out
    assert "frozen: the lowest curve found rises" in text or "frozen: no barrier" in text
    assert "unfrozen" not in text


BASE = BASES / "base-seed0.safetensors"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([A, A], "is the same as"),
        ([A, BASE], "'inverse' and 'normal'"),
        ([A, "nowhere.safetensors"], "does not exist"),
        ([A, B, "--domain", "upside-down"], "upside-down"),
        ([A, B, "--weight", "volumen=2"], "volumen"),
        ([A, B, "--dynamics", "thawed"], "thawed"),
        ([A, B, "--figure", "f.gif"], ".gif"),
        ([A, B, "--name", "a/b", "-o", "new.h5"], "a/b"),
        ([A, B, "-o", "r.h5"], "r.h5"),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_a_report_as_it_was(
    cli, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.h5").write_bytes(b"not a report")
    before = snapshot(tmp_path)
    wrong = cli("path", *arguments)
    assert wrong.code == 2
    assert words in wrong.sentence
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["truncated", "nan", "labyrinth"])
def test_damaged_and_foreign_files_are_refused(cli, files, name):
    answer = cli("path", files / "maze.safetensors", files / f"{name}.safetensors")
    assert answer.code == 2
    assert name in answer.sentence
