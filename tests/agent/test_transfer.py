"""Runs of transfers: from base models to checkpoints and histories, resumed at any moment."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from crar_diag.agent import checkpoint, forecast, networks, probes, realignment, replay
from crar_diag.agent.architecture import SIMPLE_MAZE, Dense
from crar_diag.agent.bases import task_of_bases
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.config_sources import to_toml
from crar_diag.agent.divided import DividedEngine
from crar_diag.agent.forecast import plan
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.history import read_history
from crar_diag.agent.jobs import job_of, sample_of
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import of_component
from crar_diag.agent.run import read_run
from crar_diag.agent.streams import batch_draws, restart_seed
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.agent.transfer import TransferJob
from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS, VARIANTS
from crar_diag.agent.variants import start
from crar_diag.agent.versions import library_versions
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.agent import by_hand
from tests.agent.test_training import ROOT, go_on_until_done
from tests.runs import (
    BASES,
    HELD_OUT,
    assert_same_run,
    content,
    labyrinth_config,
    maze_config,
    save_agent,
    save_turned,
    trained,
    transfer_config,
)

CPU = torch.device("cpu")
TWO = (BASES / "base-seed1.safetensors", BASES / "base-seed2.safetensors")
MANY = transfer_config(
    TWO, variants=",".join(VARIANTS), seeds="5,3", learning_rates="1e-4,1e-3", updates=20
)
HALF_A_TURN = -np.eye(2)
MIRROR = np.diag([1.0, -1.0])


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Two bases, all variants, two rates and two seeds, as one population."""
    return trained(MANY, tmp_path_factory.mktemp("transfers") / "many")


@pytest.fixture(scope="module")
def turned(tmp_path_factory) -> Path:
    """A base from which a transfer begins half a turn away from where it should be."""
    return save_turned(tmp_path_factory.mktemp("base") / "turned.safetensors", HALF_A_TURN)


@cache
def base_of(path: str | None) -> dict[str, torch.Tensor] | None:
    return None if path is None else load_agent(path).parameters


def variant_of(agent) -> str:
    (variant,) = agent.metadata.configuration["variants"]
    return variant


def equal_components(one, other) -> set[str]:
    return {
        component
        for component in COMPONENTS
        if all(torch.equal(p, other[name]) for name, p in of_component(one, component).items())
    }


# What moves


def test_what_is_frozen_is_the_bases_bit_for_bit_and_all_else_has_moved(many):
    agents = [load_agent(path) for path in read_run(many).checkpoints.values()]
    assert {variant_of(agent) for agent in agents} == set(VARIANTS)
    for agent in agents:
        variant, own = variant_of(agent), agent.metadata
        base = base_of(own.base)
        began = start(SIMPLE_MAZE, variant, base, own.seed, torch.float32)
        still = equal_components(agent.parameters, began)
        if variant == "oracle":
            assert still == set(COMPONENTS)
        elif variant in ("finetune", "scratch"):
            assert still == set()
            assert own.frozen == ()
        else:
            assert still == set(COMPONENTS[1:])
        if variant not in ("finetune", "scratch"):
            assert set(own.frozen) == set(COMPONENTS[1:])
            assert equal_components(agent.parameters, base) == set(own.frozen)


def squares_of(job, loss) -> torch.Tensor:
    """The largest running square of a loss's optimizer, `[M]`: 0 where it never took a step."""
    found = job.population.running_squares(loss)
    return torch.stack([v.flatten(1).amax(1) for v in found.values()]).amax(0)


@pytest.mark.parametrize("omitted", ["random_pairs", "volume"])
def test_a_variant_omits_what_it_says_and_no_other_does(omitted):
    variants = [v for v in VARIANTS if v not in NOT_TRAINED_AS_THE_OTHERS]
    config = transfer_config(
        TWO[:1],
        f"no_disambiguation={omitted}",
        "batch_size=2",
        variants=",".join(variants),
        learning_rates=0.01,  # far enough in an epoch for the volume loss to have a gradient
    )
    job = TransferJob(config, CPU)
    engine = job.engine(1)
    structure = ("volume", "random_pairs", "consecutive_pairs")

    def idle(loss):
        return {
            t.variant
            for t, square in zip(job.transfers, squares_of(job, loss), strict=True)
            if square == 0
        }

    engine.advance(job.population, job.replay, 10)
    for loss in structure:
        expected = {"no-disambiguation"} if loss == omitted else set()
        assert idle(loss) == expected | {"delayed-structure"}, loss
    assert idle("transition") == set()
    engine.advance(job.population, job.replay, 10)  # the epoch after the delay
    for loss in structure:
        assert idle(loss) == ({"no-disambiguation"} if loss == omitted else set()), loss


