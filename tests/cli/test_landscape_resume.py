"""`crar-diag landscape` killed, interrupted, and several at once: the same call goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from crar_diag.landscape import drawing, partial, surface
from crar_diag.landscape.partial import PartialSurface
from crar_diag.landscape.points import count
from crar_diag.report import store
from crar_diag.report.provenance import PREFIX
from crar_diag.report.store import read_report, report_groups
from tests.cli.landscapes import FROZEN, LABEL, LINE, REFIT, A, B, partials
from tests.runs import BASES

ROOT = Path(__file__).parents[2]
PLANE = f"plane/{LABEL}-random-plane"
# Four pieces of sixteen points each of both surfaces.
GIVEN = ["--mode", "random-plane", "--points", "7", "--refit-iterations", "5", "--threads", "1"]


def stored(path: Path, group: str):
    found = read_report(path, group)
    return found.assign_attrs({k: "" for k in found.attrs if k.startswith(PREFIX)})


@pytest.fixture(autouse=True)
def saved_always(monkeypatch):
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(drawing, "_EVALUATED_AT_ONCE", 16)


@pytest.fixture
def counted(monkeypatch):
    """The numbers of points of which the losses were evaluated."""
    found = []
    really = surface.evaluate

    def evaluate(problem, moving, *more):
        found.append(count(moving))
        return really(problem, moving, *more)

    monkeypatch.setattr(surface, "evaluate", evaluate)
    return found


def interrupt_after(monkeypatch, pieces: int) -> None:
    """Press Ctrl-C once so many pieces are saved."""
    really, calls = PartialSurface.save, []

    def save(self, values, done):
        really(self, values, done)
        calls.append(done)
        if len(calls) == pieces:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PartialSurface, "save", save)


def test_killed_before_every_change_it_ends_as_if_it_never_was(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "tests.cli.landscape_killing", tmp_path, A, B, *GIVEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    kills = json.loads(answer.stdout)
    assert len(kills) > 10
    for kind in ("frozen", "unfrozen"):
        done = [kept.get(f"random-plane-{kind}", 0) for kept in kills]
        assert {16, 32} & set(done), kind
        until = done[: done.index(49) + 1]
        assert until == sorted(until)
    expected = stored(tmp_path / "peaceful" / "report.h5", PLANE)
    assert stored(tmp_path / "killed" / "report.h5", PLANE).identical(expected)
    assert partials(tmp_path / "killed") == partials(tmp_path / "peaceful") == []
    together = tmp_path / "together" / "report.h5"
    assert sorted(report_groups(together)) == [f"plane/{n}-random-plane" for n in ("one", "two")]
    for name in ("one", "two"):
        assert stored(together, f"plane/{name}-random-plane").identical(expected)


def test_ctrl_c_keeps_what_was_computed_and_the_same_call_goes_on(
    cli, tmp_path, monkeypatch, counted
):
    path = tmp_path / "report.h5"
    given = ["landscape", A, B, *GIVEN, "-o", path]
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        answer = cli(*given)
    assert answer.code == 130
    assert answer.sentence == (
        f"interrupted, what was computed is kept beside '{path}': the same call goes on from there"
    )
    assert not path.exists()
    assert len(partials(tmp_path)) == 2
    plan = cli(*given, "--dry-run", "--json").json
    assert [one["left"] for one in plan["work"]] == [0, 17]
    assert not path.exists()
    counted.clear()
    assert cli(*given).code == 0
    # Of the unfrozen surface the last 17 points, each evaluated frozen and re-fitted.
    assert counted == [16, 16, 1, 1]
    assert partials(tmp_path) == []
    other = tmp_path / "other.h5"
    cli(*given[:-1], other)
    assert stored(path, PLANE).identical(stored(other, PLANE))


def test_ctrl_c_within_a_re_fit_does_not_wait_for_its_end(cli, tmp_path, monkeypatch):
    path = tmp_path / "report.h5"
    iterations = []
    really = drawing.unfrozen_surface

    def unfrozen(*arguments, interrupt, **options):
        def counting():
            iterations.append(1)
            if len(iterations) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            interrupt()

        return really(*arguments, interrupt=counting, **options)

    monkeypatch.setattr(drawing, "unfrozen_surface", unfrozen)
    answer = cli("landscape", A, B, *LINE, "--refit-iterations", 1000, "-o", path)
    assert answer.code == 130
    assert len(iterations) <= 4
    assert [name.split(".")[-2] for name in partials(tmp_path)] == ["line-frozen"]


def test_ctrl_c_without_a_report_or_too_early_says_that_nothing_is_kept(cli, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        options["progress"](0, 1)

    monkeypatch.setattr(drawing, "frozen_surface", interrupted)
    for output, why in (
        ([], "nothing is kept: with -o the same call would go on"),
        (["-o", tmp_path / "x.h5"], "too early for anything to be kept: the same call begins anew"),
    ):
        answer = cli("landscape", A, B, *LINE, *output)
        assert answer.code == 130
        assert answer.sentence == f"interrupted, {why}"


@pytest.mark.parametrize(
    "changed",
    [
        ["--dynamics-from", BASES / "base-seed1.safetensors"],
        ["--weight", "volume=0"],
        ["--domain", "normal"],
        ["--points", 13],
        ["--refit-iterations", 4],
    ],
)
def test_another_call_does_not_go_on_from_it(cli, tmp_path, monkeypatch, changed):
    path = tmp_path / "report.h5"
    given = ["landscape", A, B, *LINE, *REFIT]
    with monkeypatch.context() as patch:
        interrupt_after(patch, 7 + 1)
        assert cli(*given, "-o", path).code == 130
    assert len(partials(tmp_path)) == 2
    assert cli(*given, *changed, "-o", path).code == 0
    other = tmp_path / "other.h5"
    cli(*given, *changed, "-o", other)
    group = f"line/{LABEL}"
    assert stored(path, group).identical(stored(other, group))


def test_a_damaged_partial_file_counts_for_nothing(cli, tmp_path, monkeypatch):
    path = tmp_path / "report.h5"
    given = ["landscape", A, B, *LINE, *FROZEN, "-o", path, "--json"]
    expected = cli(*given[:-3], "--json").json["views"]
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        cli(*given)
    (name,) = partials(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for damaged in (b"", b"a thesis", whole[:100], whole[:-10], np.random.default_rng(0).bytes(99)):
        (tmp_path / name).write_bytes(damaged)
        assert cli(*given).json["views"] == expected


def test_a_report_that_another_process_keeps_locked_loses_no_work(
    cli, tmp_path, monkeypatch, counted
):
    path = tmp_path / "report.h5"
    given = ["landscape", A, B, *LINE, *FROZEN, "-o", path]
    assert cli(*given, "--name", "first").code == 0
    before = path.read_bytes()
    with monkeypatch.context() as patch, FileLock(f"{path}.lock"):
        patch.setattr(store, "LOCK_SECONDS", 0.1)
        answer = cli(*given)
    assert answer.code == 2
    assert answer.sentence.startswith(f"report '{path}' is in use: another process has kept it")
    assert path.read_bytes() == before
    counted.clear()
    assert cli(*given).code == 0
    assert counted == []
    assert sorted(report_groups(path)) == ["line/first", f"line/{LABEL}"]
    assert partials(tmp_path) == []
