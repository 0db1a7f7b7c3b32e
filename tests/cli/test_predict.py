"""`crar-diag predict` on bases of which half have transfers that succeed."""

import re
import shutil

import pytest
import xarray as xr

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.loading import load_agent
from crar_diag.embedding import prediction
from crar_diag.report.prediction import conclusion, foretell
from crar_diag.report.provenance import Provenance
from crar_diag.report.statistics.association import rank_correlation
from crar_diag.report.store import read_report
from tests.cli.conftest import snapshot, terminal
from tests.cli.mixed_runs import mixed_bases, mixed_run

NAMES = ["even0", "even1", "even2", "base-seed3", "base-seed4", "base-seed5"]
RATES = {name: 1.0 if name.startswith("even") else 0.0 for name in NAMES}
COLUMNS = ["rho", "rho_low", "rho_high", "tau", "p_value", "p_holm"]

really_measure = prediction.measure_base
measured_before: dict[tuple[str, str], dict[str, float]] = {}


@pytest.fixture(autouse=True)
def measured_once(monkeypatch):
    """Measure each base model once, and resample less often."""

    def measure(agent, domain):
        key = file_sha256(agent.path), domain
        if key not in measured_before:
            measured_before[key] = really_measure(agent, domain)
        return measured_before[key]

    monkeypatch.setattr(prediction, "measure_base", measure)
    monkeypatch.setitem(rank_correlation.__kwdefaults__, "resamples", 720)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return mixed_bases(tmp_path_factory.mktemp("bases"), even=(0, 1, 2), shipped=(3, 4, 5))


@pytest.fixture(scope="module")
def run(bases, tmp_path_factory):
    """Three original transfers of each base, and one of reference."""
    folder = tmp_path_factory.mktemp("predict") / "run"
    return mixed_run(folder, bases, variants="original,oracle")


@pytest.fixture(scope="module")
def few(bases, tmp_path_factory):
    """Transfers of four of them."""
    return mixed_run(tmp_path_factory.mktemp("predict") / "few", bases[1:5])


def measures_of(bases, domain="inverse"):
    return {path.stem: prediction.measure_base(load_agent(path), domain) for path in bases}


# Measures alone