# One population


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_transfer_is_the_same_bytes_whoever_trains_beside_it(many, tmp_path, variant):
    # An oracle has the first seed and rate, because it needs none.
    seed, rate = ("5", 1e-4) if variant == "oracle" else ("3", 1e-3)
    config = transfer_config(TWO[1:], variants=variant, seeds=seed, learning_rates=rate)
    result = train(config, tmp_path / "run")
    ((name, path),) = result.checkpoints.items()
    assert path.read_bytes() == (many / path.name).read_bytes()
    together, alone = (read_history(folder / "history.h5") for folder in (many, tmp_path / "run"))
    for group, one in alone.items():
        other = together[group].sel(member=name)
        assert one.coords.keys() == other.coords.keys()
        for variable in one.variables:
            if variable != "seconds":
                np.testing.assert_array_equal(
                    one.sel(member=name)[variable], other[variable], err_msg=variable
                )


def test_threads_change_no_bit(tmp_path):
    config = transfer_config(TWO, variants="finetune,paired,oracle", updates=12)
    for threads in (1, 3):
        train(config, tmp_path / f"{threads}", threads=threads)
    assert_same_run(tmp_path / "1", tmp_path / "3")


def test_a_checkpoint_says_where_its_agent_comes_from(many):
    path = many / "reset-encoder-base-seed2-lr0.001-seed3.safetensors"
    found = checkpoint.load(path).metadata
    sha = hashlib.sha256(TWO[1].read_bytes()).hexdigest()
    own = {
        "seeds": [3],
        "variants": ["reset-encoder"],
        "learning_rates": [1e-3],
        "bases": [{"path": str(TWO[1]), "sha256": sha}],
        "restart": 0,
    }
    history = read_history(many / "history.h5")["evaluation"]
    last = history.expected_loss.sel(member=path.stem)[-1].values
    assert found == checkpoint.CheckpointMetadata(
        environment="simple-maze",
        observation="symbolic",
        domain="inverse",
        architecture=SIMPLE_MAZE.spec(),
        configuration=MANY.model_dump(mode="json") | own,
        seed=3,
        updates=20,
        base=str(TWO[1]),
        base_sha256=sha,
        frozen=COMPONENTS[1:],
        losses=dict(zip(LOSSES, last, strict=True)),
        versions=library_versions(),
    )
    scratch = checkpoint.load(many / "scratch-lr0.0005-seed3.safetensors").metadata
    assert (scratch.base, scratch.base_sha256, scratch.frozen) == (None, None, ())
    assert scratch.configuration["bases"] == scratch.configuration["learning_rates"] == []


def test_a_run_folder_holds_one_file_a_transfer(many):
    names = {f"{transfer.name}.safetensors" for transfer in MANY.transfers()}
    assert content(many).keys() == names | {"run.toml"}
    assert len(names) == 6 * 2 * 2 * 2 + 2 * 2 * 2 + 2 + 2
    run = read_run(many)
    assert run.finished
    assert list(run.checkpoints) == [transfer.name for transfer in MANY.transfers()]
    assert run.config == MANY


# What is recorded


