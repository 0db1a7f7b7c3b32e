"""How transfers ended, read from a run's folder and from its checkpoints."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from crar_diag.agent import checkpoint, networks
from crar_diag.agent.checkpoint import Checkpoint, file_sha256
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.run import read_run
from crar_diag.embedding.finals import of_checkpoints, of_run
from crar_diag.embedding.kinds import Thresholds
from crar_diag.embedding.outcome import read_outcomes
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.embedding.ended import followed
from tests.runs import BASES, HELD_OUT, labyrinth_config, save_agent, trained, transfer_config

VARIANTS = "original,finetune,scratch,oracle,paired"
NUMBERS = ["distance", "identity_residual", "residual", "margin"]
NUMBERS += ["reflected", "angle", "axis", "spread"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run: two bases, five variants, two seeds, two restarts with realignment."""
    config = transfer_config(
        [BASES / "base-seed1.safetensors", BASES / "base-seed3.safetensors"],
        "realign.every=1",
        variants=VARIANTS,
        seeds="0:2",
        restarts=2,
    )
    return trained(config, tmp_path_factory.mktemp("finals") / "run")


@pytest.fixture(scope="module")
def outcomes(folder):
    return read_outcomes(folder)


@pytest.fixture(scope="module")
def run(outcomes):
    return of_run(outcomes)


@pytest.fixture(scope="module")
def files(folder):
    return list(read_run(folder).checkpoints.values())


@pytest.fixture
def lone(tmp_path, files):
    """Write a copy of a transfer's checkpoint whose metadata says something else."""

    def write(**changes):
        original = checkpoint.load(files[0])
        metadata = original.metadata.model_copy(update=changes)
        path = tmp_path / "lone.safetensors"
        checkpoint.save(Checkpoint(original.parameters, metadata), path)
        return path

    return write


def only(dataset, variant):
    return dataset.isel(transfer=np.flatnonzero(dataset.variant.values == variant))


def assert_same_ends(run, alone):
    """Equal but for the score and for what the last step alone tells."""
    assert alone.transfer.values.tolist() == run.transfer.values.tolist()
    assert list(alone.data_vars) == list(run.data_vars)
    for name, values in run.data_vars.items():
        other = alone[name]
        assert other.attrs == values.attrs, name
        if name in NUMBERS:
            np.testing.assert_allclose(other, values, rtol=1e-4, atol=1e-5, err_msg=name)
        elif name == "kind":
            settled = ["other" if kind == "unfinished" else kind for kind in values.values]
            assert other.values.tolist() == settled
        elif name != "score":
            np.testing.assert_array_equal(other, values, err_msg=name)
    assert np.isnan(alone.score).all()


def test_checkpoints_tell_what_their_runs_history_tells(run, files):
    assert_same_ends(run, of_checkpoints(files))


def test_the_checkpoints_of_labyrinths_do_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("crar_diag.agent.probes.HELD_OUT_TRANSITIONS", HELD_OUT)
    base = save_agent(tmp_path / "base.safetensors", labyrinth_config("0", 5))
    config = transfer_config([base], "updates=4", variants="original,scratch", seeds="3")
    folder = trained(config, tmp_path / "run")
    run = of_run(read_outcomes(folder))
    assert_same_ends(run, of_checkpoints(list(read_run(folder).checkpoints.values())))
    assert np.isfinite(run.score).all()
    assert run.environment.values.tolist() == ["labyrinth"] * 2


def test_a_row_is_a_transfer_in_the_order_of_the_run(run, outcomes, files, folder):
    config = outcomes.config
    names = list(dict.fromkeys(transfer.name for transfer in config.transfers()))
    assert run.transfer.values.tolist() == names == [path.stem for path in files]
    assert set(run.run.values) == {str(folder)}
    assert set(run.updates.values) == {20}
    assert set(run.environment.values) == {"simple-maze"}
    shas = {base.path: base.sha256 for base in config.bases}
    for name, *row in zip(
        names, *(run[c].values for c in ("variant", "base", "seed", "base_sha256")), strict=True
    ):
        variant, base, seed, sha = row
        own = checkpoint.load(folder / f"{name}.safetensors").metadata
        assert own.configuration["variants"] == [variant]
        assert own.seed == seed
        assert sha == (own.base_sha256 or "")
        if variant != "scratch":
            assert sha == shas[str(BASES / f"{base}.safetensors")] == file_sha256(own.base)


