"""`crar-diag reproduce`: a whole study at a small size, interrupted, resumed, and wrong uses."""

from dataclasses import replace
from pathlib import Path

import pytest

from crar_diag.agent import presets
from crar_diag.agent.run import RESUME_NAME
from crar_diag.cli import reproduce
from crar_diag.errors import CrarDiagError
from crar_diag.report.store import read_report, report_groups
from crar_diag.study import simple_maze

SMALL = {
    "updates_per_epoch": 20,
    "target_period": 7,
    "data.transitions": 100,
    "data.steps_per_gathering": 30,
}


@pytest.fixture
def small(monkeypatch):
    """The quick study with agents that train for an instant."""
    monkeypatch.setitem(presets._QUICK, "simple-maze", {"updates": 40, **SMALL})
    monkeypatch.setitem(presets._QUICK_TRANSFERS, "simple-maze", {"updates": 30, **SMALL})
    sizes = simple_maze._SIZES["quick"]
    shorter = {
        **{"bases": 2, "transfers": 2, "restarts": 2},
        "landscape": ("--mode", "line,dynamics-plane", "--points", "7", "--refit-iterations", "2"),
        "curvature": (
            "--dynamics",
            "frozen",
            "--probes",
            "2",
            "--steps",
            "4",
            "--density-probes",
            "1",
        ),
        "path": ("--dynamics", "frozen", "--iterations", "2", "--points", "5"),
    }
    monkeypatch.setitem(simple_maze._SIZES, "quick", replace(sizes, **shorter))
    monkeypatch.setattr(simple_maze, "_FIGURES", ("3", "5", "13", "barriers"))


def test_a_study_from_training_to_the_page_and_what_is_left_of_it_to_do(cli, small, tmp_path):
    out = tmp_path / "s"
    arguments = ("reproduce", "simple-maze", "--preset", "quick", "--out", out)
    assert cli(*arguments).code == 0
    # every step is a command, with a provenance of its own
    command = read_report(out / "report.h5", "outcome").attrs["provenance_command"]
    runs = " ".join(str(out / name) for name in ("base", "transfers", "restarts"))
    assert command == f"crar-diag report {runs} -o {out / 'report.h5'}"
    kept = (out / "steps" / "report.txt").read_text()
    assert kept.startswith("$ crar-diag report {out}/base {out}/transfers {out}/restarts")

    again = cli(*arguments, "--resume")
    assert "done before" in again.out
    assert "    crar-diag" not in again.out  # nothing was run again

    found = cli(*arguments, "--resume", "--json").json
    assert Path(found["page"]).read_text().startswith("<!DOCTYPE html>")
    names = [Path(file).name for file in found["figures"]]
    assert {"figure-03.pdf", "figure-05.pdf", "figure-13.pdf"} <= {*names}
    # agents that hardly trained have both kinds of transfers or not: the study says which
    groups = {name.split("/")[0] for name in report_groups(found["report"])}
    for step, group in (("landscape-1", "line"), ("curvature-1", "hessian"), ("path-1", "path")):
        reason = found["skipped"].get(step, "")
        assert (group in groups) != ("a correct and a wrong transfer" in reason)
    assert found["findings"][0]["paper"] == "3 of 22"
    stored = read_report(found["report"], "statistics/findings")
    assert stored.ours.values.tolist() == [one["ours"] for one in found["findings"]]


def test_the_plan_names_the_steps_and_what_they_take(cli, tmp_path):
    answer = cli("reproduce", "learning-rates", "--out", tmp_path / "s", "--dry-run", "--json")
    assert answer.code == 0
    plan = answer.json
    total = 6 * 400_000 + (36 + 5 * 6 + 6) * 200_000
    assert plan["agent_updates"] == total
    assert plan["seconds"] == pytest.approx(total / plan["rate"])
    assert [step["name"] for step in plan["steps"]][:2] == ["base", "transfers"]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simple-mase"], "did you mean 'simple-maze'"),
        (["variants", "--preset", "fast"], "unknown preset 'fast'"),
        (["labyrinth", "--env", "simple-maze"], "the study labyrinth is of labyrinth"),
        (["variants", "--base", "a.safetensors"], "found one"),
        (["labyrinth", "--device", "gpu"], "--device: unknown device 'gpu'"),
        (["labyrinth", "--threads", "0"], "--threads"),
        (["labyrinth", "--threads", "1", "--scheduler", "tcp://x:1"], "its own number of threads"),
        (["variants", "--base", "a.safetensors", "--base", "b.safetensors"], "a.safetensors"),
    ],
)
def test_wrong_uses_get_one_sentence(cli, tmp_path, arguments, words):
    answer = cli("reproduce", *arguments, "--out", tmp_path / "s")
    assert answer.code == 2
    assert words in answer.sentence
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("command", "alone", "on_workers"),
    [
        ("train", ["--device", "cuda", "--threads", "2"], ["--device", "cuda"]),
        ("landscape", ["--device", "cuda", "--threads", "2"], []),  # workers have CPUs for it
        ("path", ["--threads", "2"], []),
        ("figure", [], []),
    ],
)
def test_each_step_gets_the_options_of_where_it_computes(command, alone, on_workers):
    """With a scheduler `--threads` is refused."""
    given = [command, "x"]
    assert reproduce._Place(None, "cuda", 2).on(given) == given + alone
    sent = ["--scheduler", "tcp://x:1"] if command in ("train", "landscape") else []
    assert reproduce._Place("tcp://x:1", "cuda", None).on(given) == given + sent + on_workers


def test_a_run_begun_here_goes_on_here_without_the_workers_device(tmp_path):
    (tmp_path / RESUME_NAME).touch()
    given = ["train", "--out", str(tmp_path)]
    assert reproduce._Place("tcp://x:1", "cuda", None).on(given) == given
    assert reproduce._Place(None, "cuda", None).on(given) == [*given, "--device", "cuda"]


def test_threads_reach_the_steps(cli, small, tmp_path, monkeypatch):
    asked = []

    def run(arguments):
        asked.append([*arguments])
        raise CrarDiagError("enough")

    monkeypatch.setattr(reproduce, "_run", run)
    given = ("--preset", "quick", "--threads", "1", "--device", "cpu", "--out", tmp_path / "s")
    assert cli("reproduce", "simple-maze", *given).err == "crar-diag: enough\n"
    assert asked[0][-4:] == ["--device", "cpu", "--threads", "1"]


def test_base_models_of_another_environment_are_refused(cli, tmp_path):
    files = sorted(Path("examples/checkpoints/simple-maze").glob("base-seed[01].safetensors"))
    bases = [word for file in files for word in ("--base", file)]
    answer = cli("reproduce", "labyrinth", *bases, "--out", tmp_path / "s")
    assert answer.code == 2
    assert "expected a base model of the labyrinth, found one of the simple-maze" in answer.sentence


def test_a_folder_with_other_files_is_refused(cli, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    answer = cli("reproduce", "simple-maze", "--preset", "quick", "--out", tmp_path)
    assert answer.code == 2
    assert "holds files and no study" in answer.sentence


def test_ctrl_c_in_a_step_ends_the_study_as_ctrl_c_does(cli, tmp_path, small, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("crar_diag.report.runs.gather", interrupted)
    answer = cli("reproduce", "simple-maze", "--preset", "quick", "--out", tmp_path / "s")
    assert answer.code == 130
