import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crar_diag.agent import (
    checkpoint,
    forecast,
    job,
    networks,
    probes,
    runfolder,
    trainer,
    training,
)
from crar_diag.agent.architecture import SIMPLE_MAZE, architecture_for
from crar_diag.agent.assembly import (
    build,
    choose_engine,
    loss_settings,
    member_rule,
    update_rule,
)
from crar_diag.agent.config import COMPONENTS, LOSSES, TrainConfig
from crar_diag.agent.config_sources import build_config, to_toml
from crar_diag.agent.engine import LossTotals, ReferenceEngine
from crar_diag.agent.evaluation import evaluate_labyrinth
from crar_diag.agent.forecast import plan
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.history import read_history, record_times
from crar_diag.agent.job import MAX_EPOCHS
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.population import UpdateRule
from crar_diag.agent.run import read_run
from crar_diag.agent.streams import episode_streams, stream
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.agent.versions import library_versions
from crar_diag.envs.data import gather
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError, StorageError
from tests.runs import (
    HELD_OUT,
    assert_same_run,
    content,
    files_up_to,
    labyrinth_config,
    maze_config,
    recorded,
    trained,
)

ROOT = Path(__file__).parents[2]
MAZE = maze_config("0:3", 50)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)


@pytest.fixture(scope="module")
def maze_run(tmp_path_factory) -> Path:
    """The members 0 to 2 of the small maze run, trained in one go."""
    return trained(MAZE, tmp_path_factory.mktemp("maze") / "run")


@pytest.fixture(scope="module")
def labyrinth_run(tmp_path_factory) -> Path:
    """Two members of the small labyrinth run, trained in one go."""
    return trained(labyrinth_config(), tmp_path_factory.mktemp("labyrinth") / "run")


# From a configuration to its parts


