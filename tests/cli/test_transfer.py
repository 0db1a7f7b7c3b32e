import contextlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest

from crar_diag.agent import checkpoint
from crar_diag.agent.config import LOSSES
from crar_diag.agent.config_sources import to_toml
from crar_diag.agent.run import read_run
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.agent.transfer_config import VARIANTS, TransferConfig
from tests.cli.conftest import snapshot
from tests.cli.test_train import scalars, sets
from tests.runs import (
    TRANSFER,
    assert_same_run,
    labyrinth_config,
    maze_config,
    save_agent,
    trained,
    transfer_config,
)

SMALL = ["--preset", "quick", *sets(TRANSFER["simple-maze"])]


@pytest.fixture(scope="module")
def bases_made(tmp_path_factory, maze_run) -> Path:
    """A folder with base models that will do and others that will not. Not to be written."""
    folder = tmp_path_factory.mktemp("bases") / "work"
    folder.mkdir()
    with contextlib.chdir(folder):
        make_bases(maze_run)
    return folder


@pytest.fixture
def bases(bases_made, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, also the working directory."""
    folder = Path(shutil.copytree(bases_made, tmp_path / "work"))
    monkeypatch.chdir(folder)
    return folder


def make_bases(maze_run: Path) -> None:
    shutil.copytree(maze_run, "base")
    good = Path("base/base-seed0.safetensors")
    shutil.copytree(maze_run, "half")
    Path("half/base-seed1.safetensors").unlink()
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    Path("cut.safetensors").write_bytes(good.read_bytes()[:1000])
    save_agent(Path("labyrinth.safetensors"), labyrinth_config("0"))
    save_agent(Path("pixels.safetensors"), maze_config("0", 5, "observation=pixels"))
    save_agent(Path("double.safetensors"), maze_config("0", 5, "precision=float64"))
    save_agent(Path("swapped.safetensors"), maze_config("0", 5, "domain=swapped"))
    Path("own.toml").write_text("delay = 2\nvariants = ['finetune', 'original']\n")
    Path("domain.toml").write_text("domain = 'invrse'\n")
    Path("other.toml").write_text("environment = 'labyrinth'\n")


def run_of(folder: Path, cli, *arguments: object):
    return cli("transfer", *arguments, *SMALL, "--out", folder)


# What it prints and writes


def test_a_run_as_json(cli, tmp_path, bases):
    answer = run_of(
        tmp_path / "run",
        cli,
        *("base", "--variant", "original,oracle,scratch", "--seeds", "0,4"),
        *("--learning-rate", "1e-3,1e-4", "--restarts", 2, "--realign", "--json"),
    )
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert found["run"] == str(tmp_path / "run")
    names = [
        f"original-base-seed{b}-lr{rate}-seed{seed}"
        for b in (0, 1)
        for rate in ("0.001", "0.0001")
        for seed in (0, 4)
    ]
    names += ["scratch-lr0.0005-seed0", "scratch-lr0.0005-seed4"]
    names += ["oracle-base-seed0", "oracle-base-seed1"]
    assert [member["transfer"] for member in found["members"]] == names
    for member in found["members"]:
        path = tmp_path / "run" / f"{member['transfer']}.safetensors"
        assert member["checkpoint"] == str(path)
        metadata = checkpoint.load(path).metadata
        assert member["losses"] == metadata.losses
        assert list(member["losses"]) == list(LOSSES)
        assert member["diverged_at"] is None
        assert metadata.domain == "inverse"
    both = [Path("base/base-seed0.safetensors"), Path("base/base-seed1.safetensors")]
    config = transfer_config(
        both,
        *("restarts=2", "realign.every=1"),
        variants="original,oracle,scratch",
        seeds="0,4",
        learning_rates="1e-3,1e-4",
    )
    assert read_run(tmp_path / "run").config == config
    train(config, tmp_path / "twin")
    assert_same_run(tmp_path / "run", tmp_path / "twin")


def test_a_run_as_a_table(cli, tmp_path, bases):
    answer = run_of(
        tmp_path / "run", cli, "base/base-seed0.safetensors", "--seed", 3, "--updates", 5
    )
    assert (answer.code, answer.err) == (0, "")
    header, row, last = answer.out.splitlines()
    assert header.split() == ["transfer", *LOSSES]
    name = "original-base-seed0-lr8e-05-seed3"
    losses = checkpoint.load(tmp_path / "run" / f"{name}.safetensors").metadata.losses
    assert row.split() == [name, *(f"{value:.4g}" for value in losses.values())]
    assert last == f"1 agents in '{tmp_path / 'run'}'"


def test_bases_of_the_same_file_name_get_different_names(cli, tmp_path, bases):
    shutil.copytree("base", "other")
    arguments = ["base/base-seed0.safetensors", "other/base-seed0.safetensors", "--updates", 1]
    answer = run_of(tmp_path / "run", cli, *arguments, "--json")
    assert [member["transfer"] for member in answer.json["members"]] == [
        "original-base-base-seed0-lr8e-05-seed0",
        "original-other-base-seed0-lr8e-05-seed0",
    ]


def test_transfers_can_be_transferred_on(cli, tmp_path, bases):
    first = run_of(tmp_path / "there", cli, "base", "--updates", 2)
    assert first.code == 0
    answer = run_of(
        tmp_path / "back", cli, tmp_path / "there", "--domain", "normal", "--updates", 2, "--json"
    )
    assert answer.code == 0
    one = answer.json["members"][0]
    assert one["transfer"] == "original-original-base-seed0-lr8e-05-seed0-lr8e-05-seed0"
    assert checkpoint.load(one["checkpoint"]).metadata.domain == "normal"


def test_help_lists_the_variants_and_has_an_example(cli):
    answer = cli("transfer", "--help")
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", answer.out).split())
    for variant in VARIANTS:
        assert variant in text
    assert "Example: crar-diag transfer runs/base --variant original,finetune" in text


def test_tensorboard_names_every_member(cli, tmp_path, bases):
    answer = run_of(
        tmp_path / "run",
        cli,
        *("base", "--restarts", 2, "--updates", 2, "--tensorboard", tmp_path / "logs"),
    )
    assert answer.code == 0
    members = [
        f"original-base-seed{base}-lr8e-05-seed0-restart{restart}"
        for base in (0, 1)
        for restart in (0, 1)
    ]
    assert scalars(tmp_path / "logs").keys() == {f"{x}/{m}" for x in LOSSES for m in members}


# How a configuration is chosen


def test_options_win_over_set_over_file_over_preset(cli, tmp_path, bases):
    Path("mine.toml").write_text(
        "updates = 11\nvariants = ['scratch']\nlearning_rates = [0.1, 0.2]\ndelay = 4\n"
        "restarts = 5\ndomain = 'swapped'\n[realign]\nfactor = 0.25\n"
    )
    answer = cli(
        *("transfer", "base", "--preset", "quick", "--config", "mine.toml"),
        *sets(["updates=12", "restarts=3", "domain=normal"]),
        *("--updates", 13, "--variant", "finetune,original", "--learning-rate", "0.3"),
        *("--seeds", "0,4:6", "--out", tmp_path / "run", "--dry-run", "--json"),
    )
    assert (answer.code, answer.err) == (0, "")
    found = answer.json["config"]
    assert found["updates"] == 13
    assert found["variants"] == ["finetune", "original"]
    assert found["learning_rates"] == [0.3]
    assert found["seeds"] == [0, 4, 5]
    assert (found["restarts"], found["domain"], found["delay"]) == (3, "normal", 4)
    assert found["realign"] == {"every": 0, "factor": 0.25, "angles": 64}
    assert found["updates_per_epoch"] == 5000
    assert answer.json["members"] == 2 * 2 * 3 * 3


def test_a_runs_own_configuration_repeats_it(cli, tmp_path, bases):
    arguments = ["base", "--variant", "finetune,paired", "--updates", 3]
    assert run_of(tmp_path / "run", cli, *arguments).code == 0
    own = tmp_path / "run" / "run.toml"
    answer = cli("transfer", "base", "--config", own, "--out", tmp_path / "again")
    assert answer.code == 0
    assert_same_run(tmp_path / "run", tmp_path / "again")


# What is refused

GOOD = "base/base-seed0.safetensors"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], r"^expected base models to transfer: crar-diag transfer BASE\.\.\. --out DIR$"),
        (["none.safetensors"], r"^checkpoint 'none.safetensors' does not exist$"),
        (["cut.safetensors"], r"^checkpoint 'cut.safetensors' is truncated or damaged"),
        (["half"], r"^run folder 'half' is not complete: expected 2 members, missing base-seed1"),
        (["mine"], r"^'mine' is not a run folder: expected a folder with a run.toml$"),
        (["base", "labyrinth.safetensors"], r"^base model 'labyrinth.safetensors' is of environme"),
        (["base", "pixels.safetensors"], r"^base model 'pixels.safetensors' is of observation 'p"),
        (["base", "swapped.safetensors"], r"^base model 'swapped.safetensors' is of domain 'swap"),
        (["base", "double.safetensors"], r"^base model 'double.safetensors' has another architec"),
        (
            ["base", GOOD],
            r"^BASE\.\.\. must be at least one, each given once \('base/base-seed0.s",
        ),
        ([GOOD, f"./{GOOD}"], r"^BASE\.\.\. must be at least one, each given once \('base/base-s"),
        (
            ["base", "--variant", "orignal"],
            r"^--variant .*'orignal' \(did you mean 'original'\?\)$",
        ),
        (["base", "--variant", "oracle,oracle"], r"^--variant must be at least one, each given"),
        (["base", "--domain", "invers"], r"^--domain .* 'invers' \(did you mean 'inverse'\?\)$"),
        (
            ["base", "--variant", "oracle", "--domain", "swapped"],
            r"^variant 'oracle' negates .* 's",
        ),
        (
            ["swapped.safetensors", "--variant", "oracle"],
            r"^variant 'oracle' negates .* 'swapped' ",
        ),
        (["base", "--learning-rate", "fast"], r"^--learning-rate must be .*, found 'fast'$"),
        (["base", "--learning-rate=-1e-4"], r"^--learning-rate must be greater than 0, found -0"),
        (
            ["base", "--learning-rate", "1e-4,1e-4"],
            r"^--learning-rate must be .*\('0.0001' is not\)",
        ),
        (["base", "--learning-rate", "1e39"], r"^learning_rates must be at most 3.4e\+38 in float"),
        (["base", "--seed", "1", "--seeds", "2"], r"^--seed and --seeds say the same: give one"),
        (["base", "--seeds", "1,1"], r"^--seeds must be different seeds"),
        (["base", "--seeds", "0:60000"], r"^the configuration must be of at most 100000 encoders$"),
        (["base", "--restarts", "0"], r"^invalid value for '--restarts': input should be greater"),
        (["base", "--updates", "0"], r"^invalid value for '--updates': input should be greater"),
        (["base", "--preset", "qick"], r"^unknown preset 'qick' \(did you mean 'quick'\?\)$"),
        (["base", "--set", "environment=labyrinth"], r"^--set environment cannot be chosen for tr"),
        (["base", "--set", "pair_scale=1.0"], r"^--set pair_scale cannot be chosen for transfers"),
        (["base", "--set", "bases=[]"], r"^--set bases cannot be chosen for transfers: their base"),
        (["base", "--config", "other.toml"], r"^other.toml: environment cannot be chosen for tran"),
        (["base", "--set", "trainable=encoder"], r"^--set trainable must be left out: a transfer'"),
        (["base", "--set", "realign.factor=0.0"], r"^--set realign.factor must be greater than 0"),
        (["base", "--set", "evaluation.every=1"], r"^evaluation.every must be 0 in the simple maz"),
        (
            ["base", "--set", "restart=2"],
            r"^--set restart is not a .*\(did you mean 'restarts'\?\)",
        ),
        (["base", "--config", "domain.toml"], r"^domain.toml: domain .* \(did you mean 'inverse'"),
        (["base", "--device", "gpu"], r"^--device: unknown device 'gpu'"),
    ],
)
@pytest.mark.parametrize("extra", [[], ["--json", "--dry-run"]], ids=["plain", "dry"])
def test_wrong_input_is_one_sentence_and_nothing_is_written(
    cli, bases_made, monkeypatch, arguments, sentence, extra
):
    monkeypatch.chdir(bases_made)
    before = snapshot(bases_made)
    answer = cli("transfer", "--out", "new/run", *arguments, *extra)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence), answer.sentence
    assert snapshot(bases_made) == before


@pytest.mark.parametrize(
    ("out", "arguments", "sentence"),
    [
        (
            "mine",
            [GOOD],
            r"^run folder 'mine' must be new, empty or a run's, found 'thesis.tex' in",
        ),
        ("base", [GOOD], r"^run folder 'base' already holds a run: .*to go on \(--resume\)$"),
        ("base", [GOOD, "--resume"], r"^run folder 'base' holds a run of base models, not of tran"),
        ("base", ["--resume"], r"^run folder 'base' holds a run of base models: resume it by crar"),
        ("new", ["--resume"], r"^run folder 'new' holds no run to resume: expected a run.toml in"),
        ("mine", ["--resume"], r"^run folder 'mine' must be new, empty or a run's, found 'thesis."),
        ("base", ["--resume", "--updates", 5], r"^expected base models to transfer: crar-diag"),
    ],
)
@pytest.mark.parametrize("extra", [[], ["--dry-run"]], ids=["plain", "dry"])
def test_folders_that_will_not_do(cli, bases, out, arguments, sentence, extra):
    before = snapshot(bases)
    answer = cli("transfer", *arguments, "--out", out, *extra)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence), answer.sentence
    assert without_locks(snapshot(bases)) == without_locks(before)


def without_locks(found: dict) -> dict:
    """Without what taking a lock may touch: the lock's own file, and the time of its folder."""
    return {path: value for path, value in found.items() if path.name != ".lock" and value[1]}


# Resuming


def test_resume_goes_on_and_a_finished_run_is_left_alone(cli, tmp_path, bases):
    config = transfer_config([Path(GOOD)], "restarts=2", variants="original,paired")
    trained(config, tmp_path / "whole")
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: True))
    answer = cli("info", tmp_path / "run", "--json")
    assert (answer.code, answer.json["updates_done"]) == (0, 1)
    assert answer.json["members"] == {}
    assert answer.json["missing"] == list(config.agents())
    first = cli("transfer", "--resume", "--out", tmp_path / "run", "--json")
    assert (first.code, first.err) == (0, "")
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    before = snapshot(tmp_path / "run")
    arguments = [GOOD, "--variant", "original,paired", "--restarts", 2]
    for again in (["transfer"], ["transfer", *arguments, *SMALL]):
        answer = cli(*again, "--resume", "--out", tmp_path / "run", "--json")
        assert (answer.code, answer.out, answer.err) == (0, first.out, "")
    assert without_locks(snapshot(tmp_path / "run")) == without_locks(before)
    done = cli("info", tmp_path / "run", "--json").json
    assert list(done["members"]) == list(config.agents())
    assert done["missing"] == []