def test_a_history_says_what_each_member_is(many):
    groups = read_history(many / "history.h5")
    for dataset in groups.values():
        columns = {n: c.values for n, c in dataset.coords.items() if c.dims == ("member",)}
        assert columns.keys() == {
            "member", "transfer", "variant", "base", "seed", "initial_learning_rate", "restart",
        }  # fmt: skip
        for k, transfer in enumerate(MANY.transfers()):
            own = {name: values[k] for name, values in columns.items()}
            assert own["member"] == own["transfer"] == transfer.name
            assert own["variant"] == transfer.variant
            assert own["base"] == (
                "" if transfer.base is None else ("base-seed1", "base-seed2")[transfer.base]
            )
            assert own["seed"] == transfer.seed
            assert own["initial_learning_rate"] == transfer.learning_rate
            assert own["restart"] == 0
        assert "realignment" not in dataset
        for name in dataset.variables:
            assert dataset[name].attrs["long_name"]
            assert dataset[name].attrs["units"]
    rates = groups["training"].learning_rate
    decayed = np.outer([t.learning_rate for t in MANY.transfers()], [1, 0.9])
    np.testing.assert_allclose(rates, decayed, rtol=1e-12)
    special = groups["training"].variant.isin(NOT_TRAINED_AS_THE_OTHERS)
    assert (np.isnan(groups["training"].training_loss).all(["epoch", "loss"]) == special).all()
    assert (np.isfinite(groups["training"].training_loss).all(["epoch", "loss"]) == ~special).all()


def test_an_embedding_is_that_of_the_31_inverse_pictures_over_time(many):
    embedding = read_history(many / "history.h5")["embedding"].embedding
    assert embedding.time.values.tolist() == [0, 1, 2, 5, 10, 20]
    pictures = by_hand.maze_pictures("inverse")
    members = zip(embedding.member.values, embedding.values, strict=True)
    for name, own in members:
        agent = load_agent(many / f"{name}.safetensors")
        np.testing.assert_allclose(own[-1], by_hand.encode(agent.parameters, pictures), atol=2e-5)
        variant = variant_of(agent)
        base = base_of(agent.metadata.base)
        began = start(SIMPLE_MAZE, variant, base, agent.metadata.seed, torch.float32)
        np.testing.assert_allclose(own[0], by_hand.encode(began, pictures), atol=2e-5)
        moved = (own[1:] != own[0]).any(axis=(1, 2))
        assert moved.all() == moved.any() == (variant != "oracle")


def test_losses_over_time_end_at_the_checkpoints(many):
    evaluation = read_history(many / "history.h5")["evaluation"]
    observer = Observer("simple-maze", "symbolic", "inverse")
    for name in (
        "original-base-seed1-lr0.001-seed5",
        "oracle-base-seed2",
        "scratch-lr0.0005-seed5",
    ):
        agent = load_agent(many / f"{name}.safetensors")
        stacked = networks.stack([agent.parameters])
        exact = exact_evaluation(SIMPLE_MAZE, stacked, observer, LossSettings())
        expected = {loss: exact.losses[loss][0] for loss in LOSSES}
        assert agent.metadata.losses == expected
        last = evaluation.expected_loss.sel(member=name, time=20).values
        assert last.tolist() == list(expected.values())


def test_xarray_opens_every_group_of_a_history(many):
    for group in ("training", "evaluation", "embedding"):
        with xr.open_dataset(many / "history.h5", group=group, engine="h5netcdf") as opened:
            of_oracles = opened.sel(member=opened.variant == "oracle")
            assert of_oracles.base.values.tolist() == ["base-seed1", "base-seed2"]


# Restarts


def test_each_restart_has_batches_of_its_own_and_the_first_the_transfers():
    config = transfer_config(
        TWO[:1], "restarts=3", variants="original,reset-encoder,paired,oracle", seeds="4,7"
    )
    job = job_of(config, CPU)
    seeds = {seed: [restart_seed(seed, k) for k in range(3)] for seed in (4, 7)}
    assert [own[0] for own in seeds.values()] == [4, 7]
    assert len({seed for own in seeds.values() for seed in own}) == 6
    for m, transfer in enumerate(job.transfers):
        expected = batch_draws(seeds[transfer.seed][transfer.restart], 0, 5, 32, 100)
        np.testing.assert_array_equal(job.replay.draws(m, 0, 5), expected)
        # The data are the transfer's, the start is the restart's.
        first = next(k for k, t in enumerate(job.transfers) if t.name == transfer.name)
        assert job.replay.members[m] is job.replay.members[first]
        base = load_agent(TWO[0]).parameters
        began = start(
            SIMPLE_MAZE, transfer.variant, base, transfer.seed, torch.float32, transfer.restart
        )
        found = networks.member(job.population.agents(), m)
        assert equal_components(found, began) == set(COMPONENTS)
        assert torch.equal(job.population.parameters[m], job.population.parameters[first]) == (
            transfer.restart == 0
        )
    counts = {v: [t.variant for t in job.transfers].count(v) for v in config.variants}
    assert counts == {"original": 6, "reset-encoder": 6, "paired": 2, "oracle": 1}