def test_every_setting_reaches_the_update():
    config = maze_config(
        "0",
        50,
        "optimizer.mode=joint",
        "optimizer.rho=0.8",
        "optimizer.epsilon=0.01",
        "optimizer.clip_norm=2.5",
        "optimizer.clip_scope=global",
        "optimizer.learning_rate=0.25",
        "optimizer.learning_rate_decay=0.5",
        "discount_factor=0.7",
        "double_q=true",
        "pair_scale=3.0",
        "loss_weights.q=[[0, 0.0], [2, 0.5]]",
        "trainable=encoder,q",
    )
    settings = LossSettings(0.7, True, 3.0)
    assert loss_settings(config) == settings
    assert update_rule(config) == UpdateRule(
        mode="joint",
        rho=0.8,
        epsilon=0.01,
        clip_norm=2.5,
        clip_scope="global",
        target_period=7,
        updates_per_epoch=20,
        settings=settings,
    )
    rule = member_rule(config)
    assert [rule.rate_at(epoch) for epoch in range(3)] == [0.25, 0.125, 0.0625]
    assert [rule.weight_at("q", epoch) for epoch in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert rule.weight_at("consecutive_pairs", 9) == 0.2
    assert rule.trainable == {"encoder", "q"}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_seed_fixes_initialisation_data_and_batches(precision):
    config = maze_config("4,1", 50, f"precision={precision}", "domain=inverse")
    population, replay = build(config, CPU)
    dtype = getattr(torch, precision)
    for m, seed in enumerate((4, 1)):
        drawn = networks.initialise(SIMPLE_MAZE, stream(seed, "initialisation"), dtype)
        for name, parameter in drawn.items():
            assert torch.equal(population.agents()[name][m], parameter)
            assert torch.equal(population.targets()[name][m], parameter)
        data = gather("simple-maze", 100, stream(seed, "data"), True, 30)
        batch = replay.members[m].batch(torch.arange(100))
        seen = Observer("simple-maze", "symbolic", "inverse")(torch.from_numpy(data.tiles))
        assert torch.equal(batch["observation"], seen.to(dtype))
        assert batch["action"].tolist() == data.actions.tolist()
        assert batch["terminal"].sum() == 4  # the last of each 30 steps, and of all
    assert replay.seeds == (4, 1)
    assert replay.batch_size == 32


def test_the_engine_is_the_fused_one_where_it_applies():
    _, dense = population_and_replay = build(maze_config(), CPU)
    assert population_and_replay[0].architecture == SIMPLE_MAZE
    assert isinstance(choose_engine("auto", SIMPLE_MAZE, dense), FusedEngine)
    assert isinstance(choose_engine("fused", SIMPLE_MAZE, dense), FusedEngine)
    assert isinstance(choose_engine("reference", SIMPLE_MAZE, dense), ReferenceEngine)
    assert choose_engine("auto", SIMPLE_MAZE, dense, 5).threads == 5
    labyrinth = architecture_for("labyrinth", "pixels")
    assert isinstance(choose_engine("auto", labyrinth, dense), FusedEngine)
    other = replace(SIMPLE_MAZE, name="other", actions=5)
    assert isinstance(choose_engine("auto", other, dense), ReferenceEngine)
    with pytest.raises(InputError, match=r"engine = 'fused' does not train 'other' on cpu; use"):
        choose_engine("fused", other, dense)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (maze_config("0", 9, "evaluation.every=1"), r"^evaluation.every must be 0 in the simple m"),
        (labyrinth_config("0", 9, "data.mark_last_terminal=true"), "mark_last_terminal with"),
        (
            maze_config("0", 2 * MAX_EPOCHS + 1, "updates_per_epoch=2"),
            f"at most {MAX_EPOCHS} epochs, found {MAX_EPOCHS + 1}$",
        ),
        (maze_config("0", 9, "optimizer.learning_rate=1e39"), r"^optimizer.learning_rate must be"),
        (maze_config("0", 9, "loss_weights.q=[[0, 1.0], [1, 1e39]]"), r"^loss_weights.q must be"),
    ],
)
def test_what_would_fail_on_the_way_is_refused_before_anything_is_written(tmp_path, config, match):
    for resume in (False, True):
        with pytest.raises(InputError, match=match):
            train(config, tmp_path / "run", resume=resume)
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_fits_the_precision_is_no_obstacle():
    training.check(maze_config("0", 9, "optimizer.learning_rate=1e39", "precision=float64"))


# What is recorded


def test_a_run_is_what_its_engine_does_and_its_history_says_so(maze_run):
    """A twin by hand: the same population advanced from record to record."""
    population, replay = build(MAZE, CPU)
    engine, totals = FusedEngine(1), LossTotals.zeros(3)
    observer = Observer("simple-maze", "symbolic")
    history = read_history(maze_run / "history.h5")
    records, epochs = history["evaluation"], history["training"]
    assert records.time.values.tolist() == [0, 1, 2, 5, 10, 20, 40, 50]
    assert epochs.epoch.values.tolist() == [20, 40, 50]
    for k, time in enumerate(records.time.values):
        engine.advance(population, replay, int(time) - population.updates, totals)
        for m in range(3):
            agent = networks.stack([networks.member(population.agents(), m)])
            exact = exact_evaluation(SIMPLE_MAZE, agent, observer, LossSettings())
            expected = [exact.losses[name][0] for name in LOSSES]
            assert records.expected_loss[m, k].values.tolist() == expected
            embedding = history["embedding"].embedding[m, k]
            np.testing.assert_array_equal(embedding, exact.embedding[0])
        if time in epochs.epoch:
            epoch = epochs.epoch.values.tolist().index(time)
            np.testing.assert_array_equal(epochs.training_loss[:, epoch], totals.means())
            totals = LossTotals.zeros(3)
    assert (records.expected_loss_error == 0).all()
    rates = [5e-4 * 0.9 ** (4 * epoch) for epoch in range(3)]  # as far as in four times the updates
    np.testing.assert_allclose(epochs.learning_rate, [rates] * 3, rtol=1e-15)
    assert np.isnan(epochs.score).all()
    assert (epochs.seconds > 0).all()
    assert (epochs.training_loss[:, 0, 0] > epochs.training_loss[:, 2, 0]).all()  # it learns
    for m in range(3):
        agent = load_agent(maze_run / f"base-seed{m}.safetensors")
        for name, parameter in population.agents().items():
            assert torch.equal(agent.parameters[name], parameter[m])


