import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from crar_diag.cli import common, places, terminal
from crar_diag.cli import main as main_module
from crar_diag.cli.main import app
from crar_diag.errors import InputError
from crar_diag.version import __version__

ROOT = Path(__file__).parents[2]
COMMANDS = [command.name for command in app.registered_commands]

HELP = """
import contextlib, io, json, sys
from crar_diag.cli.main import main
texts = {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["crar-diag", *command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main()
    texts[" ".join(command)] = text.getvalue()
print(json.dumps([texts, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def helped():
    """The help of the program and of each command, and what was imported to give it."""
    commands = [[], *([name] for name in COMMANDS)]
    answer = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(commands)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(answer.stdout)


def test_there_are_these_commands():
    assert COMMANDS == [
        "train",
        "transfer",
        "cluster",
        "predict",
        "landscape",
        "curvature",
        "path",
        "scores",
        "report",
        "figure",
        "reproduce",
        "evaluate",
        "import-deer",
        "info",
    ]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example_and_every_option_a_word(helped, command):
    text = helped[0][command]
    assert f"Usage: crar-diag {command}".strip() in text
    assert f"Example: crar-diag {command}".strip() in text
    assert "--help" in text
    for line in text.splitlines():
        if line.startswith("│") and " --" in line:
            assert len(line.strip("│ ").split()) > 3, line


def test_the_options_that_every_command_shares(helped):
    texts = helped[0]
    for command in COMMANDS:
        assert "--json" in texts[command]
    for command in ("train", "evaluate"):
        for option in ("--device", "--threads", "--seed", "--config", "--set"):
            assert option in texts[command]
    for option in ("--resume", "--dry-run", "--tensorboard", "--preset"):
        assert option in texts["train"]


def test_help_does_without_the_heavy_libraries(helped):
    heavy = {
        "torch",
        "numpy",
        "pydantic",
        "scipy",
        "numba",
        "h5py",
        "xarray",
        "gymnasium",
        "pandas",
    }
    assert heavy.isdisjoint(helped[1])
    assert "typer" in helped[1]


def test_the_version(cli):
    answer = cli("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"crar-diag {__version__}\n", "")


def test_without_a_command_there_is_help(cli):
    answer = cli()
    assert answer.code == 2
    assert "Usage: crar-diag" in answer.out
    assert answer.err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], r"no such command 'trian'"),
        (["--verbose"], "no such option: --verbose"),
        (["train"], "missing option '--out'"),
        (["train", "--out"], "option '--out' requires an argument"),
        (["train", "--out", "a", "--sede", "3"], "no such option: --sede"),
        (["train", "--out", "a", "b"], "got unexpected extra argument"),
        (["train", "--out", "a", "--updates", "0"], "invalid value for '--updates': .*, found '0'"),
        (["train", "--out", "a", "--updates", "x"], "invalid value for '--updates': .*, found 'x'"),
        (["train", "--out", "a", "--threads", "0"], "invalid value for '--threads': .*, found '0'"),
        (["evaluate"], "missing argument"),
        (["evaluate", "a", "--depth", "7"], "invalid value for '--depth': .*, found '7'"),
        (["evaluate", "a", "--epsilon", "1.5"], r"invalid value for '--epsilon': .*, found '1.5'"),
        (["evaluate", "a", "--episodes", "0"], "invalid value for '--episodes'"),
        (["evaluate", "a", "--episode-cap", "0"], "invalid value for '--episode-cap'"),
        (["evaluate", "a", "--environments", "0"], "invalid value for '--environments'"),
        (["info"], "missing argument"),
        (["info", "a", "b"], "got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(cli, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    answer = cli(*arguments)
    assert answer.code == 2
    assert re.search(sentence, answer.sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (MemoryError(), 1, "not enough memory"),
        (MemoryError("Unable to allocate 7 GiB"), 1, "Unable to allocate 7 GiB"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:1]\n DefaultCPUAllocator: can't allocate memory"
            ),
            1,
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory",
        ),
        (OSError(5, "Input/output error", "x"), 1, "[Errno 5] Input/output error: 'x'"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(cli, monkeypatch, error, code, sentence):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(places, "is_folder", fail)
    answer = cli("info", "x")
    assert (answer.code, answer.sentence) == (code, sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "that will not do"),
        (["resume"], "that will not do (--resume)"),
        (["learning_rate", "steps"], "that will not do (--learning-rate, --steps)"),
    ],
)
def test_the_librarys_arguments_are_named_as_options(cli, monkeypatch, arguments, sentence):
    def refuse(*_: object) -> None:
        raise InputError("that will not do", arguments=arguments)

    monkeypatch.setattr(places, "is_folder", refuse)
    answer = cli("info", "x")
    assert (answer.code, answer.sentence) == (2, sentence)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("a bug"), ValueError("x")])
def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(places, "is_folder", fail)
    monkeypatch.setattr(sys, "argv", ["crar-diag", "info", "x"])
    with pytest.raises(type(error)) as caught:
        main_module.main()
    assert caught.value is error


def test_the_installed_program_is_this_one():
    answer = subprocess.run(
        [Path(sys.executable).with_name("crar-diag"), "--version"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert answer.stdout == f"crar-diag {__version__}\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (90_061, "25 h 01 min"),
        (float("nan"), "unknown"),
        (float("inf"), "unknown"),
    ],
)
def test_durations(seconds, text):
    assert terminal.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (3e15, "3e+03 TB")],
)
def test_sizes(count, text):
    assert common.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12_345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (0.012, "0.012")]
)
def test_rates(value, text):
    assert terminal.rate(value) == text


def test_json_has_no_nan_and_no_odd_types(capfd):
    common.print_json({"a": [float("nan"), 1.5, float("-inf")], 3: (Path("x"), None, True)})
    assert json.loads(capfd.readouterr().out) == {"a": [None, 1.5, None], "3": ["x", None, True]}