def test_of_restarts_the_one_with_the_smallest_transition_loss_is_kept(tmp_path):
    config = transfer_config(
        TWO[:1],
        "restarts=4",
        variants="original,reset-encoder,scratch,paired,oracle",
        seeds="0:2",
        learning_rates="1e-3",
        updates=10,
    )
    result = train(config, tmp_path / "run")
    history = read_history(tmp_path / "run" / "history.h5")
    final = history["evaluation"].expected_loss.sel(loss="transition", time=10)
    names = [transfer.name for transfer in config.transfers()]
    assert len(names) == 3 * 2 * 4 + 2 + 1
    members = final.member.values.tolist()
    assert members == [f"{t.name}-restart{t.restart}" for t in config.transfers()]
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == len(set(names)) == 9
    kept = []
    for name, path in result.checkpoints.items():
        own = final[final.transfer == name]
        metadata = checkpoint.load(path).metadata
        assert len(own) == (1 if name.startswith(NOT_TRAINED_AS_THE_OTHERS) else 4)
        assert metadata.losses["transition"] == result.losses[name]["transition"] == own.min()
        best = int(own.restart[np.argmin(own.values)])
        assert metadata.configuration["restart"] == best
        embedding = history["embedding"].embedding.sel(member=f"{name}-restart{best}", time=10)
        parameters = load_agent(path).parameters
        expected = by_hand.encode(parameters, by_hand.maze_pictures("inverse"))
        np.testing.assert_allclose(embedding, expected, atol=2e-5)
        kept.append(best)
    assert len(set(kept)) > 1  # not always the first
    # The first restart is the transfer without restarts.
    alone = transfer_config(
        TWO[:1], variants="original", seeds="1", learning_rates="1e-3", updates=10
    )
    train(alone, tmp_path / "alone")
    other = read_history(tmp_path / "alone" / "history.h5")
    (name,) = alone.agents()
    for group, variable in (("embedding", "embedding"), ("training", "training_loss")):
        np.testing.assert_array_equal(
            history[group][variable].sel(member=f"{name}-restart0"),
            other[group][variable].sel(member=name),
        )


# Interrupted, killed, resumed


def mixed_config(*bases: Path, settings: tuple[str, ...] = (), **options):
    """Members of every engine, restarts, and one that is realigned after its first epoch."""
    options = {"variants": "original,scratch,paired,oracle", "learning_rates": "1e-6", **options}
    return transfer_config(bases, "restarts=2", "realign.every=1", *settings, **options)


