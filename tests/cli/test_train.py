import errno
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from crar_diag.agent import checkpoint, job, training
from crar_diag.agent.config import LOSSES, TrainConfig, config_fields, flatten
from crar_diag.agent.config_sources import to_toml
from crar_diag.agent.history import read_history
from crar_diag.agent.presets import preset
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.cli.terminal import stoppable
from tests.cli.conftest import snapshot, terminal
from tests.runs import LABYRINTH, MAZE, assert_same_run, content, files_up_to, maze_config

PROGRAM = Path(sys.executable).with_name("crar-diag")


def sets(settings: list[str]) -> list[str]:
    return [argument for setting in settings for argument in ("--set", setting)]


SMALL = ["train", "--env", "simple-maze", "--preset", "quick", *sets(MAZE)]
RUN = [*SMALL, "--seeds", "0:2", "--updates", "50"]  # what `maze_run` holds


# What it prints and writes


def test_a_run_as_json(cli, tmp_path, maze_run):
    answer = cli(*RUN, "--out", tmp_path / "run", "--json")
    assert answer.code == 0
    assert answer.err == ""  # no terminal, no progress
    assert_same_run(tmp_path / "run", maze_run)
    found = answer.json
    assert found["run"] == str(tmp_path / "run")
    assert [member["seed"] for member in found["members"]] == [0, 1]
    for member in found["members"]:
        path = tmp_path / "run" / f"base-seed{member['seed']}.safetensors"
        assert member["checkpoint"] == str(path)
        assert member["losses"] == checkpoint.load(path).metadata.losses
        assert list(member["losses"]) == list(LOSSES)
        assert member["diverged_at"] is None
    assert list(LOSSES) == [
        "transition", "reward", "discount", "volume", "random_pairs", "consecutive_pairs", "q",
    ]  # fmt: skip