def test_measures_without_transfers(cli, bases):
    answer = cli("predict", *bases[:2], bases[4], "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {"bases": measures_of([*bases[:2], bases[4]])}
    assert answer.json["bases"]["even0"]["initial_distance"] == pytest.approx(0, abs=1e-5)
    assert answer.json["bases"]["base-seed4"]["initial_distance"] > 1


def test_measures_as_a_table(cli, bases):
    answer = cli("predict", bases[0], bases[3])
    assert (answer.code, answer.err) == (0, "")
    header, *rows = [line.split() for line in answer.out.splitlines()]
    assert header == ["measure", "even0", "base-seed3"]
    columns = measures_of([bases[0], bases[3]]).values()
    assert rows == [
        [name, *(f"{values[name]:.4g}" for values in columns)] for name in next(iter(columns))
    ]


def test_another_domain(cli, bases):
    (found,) = cli("predict", bases[3], "--domain", "noise", "--json").json["bases"].values()
    assert found == measures_of([bases[3]], "noise")["base-seed3"]
    assert found["oddness"] != measures_of([bases[3]])["base-seed3"]["oddness"]


def test_run_folders_stand_for_their_base_models(cli, maze_run):
    found = cli("predict", maze_run, "--json").json["bases"]
    assert list(found) == ["base-seed0", "base-seed1"]


def test_base_models_of_one_name_are_told_by_their_paths(cli, maze_run, bases):
    shipped = bases[3].with_name("base-seed0.safetensors")
    found = cli("predict", maze_run, shipped, "--json").json["bases"]
    assert list(found) == [
        str(maze_run / "base-seed0.safetensors"),
        str(maze_run / "base-seed1.safetensors"),
        str(shipped),
    ]


def test_progress_goes_to_a_terminal_base_by_base(cli, bases, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        answer = cli("predict", *bases[:2], "--json")
        frames = shown().removesuffix("\r\n").split("\r")[1:]
    assert len(answer.json["bases"]) == 2
    assert [re.search(r"(\d) of 2 base models", frame)[1] for frame in frames] == ["0", "1", "2"]


# With transfers


def test_correlations_with_the_rates_as_json(cli, bases, run):
    answer = cli("predict", *bases, "--runs", run, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert list(found) == ["bases", "predictors", "conclusion", "report"]
    assert found["bases"] == {name: {"rate": RATES[name], "runs": 3} for name in NAMES}
    assert found["report"] is None
    measures = measures_of(bases)
    expected = foretell(measures, RATES, dict.fromkeys(NAMES, 3))
    assert found["conclusion"] == conclusion(expected)
    assert {row["predictor"] for row in found["predictors"]} == set(expected.predictor.values)
    for row in found["predictors"]:
        stored = expected.sel(predictor=row["predictor"])
        for name in COLUMNS:
            assert row[name] == stored[name].item(), (row["predictor"], name)
        assert row["verdict"] == stored.verdict.item()
    sizes = [abs(row["rho"]) for row in found["predictors"]]
    assert sizes == sorted(sizes, reverse=True)


def test_of_six_bases_nothing_is_learned(cli, bases, run):
    """The start is at the base for all that succeed: the best that three of six can show."""
    found = cli("predict", *bases, "--runs", run, "--json").json
    (start,) = [row for row in found["predictors"] if row["predictor"] == "initial_distance"]
    assert start["rho"] == pytest.approx(-0.878, abs=5e-4)
    # Of the 20 ways to choose three of six, two are as far apart as this.
    assert start["p_value"] == pytest.approx(2 / 20)
    assert start["p_holm"] == 1
    assert {row["verdict"] for row in found["predictors"]} == {"weak"}
    assert found["conclusion"].startswith(f"all {len(found['predictors'])} predictors are weak")


def test_correlations_as_a_table(cli, bases, run, tmp_path):
    path = tmp_path / "report.h5"
    answer = cli("predict", *bases, "--runs", run, "-o", path)
    assert (answer.code, answer.err) == (0, "")
    header, *rows, sentence, written = answer.out.splitlines()
    split = [re.split(r" {2,}", line) for line in (header, *rows)]
    assert split[0] == ["predictor", "rho", "95% interval", "p", "p (Holm)", "verdict"]
    expected = cli("predict", *bases, "--runs", run, "--json").json
    assert split[1:] == [
        [
            row["predictor"],
            f"{row['rho']:.2f}",
            f"{row['rho_low']:.2f} to {row['rho_high']:.2f}",
            f"{row['p_value']:.2g}",
            f"{row['p_holm']:.2g}",
            "weak",
        ]
        for row in expected["predictors"]
    ]
    assert sentence == expected["conclusion"]
    assert written == f"written to '{path}'"


def test_a_report_that_xarray_opens(cli, bases, run, tmp_path):
    path = tmp_path / "report.h5"
    cli("cluster", run, "-o", path)
    before = read_report(path, "statistics/rates")
    answer = cli("predict", *bases, "--runs", run, "-o", path, "--seed", 5, "--json")
    assert answer.json["report"] == str(path)
    with xr.open_dataset(path, group="statistics/prediction", engine="h5netcdf") as opened:
        stored = opened.load()
    made = Provenance.from_attributes(stored.attrs)
    assert made.command.startswith(f"crar-diag predict {bases[0]} ")
    assert made.seeds == (5,)
    expected = foretell(measures_of(bases), RATES, dict.fromkeys(NAMES, 3), 5)
    xr.testing.assert_identical(stored.drop_attrs(), expected.drop_attrs())
    xr.testing.assert_identical(read_report(path, "statistics/rates"), before)


def test_several_runs_count_together(cli, bases, run, few):
    answer = cli("predict", *bases, "--runs", run, "--runs", few, "--json")
    runs = {name: one["runs"] for name, one in answer.json["bases"].items()}
    assert runs == {name: 6 if name in NAMES[1:5] else 3 for name in NAMES}


def test_another_variant_counts_alone(cli, bases, run):
    """The exact solution succeeds from every base: there is nothing to be told."""
    answer = cli("predict", *bases, "--runs", run, "--variant", "oracle", "--json")
    assert answer.code == 0
    assert answer.json["bases"] == {name: {"rate": 1, "runs": 1} for name in NAMES}
    assert {row["rho"] for row in answer.json["predictors"]} == {None}


def test_bases_are_known_by_their_contents_and_not_by_their_names(cli, bases, run, tmp_path):
    renamed = [shutil.copy(path, tmp_path / f"{k}.safetensors") for k, path in enumerate(bases)]
    found = cli("predict", *renamed, "--runs", run, "--json").json["bases"]
    assert {name: one["rate"] for name, one in found.items()} == {
        str(k): RATES[name] for k, name in enumerate(NAMES)
    }


# What is refused


def test_too_few_bases_foretell_nothing(cli, bases, run, few, tmp_path):
    path = tmp_path / "report.h5"
    for chosen, folder in ((bases, few), (bases[:4], run)):
        answer = cli("predict", *chosen, "--runs", folder, "-o", path, "--json")
        assert answer.code == 2
        assert answer.sentence == (
            "expected transfers of at least 5 of the base models, found them of 4: a predictor is "
            "one number a base"
        )
    answer = cli("predict", *bases, "--runs", run, "--variant", "finetune")
    assert answer.code == 2
    assert "found them of 0" in answer.sentence
    assert snapshot(tmp_path) == {}


def test_a_base_model_of_the_labyrinth_cannot_be_measured(cli, bases, labyrinth_run):
    path = labyrinth_run / "base-seed0.safetensors"
    answer = cli("predict", bases[3], path)
    assert answer.code == 2
    assert answer.sentence == (
        f"checkpoint '{path}': exact measurement needs the simple maze's 31 states, found an agent "
        "of 'labyrinth'"
    )


def test_unknown_names_are_refused_with_what_was_meant(cli, bases, run):
    answer = cli("predict", bases[3], "--domain", "invers")
    assert answer.code == 2
    assert "unknown domain 'invers' (did you mean 'inverse'?)" in answer.sentence
    for more in ([], ["--runs", run]):
        answer = cli("predict", *bases, "--variant", "orignal", *more)
        assert answer.code == 2
        assert answer.sentence == "--variant: unknown 'orignal' (did you mean 'original'?)"


def test_transfers_to_another_domain_are_refused(cli, bases, run):
    answer = cli("predict", *bases, "--runs", run, "--domain", "noise")
    assert answer.code == 2
    assert answer.sentence == (
        f"run folder '{run}' holds transfers to 'inverse', not to 'noise': give --domain inverse"
    )


def test_a_report_needs_transfers(cli, bases, tmp_path):
    path = tmp_path / "report.h5"
    answer = cli("predict", *bases, "-o", path)
    assert answer.code == 2
    assert answer.sentence == "-o needs --runs: without transfers nothing is foretold"
    assert not path.exists()


@pytest.mark.parametrize("name", ["none", "mine"])
def test_what_is_no_base_model_is_refused(cli, bases, tmp_path, name):
    (tmp_path / "mine").mkdir()
    answer = cli("predict", *bases, tmp_path / name)
    assert answer.code == 2
    assert name in answer.sentence


def test_runs_are_folders_of_transfers(cli, bases, maze_run):
    for path, why in (
        (maze_run, "holds base models: expected transfers"),
        (bases[0], "is not a run folder"),
    ):
        answer = cli("predict", *bases, "--runs", path)
        assert answer.code == 2
        assert f"'{path}'" in answer.sentence
        assert why in answer.sentence


def test_a_file_that_is_no_report_is_unharmed(cli, bases, run, tmp_path):
    (tmp_path / "thesis.txt").write_text("a thesis\n")
    before = snapshot(tmp_path)
    answer = cli("predict", *bases, "--runs", run, "-o", tmp_path / "thesis.txt")
    assert answer.code == 2
    assert "expected an HDF5 file" in answer.sentence
    assert snapshot(tmp_path) == before


def test_nothing_is_refused(cli):
    answer = cli("predict")
    assert answer.code == 2
    assert answer.sentence == "missing argument 'bases'"
