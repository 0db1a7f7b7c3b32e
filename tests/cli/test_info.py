import re

import pytest

from crar_diag.agent import checkpoint
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE
from crar_diag.agent.training import RunInterruptedError, Watch, train
from tests.cli.conftest import BAD_FILES, snapshot
from tests.runs import content, labyrinth_config, maze_config


def test_a_checkpoint(cli, maze_run):
    path = maze_run / "base-seed1.safetensors"
    answer = cli("info", path, "--json")
    assert (answer.code, answer.err) == (0, "")
    metadata = checkpoint.load(path).metadata.model_dump(mode="json")
    assert answer.json == metadata | {
        "kind": "checkpoint",
        "path": str(path),
        "sha256": checkpoint.file_sha256(path),
        "parameters": SIMPLE_MAZE.parameter_count(),
        "precision": "float32",
        "architecture": "simple-maze-symbolic",
        "configuration": maze_config("1", 50).model_dump(mode="json"),
    }


def test_a_checkpoint_in_words(cli, labyrinth_run):
    path = labyrinth_run / "base-seed0.safetensors"
    answer = cli("info", path)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    for line in [
        "kind: checkpoint",
        f"parameters: {LABYRINTH_SYMBOLIC.parameter_count()}",
        "environment: labyrinth",
        "updates: 5",
        "frozen: none",
        "diverged_at: none",
        "losses:",
        "  batch_size: 4",
    ]:
        assert line in lines
    losses = checkpoint.load(path).metadata.losses
    assert f"  reward: {losses['reward']:.6g}" in lines


def test_a_finished_run(cli, maze_run):
    answer = cli("info", maze_run, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {
        "kind": "run folder",
        "path": str(maze_run),
        "finished": True,
        "updates_done": 50,
        "members": {str(s): str(maze_run / f"base-seed{s}.safetensors") for s in (0, 1)},
        "missing": [],
        "history": True,
        "configuration": maze_config().model_dump(mode="json"),
    }
    lines = cli("info", maze_run).out.splitlines()
    assert "finished: True" in lines
    assert f"  0: {maze_run / 'base-seed0.safetensors'}" in lines
    assert "missing: none" in lines


def test_a_run_that_was_interrupted(cli, tmp_path):
    asked = iter([False, False, True])
    config = maze_config("0:2", 50)
    with pytest.raises(RunInterruptedError):
        train(config, tmp_path, watch=Watch(stop=lambda: next(asked), save_every=0.0))
    found = cli("info", tmp_path, "--json").json
    assert found["finished"] is False
    assert found["updates_done"] == 3
    assert (found["members"], found["missing"], found["history"]) == ({}, [0, 1], True)
    assert "missing: 0, 1" in cli("info", tmp_path).out.splitlines()


def test_a_run_that_was_killed_among_its_last_files(cli, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    save, config = checkpoint.save, maze_config("0:2", 3)

    def kill(agent: object, path: object) -> None:
        if agent.metadata.seed == 1:
            raise KilledError
        save(agent, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", kill)
        with pytest.raises(KilledError):
            train(config, tmp_path)
    found = cli("info", tmp_path, "--json").json
    assert (found["finished"], found["updates_done"], found["missing"]) == (False, 3, [1])
    assert list(found["members"]) == ["0"]
    # Even with all members there it goes on, for their files may be those of an earlier attempt.
    with monkeypatch.context() as patch:
        patch.setattr("crar_diag.agent.runfolder.RunFolder.drop_resume", kill_now(KilledError))
        with pytest.raises(KilledError):
            train(config, tmp_path, resume=True)
    found = cli("info", tmp_path, "--json").json
    assert (found["finished"], found["updates_done"], found["missing"]) == (False, 3, [])
    train(None, tmp_path, resume=True)
    assert cli("info", tmp_path, "--json").json["finished"] is True


def kill_now(error: type[BaseException]):
    def kill(self: object) -> None:
        raise error

    return kill


def test_a_run_of_which_a_member_is_gone(cli, tmp_path, maze_run):
    for name, data in content(maze_run).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "base-seed0.safetensors").unlink()
    found = cli("info", tmp_path, "--json").json
    assert (found["finished"], found["missing"]) == (False, [0])


def test_a_run_with_a_damaged_member_is_refused(cli, tmp_path, maze_run):
    for name, data in content(maze_run).items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "base-seed1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    answer = cli("info", tmp_path)
    assert answer.code == 2
    assert re.search(r"base-seed1.safetensors' is truncated or damaged", answer.sentence)


@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_files_are_one_sentence(cli, files, as_json):
    cases = [
        *BAD_FILES,
        ("mine", r"^'mine' is not a run folder: expected a folder with a run.toml$"),
        ("missing/history.h5", r"^report 'missing/history.h5' is an HDF5 file of another origin"),
        ("begun/resume.safetensors", r"resume.safetensors' is not one of crar-diag's"),
    ]
    before = snapshot(files)
    for name, sentence in cases:
        answer = cli("info", name, *(["--json"] if as_json else []))
        assert answer.code == 2
        assert re.search(sentence, answer.sentence), answer.sentence
    (files / "begun" / "resume.safetensors").write_bytes(b"half")
    answer = cli("info", "begun")
    assert (answer.code, answer.sentence[:40]) == (2, "resume state 'begun/resume.safetensors' ")
    (files / "begun" / "run.toml").write_text("updates = \n")
    answer = cli("info", "begun")
    assert (answer.code, answer.sentence[:21]) == (2, "'begun/run.toml' is n")
    after = snapshot(files)
    assert after.keys() == before.keys()


def test_looking_writes_nothing(cli, tmp_path):
    train(labyrinth_config("0", 1, "evaluation.every=0"), tmp_path / "run")
    before = snapshot(tmp_path)
    for path in (tmp_path / "run", tmp_path / "run" / "base-seed0.safetensors"):
        assert cli("info", path).code == 0
    assert snapshot(tmp_path) == before