def test_a_checkpoint_says_what_its_agent_is(maze_run):
    history = read_history(maze_run / "history.h5")
    for m in range(3):
        metadata = checkpoint.load(maze_run / f"base-seed{m}.safetensors").metadata
        last = history["evaluation"].expected_loss[m, -1].values
        assert metadata == checkpoint.CheckpointMetadata(
            environment="simple-maze",
            observation="symbolic",
            domain="normal",
            architecture=SIMPLE_MAZE.spec(),
            configuration=MAZE.model_dump(mode="json") | {"seeds": [m]},
            seed=m,
            updates=50,
            frozen=(),
            losses=dict(zip(LOSSES, last, strict=True)),
            versions=library_versions(),
        )
    assert metadata.versions.keys() >= {"python", "crar-diag", "torch", "numpy", "numba"}
    checkpoints = {f"base-seed{m}.safetensors" for m in range(3)}
    assert content(maze_run).keys() == {"run.toml"} | checkpoints


def test_frozen_components_stay_and_are_named(tmp_path):
    config = maze_config("0", 8, "trainable=encoder,q", "name=part")
    result = train(config, tmp_path / "run")
    agent = load_agent(result.checkpoints[0])
    assert result.checkpoints[0].name == "part-seed0.safetensors"
    assert agent.metadata.frozen == ("transition", "reward", "discount")
    start = networks.initialise(SIMPLE_MAZE, stream(0, "initialisation"))
    for component in COMPONENTS:
        names = networks.of_component(start, component)
        same = all(torch.equal(agent.parameters[name], start[name]) for name in names)
        assert same == (component in agent.metadata.frozen)


@pytest.mark.parametrize("every", [1, 2])
def test_scores_are_measured_after_their_epochs_and_at_the_end(tmp_path, every, labyrinth_run):
    config = labyrinth_config("0:2", 10, f"evaluation.every={every}")
    folder = labyrinth_run
    if every == 2:
        folder = tmp_path / "run"
        train(config, folder)
    population, replay = build(config, CPU)
    scores = read_history(folder / "history.h5")["training"].score
    assert scores.epoch.values.tolist() == [4, 8, 10]
    measured = [every == 1, True, True]
    for epoch, updates in enumerate((4, 4, 2)):
        ReferenceEngine().advance(population, replay, updates)
        expected = evaluate_labyrinth(
            population.architecture,
            population.agents(),
            Observer("labyrinth", "symbolic"),
            [episode_streams(seed, epoch) for seed in (0, 1)],
            depth=1,
            steps=6,
            episode_cap=4,
            environments=2,
        ).mean
        found = scores[:, epoch].values
        np.testing.assert_array_equal(found, expected if measured[epoch] else [math.nan] * 2)


def test_every_record_is_announced_when_it_is_made(tmp_path):
    positions = []

    def recorded(history, position: int) -> None:
        positions.append(position)
        assert np.isfinite(history.losses[:, : position + 1]).all()
        assert np.isnan(history.losses[:, position + 1 :]).all()
        ended = history.epochs <= history.times[position]
        np.testing.assert_array_equal(np.isfinite(history.learning_rate), [ended, ended])

    train(maze_config(), tmp_path / "run", watch=Watch(recorded=recorded))
    assert positions == list(range(8))