def realigned(folder: Path) -> dict[str, list[int]]:
    """After how many updates a map was folded into which member."""
    embedding = read_history(folder / "history.h5")["embedding"]
    maps = np.isfinite(embedding.realignment).all(["to", "from"])
    assert (np.isfinite(embedding.realignment).any(["to", "from"]) == maps).all()
    return {
        str(name): embedding.time.values[maps.sel(member=name)].tolist()
        for name in embedding.member.values
        if maps.sel(member=name).any()
    }


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_stopped_at_random_moments_a_run_ends_as_if_nothing_had_happened(tmp_path, turned, engine):
    updates = 20 if engine == "auto" else 11
    config = mixed_config(turned, settings=(f"engine={engine}",), updates=updates)
    train(config, tmp_path / "whole")
    rng = random.Random(3)
    assert go_on_until_done(config, tmp_path / "cut", lambda: rng.random() < 0.4) >= 3
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    # The second restart begins turned once more, where it should be.
    assert realigned(tmp_path / "cut") == {"original-turned-lr1e-06-seed0-restart0": [10]}


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(tmp_path, turned):
    config = mixed_config(
        turned, variants="original,paired,oracle", learning_rates="1e-8", updates=300
    )
    config = config.model_copy(update={"updates_per_epoch": 100})
    folder = tmp_path / "at_random_moments"
    folder.mkdir()
    (folder / "config.toml").write_text(to_toml(config))
    answer = subprocess.run(
        [sys.executable, "-m", "tests.agent.killing", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert_same_run(folder / "peaceful", folder / "killed")
    assert realigned(folder / "killed") == {"original-turned-lr1e-08-seed0-restart0": [100]}
    saved = [updates for updates, _ in json.loads(answer.stdout)["at_random_moments"]]
    assert saved == sorted(saved)
    assert len({updates for updates in saved if 0 < updates < 300}) >= 3


def test_a_finished_run_tells_its_result_again_without_its_bases(tmp_path):
    base = Path(shutil.copy(TWO[0], tmp_path / "base.safetensors"))
    config = transfer_config([base], variants="original,oracle", updates=2)
    first = train(config, tmp_path / "run")
    base.unlink()
    assert train(None, tmp_path / "run", resume=True) == first


def test_resume_refuses_a_base_that_has_changed_or_is_gone(tmp_path):
    base = Path(shutil.copy(TWO[0], tmp_path / "base.safetensors"))
    config = transfer_config([base], variants="original,scratch", updates=12)
    train(config, tmp_path / "whole")
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: True))
    before = content(tmp_path / "run")

    def refused(match):
        for again in (None, config):
            with pytest.raises(InputError, match=match) as caught:
                train(again, tmp_path / "run", resume=True)
            assert "\n" not in str(caught.value)
        assert content(tmp_path / "run") == before

    base.unlink()
    refused(rf"^base model '{base}' of the run is not there: run this where it is$")
    shutil.copy(TWO[1], base)
    sha = config.bases[0].sha256[:12]
    refused(rf"^base model '{base}' is not the file that this run began with: .* {sha}\.\.\.$")
    shutil.copy(TWO[0], base)
    train(None, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_of_the_other_kind_is_not_resumed(tmp_path):
    base, transfers = maze_config("0", 3), transfer_config(TWO[:1], updates=3)
    for config, other, kinds in [
        (base, transfers, "base models, not of transfers"),
        (transfers, base, "transfers, not of base models"),
    ]:
        folder = tmp_path / kinds[:4]
        with pytest.raises(RunInterruptedError):
            train(config, folder, watch=Watch(stop=lambda: True))
        before = content(folder)
        with pytest.raises(InputError) as caught:
            train(other, folder, resume=True)
        assert str(caught.value) == f"run folder '{folder}' holds a run of {kinds}"
        assert content(folder) == before


def test_a_run_of_other_transfers_is_not_resumed(tmp_path):
    with pytest.raises(RunInterruptedError):
        train(transfer_config(TWO[:1]), tmp_path / "run", watch=Watch(stop=lambda: True))
    for key, other in [
        ("restarts", transfer_config(TWO[:1], "restarts=2")),
        ("variants", transfer_config(TWO[:1], variants="scratch")),
        ("bases", transfer_config(TWO)),
        ("realign.every", transfer_config(TWO[:1], "realign.every=1")),
    ]:
        with pytest.raises(InputError, match=rf"holds a run with {key} = .*, to be resumed with"):
            train(other, tmp_path / "run", resume=True)


# Realignment


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("half a turn", HALF_A_TURN),
        ("mirror", MIRROR),
        ("quarter", np.array([[0.0, -1.0], [1.0, 0.0]])),
    ],
)
def test_an_encoder_that_sees_the_embedding_mapped_is_repaired_at_its_first_epochs_end(
    tmp_path, name, matrix
):
    base = save_turned(tmp_path / "base.safetensors", matrix)
    config = transfer_config([base], "realign.every=1", learning_rates="1e-8", seeds="0:2")
    train(config, tmp_path / "run")
    history = read_history(tmp_path / "run" / "history.h5")
    loss = history["evaluation"].expected_loss.sel(loss="transition")
    good = load_agent(TWO[0]).metadata.losses["transition"]
    states = by_hand.encode(load_agent(TWO[0]).parameters, by_hand.maze_pictures())
    embedding = history["embedding"].embedding
    maps = history["embedding"].realignment
    assert maps.dims == ("member", "time", "to", "from")
    for member in loss.member.values:
        own = loss.sel(member=member)
        assert (own.sel(time=own.time < 10) > 5 * good).all()
        assert own.sel(time=slice(10, None)).values == pytest.approx([good] * 2, rel=0.05)
        for time in embedding.time.values:
            expected = states @ matrix.T if time < 10 else states
            np.testing.assert_allclose(embedding.sel(member=member, time=time), expected, atol=2e-3)
        np.testing.assert_array_equal(maps.sel(member=member, time=10), matrix.T)
        assert np.isnan(maps.sel(member=member, time=maps.time != 10)).all()
        agent = load_agent(tmp_path / "run" / f"{member}.safetensors")
        began = load_agent(base).parameters
        assert equal_components(agent.parameters, began) == set(COMPONENTS[1:])


