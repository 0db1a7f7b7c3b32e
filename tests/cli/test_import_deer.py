"""`crar-diag import-deer` from a file to what other commands make of the checkpoint."""

import hashlib
import os
import pickle
import re

import joblib
import numpy as np
import pytest

from crar_diag.agent.architecture import LABYRINTH, SIMPLE_MAZE
from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.loading import load_agent
from tests.agent.test_deer import drawn, keras_list
from tests.cli.conftest import snapshot
from tests.runs import BASES


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A shipped base model as DeeR would have saved it, in a folder that is the working one."""
    monkeypatch.chdir(tmp_path)
    base = load_agent(BASES / "base-seed1.safetensors")
    joblib.dump(keras_list(base.architecture, base.parameters), tmp_path / "network.joblib")
    return tmp_path / "network.joblib"


def arguments(*more):
    given = ["import-deer", "network.joblib", "--env", "simple-maze", "--domain", "normal"]
    return [*given, "-o", "n.safetensors", *more]


def test_the_checkpoint_in_a_sentence(cli, network):
    answer = cli(*arguments("--seed", 7, "--updates", 160_000))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "'n.safetensors': simple-maze-symbolic, 45,880 parameters (float32), domain 'normal', "
        "seed 7, 160,000 updates\n"
    )
    assert sorted(p.name for p in network.parent.iterdir()) == ["n.safetensors", "network.joblib"]


def test_the_checkpoint_as_json(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joblib.dump(keras_list(LABYRINTH, drawn(LABYRINTH)), "network.joblib", compress=("xz", 3))
    answer = cli(*arguments("--json")[:3], "labyrinth", *arguments("--json")[4:])
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {
        "checkpoint": "n.safetensors",
        "sha256": file_sha256("n.safetensors"),
        "source": "network.joblib",
        "source_sha256": hashlib.sha256((tmp_path / "network.joblib").read_bytes()).hexdigest(),
        "environment": "labyrinth",
        "observation": "pixels",
        "domain": "normal",
        "architecture": "labyrinth-pixels",
        "parameters": 128_602,
        "precision": "float32",
        "seed": 0,
        "updates": 0,
    }


def test_evaluate_and_info_read_it_like_the_original(cli, network):
    cli(*arguments("--seed", 1))
    original = BASES / "base-seed1.safetensors"
    for domain in ("normal", "inverse"):
        answer = cli("evaluate", original, "n.safetensors", "--domain", domain, "--json")
        first, second = (one["losses"] for one in answer.json["checkpoints"])
        assert second == first
    told = cli("info", "n.safetensors", "--json").json
    assert told["configuration"]["imported"]["file"] == "network.joblib"
    assert told["updates"] == 0


def test_a_landscape_between_it_and_another_one(cli, network):
    cli(*arguments())
    options = ["--mode", "line", "--dynamics", "frozen", "--points", 7, "--json"]
    other = BASES / "base-seed2.safetensors"
    answers = [
        cli("landscape", one, other, *options).json
        for one in ("n.safetensors", BASES / "base-seed1.safetensors")
    ]
    assert answers[0]["views"] == answers[1]["views"]
    assert answers[0]["weights"] == answers[1]["weights"]


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("made-by-the-file",)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pickle.dumps([np.zeros(3), Malicious()]), r"asks for '\w+.mkdir'; only lists and"),
        (lambda: b"a thesis\n", "is no joblib dump of arrays, or is truncated or damaged: "),
        (lambda: b"", "^file 'network.joblib' is empty: expected a joblib dump of arrays$"),
        (lambda: (BASES / "base-seed0.safetensors").read_bytes(), "is no joblib dump of arrays"),
        (lambda: pickle.dumps({"encoder": np.zeros(3)}), "holds a value of type dict: expected a"),
        (
            lambda: pickle.dumps([np.zeros((64, 200), "f4")]),
            "does not fit simple-maze-symbolic: expected the bias of 'encoder.1', array 2 of 44, "
            "found 1 arrays$",
        ),
        (
            lambda: pickle.dumps(keras_list(LABYRINTH, drawn(LABYRINTH))),
            r"expected the kernel of 'encoder.1', array 1 of 44, of shape \[64, 200\], found ",
        ),
        (
            lambda: pickle.dumps([np.full((64, 200), np.nan, np.float32)]),
            "the kernel of 'encoder.1', array 1 of 44, must be finite, is not$",
        ),
    ],
)
def test_what_is_no_such_network_is_one_sentence(cli, network, make, sentence):
    network.write_bytes(make())
    before = snapshot(network.parent)
    answer = cli(*arguments())
    assert answer.code == 2
    assert re.search(sentence, answer.sentence)
    assert snapshot(network.parent) == before


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"network.joblib": "none.joblib"}, 2, "^file 'none.joblib' does not exist$"),
        ({"network.joblib": "."}, 2, "expected a regular file, found a folder$"),
        ({"simple-maze": "maze"}, 2, "^--env has the unknown value|unknown environment 'maze'"),
        (
            {"normal": "inverted"},
            2,
            "^--domain has the unknown value 'inverted' .did you mean 'inv",
        ),
        (
            {"n.safetensors": "network.joblib"},
            2,
            r"^'network.joblib' is the file that is to be imported: .* \(--output\)$",
        ),
        ({"n.safetensors": "no/n"}, 2, "^checkpoint 'no/n': there is no folder 'no'$"),
        ({"n.safetensors": "/proc/n"}, 1, "^could not write '/proc/n': "),
    ],
)
def test_wrong_arguments_are_one_sentence(cli, network, change, code, sentence):
    before = snapshot(network.parent)
    answer = cli(*(change.get(argument, argument) for argument in arguments()))
    assert answer.code == code
    assert re.search(sentence, answer.sentence)
    assert snapshot(network.parent) == before


@pytest.mark.parametrize(
    ("left_out", "sentence"),
    [
        ("--env", "missing option '--env'"),
        ("--domain", "missing option '--domain'"),
        ("-o", "missing option '-o'"),
    ],
)
def test_what_has_to_be_given(cli, network, left_out, sentence):
    given = arguments()
    place = given.index(left_out)
    answer = cli(*given[:place], *given[place + 2 :])
    assert answer.code == 2
    assert sentence in answer.sentence


def test_the_network_of_a_maze_is_that_of_the_published_code():
    assert len(keras_list(SIMPLE_MAZE, drawn(SIMPLE_MAZE))) == 44
