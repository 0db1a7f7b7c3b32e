"""The outcomes of transfers as a report: what goes in comes out, and every group opens."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.transfer_config import BaseFile
from crar_diag.embedding.finals import of_run
from crar_diag.embedding.kinds import Thresholds
from crar_diag.errors import InputError
from crar_diag.report import transfers
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import add_to_report, read_report, report_groups
from crar_diag.report.transfer_statistics import statistics_of
from crar_diag.report.transfers import study_transfers
from tests.embedding.ended import ended, followed
from tests.report.labelled import MADE, assert_netcdf4, assert_same
from tests.runs import BASES, transfer_config

NEAR, FAR = 10, 10


def hand_run(path, *settings, bases=(0, 1), success=None, **options):
    """A run of original transfers, those of the first base near it and the others far."""
    files = [BASES / f"base-seed{k}.safetensors" for k in bases]
    config = transfer_config(files, *settings, seeds="0:10", **options)
    m = config.member_count
    near = np.arange(m) < m // 2 if success is None else success
    end = np.where(near, "identity", "exchange")
    found = followed(config, np.stack([np.full(m, "unfinished"), end, end], axis=1), path)
    jitter = np.exp(np.random.default_rng(len(path)).normal(0, 0.05, m))
    found.numbers["distance"][:, -1] = np.where(near, 0.1, 2.0) * jitter
    found.transition[:, -1] = np.where(near, 1e-3, 4e-3) * jitter
    return found


@pytest.fixture
def study(monkeypatch):
    """Return what `study_transfers` makes of runs by hand in place of folders."""

    def make(*runs, **options):
        found = {str(run.path): run for run in runs}
        monkeypatch.setattr(transfers, "read_outcomes", lambda path, limits: found[str(path)])
        return study_transfers(list(found), **options)

    return make


@pytest.fixture
def one(study):
    return study(hand_run("runs/first"))


def numbers(dataset, name):
    return dataset[name].values.tolist()


# What it holds


def test_a_study_judges_the_transfers_of_its_runs(one):
    assert one.finals.sizes["transfer"] == NEAR + FAR
    assert one.judged.success.tolist() == [True] * NEAR + [False] * FAR
    rates = one.statistics["rates"]
    assert numbers(rates, "base") == ["base-seed0", "base-seed1"]
    assert numbers(rates, "successes") == [[NEAR, 0]]
    for name, data in statistics_of(one.finals, one.judged.success).items():
        xr.testing.assert_identical(one.statistics[name], data)


def test_runs_are_judged_together(study):
    """One run alone has nothing to be told apart from."""
    near = hand_run("runs/near", bases=(0,), success=np.ones(10, bool))
    far = hand_run("runs/far", bases=(1,), success=np.zeros(10, bool))
    both = study(near, far)
    assert numbers(both.finals, "run") == ["runs/near"] * 10 + ["runs/far"] * 10
    assert both.judged.success.tolist() == [True] * 10 + [False] * 10
    assert [one.sizes for one in both.judged.judgements] == [(10, 10)]
    assert [one.sizes for one in study(far).judged.judgements] == [(10,)]
    assert both.statistics["base_effect"].test.values.tolist() == ["fisher"]


def test_checkpoints_are_judged_with_them(study, monkeypatch):
    more = ended(distance=[0.1, 2.0], transition=[1e-3, 4e-3], base=["c", "d"])
    asked = []
    limits = Thresholds(fit=0.3)
    monkeypatch.setattr(
        transfers.finals, "of_checkpoints", lambda *arguments: asked.append(arguments) or more
    )
    found = study(hand_run("runs/first"), checkpoints=["c.st", "d.st"], thresholds=limits)
    runs = numbers(found.groups()["outcome"], "states_run")
    assert set(runs[: -more.sizes["transfer"]]) == {"first"}
    assert set(runs[-more.sizes["transfer"] :]) == {""}
    assert asked == [(["c.st", "d.st"], limits)]
    assert found.judged.success.tolist() == [True] * NEAR + [False] * FAR + [True, False]
    assert numbers(found.finals, "transfer")[-2:] == ["t0", "t1"]
    assert len(found.runs) == 1
    alone = study(checkpoints=["c.st"])
    assert alone.runs == ()
    assert alone.finals.sizes["transfer"] == 2


def test_nothing_is_no_study():
    with pytest.raises(InputError, match="expected a run of transfers or checkpoints of some"):
        study_transfers([])


def test_the_seed_is_that_of_the_statistics(study):
    run = hand_run("runs/first", bases=(0, 1, 2), success=np.arange(30) % 3 == 0)
    found = study(run, seed=7)
    for name, data in statistics_of(found.finals, found.judged.success, 7).items():
        xr.testing.assert_identical(found.statistics[name], data)


# One name a base model


def test_bases_of_one_name_in_two_folders_are_two_bases(study):
    first = hand_run("runs/a", bases=(0,), success=np.ones(10, bool))
    second = hand_run("runs/b", bases=(1,), success=np.zeros(10, bool))
    other = BaseFile(path="other/base-seed0.safetensors", sha256="f" * 64)
    config = second.config.model_copy(update={"bases": (other,)})
    second = replace(second, base=np.full(10, "base-seed0"), config=config)
    found = study(first, second)
    sha = first.config.bases[0].sha256
    names = [f"base-seed0-{sha[:8]}", "base-seed0-ffffffff"]
    assert numbers(found.finals, "base") == [names[0]] * 10 + [names[1]] * 10
    assert found.finals.base.attrs == of_run(first).base.attrs
    assert sorted(numbers(found.statistics["rates"], "base")) == sorted(names)


def test_a_base_that_runs_name_differently_is_one(study, monkeypatch):
    more = ended(base=["good-base-seed0", ""], base_sha256=["", ""])
    run = hand_run("runs/first")
    sha = run.config.bases[0].sha256
    more["base_sha256"][0] = sha
    monkeypatch.setattr(transfers.finals, "of_checkpoints", lambda *_: more)
    found = study(run, checkpoints=["x"])
    assert numbers(found.finals, "base") == ["base-seed0"] * 10 + ["base-seed1"] * 10 + [
        "base-seed0",
        "",
    ]


# Groups


def test_the_groups_of_a_study(one):
    groups = one.groups()
    assert list(groups) == [
        "outcome",
        "outcome/judgement",
        "statistics/rates",
        "statistics/comparisons",
        "statistics/base_effect",
        "statistics/variance",
        "statistics/kinds",
        "statistics/scores",
        "statistics/detection",
        "embedding/first",
        "embedding/first/kinds",
    ]
    outcome = groups["outcome"]
    assert numbers(outcome, "success") == one.judged.success.tolist()
    assert numbers(outcome, "group") == one.judged.group.tolist()
    assert numbers(outcome, "condition") == ["original, lr 8e-05"] * 20
    np.testing.assert_array_equal(outcome.distance, one.finals.distance)
    assert numbers(outcome, "states_run") == ["first"] * 20
    (run,) = one.runs
    assert numbers(outcome, "states_member") == run.members[run.kept()].tolist()


def test_the_judgement_says_what_was_found(study):
    run = hand_run("runs/first", "optimizer.learning_rate=1e-3", variants="original,scratch")
    groups = study(run).groups()
    found = groups["outcome/judgement"]
    judged = study(run).judged.judgements
    assert numbers(found, "unfrozen") == [False, True]
    assert numbers(found, "environment") == ["simple-maze"] * 2
    assert numbers(found, "measures") == [
        "log10 distance, log10 transition loss",
        "log10 transition loss",
    ]
    assert numbers(found, "groups") == [len(one.sizes) for one in judged]
    assert numbers(found, "bic_groups") == [one.groups.bic_groups for one in judged]
    assert numbers(found, "reason") == [one.reason for one in judged]
    for name in ("dip", "dip_p", "bimodality"):
        assert numbers(found, name) == [getattr(one.groups, name) for one in judged]
    apart = judged[0].groups.separation
    assert numbers(found, "ashman_d")[0] == apart.ashman_d > 2


def test_where_nothing_was_grouped_the_judgement_says_so(study):
    run = hand_run("runs/first")
    run.numbers["distance"][:] = np.nan
    found = study(run).groups()["outcome/judgement"]
    assert numbers(found, "groups") == numbers(found, "bic_groups") == [0]
    assert numbers(found, "reason") == ["no transfer ended with finite numbers"]
    for name in ("dip", "dip_p", "bimodality", "ashman_d"):
        assert np.isnan(found[name]).all()


@pytest.mark.parametrize(
    "what", ["one run", "two runs", "restarts", "references alone", "from scratch"]
)
def test_every_group_opens_as_it_was_and_says_what_it_is(study, tmp_path, what):
    if what == "references alone":
        made = study(hand_run("runs/first", variants="oracle,paired"))
        assert made.judged.judgements == ()
    elif what == "restarts":
        made = study(hand_run("runs/first", restarts=2))
        assert "embedding/first/restarts" in made.groups()
        # The best of both restarts, under its own name.
        (run,) = made.runs
        outcome = made.groups()["outcome"]
        assert numbers(outcome, "states_member") == run.members[run.kept()].tolist()
        assert len(set(numbers(outcome, "states_member"))) == len(run.members) / 2
    elif what == "from scratch":
        run = hand_run("runs/first", variants="scratch")
        run.numbers.update({name: x * np.nan for name, x in run.numbers.items()})
        run.kinds[:] = "other"
        made = study(run)
    else:
        made = study(*(hand_run(f"runs/{k}") for k in range(1 if what == "one run" else 2)))
    path = tmp_path / "report.h5"
    groups = made.groups()
    add_to_report(path, groups, MADE)
    assert_netcdf4(path)
    assert report_groups(path) == dict.fromkeys(sorted(groups), MADE)
    for name, data in groups.items():
        stored = read_report(path, name)
        assert_same(stored, data)
        for variable in stored.variables.values():
            assert variable.attrs["units"]
            assert variable.attrs["long_name"]


def test_adding_twice_replaces(study, tmp_path):
    path = tmp_path / "report.h5"
    later = Provenance(**{**vars(MADE), "command": "crar-diag cluster again"})
    before, after = (
        study(hand_run("runs/first")),
        study(hand_run("runs/first", success=np.zeros(20, bool))),
    )
    add_to_report(path, before.groups(), MADE)
    first = path.stat().st_size
    groups = after.groups()
    add_to_report(path, groups, later)
    assert report_groups(path) == dict.fromkeys(sorted(groups), later)
    for name, data in groups.items():
        assert_same(read_report(path, name), data)
    assert not read_report(path, "outcome").success.any()
    assert path.stat().st_size < 1.2 * first
    # Another run's are added, and those that are there stay.
    add_to_report(path, study(hand_run("runs/second")).groups(), MADE)
    assert_same(read_report(path, "embedding/first"), groups["embedding/first"])
    assert "embedding/second/kinds" in report_groups(path)


def test_shares_over_time_are_those_of_each_run(study):
    first, second = hand_run("runs/first"), hand_run("runs/second", success=np.arange(20) < 5)
    groups = study(first, second).groups()
    for name, of_identity in (("first", 0.5), ("second", 0.25)):
        share = groups[f"embedding/{name}/kinds"].share
        np.testing.assert_allclose(share.sum("kind"), 1, rtol=1e-15)
        own = share.sel(base="all", kind="identity")
        assert own.values.tolist() == [0, of_identity, of_identity]
    np.testing.assert_array_equal(groups["embedding/second"].distance, second.numbers["distance"])


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["x/a", "y/a"], ["a-0", "a-1"]),
        (["x/a-1", "y/a", "z/a"], ["a-1-0", "a-1", "a-2"]),
        (["runs/my transfers", "runs/läufe"], ["my-transfers", "l-ufe"]),
        (["runs/.hidden", "runs/___"], ["hidden", "run"]),
        (["runs/a b", "runs/a-b"], ["a-b-0", "a-b-1"]),
    ],
)
def test_every_run_has_a_group_whatever_its_folder_is_called(study, tmp_path, paths, labels):
    made = study(*(hand_run(path) for path in paths))
    groups = [name for name in made.groups() if name.startswith("embedding/")]
    assert groups == [f"embedding/{label}{part}" for label in labels for part in ("", "/kinds")]
    add_to_report(tmp_path / "report.h5", made.groups(), MADE)
    assert set(groups) <= report_groups(tmp_path / "report.h5").keys()


def test_a_runs_group_does_not_depend_on_how_its_folder_is_given(study, monkeypatch, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path in (".", "../mine", str(folder)):
        assert "embedding/mine" in study(hand_run(path)).groups()


def test_the_same_run_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="is given twice"):
        study_transfers([tmp_path / "run", tmp_path / "other" / ".." / "run"])