def test_a_run_as_a_table(cli, tmp_path):
    answer = cli(*SMALL, "--seed", "1", "--updates", "50", "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (0, "")
    header, row, last = answer.out.splitlines()
    assert header.split() == ["seed", *LOSSES]
    losses = checkpoint.load(tmp_path / "run" / "base-seed1.safetensors").metadata.losses
    assert row.split() == ["1", *(f"{value:.4g}" for value in losses.values())]
    assert last == f"1 agents in '{tmp_path / 'run'}'"


def test_progress_goes_to_a_terminal_with_rate_and_time_left(cli, tmp_path, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        answer = cli(*RUN, "--out", tmp_path / "wide", "--json")
        wide = shown()
    with terminal(monkeypatch, columns=60) as shown:
        cli(*RUN, "--out", tmp_path / "narrow", "--json")
        narrow = shown()
    assert answer.code == 0
    assert answer.json["members"]  # standard output has the JSON object and nothing else
    frames = wide.removesuffix("\r\n").split("\r")[1:]
    pattern = (
        r"\[(#*) *\] +(\d+)%  (\d+) of 50 updates, 2 members, "
        r"(?:(preparing)|[\d,.]+ agent-updates/s, \d+ s left)\x1b\[K"
    )
    shown = [re.fullmatch(pattern, frame) for frame in frames]
    assert all(shown), frames
    # No rate before the first updates are done and what they need is compiled.
    prepared = [match[4] == "preparing" for match in shown]
    assert prepared == sorted(prepared, reverse=True)
    assert prepared[0]
    assert not prepared[-1]
    done = [int(match[3]) for match in shown]
    assert done == sorted(set(done))
    assert done[-1] == 50
    for match in shown:
        assert len(match[1]) == int(30 * int(match[3]) / 50)
        assert int(match[2]) == pytest.approx(100 * int(match[3]) / 50, abs=1)
    lines = narrow.removesuffix("\r\n").split("\r")[1:]
    assert all(len(line.removesuffix("\x1b[K")) <= 59 for line in lines)
    assert any("50 of 50 updates" in line for line in lines)


# How a configuration is chosen


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
@pytest.mark.parametrize("name", ["paper", "quick", None])
def test_presets(cli, tmp_path, environment, name):
    small = [] if environment == "simple-maze" else sets(["observation=symbolic", "batch_size=2"])
    chosen = ["--preset", name] if name else []
    plan = ["--out", tmp_path / "run", "--dry-run", "--json"]
    answer = cli("train", "--env", environment, *chosen, *small, *plan)
    assert (answer.code, answer.err) == (0, "")
    expected = preset(environment, name or "paper")
    if small:
        expected = expected.model_copy(update={"observation": "symbolic", "batch_size": 2})
    assert answer.json["config"] == expected.model_dump(mode="json")
    assert (
        expected.updates
        == {
            ("simple-maze", "paper"): 160_000,
            ("simple-maze", "quick"): 40_000,
            ("labyrinth", "paper"): 400_000,
            ("labyrinth", "quick"): 20_000,
        }[environment, name or "paper"]
    )


OTHER = {
    "name": "mine",
    "environment": "labyrinth",
    "observation": "symbolic",
    "domain": "inverse",
    "seeds": [4, 7],
    "updates": 17,
    "updates_per_epoch": 6,
    "snapshots_every": 2,
    "batch_size": 3,
    "precision": "float64",
    "engine": "reference",
    "discount_factor": 0.5,
    "double_q": False,
    "target_period": 11,
    "pair_scale": 2.5,
    "trainable": ["encoder", "reward"],
    "optimizer.learning_rate": 0.01,
    "optimizer.learning_rate_decay": 0.75,
    "optimizer.rho": 0.8,
    "optimizer.epsilon": 0.001,
    "optimizer.clip_norm": 3.0,
    "optimizer.clip_scope": "global",
    "optimizer.mode": "joint",
    "loss_weights.transition": 0.5,
    "loss_weights.reward": 0.25,
    "loss_weights.discount": 0.0,
    "loss_weights.volume": 2.0,
    "loss_weights.random_pairs": [[0, 0.0], [2, 1.0]],
    "loss_weights.consecutive_pairs": 0.125,
    "loss_weights.q": [[0, 0.5], [1, 0.25]],
    "data.transitions": 40,
    "data.steps_per_gathering": 20,
    "data.mark_last_terminal": False,
    "evaluation.depth": 1,
    "evaluation.epsilon": 0.5,
    "evaluation.steps": 30,
    "evaluation.episode_cap": 10,
    "evaluation.environments": 2,
    "evaluation.every": 3,
}


def as_argument(value: object) -> str:
    """Write a value as a user would: TOML, but strings without quotation marks."""
    return value if isinstance(value, str) else str(value).replace("False", "false")


@pytest.mark.parametrize("source", ["set", "config"])
def test_every_key_is_within_reach(cli, tmp_path, source):
    assert OTHER.keys() == set(config_fields())
    default = flatten(preset("labyrinth"))
    same = {key for key, value in OTHER.items() if default[key] == value}
    # The environment is the preset's; the labyrinth knows no marking.
    assert same == {"environment", "data.mark_last_terminal"}
    arguments = ["train", "--out", tmp_path / "run", "--dry-run", "--json"]
    if source == "set":
        for key, value in OTHER.items():
            if key == "trainable":
                value = "encoder,reward"
            arguments += ["--set", f"{key}={as_argument(value)}"]
    else:
        path = tmp_path / "mine.toml"
        nested: dict[str, object] = {}
        for key, value in OTHER.items():
            table, _, name = key.rpartition(".")
            (nested.setdefault(table, {}) if table else nested)[name] = value
        path.write_text(to_toml(TrainConfig.model_validate(nested)))
        arguments += ["--config", path]
    answer = cli(*arguments)
    assert (answer.code, answer.err) == (0, "")
    config = TrainConfig.model_validate(answer.json["config"])
    found = flatten(config)
    assert {key: as_list(found[key]) for key in OTHER} == OTHER


def as_list(value: object) -> object:
    return [as_list(entry) for entry in value] if isinstance(value, list | tuple) else value


def test_options_win_over_set_over_file_over_preset(cli, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "updates = 11\ndomain = 'swapped'\nbatch_size = 5\n"
        "[optimizer]\nlearning_rate = 0.1\nrho = 0.5\n[data]\ntransitions = 60\n"
    )
    arguments = [
        *("--env", "simple-maze", "--preset", "quick", "--config", path),
        *sets(["updates=12", "domain=inverse", "optimizer.learning_rate=0.2"]),
        *("--updates", 13, "--learning-rate", "0.3", "--seeds", "0,4:6", "--domain", "rotated"),
    ]
    answer = cli("train", *arguments, "--out", tmp_path / "run", "--dry-run", "--json")
    found = flatten(TrainConfig.model_validate(answer.json["config"]))
    expected = {
        "updates": 13,
        "optimizer.learning_rate": 0.3,
        "domain": "rotated",
        "seeds": (0, 4, 5),
        "batch_size": 5,
        "optimizer.rho": 0.5,
        "data.transitions": 60,
        "updates_per_epoch": 5000,
    }
    assert {key: found[key] for key in expected} == expected


def test_a_runs_own_configuration_repeats_it(cli, tmp_path, maze_run):
    answer = cli("train", "--config", maze_run / "run.toml", "--out", tmp_path / "run")
    assert answer.code == 0
    assert_same_run(tmp_path / "run", maze_run)


@pytest.mark.parametrize(("threads", "device"), [(3, "cpu"), (None, "auto")])
def test_threads_and_device_reach_the_training(cli, tmp_path, monkeypatch, threads, device):
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    real = training.train

    def watched(*arguments: object, **options: object) -> object:
        asked.update(options, pytorch=torch.get_num_threads())
        return real(*arguments, **options)

    monkeypatch.setattr(training, "train", watched)
    given = ["--threads", threads] if threads else []
    answer = cli(*RUN, "--out", tmp_path / "run", "--device", device, *given)
    assert answer.code == 0
    assert asked["threads"] == threads
    assert asked["device"] == torch.device("cpu")
    assert asked["pytorch"] == (threads or torch.get_num_threads())


# What is refused


def wrong(*arguments: str, env: str | None = "simple-maze") -> list[str]:
    return [*(["--env", env] if env else []), *arguments]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (wrong(env=None), r"^no environment given: expected --env simple-maze or --env labyrinth"),
        (wrong(env="simple-mase"), r"environment 'simple-mase' \(did you mean 'simple-maze'\?\)$"),
        (wrong("--preset", "qick"), r"^unknown preset 'qick' \(did you mean 'quick'\?\)$"),
        (wrong("--domain", "invers"), r"^--domain .* 'invers' \(did you mean 'inverse'\?\)$"),
        (
            wrong("--set", "optimizer.learning_rte=1"),
            r"^--set optimizer.learning_rte is not .*did you mean 'optimizer.learning_rate'\?\)$",
        ),
        (wrong("--set", "rho=0.5"), r"^--set rho is not .* \(did you mean 'optimizer.rho'\?\)$"),
        (wrong("--set", "updates"), r"^--set must be followed by key=value, found 'updates'$"),
        (wrong("--set", "updates=many"), r"^--set updates must be .*, found 'many'$"),
        (wrong("--set", "updates=0"), r"^--set updates must .*, found 0$"),
        (wrong("--set", "engine=fussed"), r"^--set engine .* \(did you mean 'fused'\?\)$"),
        (wrong("--config", "none.toml"), r"none.toml' cannot be read: No such file"),
        (wrong("--config", "bad.toml"), r"^'bad.toml' is not valid TOML"),
        (wrong("--config", "odd.toml"), r"^odd.toml: rate is not a configuration key"),
        (wrong("--config", "folder"), r"^'folder' is not a regular file"),
        (wrong("--device", "gpu"), r"^--device: unknown device 'gpu'"),
        (wrong("--device", "cpu:0"), r"^--device: unknown device 'cpu:0'"),
        (wrong("--device", "cuda:"), r"^--device: unknown device 'cuda:' \(did you mean 'cuda'"),
        (wrong("--device", "cuda"), r"^--device cuda: PyTorch sees no CUDA device: expected 'cpu'"),
        (
            wrong("--device", "cuda:1"),
            r"^--device cuda:1: PyTorch sees no CUDA device: expected 'cpu'",
        ),
        (wrong("--seeds", ""), r"^--seeds must be numbers and half-open ranges .*, found ''$"),
        (wrong("--seeds", "3:3"), r"^--seeds must be ranges that hold a seed .*, found '3:3'$"),
        (wrong("--seeds", "5:2"), r"^--seeds must be ranges that hold a seed"),
        (wrong("--seeds", "0:3,2"), r"^--seeds must be different seeds \(ranges overlap\)"),
        (wrong("--seeds", "1,1"), r"^--seeds must be different seeds"),
        (wrong("--seeds=-1"), r"^--seeds must be numbers and half-open ranges .*, found '-1'$"),
        (wrong("--seeds", "0:1000000"), r"^--seeds must be at most 100000 seeds"),
        (wrong("--seed", "1", "--seeds", "2"), r"^--seed and --seeds say the same"),
        (wrong("--learning-rate", "nan"), r"^--learning-rate must be .*, found nan$"),
        (wrong("--learning-rate", "0"), r"^--learning-rate must be .*, found 0.0$"),
        (wrong("--learning-rate", "1e200"), r"^optimizer.learning_rate must be at most 3.4e\+38"),
        (wrong("--set", "evaluation.every=1"), r"^evaluation.every must be 0 in the simple maze"),
        (wrong("--updates", "9007199254740992"), r"must be at most 100000 epochs"),
        (
            wrong("--set", "evaluation.depth=9", env="labyrinth"),
            r"evaluation.depth must be less than",
        ),
    ],
)
@pytest.mark.parametrize(
    "extra", [[], ["--json", "--resume"], ["--dry-run"]], ids=["plain", "resume", "dry"]
)
def test_wrong_input_is_one_sentence_and_nothing_is_written(
    cli, tmp_path, monkeypatch, arguments, sentence, extra
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("updates = \n")
    Path("odd.toml").write_text("rate = 1\n")
    Path("text").write_text("text")
    Path("folder").mkdir()
    before = snapshot(tmp_path)
    if arguments == [] and "--resume" in extra:
        sentence = r"^run folder 'new/run' holds no run to resume"
    answer = cli("train", "--out", "new/run", *arguments, *extra)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence), answer.sentence
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("out", "extra", "code", "sentence"),
    [
        ("text", [], 2, r"^run folder 'text': expected a folder, found a file$"),
        ("text/deep/run", [], 1, r"^run folder 'text/deep/run' cannot be written: Not a directory"),
        ("mine", [], 2, r"^run folder 'mine' must be new, empty or a run's, found 'thesis.tex' in"),
        ("mine", ["--resume"], 2, r"found 'thesis.tex' in it and no run.toml$"),
        ("mine", ["--dry-run"], 2, r"found 'thesis.tex' in it and no run.toml$"),
        (
            "run",
            [],
            2,
            r"^run folder 'run' already holds a run: .* resume it to go on \(--resume\)$",
        ),
        ("run", ["--dry-run"], 2, r"already holds a run: .*, or resume it to go on \(--resume\)$"),
        (
            "run",
            ["--resume", "--updates", "60"],
            2,
            r"updates = 50, to be resumed with updates = 60",
        ),
        ("run", ["--resume", "--seeds", "0:3"], 2, r"seeds = \(0, 1\), .* seeds = \(0, 1, 2\): ex"),
        (
            "run",
            ["--resume", "--set", "optimizer.rho=0.8"],
            2,
            r"optimizer.rho = 0.9, to be resumed",
        ),
        ("run", ["--resume", "--domain", "inverse"], 2, r"with domain = 'inverse': expected the"),
        ("/proc/run", [], 1, r"^run folder '/proc/run' cannot be written: "),
        ("a" * 300, [], 1, r"cannot be (written|read): File name too long$"),
    ],
)
def test_folders_that_will_not_do(cli, tmp_path, monkeypatch, maze_run, out, extra, code, sentence):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("text")
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("mine")
    Path("run").mkdir()
    for name, data in content(maze_run).items():
        Path("run", name).write_bytes(data)
    Path("run/.lock").touch()
    before = snapshot(tmp_path)
    answer = cli(*RUN, "--out", out, *extra)
    assert answer.code == code
    assert re.search(sentence, answer.sentence), answer.sentence
    after = snapshot(tmp_path)
    lock = tmp_path / "run" / ".lock"
    assert {p: v for p, v in after.items() if p not in (lock, lock.parent)} == {
        p: v for p, v in before.items() if p not in (lock, lock.parent)
    }