def test_maps_are_tried_as_often_as_is_asked_for(tmp_path, turned):
    config = transfer_config(
        [turned], "realign.every=2", learning_rates="1e-7", updates=25, seeds="3"
    )
    train(config, tmp_path / "run")
    assert realigned(tmp_path / "run") == {"original-turned-lr1e-07-seed3": [20]}


def test_a_map_must_bring_the_loss_down_by_the_factor(tmp_path, turned):
    strict = transfer_config(
        [turned], "realign.every=1", "realign.factor=1e-4", learning_rates=1e-7
    )
    train(strict, tmp_path / "run")
    assert realigned(tmp_path / "run") == {}
    assert "realignment" in read_history(tmp_path / "run" / "history.h5")["embedding"]


def test_points_of_reference_are_never_realigned(tmp_path, turned):
    config = transfer_config(
        [turned], "realign.every=1", variants="original,paired,oracle", learning_rates="1e-7"
    )
    train(config, tmp_path / "run")
    assert set(realigned(tmp_path / "run")) == {"original-turned-lr1e-07-seed0"}
    plain = transfer_config([turned], variants="paired,oracle", learning_rates="1e-7")
    train(plain, tmp_path / "plain")
    for name in plain.agents():
        one, other = (
            load_agent(tmp_path / run / f"{name}.safetensors") for run in ("run", "plain")
        )
        assert equal_components(one.parameters, other.parameters) == set(COMPONENTS)
    assert "realignment" not in read_history(tmp_path / "plain" / "history.h5")["embedding"]


def test_a_member_that_diverged_is_left_alone(tmp_path, turned):
    config = transfer_config([turned], "realign.every=1", learning_rates="1e-7,1e30")
    result = train(config, tmp_path / "run")
    well, ill = config.agents()
    assert list(result.diverged) == [ill]
    assert set(realigned(tmp_path / "run")) == {well}
    alone = transfer_config([turned], "realign.every=1", learning_rates="1e-7")
    train(alone, tmp_path / "alone")
    name = f"{well}.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


# The labyrinth