def test_distances_and_losses_are_those_of_the_agents(run, folder):
    """The mean over the 31 states of the distance between what base and transfer see there."""
    for variant in ("original", "finetune", "paired", "oracle"):
        row = only(run, variant).isel(transfer=-1)
        transfer = load_agent(folder / f"{row.transfer.item()}.safetensors")
        base = load_agent(BASES / f"{row.base.item()}.safetensors")
        found = [
            exact_evaluation(
                agent.architecture,
                networks.stack([agent.parameters]),
                Observer("simple-maze", "symbolic", domain),
                LossSettings(),
            )
            for agent, domain in ((base, "normal"), (transfer, "inverse"))
        ]
        before, after = (each.embedding[0].tolist() for each in found)
        apart = [math.dist(x, y) for x, y in zip(before, after, strict=True)]
        assert row.distance.item() == pytest.approx(sum(apart) / 31, rel=1e-4, abs=1e-5), variant
        exact = {name: found[1].losses[name][0] for name in LOSSES}
        assert dict(zip(LOSSES, row.final_loss.values, strict=True)) == exact
    assert (only(run, "original").distance > 0.5).all()


def test_the_exact_solution_is_the_bases_embedding(run):
    oracle = only(run, "oracle")
    assert oracle.kind.values.tolist() == ["identity"] * 2
    np.testing.assert_allclose(oracle.distance, 0, atol=1e-5)


def test_remedies_are_told_of_what_they_were_applied_to(run):
    for variant in VARIANTS.split(","):
        own, remedied = only(run, variant), variant not in ("oracle", "paired")
        assert set(own.restarts.values.tolist()) == {2 if remedied else 1}, variant
        assert set(own.realign.values.tolist()) == {remedied}, variant
        assert set(own.unfrozen.values.tolist()) == {variant in ("finetune", "scratch")}, variant


def test_what_has_no_base_is_far_from_none(run):
    scratch = only(run, "scratch")
    assert scratch.sizes["transfer"] == 2  # bases do not matter to it
    assert set(scratch.base.values) == set(scratch.base_sha256.values) == {""}
    assert set(scratch.kind.values) == {"no base"}
    for name in NUMBERS:
        assert np.isnan(scratch[name]).all(), name
    assert np.isfinite(scratch.final_loss).all()
    # Its rate is that of base models.
    assert set(scratch.initial_learning_rate.values) == {5e-4}
    assert set(only(run, "original").initial_learning_rate.values) == {8e-5}


def test_there_is_no_score_where_there_is_no_reward(run):
    assert np.isnan(run.score).all()


# Restarts


@pytest.fixture
def restarted():
    """Two transfers with three restarts each, whose losses and kinds are known."""
    config = transfer_config([BASES / "base-seed1.safetensors"], seeds="0:2", restarts=3)
    found = followed(
        config,
        [["other", kind] for kind in ("mirror", "swap", "identity", "swap", "mirror", "other")],
        score=np.arange(6.0),
    )
    found.transition[:, -1] = [0.3, 0.2, 0.1, 0.1, 0.2, np.nan]
    found.transition[:, 0] = 0  # what a loss was before does not count
    return found


@pytest.mark.parametrize(
    ("restarts", "chosen"),
    [(1, [0, 3]), (2, [1, 3]), (3, [2, 3]), (None, [2, 3]), (9, [2, 3])],
)
def test_the_best_of_the_first_restarts_is_kept(restarted, restarts, chosen):
    found = of_run(restarted, restarts)
    assert found.score.values.tolist() == chosen
    assert found.kind.values.tolist() == restarted.kinds[chosen, -1].tolist()
    assert found.restarts.values.tolist() == [min(restarts or 3, 3)] * 2
    np.testing.assert_array_equal(found.final_loss, restarted.losses[chosen, -1])
    for name in NUMBERS:
        np.testing.assert_array_equal(found[name], restarted.numbers[name][chosen, -1])


def test_one_restart_that_is_not_finite_is_better_than_none(restarted):
    restarted.transition[:3, -1] = np.nan
    assert np.isnan(of_run(restarted).final_loss.sel(loss="transition")[0])