def test_a_disk_that_is_full_is_one_sentence_and_the_run_goes_on(cli, tmp_path, maze_run):
    out = tmp_path / "run"
    with files_up_to(10_000):
        answer = cli(*RUN, "--out", out, "--json")
    assert answer.code == 1
    assert answer.sentence == (
        f"could not write '{out / 'resume.safetensors'}': File too large; no file was written"
    )
    assert cli("train", "--resume", "--out", out).code == 0
    assert_same_run(out, maze_run)


# Resuming


def test_a_finished_run_is_left_alone(cli, tmp_path):
    out = tmp_path / "run"
    first = cli(*RUN, "--out", out, "--json")
    before = snapshot(out)
    for again in (["train"], RUN):
        answer = cli(*again, "--resume", "--out", out, "--json")
        assert (answer.code, answer.out, answer.err) == (0, first.out, "")
    lock = out / ".lock"
    assert {p: v for p, v in snapshot(out).items() if p != lock} == {
        p: v for p, v in before.items() if p != lock
    }


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_that_never_began_begins(cli, tmp_path, maze_run, exists):
    if exists:
        (tmp_path / "run").mkdir()
    assert cli("train", "--resume", "--out", tmp_path / "run").code == 2
    assert cli(*RUN, "--resume", "--out", tmp_path / "run").code == 0
    assert_same_run(tmp_path / "run", maze_run)