@pytest.fixture(scope="module")
def labyrinth_base(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labyrinth") / "base.safetensors"
    return save_agent(path, labyrinth_config("3"), 3)


def test_of_many_pictures_maps_are_tried_on_some_transitions_of_the_members_own(
    monkeypatch, labyrinth_base
):
    config = transfer_config([labyrinth_base], "realign.every=1", seeds="0,1")
    assert TransferJob(config, CPU)._some_rows(0) is None  # few pictures: on all
    monkeypatch.setattr(replay, "TABLE_LIMIT", 10)
    job = TransferJob(config, CPU)
    rows = [job._some_rows(m) for m in (0, 1)]
    for m, seed in enumerate((0, 1)):
        assert rows[m].tolist() == batch_draws(seed, 0, 128, 4, 50).ravel().tolist()
    asked = []
    monkeypatch.setattr(realignment, "propose", lambda *_, rows, **__: asked.append(rows))
    job.population.updates = config.updates_per_epoch
    job.before_record(None, 0)
    assert [len(r) for r in asked] == [512, 512]
    assert not torch.equal(asked[0], rows[0])  # of the updates that follow


def test_a_run_in_the_labyrinth_is_resumed_bit_for_bit(tmp_path, labyrinth_base):
    config = transfer_config(
        [labyrinth_base], "realign.every=1", variants="original,finetune,paired,oracle", updates=6
    )
    train(config, tmp_path / "whole")
    rng = random.Random(1)
    assert go_on_until_done(config, tmp_path / "cut", lambda: rng.random() < 0.5) >= 2
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    history = read_history(tmp_path / "whole" / "history.h5")
    assert history["embedding"].realignment.shape == (4, 6, 3, 3)
    assert np.isfinite(history["training"].score).all()
    base = load_agent(labyrinth_base).parameters
    for name, path in read_run(tmp_path / "whole").checkpoints.items():
        agent = load_agent(path)
        still = equal_components(agent.parameters, base)
        assert still == (set() if name.startswith("finetune") else set(COMPONENTS[1:]))


# What will not do


def other_bases(tmp_path: Path) -> dict[str, Path]:
    """A good base, and others that cannot be transferred along with it."""
    good = maze_config("0", 5)
    bare = good.model_dump(mode="json")
    del bare["pair_scale"]
    wider = replace(
        SIMPLE_MAZE,
        name="wider",
        q=(Dense(2, 21), Dense(21, 4, tanh=False)),
    )
    drawn = networks.initialise(wider, np.random.default_rng(0))
    wide = save_agent(tmp_path / "wider.safetensors", good)
    document = checkpoint.load(wide).metadata.model_copy(update={"architecture": wider.spec()})
    checkpoint.save(checkpoint.Checkpoint(drawn, document), wide)
    made = {
        "labyrinth": (labyrinth_config("0"), {}),
        "inverse": (maze_config("0", 5, "domain=inverse"), {}),
        "double": (maze_config("0", 5, "precision=float64"), {}),
        "gamma": (maze_config("0", 5, "discount_factor=0.5"), {}),
        "bare": (good, {"configuration": bare}),
    }
    found = {
        name: save_agent(tmp_path / f"{name}.safetensors", config, **changes)
        for name, (config, changes) in made.items()
    }
    pixels = maze_config("0", 5, "observation=pixels")
    return {
        "good": save_agent(tmp_path / "good.safetensors", good),
        "pixels": save_agent(tmp_path / "pixels.safetensors", pixels),
        "wider": wide,
        **found,
    }


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("labyrinth", r"is of environment 'labyrinth', '.*/good.safetensors' of 'simple-maze': "),
        ("pixels", r"is of observation 'pixels', '.*/good.safetensors' of 'symbolic': the bases"),
        ("inverse", r"is of domain 'inverse', '.*/good.safetensors' of 'normal': the bases of"),
        ("double", r"has another architecture or precision than '.*/good.safetensors': the bases"),
        ("wider", r"has another architecture or precision than '.*/good.safetensors': the bases"),
        ("gamma", r"was trained with discount_factor = 0.5, '.*/good.safetensors' with 0.9: the"),
        ("bare", r"was trained with pair_scale = None, '.*/good.safetensors' with 5.0: the bases"),
    ],
)
def test_bases_that_do_not_go_together_are_refused(tmp_path, name, sentence):
    bases = other_bases(tmp_path)
    agents = [load_agent(bases["good"]), load_agent(bases[name])]
    with pytest.raises(InputError, match=f"^base model '{bases[name]}' {sentence}") as caught:
        task_of_bases(agents)
    assert "\n" not in str(caught.value)
    # Alone it will do, if its file tells all.
    if name != "bare":
        found = task_of_bases(agents[1:])
        assert found["precision"] == ("float64" if name == "double" else "float32")
        assert found["discount_factor"] == (0.5 if name == "gamma" else 0.9)
        assert found["observation"] == agents[1].metadata.observation