def test_a_changed_base_is_one_sentence(cli, tmp_path, bases):
    with pytest.raises(RunInterruptedError):
        train(transfer_config([Path(GOOD)]), tmp_path / "run", watch=Watch(stop=lambda: True))
    before = snapshot(tmp_path / "run")
    shutil.copy("base/base-seed1.safetensors", GOOD)
    answer = cli("transfer", "--resume", "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.sentence.startswith(
        f"base model '{GOOD}' is not the file that this run began with: expected SHA-256 "
    )
    Path(GOOD).unlink()
    answer = cli("transfer", "--resume", "--out", tmp_path / "run")
    sentence = f"base model '{GOOD}' of the run is not there: run this where it is"
    assert (answer.code, answer.sentence) == (2, sentence)
    assert without_locks(snapshot(tmp_path / "run")) == without_locks(before)


def test_train_does_not_resume_transfers(cli, tmp_path, bases):
    with pytest.raises(RunInterruptedError):
        train(transfer_config([Path(GOOD)]), tmp_path / "run", watch=Watch(stop=lambda: True))
    before = snapshot(tmp_path / "run")
    for extra in ([], ["--dry-run"]):
        answer = cli("train", "--resume", "--out", tmp_path / "run", *extra)
        assert (answer.code, answer.sentence) == (
            2,
            f"run folder '{tmp_path / 'run'}' holds a run of transfers: resume it by crar-diag "
            "transfer",
        )
    answer = cli("train", "--env", "simple-maze", "--resume", "--out", tmp_path / "run")
    assert (answer.code, answer.sentence) == (
        2,
        f"run folder '{tmp_path / 'run'}' holds a run of transfers, not of base models",
    )
    assert without_locks(snapshot(tmp_path / "run")) == without_locks(before)