def test_ctrl_c_saves_and_a_second_process_is_kept_out(cli, tmp_path):
    out = tmp_path / "run"
    longer = [*SMALL, "--seeds", "0:2", "--updates", "400", "--set", "updates_per_epoch=150"]
    process = subprocess.Popen(
        [PROGRAM, *longer, "--out", out, "--json", "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (out / "resume.safetensors").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)  # it holds its lock, however long we take
        second = cli(*longer, "--out", out, "--resume")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (second.code, second.sentence) == (2, f"run folder '{out}' is in use by another process")
    assert process.returncode == 130
    assert printed == ""
    stopped = re.fullmatch(
        r"crar-diag: stopped after (\d+) of 400 updates; the state is saved in "
        rf"'{out}': resume it to go on \(--resume\)\n",
        said,
    )
    assert stopped, said
    assert 0 < int(stopped[1]) < 400
    answer = cli("info", out, "--json")
    assert answer.json["updates_done"] == int(stopped[1])
    assert cli("train", "--resume", "--out", out).code == 0
    assert cli(*longer, "--out", tmp_path / "whole").code == 0
    assert_same_run(tmp_path / "whole", out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with stoppable() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


# Saying what would run


def test_a_dry_run_says_what_and_how_much_and_writes_nothing(cli, tmp_path):
    before = snapshot(tmp_path)
    answer = cli(*RUN, "--out", tmp_path / "run", "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    *config, last = answer.out.splitlines()
    assert "\n".join(config).strip() == to_toml(maze_config()).strip()
    assert re.fullmatch(
        rf"would train 2 agents of [\d,]+ parameters for 50 updates into '{tmp_path}/run': about "
        r"\d+ s \(at [\d,.]+ agent-updates a second on the CPU, measured now\), "
        r"[\d.]+ MB of memory, [\d.]+ MB of disk",
        last,
    )
    answer = cli(*RUN, "--out", tmp_path / "run", "--dry-run", "--json", "--threads", "1")
    found = answer.json
    assert answer.err == ""
    assert found["config"] == maze_config().model_dump(mode="json")
    assert found["out"] == str(tmp_path / "run")
    assert found["agent_updates"] == found["members"] * found["updates"] == 100
    for name in ("seconds", "rate", "memory_bytes", "disk_bytes", "parameters"):
        assert math.isfinite(found[name])
        assert found[name] > 0
    assert snapshot(tmp_path) == before


def test_a_dry_run_of_a_run_that_waits_to_be_resumed(cli, tmp_path):
    with pytest.raises(RunInterruptedError):
        train(maze_config(), tmp_path / "run", watch=Watch(stop=lambda: True))
    before = snapshot(tmp_path)
    answer = cli("train", "--resume", "--out", tmp_path / "run", "--dry-run", "--json")
    assert answer.json["config"] == maze_config().model_dump(mode="json")
    assert snapshot(tmp_path) == before


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def recorded_losses(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard should have of a run, by its history."""
    records = read_history(folder / "history.h5")["evaluation"]
    return {
        f"{loss}/seed{seed}": [
            (int(time), float(np.float32(value)))
            for time, value in zip(
                records.time, records.expected_loss.sel(loss=loss, member=seed).values, strict=True
            )
        ]
        for loss in LOSSES
        for seed in records.member.values.tolist()
    }


def test_tensorboard_gets_every_recorded_loss(cli, tmp_path):
    logs = tmp_path / "deep" / "logs"
    answer = cli(*RUN, "--out", tmp_path / "run", "--tensorboard", logs, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json
    found = scalars(logs)
    assert found.keys() == {f"{loss}/seed{seed}" for loss in LOSSES for seed in (0, 1)}
    assert found == recorded_losses(tmp_path / "run")


@pytest.mark.parametrize("saves", [0, 1])
def test_tensorboard_gets_every_loss_once_however_often_the_run_is_killed(
    cli, tmp_path, monkeypatch, saves
):
    run, logs = tmp_path / "run", tmp_path / "logs"
    write, last = (
        training.RunFolder.write_resume,
        [0] if saves == 0 else [0, 1, 2, 5, 10, 20, 40, 50],
    )

    for _ in range(3):
        left = iter(range(saves))

        def killed(*arguments: object, left=left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(training.RunFolder, "write_resume", killed)
            assert cli(*RUN, "--resume", "--out", run, "--tensorboard", logs).code == 130
        # Logged, but not saved.
        assert [step for step, _ in scalars(logs)["q/seed0"]] == last
    assert cli("train", "--resume", "--out", run, "--tensorboard", logs).code == 0
    assert scalars(logs) == recorded_losses(run)
    assert cli("train", "--resume", "--out", run, "--tensorboard", logs).code == 0
    assert scalars(logs) == recorded_losses(run)


def test_a_fresh_run_leaves_the_points_of_another_one_in_its_logs(cli, tmp_path):
    logs = tmp_path / "logs"
    for seed in (0, 1):
        out = tmp_path / f"run{seed}"
        small = [*SMALL, "--seed", seed, "--updates", 2]
        assert cli(*small, "--out", out, "--tensorboard", logs).code == 0
    assert scalars(logs) == recorded_losses(tmp_path / "run0") | recorded_losses(tmp_path / "run1")


def test_tensorboard_gets_the_labyrinths_scores(cli, tmp_path, labyrinth_run):
    arguments = ["--env", "labyrinth", "--preset", "quick", *sets(LABYRINTH), "--updates", "5"]
    answer = cli("train", *arguments, "--out", tmp_path / "run", "--tensorboard", tmp_path / "logs")
    assert (answer.code, answer.err) == (0, "")
    assert content(tmp_path / "run") == content(labyrinth_run)
    training_group = read_history(tmp_path / "run" / "history.h5")["training"]
    expected = zip([4, 5], map(np.float32, training_group.score[0].values), strict=True)
    assert scalars(tmp_path / "logs")["score/seed0"] == [(t, float(v)) for t, v in expected]


def test_without_tensorboard_there_is_one_sentence_and_no_file(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    answer = cli(*RUN, "--out", tmp_path / "run", "--tensorboard", tmp_path / "logs")
    assert answer.code == 2
    expected = "--tensorboard needs TensorBoard: pip install 'crar-diag[tensorboard]'"
    assert answer.sentence == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("logs", ["text", "text/a/b"])
def test_logs_where_a_file_is_are_refused_before_the_run_begins(cli, tmp_path, logs):
    (tmp_path / "text").write_text("text")
    answer = cli(*RUN, "--out", tmp_path / "run", "--tensorboard", tmp_path / logs)
    assert answer.code == 2
    assert answer.sentence == (
        f"--tensorboard '{tmp_path / logs}': expected a folder, found the file '{tmp_path}/text'"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "text"]


def test_a_refused_run_leaves_no_logs(cli, tmp_path, maze_run):
    answer = cli(*RUN, "--out", maze_run, "--tensorboard", tmp_path / "logs")
    assert answer.code == 2
    assert "already holds a run" in answer.sentence
    assert list(tmp_path.iterdir()) == []


def test_logs_that_cannot_be_written_stop_the_run_with_one_sentence(
    cli, tmp_path, monkeypatch, maze_run
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    logs = tmp_path / "logs"
    with monkeypatch.context() as patch:
        patch.setattr(SummaryWriter, "add_scalar", full)
        answer = cli(*RUN, "--out", tmp_path / "run", "--tensorboard", logs)
    assert answer.code == 1
    sentence = f"could not write to --tensorboard '{logs}': No space left on device"
    assert answer.sentence == sentence
    assert cli("train", "--resume", "--out", tmp_path / "run").code == 0
    assert_same_run(tmp_path / "run", maze_run)


# Divergence


def test_a_member_that_diverges_is_named_and_the_others_go_on(cli, tmp_path, monkeypatch, maze_run):
    real = job.build

    def build(config, device):
        population, replay = real(config, device)
        rules = zip(config.seeds, population.members, strict=True)
        population.members = tuple(
            replace(rule, learning_rate=1e6) if seed == 7 else rule for seed, rule in rules
        )
        return population, replay

    monkeypatch.setattr(job, "build", build)
    arguments = [*SMALL, "--seeds", "0,7,1", "--updates", "50", "--out", tmp_path / "run"]
    for command in (arguments, ["train", "--resume", "--out", tmp_path / "run"]):
        answer = cli(*command, "--json")
        assert answer.code == 0
        by_seed = {member["seed"]: member for member in answer.json["members"]}
        at = by_seed[7]["diverged_at"]
        assert 0 <= at < 50
        assert by_seed[0]["diverged_at"] is by_seed[1]["diverged_at"] is None
        assert answer.err == (
            f"crar-diag: seed 7 diverged at update {at}: a loss or gradient was not finite; "
            "its checkpoint holds the last finite parameters\n"
        )
    for seed in (0, 1):
        name = f"base-seed{seed}.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (maze_run / name).read_bytes()


def test_a_run_whose_members_all_diverge_fails(cli, tmp_path):
    answer = cli(*RUN, "--learning-rate", "1e6", "--out", tmp_path / "run", "--json")
    assert answer.code == 1
    assert [member["diverged_at"] is None for member in answer.json["members"]] == [False, False]
    assert answer.err.count("diverged at update") == 2
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 2
    again = cli("train", "--resume", "--out", tmp_path / "run", "--json")
    assert again == answer


def test_a_labyrinth_run_by_the_command_line(cli, tmp_path, labyrinth_run):
    arguments = ["--env", "labyrinth", "--preset", "quick", *sets(LABYRINTH), "--updates", "5"]
    answer = cli("train", *arguments, "--out", tmp_path / "run", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert_same_run(tmp_path / "run", labyrinth_run)
    assert answer.json["members"][0]["losses"].keys() == set(LOSSES)