def test_an_oracle_is_refused_where_it_would_not_be_exact(tmp_path):
    bases = other_bases(tmp_path)
    for base, domain in [("good", "swapped"), ("good", "normal"), ("inverse", "inverse")]:
        config = transfer_config([bases[base]], variants="original,oracle", domain=domain)
        seen = "inverse" if base == "inverse" else "normal"
        for resume in (False, True):
            with pytest.raises(InputError) as caught:
                train(config, tmp_path / "run", resume=resume)
            assert str(caught.value) == (
                "variant 'oracle' negates the first kernel, which is exact from the domain "
                f"'normal' to 'inverse' alone, found '{seen}' to '{domain}'"
            )
        assert not (tmp_path / "run").exists()
        without = transfer_config([bases[base]], domain=domain)
        assert len(job_of(sample_of(without, 1, 2), CPU).population) == 1


def test_an_embedding_that_cannot_be_realigned_is_refused_before_it_is_trained(tmp_path):
    layers = replace(
        SIMPLE_MAZE,
        name="curved",
        encoder=(*SIMPLE_MAZE.encoder[:-1], Dense(10, 2)),  # not linear at its end
    )
    base = save_agent(tmp_path / "base.safetensors", maze_config("0", 5))
    document = checkpoint.load(base).metadata.model_copy(update={"architecture": layers.spec()})
    checkpoint.save(checkpoint.Checkpoint(checkpoint.load(base).parameters, document), base)
    assert len(job_of(sample_of(transfer_config([base]), 1, 2), CPU).population) == 1
    with pytest.raises(InputError, match="to end in a linear layer"):
        train(transfer_config([base], "realign.every=1"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What a run would take


def test_a_plan_counts_members_and_updates(monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)
    members = MANY.member_count
    assert members == 6 * 2 * 2 * 2 + 2 * 2 * 2 + 2 + 2
    found = plan(MANY, threads=1)
    assert (found["members"], found["updates"]) == (members, 20)
    assert found["agent_updates"] == members * 20
    assert found["parameters"] == SIMPLE_MAZE.parameter_count()
    assert found["seconds"] == pytest.approx(members * 20 / found["rate"])
    more = plan(MANY.model_copy(update={"restarts": 3}), threads=1)
    assert more["members"] == 3 * (6 * 2 * 2 * 2 + 2) + 2 * 2 * 2 + 2


def test_a_plan_has_one_file_a_transfer_however_many_restarts(monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)
    once, twice = (
        plan(transfer_config(TWO, f"restarts={restarts}"))["disk_bytes"] for restarts in (1, 2)
    )
    expected = 2 * 4 * SIMPLE_MAZE.parameter_count()
    assert 2 * once - twice == pytest.approx(expected, rel=1e-3)


def test_a_plan_has_room_for_what_a_run_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)
    config = transfer_config(
        TWO, "restarts=3", "realign.every=1", variants="original,oracle", seeds="0:2"
    )
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: True))
    state = (tmp_path / "run" / "resume.safetensors").stat().st_size
    train(config, tmp_path / "run", resume=True)
    final = sum(path.stat().st_size for path in (tmp_path / "run").iterdir())
    assert 2 * state + final == pytest.approx(plan(config)["disk_bytes"], rel=0.05)


def test_an_idle_run_has_a_plan_and_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)
    config = transfer_config(TWO, variants="oracle", updates=5)
    assert plan(config)["agent_updates"] == 2 * 5
    result = train(config, tmp_path / "run")
    for name, path in result.checkpoints.items():
        base = load_agent(load_agent(path).metadata.base)
        assert result.losses[name] == pytest.approx(base.metadata.losses, rel=1e-5)


def test_what_trains_a_run_is_divided_only_where_it_must_be():
    def engine(variants):
        return job_of(transfer_config(TWO[:1], variants=variants), CPU).engine(1)

    assert isinstance(engine("original,scratch,finetune"), FusedEngine)
    assert isinstance(engine("original,paired"), DividedEngine)
    assert isinstance(engine("oracle"), DividedEngine)
    forced = transfer_config(TWO[:1], "engine=reference", variants="paired")
    assert isinstance(job_of(forced, CPU).engine(1), DividedEngine)