def test_progress_counts_updates_living_members_and_time(tmp_path, monkeypatch):
    Clock(monkeypatch)  # an update of the three members takes a second
    seen = []
    train(maze_config("0:3", 50), tmp_path / "run", watch=Watch(progress=seen.append))
    done = [one.updates for one in seen]
    assert done == sorted(set(done))
    assert done[:2] == [0, 1]
    assert done[-1] == 50
    for one in seen:
        assert (one.total, one.members) == (50, 3)
        # No rate before the first update, which may have had to be compiled.
        rate, left = (3.0, 50 - one.updates) if one.updates > 1 else (math.nan, math.nan)
        assert one.rate == pytest.approx(rate, nan_ok=True)
        assert one.seconds_left == pytest.approx(left, nan_ok=True)


# A member's result depends on its own seed alone


@pytest.mark.parametrize("seeds", ["1", "2,1", "1:9"])
def test_a_member_is_the_same_bytes_whoever_trains_beside_it(maze_run, tmp_path, seeds):
    train(maze_config(seeds, 50), tmp_path / "run")
    name = "base-seed1.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (maze_run / name).read_bytes()
    first, second = (read_history(folder / "history.h5") for folder in (maze_run, tmp_path / "run"))
    for group, one in first.items():
        for variable in one.data_vars:
            if variable != "seconds":
                np.testing.assert_array_equal(
                    one[variable].sel(member=1), second[group][variable].sel(member=1)
                )


def test_a_labyrinth_member_is_the_same_bytes_alone(labyrinth_run, tmp_path):
    train(labyrinth_config("1"), tmp_path / "run")
    name = "base-seed1.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (labyrinth_run / name).read_bytes()


def test_threads_change_no_bit(maze_run, tmp_path):
    train(MAZE, tmp_path / "run", threads=3)
    assert_same_run(maze_run, tmp_path / "run")


# Interrupted, killed, resumed


UNDER_FIRE = {
    "at_random_moments": maze_config("0:2", 700, "updates_per_epoch=150", "target_period=170"),
    "before_every_change": maze_config("0:2", 2, "updates_per_epoch=1"),
}


