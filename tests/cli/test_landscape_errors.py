"""What `crar-diag landscape` refuses: one sentence, exit code 2, and nothing is written."""

import os
import re
import shutil

import pytest

from crar_diag.agent.sealing import CHECKPOINT, seal, unseal
from crar_diag.landscape import surface
from tests.cli.conftest import BAD_FILES, snapshot
from tests.cli.landscapes import LINE, PLANE, A, B, C
from tests.runs import BASES, labyrinth_config, maze_config, save_agent

BASE = BASES / "base-seed0.safetensors"


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Fail where any point is computed: what is wrong is seen before."""

    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("a landscape was begun")

    monkeypatch.setattr(surface, "_by_pieces", work)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def refused(cli, *arguments: object, code: int = 2) -> str:
    answer = cli("landscape", *arguments)
    assert answer.code == code, answer
    return answer.sentence


# Files


def test_what_is_no_checkpoint_is_refused(cli, files):
    before = snapshot(files)
    for name, why in BAD_FILES:
        for pair in ((name, A), (A, name)):
            assert re.search(why, refused(cli, *pair, "-o", "report.h5")), name
    assert snapshot(files) == before


def test_a_run_folder_is_no_checkpoint(cli, maze_run):
    sentence = refused(cli, A, maze_run)
    assert sentence == f"checkpoint '{maze_run}': expected a regular file, found a folder"


def test_an_agent_and_itself(cli, folder):
    shutil.copy(A, "copy.safetensors")
    for pair in ((A, A), (A, "copy.safetensors"), (A, B, "--third", "copy.safetensors")):
        assert refused(cli, *pair) == (
            f"checkpoint '{pair[-1]}' is the same as '{A}': there is no landscape between an agent "
            "and itself"
        )


def test_equal_encoders_have_nothing_between_them(cli, folder):
    parameters, document = unseal(A, CHECKPOINT)
    parameters["q.3.bias"] = parameters["q.3.bias"] + 1
    (folder / "x.safetensors").write_bytes(seal(parameters, document, CHECKPOINT))
    assert "have the same encoder" in refused(cli, A, "x.safetensors", *LINE)


def test_agents_of_other_domains_need_one_in_which_both_are_seen(cli):
    assert refused(cli, A, BASE) == (
        f"checkpoints '{A}' and '{BASE}' were trained in the visual domains 'inverse' and "
        "'normal': name the one in which both are evaluated (--domain)"
    )
    found = refused(cli, A, BASE, "--domain", "invers")
    assert found == "unknown domain 'invers' (did you mean 'inverse'?)"


def test_agents_of_other_tasks_and_architectures(cli, folder):
    labyrinth = save_agent(folder / "labyrinth.safetensors", labyrinth_config("0", 5))
    pixels = save_agent(folder / "pixels.safetensors", maze_config("0", 5, "observation=pixels"))
    for file, why in (
        (labyrinth, "environment: simple-maze and labyrinth"),
        (pixels, "observation: symbolic and pixels"),
    ):
        sentence = f"checkpoints '{BASE}' and '{file}' differ in their {why}"
        assert refused(cli, BASE, file) == sentence
        other = BASES / "base-seed1.safetensors"
        assert refused(cli, BASE, other, "--dynamics-from", file) == sentence


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--mode", "lin"], "--mode: unknown 'lin' (did you mean 'line'?)"),
        (["--mode", ""], "--mode: unknown '' (choose from "),
        (["--mode", "line,"], "--mode: unknown '' (choose from "),
        (["--dynamics", "frosen"], "--dynamics: unknown 'frosen' (did you mean 'frozen'?)"),
        (["--engine", "los"], "--engine: unknown engine 'los' (choose from "),
        ([*LINE, "--points", 6], "a line needs at least 7 points, found 6 (--points)"),
        ([*LINE, "--points", 0], "a line needs at least 7 points, found 0 (--points)"),
        ([*PLANE, "--points", 8], "found 8: take 9 (--points)"),
        ([*PLANE, "--points", 5], "7 at least, found 5: take 7 (--points)"),
        ([*PLANE, "--unfrozen-points", 6], "found 6: take 7 (--unfrozen-points)"),
        (["--mode", "dynamics-plane", "--points", 3], "found 3: take 7 (--points)"),
        (["--mode", "plane"], "needs a third one; the plane with a random direction needs none"),
        (
            ["--mode", "dynamics-plane", "--dynamics", "unfrozen"],
            "the mode dynamics-plane has no dynamics to re-fit: expected frozen ones (--dynamics)",
        ),
        (["--mode", "line,reward"], "of the task simple-maze, which has no reward: "),
        (["--mode", "trajectory"], "is not a run folder: expected a folder with a run.toml"),
        (["--weight", "volume"], "--weight: expected loss=value with a value of at least 0"),
        (["--weight", "volume=-1"], "--weight: expected loss=value with a value of at least 0"),
        (["--weight", "volume=nan"], "--weight: expected loss=value with a value of at least 0"),
        (["--weight", "volum=1"], "unknown loss 'volum' (did you mean 'volume'?) (--weight)"),
        (["--weight", "q=1", "--weight", "q=2"], "--weight: 'q' is given twice"),
        (["--refit-tolerance", 2], "--refit-tolerance must be between 0 and 1, found 2.0"),
        (["--refit-tolerance", "nan"], "--refit-tolerance must be between 0 and 1, found nan"),
        (["--figure", "x.jpg"], "figure 'x.jpg': expected a name that ends in .pdf, .svg, .png"),
        (["--figure", "no/x.pdf"], "figure 'no/x.pdf': there is no folder 'no'"),
        (["--name", "x"], "--name is that of a group in a report: give -o, too"),
        (["--engine", "loss-landscapes", "--dry-run"], "--dry-run measures our own engine, not"),
        (["--device", "tpu"], "--device: unknown device 'tpu' (did you mean 'cpu'?)"),
    ],
)
def test_options_that_mean_nothing(cli, folder, options, sentence):
    assert sentence in refused(cli, A, B, *options)
    assert snapshot(folder) == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([A], "this needs two checkpoints, CKPT_A and CKPT_B, found one"),
        ([A, "--third", C], "--third needs both CKPT_A and CKPT_B"),
        ([], "missing argument 'CKPT_A'"),
    ],
)
def test_agents_that_are_missing(cli, arguments, sentence):
    assert sentence in refused(cli, *arguments)


def test_a_run_without_snapshots_has_no_trajectory(cli, maze_run):
    found = refused(cli, maze_run / "base-seed0.safetensors", "--mode", "trajectory")
    assert found.endswith("keeps no snapshots: its run.toml says snapshots_every = 0")


# Reports


@pytest.mark.parametrize("name", ["a/b", "a b", "", ".a", "ä", "../x"])
def test_names_that_no_group_can_have(cli, folder, name):
    sentence = refused(cli, A, B, "-o", "report.h5", "--name", name)
    assert sentence.startswith("--name: expected a name of the letters A to Z, digits")
    assert snapshot(folder) == {}


def test_names_that_are_too_long_or_that_files_do_not_give(cli, folder):
    shutil.copy(B, "my agent.safetensors")
    before = snapshot(folder)
    sentence = refused(cli, A, "my agent.safetensors", "-o", "report.h5")
    assert sentence.endswith(f"found '{A.stem}-to-my agent'; give one by --name")
    sentence = refused(cli, A, B, "-o", "report.h5", "--name", "x" * 151)
    assert sentence == "--name: expected at most 150 letters, found 151"
    assert snapshot(folder) == before


def test_places_that_take_no_report(cli, folder):
    (folder / "thesis.txt").write_text("a thesis\n")
    (folder / "sub").mkdir()
    before = snapshot(folder)
    for place, why in (
        ("thesis.txt", "report 'thesis.txt': expected an HDF5 file, found another kind of file"),
        ("sub", "report 'sub': expected a regular file, found a folder"),
        ("no/report.h5", "report 'no/report.h5': there is no folder 'no'"),
        ("x" * 300, "cannot be written: File name too long"),
        ("/proc/report.h5", "expected a folder that takes files, found '/proc': "),
    ):
        assert why in refused(cli, A, B, "-o", place)
    assert snapshot(folder) == before


def test_a_folder_that_may_not_be_written(cli, folder, monkeypatch):
    really_open = os.open

    def deny(path, flags, *more, **options):
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, *more, **options)

    for option, name in (("-o", "report 'x.h5'"), ("--figure", "figure 'x.pdf'")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", deny)
            sentence = refused(cli, A, B, option, name.split("'")[1])
        assert sentence == (
            f"{name}: expected a folder that takes files, found '.': Permission denied"
        )
