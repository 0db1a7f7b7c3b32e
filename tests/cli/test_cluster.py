"""`crar-diag cluster` on small runs in which both kinds of transfers are there."""

import re
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.run import read_run
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import read_report, report_groups
from crar_diag.report.transfers import study_transfers
from tests.cli.conftest import snapshot
from tests.cli.mixed_runs import mixed_bases, mixed_run, save_even
from tests.runs import transfer_config

CONDITIONS = ["original, lr 1e-06", "finetune, lr 1e-06"]
NAMES = ["base-seed3", "base-seed4", "even0", "even1"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return mixed_bases(tmp_path_factory.mktemp("bases"), even=(0, 1), shipped=(3, 4))


@pytest.fixture(scope="module")
def run(bases, tmp_path_factory):
    """Three transfers of each of four bases in two variants; the even bases' succeed."""
    folder = tmp_path_factory.mktemp("cluster") / "mixed"
    return mixed_run(folder, bases, variants="original,finetune")


@pytest.fixture(scope="module")
def other(bases, tmp_path_factory):
    """The same of two bases alone, the best of two restarts each."""
    return mixed_run(tmp_path_factory.mktemp("cluster") / "restarted", bases[::2], restarts=2)


@pytest.fixture(scope="module")
def files(run):
    return list(read_run(run).checkpoints.values())


@pytest.fixture(scope="module")
def study(run):
    return study_transfers([run])


def or_none(value):
    return None if np.isnan(value) else float(value)


# What it prints


def test_a_run_as_json(cli, run, study):
    answer = cli("cluster", run, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert list(found) == [
        "judgements", "conditions", "bases", "comparisons", "restarts", "transfers", "report",
    ]  # fmt: skip
    assert found["report"] is None
    assert found["restarts"] == {}
    assert found["transfers"] == [
        {
            "transfer": name,
            "kind": row.kind.item(),
            "distance": row.distance.item(),
            "group": int(group),
            "success": bool(success),
        }
        for name, group, success in zip(
            study.finals.transfer.values, study.judged.group, study.judged.success, strict=True
        )
        for row in [study.finals.sel(transfer=name)]
    ]
    won = {one["transfer"] for one in found["transfers"] if one["success"]}
    assert {name for name in won if name.startswith("original")} == {
        f"original-even{k}-lr1e-06-seed{seed}" for k in (0, 1) for seed in range(3)
    }


def test_the_numbers_of_bases_and_conditions(cli, run, study):
    found = cli("cluster", run, "--json").json
    rows = found["bases"]
    assert [(row["condition"], row["base"]) for row in rows] == [
        (condition, base) for condition in CONDITIONS for base in NAMES
    ]
    for row in rows[:4]:
        near = row["base"].startswith("even")
        assert (row["successes"], row["runs"], row["rate"]) == ((3, 3, 1) if near else (0, 3, 0))
        # 3 of 3 and 0 of 3: the ends 1 / (1 + z^2 / 3) and its complement.
        end = 1 / (1 + 1.959963984540054**2 / 3)
        assert row["interval"] == pytest.approx([end, 1] if near else [0, 1 - end], rel=1e-9)
        assert row["kinds"] == {"identity" if near else "other": 3}
    for one, c in zip(found["conditions"], range(2), strict=True):
        stored = {name: data.isel(condition=c) for name, data in study.statistics.items()}
        assert one["condition"] == CONDITIONS[c]
        assert one["mean_rate"] == stored["rates"].mean_rate.item()
        assert one["interval"] == [
            stored["rates"].mean_low.item(),
            stored["rates"].mean_high.item(),
        ]
        assert one["base_effect"] == {
            "test": stored["base_effect"].test.item(),
            "p": or_none(stored["base_effect"].p_value.item()),
            "reason": stored["base_effect"].reason.item(),
        }
        shares = stored["variance"].share.sel(source="base")
        assert one["variance_share_of_base"] == {
            str(name): or_none(shares.sel(measure=name).item()) for name in shares.measure.values
        }
        assert one["detection_area"] == or_none(stored["detection"].area.item())
        assert one["score"] == {"interquartile_mean": None, "interval": [None, None]}
    original = found["conditions"][0]
    assert original["mean_rate"] == 0.5
    assert original["variance_share_of_base"]["success"] == 1  # a base decides all
    # Of each seed's 6 ways to deal 2 successes to 4 bases, all three seeds take the same one.
    assert original["base_effect"]["p"] == pytest.approx(1 / 36, abs=0.01)


def test_judgements_are_of_frozen_and_unfrozen_ones(cli, run, study):
    found = cli("cluster", run, "--json").json["judgements"]
    assert [one["unfrozen"] for one in found] == [False, True]
    for one, judged in zip(found, study.judged.judgements, strict=True):
        assert one["environment"] == "simple-maze"
        assert one["measures"] == list(judged.measures)
        assert one["sizes"] == list(judged.sizes)
        assert one["medians"] == list(judged.medians)
        assert one["ordered_by"] == judged.by
        assert one["reason"] == judged.reason
    assert sum(found[0]["sizes"]) == sum(found[1]["sizes"]) == 12


def test_a_run_as_tables(cli, run, study):
    answer = cli("cluster", run)
    assert (answer.code, answer.err) == (0, "")
    judgements, bases, conditions = answer.out.split("\n\n")
    frozen, why, unfrozen, why_too, besides = judgements.splitlines()
    first, second = study.judged.judgements
    sizes = ", ".join(map(str, first.sizes))
    assert frozen == f"simple-maze, dynamics frozen: 12 transfers in groups of {sizes}"
    assert why == f"  by log10 distance and log10 transition loss: {first.reason}"
    assert unfrozen.startswith("simple-maze, dynamics trained along: 12 transfers in groups of ")
    assert why_too == f"  by log10 transition loss: {second.reason}"
    assert "not the distance to the base" in besides
    header, *rows = [re.split(r" {2,}", line) for line in bases.splitlines()]
    assert header == ["condition", "base", "success", "rate", "95% interval", "kinds"]
    assert rows[0] == [CONDITIONS[0], "base-seed3", "0 of 3", "0.00", "0.00 to 0.56", "3 other"]
    assert rows[2] == [CONDITIONS[0], "even0", "3 of 3", "1.00", "0.44 to 1.00", "3 identity"]
    assert [row[:2] for row in rows] == [[c, name] for c in CONDITIONS for name in NAMES]
    header, *rows = [re.split(r" {2,}", line) for line in conditions.splitlines()]
    assert header == [
        "condition", "mean rate", "over bases", "base effect", "share of base", "loss tells",
    ]  # fmt: skip
    effect = study.statistics["base_effect"].p_value.values[0]
    area = study.statistics["detection"].area.values[0]
    interval = "{:.2f} to {:.2f}".format(
        *(study.statistics["rates"][end].values[0] for end in ("mean_low", "mean_high"))
    )
    assert rows[0] == [
        CONDITIONS[0], "0.50", interval, f"p = {effect:.2g} (permutation)", "1.00", f"{area:.2f}",
    ]  # fmt: skip


def test_conditions_are_compared(cli, run, other):
    assert cli("cluster", run, "--json").json["comparisons"] == []  # successes of two kinds
    given = ["cluster", run, other]
    (found,) = cli(*given, "--json").json["comparisons"]
    assert (found["condition"], found["than"]) == ("original, lr 1e-06, best of 2", CONDITIONS[0])
    assert found["bases"] == 2
    assert found["improvement"] is None
    compared = next(part for part in cli(*given).out.split("\n\n") if "compared" in part)
    title, header, row = compared.splitlines()
    assert title.startswith("conditions compared on the base models that both have")
    assert re.split(r" {2,}", header) == [
        "condition", "than", "bases", "rate difference", "P(higher score)",
    ]  # fmt: skip
    low, high = found["difference_interval"]
    assert re.split(r" {2,}", row) == [
        *(found["condition"], found["than"], "2", f"{found['difference']:+.2f}"),
        *(f"{low:.2f} to {high:.2f}", "-", "-"),
    ]  # fmt: skip


def test_what_has_no_base_or_no_number_is_a_dash(cli, tmp_path, bases):
    folder = mixed_run(tmp_path / "run", bases[:1], variants="scratch,oracle")
    answer = cli("cluster", folder)
    assert answer.code == 0
    _, rows, conditions = answer.out.split("\n\n")
    scratch, oracle = [re.split(r" {2,}", line) for line in rows.splitlines()[1:]]
    assert scratch == ["scratch, lr 0.0005", "-", "3 of 3", "1.00", "0.44 to 1.00", "3 no base"]
    assert oracle[:3] == ["oracle", "even0", "1 of 1"]
    for line in conditions.splitlines()[1:]:
        assert re.split(r" {2,}", line)[2:] == ["-"] * 4
    (judged,) = cli("cluster", folder, "--json").json["judgements"]
    assert judged["sizes"] == [3]


def test_what_restarts_are_worth(cli, other):
    """The first begins at the base's embedding, the second at that turned by half a circle."""
    found = cli("cluster", other, "--json").json
    even = found["restarts"]["restarted"]["even0"]
    assert even["alone"] == [1, 0]
    assert even["rate"][0] == 1
    kept = {one["kind"] for one in found["transfers"] if "even0" in one["transfer"]}
    assert kept == ({"identity"} if even["rate"][1] else {"swap"})
    assert list(found["restarts"]["restarted"]) == ["all", "base-seed3", "even0"]
    assert found["restarts"]["restarted"]["base-seed3"]["alone"] == [0, 0]
    assert found["restarts"]["restarted"]["all"]["alone"] == [0.5, 0]
    header, *rows = cli("cluster", other).out.split("\n\n")[-1].splitlines()
    assert header.startswith("restarted: success of the best of K restarts by transition loss")
    rows = [re.split(r" {2,}", line) for line in rows]
    assert rows[0] == ["base", "K = 1", "K = 2", "each alone"]
    assert rows[1] == ["all", "0.50", f"{even['rate'][1] / 2:.2f}", "0.50, 0.00"]
    assert rows[3] == ["even0", "1.00", f"{even['rate'][1]:.2f}", "1.00, 0.00"]


# What it writes


def test_a_report_that_xarray_opens(cli, run, study, tmp_path):
    path = tmp_path / "report.h5"
    answer = cli("cluster", run, "-o", path, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["report"] == str(path)
    groups = study.groups()
    assert "embedding/mixed/kinds" in groups
    assert list(report_groups(path)) == sorted(groups)
    for name, data in groups.items():
        with xr.open_dataset(path, group=name, engine="h5netcdf") as opened:
            made = Provenance.from_attributes(opened.attrs)
            stored = opened.load()
        assert made.command == f"crar-diag cluster {run} -o {path} --json"
        assert made.seeds == (0,)
        stored.attrs = {}
        xr.testing.assert_identical(stored, data)


def test_a_report_is_added_to_and_its_groups_are_replaced(cli, run, other, tmp_path):
    path = tmp_path / "report.h5"
    answer = cli("cluster", other, "--output", path)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == f"written to '{path}'"
    assert read_report(path, "outcome").sizes["transfer"] == 6
    cli("cluster", run, "-o", path, "--seed", 3)
    assert read_report(path, "outcome").sizes["transfer"] == 24
    made = report_groups(path)
    assert {"embedding/mixed", "embedding/restarted"} < made.keys()
    assert made["outcome"].seeds == (3,)
    assert made["embedding/restarted"].seeds == (0,)
    for name, data in study_transfers([run], seed=3).groups().items():
        xr.testing.assert_identical(read_report(path, name).drop_attrs(), data.drop_attrs())


# Several runs, and checkpoints


def test_several_runs_are_judged_together(cli, run, other, tmp_path):
    path = tmp_path / "report.h5"
    found = cli("cluster", run, other, "-o", path, "--json").json
    assert [one["condition"] for one in found["conditions"]] == [
        *CONDITIONS,
        "original, lr 1e-06, best of 2",
    ]
    assert [sum(one["sizes"]) for one in found["judgements"]] == [18, 12]
    outcome = read_report(path, "outcome")
    assert outcome.run.values.tolist() == [str(run)] * 24 + [str(other)] * 6
    assert outcome.restarts.values.tolist() == [1] * 24 + [2] * 6
    assert {"embedding/mixed", "embedding/restarted"} < report_groups(path).keys()
    # The bases of the second run are two of the first's.
    kept = [row for row in found["bases"] if row["condition"].endswith("best of 2")]
    assert [(row["base"], row["runs"]) for row in kept] == [("base-seed3", 3), ("even0", 3)]
    alone = cli("cluster", run, "--json").json["bases"]
    for row, expected in zip(found["bases"][:8], alone, strict=True):
        for key in ("condition", "base", "runs", "kinds"):
            assert row[key] == expected[key]


def test_checkpoints_are_judged_as_their_run(cli, run, files, tmp_path):
    path = tmp_path / "report.h5"
    alone = cli("cluster", *files, "-o", path, "--json").json
    whole = cli("cluster", run, "--json").json
    for one, expected in zip(alone["transfers"], whole["transfers"], strict=True):
        assert one["distance"] == pytest.approx(expected["distance"], rel=1e-4, abs=1e-6)
        assert {**one, "distance": 0} == {**expected, "distance": 0}
    assert alone["bases"] == whole["bases"]
    assert [name for name in report_groups(path) if name.startswith("embedding")] == []


def test_checkpoints_stand_beside_runs_in_any_order(cli, other, files):
    found = cli("cluster", files[0], other, files[1], "--json").json
    names = [one["transfer"] for one in found["transfers"]]
    assert names[-2:] == [files[0].stem, files[1].stem]
    assert len(names) == 8


# What is refused


@pytest.fixture(scope="module")
def bad(run, bases, tmp_path_factory):
    """Folders that will not do."""
    folder = tmp_path_factory.mktemp("bad")
    config = transfer_config(bases[:1], seeds="0:2")
    with pytest.raises(RunInterruptedError):
        train(config, folder / "begun", watch=Watch(stop=lambda: True))
    shutil.copytree(run, folder / "incomplete")
    (folder / "incomplete" / "original-even0-lr1e-06-seed1.safetensors").unlink()
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").touch()
    for name in ("orphan", "changed"):
        mixed_run(folder / name, [save_even(folder / f"{name}.safetensors", 0)], "updates=1")
    (folder / "orphan.safetensors").unlink()
    save_even(folder / "changed.safetensors", 1)
    return folder


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("begun", r"^run folder '.*begun' is not complete: expected 2 members, missing orig"),
        ("incomplete", r"^run folder '.*incomplete' is not complete: .*, missing original-even0-"),
        ("mine", r"^'.*mine' is not a run folder: expected a folder with a run.toml$"),
        ("orphan", r"^base model '.*orphan.safetensors' of the run is not there: run this w"),
        ("changed", r"^base model '.*changed.safetensors' is not the file that this run began w"),
        ("none", r"^checkpoint '.*none' does not exist$"),
        ("mine/thesis.tex", r"^checkpoint '.*thesis.tex' is empty$"),
        (
            "orphan/original-orphan-lr1e-06-seed0.safetensors",
            r"^checkpoint '.*seed0.safetensors' was transferred from '.*orphan.safetensors', which "
            r"is not there: run this where its base model is$",
        ),
        ("changed/original-changed-lr1e-06-seed0.safetensors", r", which has changed since$"),
    ],
)
def test_what_holds_no_whole_run_of_transfers_is_refused(cli, bad, run, tmp_path, name, why):
    path, before = tmp_path / "report.h5", snapshot(bad)
    answer = cli("cluster", run, bad / name, "-o", path, "--json")
    assert answer.code == 2
    assert re.search(why, answer.sentence)
    assert not path.exists()
    assert snapshot(bad) == before


def test_base_models_are_no_transfers(cli, maze_run):
    answer = cli("cluster", maze_run)
    assert answer.code == 2
    assert answer.sentence == f"run folder '{maze_run}' holds base models: expected transfers"
    path = maze_run / "base-seed0.safetensors"
    answer = cli("cluster", path)
    assert answer.code == 2
    assert answer.sentence == (f"checkpoint '{path}' is a base model: expected that of a transfer")


def test_nothing_is_refused(cli):
    answer = cli("cluster")
    assert answer.code == 2
    assert answer.sentence == "missing argument 'paths'"


def test_a_file_that_is_no_report_is_unharmed(cli, run, tmp_path):
    text, hdf5 = tmp_path / "thesis.txt", tmp_path / "mine.h5"
    text.write_text("a thesis\n")
    with h5py.File(hdf5, "w") as file:
        file["mine"] = np.arange(3)
    before = snapshot(tmp_path)
    for path, why in (
        (text, "expected an HDF5 file, found another kind of file"),
        (hdf5, "is an HDF5 file of another origin"),
    ):
        answer = cli("cluster", run, "-o", path)
        assert answer.code == 2
        assert f"report '{path}'" in answer.sentence
        assert why in answer.sentence
    assert snapshot(tmp_path) == before


def test_a_report_in_no_folder_is_not_made(cli, run, tmp_path):
    answer = cli("cluster", run, "-o", tmp_path / "nowhere" / "report.h5")
    assert answer.code == 2
    assert re.search("report.h5': there is no folder '.*nowhere'$", answer.sentence)
    assert snapshot(tmp_path) == {}