@pytest.fixture(scope="module")
def under_fire(tmp_path_factory) -> tuple[Path, dict]:
    """Both runs, trained in peace and while they are killed; see `killing.py`."""
    folder = tmp_path_factory.mktemp("killed")
    for how, config in UNDER_FIRE.items():
        (folder / how).mkdir()
        (folder / how / "config.toml").write_text(to_toml(config))
    answer = subprocess.run(
        [sys.executable, "-m", "tests.agent.killing", folder],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return folder, json.loads(answer.stdout)


@pytest.mark.parametrize("how", UNDER_FIRE)
def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(under_fire, how):
    folder, answer = under_fire
    assert_same_run(folder / how / "peaceful", folder / how / "killed")
    saved, told = (list(column) for column in zip(*answer[how], strict=True))
    assert saved == sorted(saved)  # nothing that was saved is lost
    assert told == sorted(told)
    # The history was written with the state, or the kill came between the two.
    times = [-1, *record_times(UNDER_FIRE[how].updates, UNDER_FIRE[how].updates_per_epoch)]
    for updates, last in answer[how]:
        assert last <= updates
        assert last in times
    if how == "at_random_moments":
        assert len(saved) >= 5
        assert len({updates for updates in saved if 0 < updates < 700}) >= 3
        assert len({updates for updates in told if 0 < updates < 700}) >= 2
    else:
        assert len(saved) > 20
        assert set(saved) == {0, 1, 2}
        assert {(0, -1), (0, 0), (1, 0), (2, 1), (2, 2)} <= set(map(tuple, answer[how]))


def go_on_until_done(config: TrainConfig, folder: Path, stop, look=lambda updates: None) -> int:
    """Resume a run until it ends, looking at it in between; return how often it was stopped."""
    for stops in range(1000):
        done = read_run(folder, complete=False).updates_done if folder.exists() else 0
        stopped = None
        try:
            train(config, folder, resume=True, watch=Watch(stop=stop, save_every=0.0))
        except RunInterruptedError as error:
            stopped = error
        if stopped is None:
            return stops
        now = read_run(folder, complete=False).updates_done
        assert now > done
        look(now)
        assert stopped.exit_code == 130
        assert str(stopped) == (
            f"stopped after {now} of {config.updates} updates; the state is saved in '{folder}': "
            "resume it to go on"
        )
        assert stopped.arguments == ("resume",)
    raise AssertionError("the run does not end")


def test_stopped_after_every_update_a_run_ends_as_if_nothing_had_happened(tmp_path):
    config = maze_config("0:2", 12, "updates_per_epoch=5")
    times = record_times(12, 5)

    def look(updates: int) -> None:
        assert recorded(tmp_path / "cut") == times[times <= updates][-1]

    train(config, tmp_path / "whole")
    assert go_on_until_done(config, tmp_path / "cut", lambda: True, look) == 12
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_labyrinth_stopped_at_random_moments_ends_as_if_nothing_had_happened(
    labyrinth_run, tmp_path
):
    rng = random.Random(1)
    config = labyrinth_config()
    assert go_on_until_done(config, tmp_path / "cut", lambda: rng.random() < 0.4) >= 3
    assert_same_run(labyrinth_run, tmp_path / "cut")


@pytest.mark.parametrize("mode", ["simultaneous", "joint"])
def test_the_reference_engine_resumes_bit_for_bit(tmp_path, mode):
    settings = ["engine=reference", f"optimizer.mode={mode}", "precision=float64"]
    config = maze_config("0:2", 9, "updates_per_epoch=4", *settings)
    train(config, tmp_path / "whole")
    rng = random.Random(2)
    assert go_on_until_done(config, tmp_path / "cut", lambda: rng.random() < 0.5) >= 2
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_finished_run_is_left_alone_and_tells_its_result_again(tmp_path):
    config = maze_config("0:2", 5)
    first = train(config, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    for again in (config, None):
        assert train(again, tmp_path / "run", resume=True) == first
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert {path: time for path, time in after.items() if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }
    assert read_run(tmp_path / "run").updates_done == 5


def test_a_checkpoint_that_was_deleted_is_made_again(maze_run, tmp_path):
    folder = tmp_path / "run"
    train(MAZE, folder)
    (folder / "base-seed1.safetensors").unlink()
    told = []
    watch = Watch(recorded=lambda history, position: told.append(recorded(folder)))
    train(None, folder, resume=True, watch=watch)
    assert told[0] == -1  # the history of the end is not ahead of a run that begins anew
    assert_same_run(maze_run, folder)


def test_the_history_is_written_with_the_state_and_only_where_it_has_new_records(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "_SAVE_SHARE", math.inf)
    write_resume, write_history = training.RunFolder.write_resume, runfolder.write_history
    written = []

    def write_state(*arguments: object) -> None:
        write_resume(*arguments)
        written.append("state")

    def write_record(*arguments: object) -> None:
        write_history(*arguments)
        written.append(recorded(tmp_path / "run"))

    monkeypatch.setattr(training.RunFolder, "write_resume", write_state)
    monkeypatch.setattr(runfolder, "write_history", write_record)
    config = maze_config("0", 7, "updates_per_epoch=4")
    train(config, tmp_path / "run", watch=Watch(save_every=0.0))
    # A save at the start, one after each update, and one at the end.
    s = "state"
    assert written == [s, 0, s, 1, s, 2, s, s, 4, s, 5, s, s, 7, s]


class Clock:
    """Stands still but for the updates, of which each takes a second, and the saves."""

    def __init__(self, monkeypatch, cost: float = 0.0) -> None:
        self.now, self.saves = 0.0, []
        write, advance = training.RunFolder.write_resume, FusedEngine.advance

        def slow_write(folder, *arguments: object) -> None:
            self.saves.append(self.now)
            self.now += cost
            write(folder, *arguments)

        def slow_advance(engine, population, replay, updates, totals):
            self.now += updates
            return advance(engine, population, replay, updates, totals)

        for module in (training, trainer):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(training.RunFolder, "write_resume", slow_write)
        monkeypatch.setattr(FusedEngine, "advance", slow_advance)


@pytest.mark.parametrize(("cost", "pause"), [(0.0, 10.0), (0.25, 10.0), (1.5, 30.0)])
def test_saving_keeps_its_distance_and_its_share_of_the_time(tmp_path, monkeypatch, cost, pause):
    clock = Clock(monkeypatch, cost)
    train(maze_config("0", 70), tmp_path / "run")
    gaps = np.diff(clock.saves)[:-1] - cost  # the last save is the end's
    assert len(gaps) >= 2
    assert (gaps > pause).all()
    assert (gaps < pause + 2).all()


def test_an_epochs_duration_is_what_was_worked_on_it_and_not_the_pause(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    config = maze_config("0", 50)
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: clock.now >= 27))
    clock.now += 10_000
    train(config, tmp_path / "run", resume=True)
    training_group = read_history(tmp_path / "run" / "history.h5")["training"]
    assert training_group.seconds.values.tolist() == [20.0, 20.0, 10.0]


# Short runs


@pytest.mark.parametrize("updates", [1, 3])
def test_a_run_shorter_than_an_epoch_has_one_epoch(tmp_path, updates):
    result = train(maze_config("0", updates), tmp_path / "run")
    history = read_history(tmp_path / "run" / "history.h5")
    assert history["training"].epoch.values.tolist() == [updates]
    assert np.isfinite(history["training"].training_loss).all()
    assert history["evaluation"].time.values.tolist() == [t for t in (0, 1, 2, 3) if t <= updates]
    assert checkpoint.load(result.checkpoints[0]).metadata.updates == updates


# Divergence


@pytest.fixture
def seed_1_diverges(monkeypatch):
    """Give the member of seed 1, and it alone, a learning rate that blows it up at once."""

    def build_it(config, device):
        population, replay = build(config, device)
        population.members = tuple(
            replace(rule, learning_rate=1e6) if seed == 1 else rule
            for seed, rule in zip(config.seeds, population.members, strict=True)
        )
        return population, replay

    monkeypatch.setattr(job, "build", build_it)


def test_a_member_that_diverges_disturbs_no_other(maze_run, tmp_path, seed_1_diverges):
    living = []
    watch = Watch(progress=lambda progress: living.append(progress.members))
    result = train(MAZE, tmp_path / "run", watch=watch)
    assert list(result.diverged) == [1]
    assert living[-1] == 2
    for seed in (0, 2):
        name = f"base-seed{seed}.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (maze_run / name).read_bytes()
    found = checkpoint.load(result.checkpoints[1])
    assert found.metadata.diverged_at == found.metadata.updates == result.diverged[1]
    assert all(p.isfinite().all() for p in found.parameters.values())
    history = read_history(tmp_path / "run" / "history.h5")
    before = read_history(maze_run / "history.h5")
    for member in (0, 2):
        for group, name in (("training", "training_loss"), ("evaluation", "expected_loss")):
            np.testing.assert_array_equal(
                history[group][name].sel(member=member), before[group][name].sel(member=member)
            )
    # Nothing moves it after that.
    last = history["embedding"].embedding.sel(member=1)
    late = last.sel(time=last.time > result.diverged[1])
    assert (late == late[-1]).all()
    assert np.isnan(history["training"].training_loss.sel(member=1)[1:]).all()


def test_divergence_survives_an_interruption(tmp_path, seed_1_diverges):
    config = maze_config("0:2", 12)
    first = train(config, tmp_path / "whole")
    assert go_on_until_done(config, tmp_path / "cut", lambda: True) == 12
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    again = train(None, tmp_path / "cut", resume=True)
    assert again.diverged == first.diverged
    assert again.losses.keys() == first.losses.keys()


@pytest.mark.parametrize("rate", [1e3, 1e6, 1e20, 1e38])
def test_whatever_the_learning_rate_a_run_ends_with_finite_agents(tmp_path, rate):
    config = maze_config("0", 6, f"optimizer.learning_rate={rate}")
    result = train(config, tmp_path / "run")
    agent = load_agent(result.checkpoints[0])
    assert all(p.isfinite().all() for p in agent.parameters.values())
    assert (agent.metadata.updates < 6) == (agent.metadata.diverged_at is not None)


# A full disk


def refuses_to_write(config: TrainConfig, folder: Path, name: str, **options) -> None:
    with pytest.raises(StorageError) as caught:
        train(config, folder, resume=True, **options)
    assert str(caught.value).startswith(f"could not write '{folder / name}': File too large; ")
    assert caught.value.exit_code == 1
    assert not any(path.name.startswith(".crar") for path in folder.iterdir())


def test_a_disk_that_is_full_leaves_a_run_that_goes_on(maze_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with files_up_to(100):
        refuses_to_write(MAZE, folder, "run.toml")
    assert content(folder) == {}
    with files_up_to(10_000):
        refuses_to_write(MAZE, folder, "resume.safetensors")
    assert content(folder).keys() == {"run.toml"}

    with pytest.raises(RunInterruptedError):
        train(MAZE, folder, resume=True, watch=Watch(stop=lambda: True))
    state = content(folder)
    monkeypatch.setattr(training, "_SAVE_SHARE", math.inf)
    with files_up_to(10_000):
        refuses_to_write(MAZE, folder, "resume.safetensors", watch=Watch(save_every=0.0))
    assert content(folder) == state
    assert (read_run(folder, complete=False).updates_done, recorded(folder)) == (1, 1)

    def limited(real):
        def write(*arguments: object) -> None:
            if read_run(folder, complete=False).updates_done > 1:
                with files_up_to(10_000):
                    real(*arguments)

        return write

    for module, function, name, told in [
        (runfolder, "write_history", "history.h5", 1),
        (training.checkpoint, "save", "base-seed0.safetensors", 50),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(module, function, limited(getattr(module, function)))
            refuses_to_write(MAZE, folder, name)
        assert not read_run(folder, complete=False).finished
        assert read_run(folder, complete=False).updates_done == 50
        assert recorded(folder) == told
    train(None, folder, resume=True)
    assert_same_run(maze_run, folder)


# What a run would take


@pytest.fixture
def quick_measure(monkeypatch):
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.05)


def test_a_plan_is_arithmetic_and_a_measurement(quick_measure):
    config = build_config("simple-maze", "quick", seeds="0:6")
    found = plan(config, threads=1)
    assert found["members"] == 6
    assert found["updates"] == 40_000
    assert found["agent_updates"] == 240_000
    assert found["parameters"] == SIMPLE_MAZE.parameter_count()
    assert found["seconds"] == pytest.approx(240_000 / found["rate"])
    # Within an order of magnitude of any machine of the last ten years.
    assert 100 < found["rate"] < 100_000
    more = plan(build_config("simple-maze", "quick", seeds="0:12"), threads=1)
    assert more["disk_bytes"] == 2 * found["disk_bytes"]
    data = 6 * 5000 * 160
    assert more["memory_bytes"] > found["memory_bytes"] + data


def test_a_plan_has_room_for_what_a_run_takes(tmp_path, quick_measure, under_fire):
    config = maze_config("0:5", 30)
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: True))
    state = (tmp_path / "run" / "resume.safetensors").stat().st_size
    train(config, tmp_path / "run", resume=True)
    final = sum(path.stat().st_size for path in (tmp_path / "run").iterdir())
    assert 2 * state + final == pytest.approx(plan(config)["disk_bytes"], rel=0.05)
    memory = plan(UNDER_FIRE["at_random_moments"])["memory_bytes"]
    # Where the update is not in the cache yet, compiling it takes more than as much again.
    assert memory / 2 < under_fire[1]["peak_bytes"] < 3 * memory


def test_a_plan_is_refused_where_the_run_would_be():
    with pytest.raises(InputError, match=r"^evaluation.every must be 0"):
        plan(maze_config("0", 9, "evaluation.every=1"))