# Saying what would run


def test_a_dry_run_says_what_and_how_much_and_writes_nothing(cli, tmp_path, bases):
    before = snapshot(tmp_path)
    arguments = ["base", "--variant", "original,scratch,oracle", "--seeds", "0:3", "--restarts", 2]
    answer = run_of(tmp_path / "run", cli, *arguments, "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    *config, last = answer.out.splitlines()
    paths = [Path("base/base-seed0.safetensors"), Path("base/base-seed1.safetensors")]
    wanted = transfer_config(paths, "restarts=2", variants="original,scratch,oracle", seeds="0:3")
    assert "\n".join(config).strip() == to_toml(wanted).strip()
    members = 2 * 3 * 2 + 3 * 2 + 2
    assert re.fullmatch(
        rf"would train {members} agents of [\d,]+ parameters for 20 updates into "
        rf"'{tmp_path}/run': about \d+ s \(at [\d,.]+ agent-updates a second on the CPU, measured "
        r"now\), [\d.]+ MB of memory, [\d.]+ MB of disk",
        last,
    )
    found = run_of(tmp_path / "run", cli, *arguments, "--dry-run", "--json").json
    assert TransferConfig.model_validate_json(json.dumps(found["config"])) == wanted
    assert (found["members"], found["updates"]) == (members, 20)
    assert found["agent_updates"] == members * 20
    for name in ("seconds", "rate", "memory_bytes", "disk_bytes", "parameters"):
        assert math.isfinite(found[name])
        assert found[name] > 0
    assert snapshot(tmp_path) == before


def test_a_dry_run_of_a_run_that_waits_to_be_resumed(cli, tmp_path, bases):
    config = transfer_config([Path(GOOD)], variants="paired")
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path / "run", watch=Watch(stop=lambda: True))
    before = snapshot(tmp_path)
    answer = cli("transfer", "--resume", "--out", tmp_path / "run", "--dry-run", "--json")
    assert answer.json["config"] == config.model_dump(mode="json")
    assert answer.json["members"] == 1
    assert snapshot(tmp_path) == before


# Divergence


def test_a_transfer_that_diverges_is_named_and_the_others_go_on(cli, tmp_path, bases):
    answer = run_of(
        tmp_path / "run", cli, GOOD, "--learning-rate", "1e-4,1e30", "--json", "--seed", 2
    )
    assert answer.code == 0
    well, ill = answer.json["members"]
    assert well["diverged_at"] is None
    at = ill["diverged_at"]
    assert 0 <= at < 20
    assert answer.err == (
        f"crar-diag: transfer {ill['transfer']} diverged at update {at}: a loss or gradient was "
        "not finite; its checkpoint holds the last finite parameters\n"
    )
    alone = run_of(tmp_path / "all", cli, GOOD, "--learning-rate", "1e30", "--seed", 2)
    assert alone.code == 1
    assert alone.err.count("diverged at update") == 1
