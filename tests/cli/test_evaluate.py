import re

import pytest
import torch

from crar_diag.agent import checkpoint, networks
from crar_diag.agent.assessment import Play, assess
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.training import train
from crar_diag.envs.observer import Observer
from tests.cli.conftest import BAD_FILES, snapshot, terminal
from tests.runs import content, labyrinth_config, maze_config, save_agent


def test_losses_are_exact_and_those_that_the_checkpoint_holds(cli, maze_run):
    paths = [maze_run / f"base-seed{seed}.safetensors" for seed in (0, 1)]
    answer = cli("evaluate", *paths, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json["checkpoints"]
    assert [one["path"] for one in found] == [str(path) for path in paths]
    for seed, (one, path) in enumerate(zip(found, paths, strict=True)):
        agent = load_agent(path)
        exact = exact_evaluation(
            agent.architecture,
            networks.stack([agent.parameters]),
            Observer("simple-maze", "symbolic"),
            LossSettings(),
        )
        assert one == {
            "path": str(path),
            "environment": "simple-maze",
            "domain": "normal",
            "seed": seed,
            "updates": 50,
            "losses": {name: exact.losses[name][0] for name in LOSSES},
            "losses_error": dict.fromkeys(LOSSES, 0.0),
            "score": None,
            "score_error": None,
        }
        assert one["losses"] == agent.metadata.losses
        assert list(one["losses"]) == list(LOSSES)


def test_a_run_folder_stands_for_its_members_in_their_order(cli, tmp_path, maze_run):
    folder = tmp_path / "run"
    train(maze_config("4,1", 3), folder)
    alone = maze_run / "base-seed1.safetensors"
    answer = cli("evaluate", folder, alone, "--json")
    paths = [folder / "base-seed4.safetensors", folder / "base-seed1.safetensors", alone]
    assert [one["path"] for one in answer.json["checkpoints"]] == list(map(str, paths))


@pytest.mark.parametrize("domain", ["inverse", "noise"])
def test_another_look_of_the_same_task(cli, maze_run, domain):
    path = maze_run / "base-seed0.safetensors"
    (found,) = cli("evaluate", path, "--domain", domain, "--json").json["checkpoints"]
    agent = load_agent(path)
    exact = exact_evaluation(
        agent.architecture,
        networks.stack([agent.parameters]),
        Observer("simple-maze", "symbolic", domain),
        LossSettings(),
    )
    assert found["domain"] == domain
    assert found["losses"] == {name: exact.losses[name][0] for name in LOSSES}
    assert found["losses"] != agent.metadata.losses


def test_an_agent_of_the_inverse_domain_is_seen_in_it(cli, tmp_path):
    result = train(maze_config("0", 3, "domain=inverse"), tmp_path / "run")
    (found,) = cli("evaluate", tmp_path / "run", "--json").json["checkpoints"]
    assert found["domain"] == "inverse"
    assert found["losses"] == result.losses[0]


def test_the_labyrinth_has_a_score_and_errors(cli, labyrinth_run):
    path = labyrinth_run / "base-seed0.safetensors"
    arguments = ["evaluate", path, "--depth", "1", "--epsilon", "0.5", "--json"]
    (found,) = cli(*arguments, "--steps", "20", "--seed", "3").json["checkpoints"]
    (expected,) = assess([path], None, Play(1, 0.5, 20), 3)
    assert found == expected.as_dict()
    assert found["losses"] == checkpoint.load(path).metadata.losses
    assert found["score"] is not None
    assert found["score_error"] is None
    assert all(error > 0 for name, error in found["losses_error"].items() if name != "volume")
    (again,) = cli(*arguments, "--steps", "20", "--seed", "3").json["checkpoints"]
    assert again == found
    scores = {
        cli(*arguments, "--steps", "20", "--seed", seed).json["checkpoints"][0]["score"]
        for seed in range(4)
    }
    assert len(scores) > 1


def test_whole_episodes(cli, labyrinth_run):
    path = labyrinth_run / "base-seed0.safetensors"
    arguments = ["evaluate", path, "--depth", "0", "--episodes", "4", "--json"]
    (found,) = cli(*arguments, "--epsilon", "1").json["checkpoints"]
    (expected,) = assess([path], None, Play(0, 1.0, None, 4))
    assert found == expected.as_dict()
    assert found["score_error"] > 0


def test_options_win_over_set_over_file(cli, tmp_path, labyrinth_run):
    path, file = labyrinth_run / "base-seed0.safetensors", tmp_path / "protocol.toml"
    file.write_text(
        "domain = 'noise'\n[evaluation]\ndepth = 2\nepsilon = 1.0\nsteps = 9\nenvironments = 3\n"
    )
    arguments = ["evaluate", path, "--config", file, "--set", "evaluation.steps=6"]
    (found,) = cli(*arguments, "--depth", 0, "--json").json["checkpoints"]
    (expected,) = assess([path], "noise", Play(depth=0, epsilon=1.0, steps=6, environments=3))
    assert found == expected.as_dict()
    assert found["score_error"] is not None
    more = ["--domain", "swapped", "--environments", 2, "--episode-cap", 4, "--epsilon", 0.5]
    (found,) = cli(*arguments, "--depth", 1, *more, "--json").json["checkpoints"]
    (expected,) = assess([path], "swapped", Play(1, 0.5, 6, None, 4, 2))
    assert found == expected.as_dict()


def test_progress_goes_to_a_terminal_agent_by_agent(cli, maze_run, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        answer = cli("evaluate", maze_run, "--json")
        frames = shown().removesuffix("\r\n").split("\r")[1:]
    assert len(answer.json["checkpoints"]) == 2
    patterns = [
        r"\[ {30}\]   0%  0 of 2 agents, preparing\x1b\[K",
        r"\[#{15} {15}\]  50%  1 of 2 agents, [\d,.]+ agents/s, \d+ s left\x1b\[K",
        r"\[#{30}\] 100%  2 of 2 agents, [\d,.]+ agents/s, 0 s left\x1b\[K",
    ]
    for frame, pattern in zip(frames, patterns, strict=True):
        assert re.fullmatch(pattern, frame), frame


def test_agents_of_both_environments_in_a_table(cli, maze_run, labyrinth_run):
    paths = [labyrinth_run / "base-seed0.safetensors", maze_run / "base-seed1.safetensors"]
    answer = cli("evaluate", *paths, "--steps", "3", "--depth", "0", "--domain", "swapped")
    assert (answer.code, answer.err) == (0, "")
    header, *rows = [line.split() for line in answer.out.splitlines()]
    assert header == ["checkpoint", "domain", *LOSSES, "score"]
    found = assess(paths, "swapped", Play(depth=0, steps=3))
    for row, one, path in zip(rows, found, paths, strict=True):
        assert row[:2] == [str(path), "swapped"]
        for cell, name in zip(row[2:-1], LOSSES, strict=True):
            value, _, error = cell.partition("±")
            assert float(value) == pytest.approx(one.losses[name], rel=1e-2)
            if one.losses_error[name]:
                assert float(error) == pytest.approx(one.losses_error[name], rel=0.6)
            else:
                assert error == ""
        assert row[-1] == ("-" if one.score is None else f"{one.score:.4g}")


@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_files_and_options_are_one_sentence(cli, files, as_json):
    cases = [
        *(([name], sentence) for name, sentence in BAD_FILES),
        *((["maze.safetensors", name], sentence) for name, sentence in BAD_FILES[:1]),
        (["mine"], r"^'mine' is not a run folder: expected a folder with a run.toml$"),
        (["missing"], r"expected 3 members, missing base-seed1.safetensors$"),
        (["begun"], r"^run folder 'begun' is not complete: expected 3 members, missing base-seed0"),
        (["missing/history.h5"], r"history.h5' is not one of crar-diag's"),
        (["missing/run.toml"], r"run.toml' is not one of crar-diag's"),
        (["begun/resume.safetensors"], r"resume.safetensors' is not one of crar-diag's"),
        (["maze.safetensors", "--domain", "invers"], r"domain 'invers' \(did you mean 'inverse'"),
        (["maze.safetensors", "--depth", "0"], r"^depth belongs to the score, .* \(--depth\)$"),
        (
            ["maze.safetensors", "--epsilon", "0"],
            r"^epsilon belongs to the score, .* \(--epsilon\)$",
        ),
        (["maze.safetensors", "--steps", "5"], r"^steps belongs to the score, .* \(--steps\)$"),
        (
            ["maze.safetensors", "--episodes", "5"],
            r"^episodes belongs to the score, .* \(--episodes\)$",
        ),
        (
            ["labyrinth.safetensors", "--steps", "5", "--episodes", "2"],
            r"^steps and episodes exclude each other: .* \(--steps, --episodes\)$",
        ),
        (["maze.safetensors", "--environments", "5"], r"^environments belongs to the score, which"),
        (["maze.safetensors", "--episode-cap", "5"], r"^episode_cap .* score.* \(--episode-cap\)$"),
        (
            ["maze.safetensors", "--set", "evaluation.depth=1"],
            r"^depth belongs to the score, which",
        ),
        (["maze.safetensors", "--set", "updates=1"], r"^--set updates does not belong to an eval"),
        (
            ["maze.safetensors", "--set", "domain=invers"],
            r"^--set domain .* \(did you mean 'inverse'",
        ),
        (["maze.safetensors", "--config", "none.toml"], r"none.toml' cannot be read: No such file"),
        (["maze.safetensors", "--config", "begun/run.toml"], r"run.toml: name does not belong to"),
        (["maze.safetensors", "--device", "tpu"], r"^--device: unknown device 'tpu'"),
        (["maze.safetensors", "--seed", "-1"], r"^invalid value for '--seed'.*, found '-1'$"),
    ]
    before = snapshot(files)
    for arguments, sentence in cases:
        answer = cli("evaluate", *arguments, *(["--json"] if as_json else []))
        assert answer.code == 2, arguments
        assert re.search(sentence, answer.sentence), answer.sentence
        assert re.search(re.escape(arguments[-1][:40]) + "|--", answer.sentence)
    assert snapshot(files) == before


def test_without_a_gpu_one_cannot_be_asked_for(cli, files, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answer = cli("evaluate", "maze.safetensors", "--device", "cuda")
    assert answer.code == 2
    expected = "--device cuda: PyTorch sees no CUDA device: expected 'cpu' or 'auto'"
    assert answer.sentence == expected
    assert cli("evaluate", "maze.safetensors", "--device", "auto").code == 0


def test_the_number_of_threads_is_set(cli, monkeypatch, maze_run):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert cli("evaluate", maze_run, "--threads", "3").code == 0
    assert asked[0] == 3


def test_losses_that_are_not_finite_are_null(cli, tmp_path):
    huge = {"reward.3.bias": torch.tensor([3e38])}
    path = save_agent(tmp_path / "a.safetensors", maze_config(), parameters=huge)
    answer = cli("evaluate", path, "--json")
    assert answer.code == 0
    assert answer.json["checkpoints"][0]["losses"]["reward"] is None
    assert "inf" in cli("evaluate", path).out


def test_files_are_only_read(cli, tmp_path, labyrinth_run):
    (tmp_path / "run").mkdir()
    for name, data in content(labyrinth_run).items():
        (tmp_path / "run" / name).write_bytes(data)
    before = snapshot(tmp_path)
    assert cli("evaluate", tmp_path / "run", "--steps", "2", "--depth", "0").code == 0
    assert snapshot(tmp_path) == before
    assert labyrinth_config("0", 5).evaluation.every == 1