def test_restarts_of_the_real_run_are_kept_as_the_run_kept_them(outcomes, run, folder):
    first = of_run(outcomes, 1)
    transition = {"loss": "transition"}
    assert (run.final_loss.sel(transition) <= first.final_loss.sel(transition)).all()
    assert (run.final_loss.sel(transition) < first.final_loss.sel(transition)).any()
    assert set(only(first, "original").restarts.values.tolist()) == {1}
    for name, losses in zip(run.transfer.values, run.final_loss.values, strict=True):
        assert checkpoint.load(folder / f"{name}.safetensors").metadata.losses == dict(
            zip(LOSSES, losses, strict=True)
        )


# Kinds


def test_thresholds_decide_the_kind(files):
    wide = Thresholds(fit=9, turn=180, collapsed=0)
    found = of_checkpoints(files[:4], wide)
    assert set(found.kind.values) <= {"identity", "mirror"}
    assert set(of_checkpoints(files[:4]).kind.values).isdisjoint({"identity", "mirror"})


def test_a_transfer_that_diverged_keeps_that_name(lone):
    found = of_checkpoints([lone(diverged_at=7, updates=7, losses=dict.fromkeys(LOSSES))])
    assert found.kind.values.tolist() == ["diverged"]
    assert found.updates.values.tolist() == [7]
    assert np.isnan(found.final_loss).all()


def test_transfers_at_a_rate_beyond_all_diverge_in_their_run_as_well(tmp_path):
    config = transfer_config(
        [BASES / "base-seed1.safetensors"], seeds="0", learning_rates="8e-5,1e38", updates=4
    )
    folder = trained(config, tmp_path / "run")
    run = of_run(read_outcomes(folder))
    assert (run.kind == "diverged").values.tolist() == [False, True]
    alone = of_checkpoints(list(read_run(folder).checkpoints.values()))
    assert (alone.kind == "diverged").values.tolist() == [False, True]
    assert np.isfinite(run.distance).all()  # it stays at its last finite parameters


def test_the_shipped_transfers_of_a_base_are_an_identity_an_exchange_and_neither(monkeypatch):
    monkeypatch.chdir(BASES.parents[2])  # their base is told from the repository's root
    found = of_checkpoints(sorted((BASES / "transfers").glob("*base-seed0*.safetensors")))
    assert found.seed.values.tolist() == [12, 17, 20]
    assert found.kind.values.tolist() == ["identity", "exchange", "other"]
    np.testing.assert_allclose(found.distance, [0.033, 1.17, 1.20], rtol=0.02)
    assert set(found.base.values) == {"base-seed0"}


# What is refused


def test_nothing_is_no_transfer():
    with pytest.raises(InputError, match=r"^expected at least one checkpoint of a transfer, got"):
        of_checkpoints([])


def test_a_base_model_is_no_transfer():
    path = BASES / "base-seed1.safetensors"
    with pytest.raises(InputError) as caught:
        of_checkpoints([path])
    assert str(caught.value) == (
        f"checkpoint '{path}' is a base model: expected that of a transfer"
    )


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, files):
    text = tmp_path / "text.safetensors"
    text.write_text("a thesis\n")
    with pytest.raises(InputError, match=r"text.safetensors' is not one of crar-diag's"):
        of_checkpoints([files[0], text])


def test_a_base_that_is_not_there_is_named(tmp_path, lone):
    path = lone(base=str(tmp_path / "gone.safetensors"))
    with pytest.raises(InputError) as caught:
        of_checkpoints([path])
    assert str(caught.value) == (
        f"checkpoint '{path}' was transferred from '{tmp_path / 'gone.safetensors'}', which is "
        "not there: run this where its base model is"
    )


def test_a_base_that_has_changed_is_named(tmp_path, lone, files):
    base = tmp_path / "base.safetensors"
    shutil.copy(checkpoint.load(files[0]).metadata.base, base)
    path = lone(base=str(base))
    assert of_checkpoints([path]).base.values.tolist() == ["base"]
    shutil.copy(BASES / "base-seed0.safetensors", base)
    with pytest.raises(InputError) as caught:
        of_checkpoints([path])
    assert str(caught.value) == (
        f"checkpoint '{path}' was transferred from '{base}', which has changed since"
    )


def test_names_of_two_runs_may_be_the_same(outcomes, run):
    """A row is told by its run and its name together."""
    elsewhere = of_run(replace(outcomes, path=outcomes.path / "other"))
    assert elsewhere.transfer.values.tolist() == run.transfer.values.tolist()
    assert set(elsewhere.run.values).isdisjoint(run.run.values)
