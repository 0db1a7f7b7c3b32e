"""`crar-diag curvature` on the shipped transfers: what it prints, keeps and refuses."""

import math
import re
import shutil

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch
import xarray as xr

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.loading import load_agent
from crar_diag.landscape.agent_curvature import agent_curvature
from crar_diag.landscape.curvature import CurvatureSettings
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import read_report, report_groups
from tests.cli.conftest import BAD_FILES, snapshot, terminal
from tests.landscape.shipped import CORRECT, WRONG

FEW = ["--steps", 6, "--probes", 2, "--eigenvalues", 3]
QUICK = [*FEW, "--density-probes", 0]
SETTINGS = CurvatureSettings(eigenvalues=3, steps=6, probes=2, density_probes=0)


@pytest.fixture(autouse=True)
def one_thread():
    """So that numbers are those of the library called here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# What it prints


def test_json_has_what_the_library_finds(cli):
    answer = cli("curvature", WRONG, *QUICK, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert list(answer.json) == ["checkpoints", "report", "figure"]
    (one,) = answer.json["checkpoints"]
    expected = agent_curvature(load_agent(WRONG), settings=SETTINGS)
    assert one["path"] == str(WRONG)
    assert one["sha256"] == file_sha256(WRONG)
    assert one["domain"] == "inverse"
    assert one["weights"] == expected.weights
    assert one["smoothing"] == 0.01
    assert one["smoothing_bound"] == pytest.approx(0.01 * math.log(4))
    assert one["held_out_transitions"] is None
    assert list(one["spaces"]) == ["embedding", "frozen", "unfrozen"]
    for space, analysis in expected.analyses.items():
        assert one["spaces"][space]["polish"] is None
        (own,) = one["spaces"][space]["points"].values()
        curvature = analysis.points["checkpoint"]
        assert one["spaces"][space]["size"] == curvature.size
        assert own["verdict"] == curvature.verdict
        assert own["losses"] == curvature.losses
        assert own["gradient_norms"] == curvature.gradient_norms
        assert own["trace"]["value"] == curvature.trace.value
        for end in ("smallest", "largest"):
            pairs = getattr(curvature, end)
            assert [row["value"] for row in own[end]] == pairs.values.tolist()
            assert [row["residual"] for row in own[end]] == pairs.residuals.tolist()
            assert [row["converged"] for row in own[end]] == pairs.converged.tolist()
    embedding = one["spaces"]["embedding"]["points"]["checkpoint"]
    assert len(embedding["eigenvalues"]) == 62
    assert np.linalg.norm(embedding["displacement"]) == pytest.approx(1)
    assert one["spaces"]["frozen"]["points"]["checkpoint"]["eigenvalues"] is None


def test_json_tells_the_polish(cli):
    answer = cli(
        *("curvature", CORRECT, *QUICK, "--dynamics", "frozen", "--json"),
        *("--polish", "--polish-iterations", 60),
    )
    (one,) = answer.json["checkpoints"]
    assert list(one["spaces"]) == ["embedding", "frozen"]
    own = one["spaces"]["embedding"]
    assert list(own["points"]) == ["checkpoint", "polished"]
    assert own["points"]["polished"]["verdict"] == "local minimum"
    way = own["polish"]
    assert way["converged"]
    assert way["losses_before"] == own["points"]["checkpoint"]["losses"]
    assert way["losses_after"] == own["points"]["polished"]["losses"]
    assert way["gradient_norm_after"] < 1e-6 * way["gradient_norm_before"]
    assert 0 < way["embedding_distance"] < 0.1


def test_words_say_verdicts_weights_and_smoothing(cli):
    answer = cli("curvature", WRONG, *QUICK, "--polish", "--polish-iterations", 3)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == f"{WRONG}, domain 'inverse':"
    rows = {tuple(line.split()[:2]): line for line in lines[2:8]}
    assert list(rows) == [
        (space, point)
        for space in ("embedding", "frozen", "unfrozen")
        for point in ("checkpoint", "polished")
    ]
    for line in rows.values():
        assert re.search(
            r"(local minimum|saddle \(.*\)|not stationary \(gradient norm .*\))$", line
        )
    assert sum(": polished in 3 iterations, not converged: the sum went" in x for x in lines) == 3
    assert any(
        re.fullmatch(
            r"embedding, checkpoint: the direction of the smallest eigenvalue \(-0.00782\) moves "
            r"the states (\(\d, \d\) by 0\.\d\d(, )?){3} of a whole of 1",
            line,
        )
        for line in lines
    )
    assert (
        "weights of the losses in the sum: transition 1, reward 1, discount 1, volume 1, "
        "random_pairs 1, consecutive_pairs 0.2, q 1" in lines
    )
    smoothed = "volume loss smoothed at its kinks, temperature 0.01: at most 0.0139 above the exact"
    assert any(line.startswith(smoothed) for line in lines)
    assert (
        "frozen, checkpoint: 6 of 6 extreme eigenvalues have not converged: more --steps" in lines
    )


def test_the_exact_loss_is_said_to_be_exact(cli):
    frozen = ("curvature", WRONG, *QUICK, "--dynamics", "frozen")
    answer = cli(*frozen, "--smoothing", 0)
    assert "volume loss exact: at its kinks the subgradient of automatic" in answer.out
    exact, smooth = (
        cli(*frozen, "--json", "--smoothing", t).json["checkpoints"][0] for t in (0, 0.05)
    )
    losses = [one["spaces"]["frozen"]["points"]["checkpoint"]["losses"] for one in (exact, smooth)]
    assert losses[0]["volume"] < losses[1]["volume"] <= losses[0]["volume"] + 0.05 * math.log(4)
    assert losses[0]["transition"] == losses[1]["transition"]
    evaluated = cli("evaluate", WRONG, "--json").json["checkpoints"][0]["losses"]
    for name, value in evaluated.items():
        assert losses[0][name] == pytest.approx(value, rel=1e-4, abs=1e-8)


def test_weights_and_domain_are_those_asked_for(cli):
    answer = cli(
        *("curvature", WRONG, *QUICK, "--dynamics", "frozen", "--json"),
        *("--weight", "volume=0", "--weight", "transition=10", "--domain", "normal"),
    )
    (one,) = answer.json["checkpoints"]
    assert one["domain"] == "normal"
    assert (one["weights"]["volume"], one["weights"]["transition"]) == (0, 10)
    losses = one["spaces"]["frozen"]["points"]["checkpoint"]["losses"]
    by_hand = sum(weight * losses[name] for name, weight in one["weights"].items())
    assert losses["sum"] == pytest.approx(by_hand)


def test_a_run_folder_stands_for_its_members(cli, maze_run):
    answer = cli("curvature", maze_run, *QUICK, "--dynamics", "unfrozen", "--json")
    found = answer.json["checkpoints"]
    assert [one["name"] for one in found] == ["base-seed0", "base-seed1"]
    assert [list(one["spaces"]) for one in found] == [["unfrozen"], ["unfrozen"]]


def test_a_labyrinth_says_that_its_sample_is_one(cli, labyrinth_run):
    path = labyrinth_run / "base-seed0.safetensors"
    more = ["--steps", 2, "--probes", 2, "--density-probes", 0, "--transitions", 4]
    answer = cli("curvature", path, *more)
    assert (answer.code, answer.err) == (0, "")
    assert "means over a sample of 4 held-out transitions" in answer.out
    assert "max-pooling has kinks that nothing smooths" in answer.out
    assert "embedding" not in {line.split()[0] for line in answer.out.splitlines() if line}
    (one,) = cli("curvature", path, *more, "--json").json["checkpoints"]
    assert one["held_out_transitions"] == 4
    assert one["smoothing_bound"] == pytest.approx(0.01 * math.log(6))


def test_the_same_seed_prints_the_same(cli):
    call = ("curvature", WRONG, *FEW, "--dynamics", "unfrozen", "--json")
    first, again, other = (cli(*call, "--seed", seed).json for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_progress_goes_to_a_terminal_spectrum_by_spectrum(cli, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        answer = cli("curvature", WRONG, *QUICK, "--dynamics", "frozen", "--json")
        frames = shown().removesuffix("\r\n").split("\r")[1:]
    assert answer.code == 0
    assert [re.search(r"(\d) of 2 spectra", frame)[1] for frame in frames] == ["0", "1", "2"]


# What it keeps


def test_a_report_that_xarray_opens_and_a_figure(cli, tmp_path):
    report, figure = tmp_path / "report.h5", tmp_path / "spectra.pdf"
    call = ("curvature", CORRECT, WRONG, *FEW, "--density-probes", 1, "-o", report)
    answer = cli(*call, "--figure", figure)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-2:] == [f"written to '{report}'", f"figure in '{figure}'"]
    assert figure.read_bytes().startswith(b"%PDF")
    assert sorted(report_groups(report)) == [f"hessian/{p.stem}" for p in (CORRECT, WRONG)]
    with xr.open_dataset(report, group=f"hessian/{WRONG.stem}", engine="h5netcdf") as opened:
        stored = opened.load()
    assert stored.attrs["sha256"] == file_sha256(WRONG)
    assert stored.attrs["checkpoint"] == WRONG.name
    made = Provenance.from_attributes(stored.attrs)
    assert made.command.startswith(f"crar-diag curvature {CORRECT} {WRONG} ")
    (printed,) = cli("curvature", WRONG, *FEW, "--density-probes", 0, "--json").json["checkpoints"]
    for space, own in printed["spaces"].items():
        kept = stored.sel(space=space, point="checkpoint")
        assert kept.verdict.item() == own["points"]["checkpoint"]["verdict"]
        values = [row["value"] for row in own["points"]["checkpoint"]["smallest"]]
        np.testing.assert_array_equal(kept.eigenvalue.sel(end="smallest"), values)


def test_a_name_of_ones_own(cli, tmp_path):
    report = tmp_path / "report.h5"
    call = ("curvature", WRONG, *QUICK, "--dynamics", "unfrozen", "-o", report)
    assert cli(*call, "--name", "failed", "--json").json["report"] == str(report)
    assert list(report_groups(report)) == ["hessian/failed"]
    # Another call adds; the same one replaces.
    cli(*call)
    cli(*call, "--name", "failed", "--seed", 1)
    assert sorted(report_groups(report)) == ["hessian/failed", f"hessian/{WRONG.stem}"]
    assert read_report(report, "hessian/failed").attrs["seed"] == 1


# What it refuses


@pytest.mark.parametrize(("name", "why"), BAD_FILES)
def test_a_file_that_is_no_checkpoint_is_refused(cli, files, name, why):
    before = snapshot(files)
    answer = cli("curvature", name, "-o", "report.h5", "--name", "a")
    assert answer.code == 2
    assert re.search(why, answer.sentence)
    assert snapshot(files) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--domain", "invers"], r"unknown domain 'invers' \(did you mean 'inverse'\?\)"),
        (["--weight", "volum=1"], r"^unknown loss 'volum' \(did you mean 'volume'\?\)"),
        (["--weight", "volume"], r"^--weight: expected loss=value .*, found 'volume'$"),
        (["--weight", "volume=nan"], r"^--weight: expected loss=value .*, found 'volume=nan'$"),
        (["--dynamics", "frozn"], r"^--dynamics: unknown 'frozn' \(did you mean 'frozen'\?\)"),
        (["--smoothing", "-1"], r"a temperature of at least 0, found -1.0 \(--smoothing\)$"),
        (["--smoothing", "nan"], r"a temperature of at least 0, found nan \(--smoothing\)$"),
        (["--figure", "a.gif"], r"^figure 'a.gif': expected a name that ends in .pdf, .svg, .png"),
        (["--figure", "none/a.pdf"], r"^figure 'none/a.pdf': there is no folder 'none'$"),
        (["--figure", "a.pdf", "--density-probes", 0], r"^--figure draws the density, which"),
        (["--polish-iterations", 5], r"^--polish-iterations needs --polish$"),
        (["--probes", 1], r"probes"),
        (["--steps", 0], r"steps"),
        (["-o", "none/report.h5"], r"^report 'none/report.h5': there is no folder 'none'$"),
        (["-o", "text.safetensors"], r"'text.safetensors'"),
        (["--name", "a"], r"^--name is that of a group in a report: give -o, too$"),
        (["-o", "report.h5", "--name", "a b"], r"^--name: expected a name .*, found 'a b'$"),
    ],
)
def test_wrong_options_are_refused_before_any_work(cli, files, monkeypatch, options, sentence):
    def never(*_, **__):
        raise AssertionError("it began to work")

    monkeypatch.setattr("crar_diag.landscape.operator.Hessian.product", never)
    before = snapshot(files)
    answer = cli("curvature", "maze.safetensors", *options)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence)
    assert snapshot(files) == before


def test_names_that_would_meet_in_a_report_are_refused(cli, maze_run, tmp_path):
    first = maze_run / "base-seed0.safetensors"
    folder = tmp_path / maze_run.name
    folder.mkdir()
    second = shutil.copy(WRONG, folder / first.name)
    answer = cli("curvature", first, second, "-o", tmp_path / "report.h5")
    assert answer.code == 2
    assert answer.sentence == (
        f"checkpoints '{first}' and '{second}' would both be called "
        f"'{maze_run.name}-base-seed0': give them one at a time, with --name"
    )
    answer = cli("curvature", first, WRONG, "-o", tmp_path / "report.h5", "--name", "a")
    assert answer.code == 2
    assert answer.sentence == "--name is that of one group: expected one checkpoint, found 2"


def test_an_existing_report_is_unharmed_by_what_is_refused(cli, files):
    report = files / "report.h5"
    cli("curvature", WRONG, *QUICK, "--dynamics", "unfrozen", "-o", report)
    before = snapshot(files)
    for wrong in (["nan.safetensors"], ["maze.safetensors", "--domain", "invers"]):
        answer = cli("curvature", *wrong, "-o", report)
        assert answer.code == 2
        assert snapshot(files) == before


def test_nothing_is_refused(cli):
    answer = cli("curvature")
    assert answer.code == 2
    assert answer.sentence == "missing argument 'checkpoints'"


def test_a_plan_counts_hessian_products_and_writes_nothing(cli, tmp_path):
    given = ["curvature", WRONG, "--dynamics", "frozen", "--steps", 20, "--probes", 10, "--dry-run"]
    (work,) = cli(*given, "--json").json["work"]
    assert (work["unit"], work["count"]) == ("Hessian products a space", (2 + 5) * 20 + 10 + 12)
    assert work["seconds"] > 0
    answer = cli(*given, "--polish", "-o", tmp_path / "r.h5")
    assert (answer.code, answer.err) == (0, "")
    assert "324 Hessian products a space" in answer.out
    last = "and a polish of at most 200 iterations in each space, of unknown time"
    assert answer.out.splitlines()[-1] == last
    plan = cli(*given, "--polish", "-o", tmp_path / "r.h5", "--json").json
    assert (plan["note"], plan["disk_bytes"]) == (last, None)
    assert list(tmp_path.iterdir()) == []
