"""The command line in this process: arguments in, exit code, output and files out."""

import fcntl
import json
import os
import pickle
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from crar_diag.agent import forecast, probes
from crar_diag.agent.sealing import CHECKPOINT, seal, unseal
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.cli.main import main
from tests.runs import HELD_OUT, labyrinth_config, maze_config, trained


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of standard output as one JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def sentence(self) -> str:
        """The one line on standard error, without the program's name; nothing on the other."""
        assert self.out == ""
        start, line, rest = "crar-diag: ", *self.err.split("\n")
        assert rest == ""
        assert line.startswith(start)
        return line.removeprefix(start)


Command = Callable[..., Answer]


@pytest.fixture
def cli(monkeypatch, capfd) -> Command:
    """Run `crar-diag ARGUMENTS` and put back what it sets for a whole process."""
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
    monkeypatch.setattr(forecast, "_MEASURE_SECONDS", 0.01)

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["crar-diag", *map(str, arguments)])
        threads, handlers = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            torch.set_num_threads(threads)
        assert signal.getsignal(signal.SIGINT) == handlers
        return Answer(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def maze_run(tmp_path_factory) -> Path:
    """A finished run folder: members 0 and 1 of the small maze run. Not to be written."""
    return trained(maze_config(), tmp_path_factory.mktemp("cli") / "maze")


@pytest.fixture(scope="session")
def labyrinth_run(tmp_path_factory) -> Path:
    """A finished run folder: member 0 of the small labyrinth run. Not to be written."""
    return trained(labyrinth_config("0", 5), tmp_path_factory.mktemp("cli") / "labyrinth")


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[Callable[[], str]]:
    """Make standard error a terminal of this width; yield what was written to it since the last."""
    parent, child = pty.openpty()
    with open(child, "w") as stderr, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stderr", stderr)
        fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        yield lambda: _arrived(parent)
    os.close(parent)


def _arrived(terminal: int) -> str:
    """Read until nothing comes: a terminal hands over what was written to it a moment later."""
    parts = []
    while select.select([terminal], [], [], 0.2)[0]:
        parts.append(os.read(terminal, 10**6))
    return b"".join(parts).decode()


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Everything in a folder: paths, times of change and contents."""
    return {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def files(tmp_path, monkeypatch, maze_run, labyrinth_run) -> Path:
    """A folder with all kinds of files, most of them bad; also the working directory."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    good = (maze_run / "base-seed0.safetensors").read_bytes()
    parameters, document = unseal(maze_run / "base-seed0.safetensors", CHECKPOINT)
    labyrinths, _ = unseal(labyrinth_run / "base-seed0.safetensors", CHECKPOINT)
    not_finite = parameters | {"q.3.bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}
    architecture = document["architecture"]
    other = architecture | {"q": [["Dense", 2, 3, False]]}
    for name, data in {
        "maze": good,
        "labyrinth": (labyrinth_run / "base-seed0.safetensors").read_bytes(),
        "truncated": good[: len(good) // 2],
        "cut": good[:7],
        "empty": b"",
        "altered": good[:-1] + bytes([good[-1] ^ 1]),
        "text": b"a thesis\n",
        "pickle": pickle.dumps(parameters),
        "foreign": safetensors.torch.save(parameters),
        "nan": seal(not_finite, document, CHECKPOINT),
        "swap": seal(labyrinths, document, CHECKPOINT),
        "newer": seal(parameters, document | {"format_version": 2}, CHECKPOINT),
        "strange": seal(parameters, document | {"architecture": other}, CHECKPOINT),
        "task": seal(parameters, document | {"observation": "pixels"}, CHECKPOINT),
    }.items():
        (folder / f"{name}.safetensors").write_bytes(data)
    torch.save(parameters, folder / "torch.pt")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").touch()
    train(maze_config("0:3", 2), folder / "missing")
    (folder / "missing" / "base-seed1.safetensors").unlink()
    with pytest.raises(RunInterruptedError):
        train(maze_config("0:3", 2), folder / "begun", watch=Watch(stop=lambda: True))
    return folder


BAD_FILES = [
    ("none.safetensors", r"^checkpoint 'none.safetensors' does not exist$"),
    ("a" * 300, r"cannot be read: File name too long$"),
    ("maze.safetensors/a", r"cannot be read: Not a directory$"),
    ("truncated.safetensors", r"^checkpoint 'truncated.safetensors' is truncated or damaged"),
    ("cut.safetensors", r"^checkpoint 'cut.safetensors' is "),
    ("empty.safetensors", r"^checkpoint 'empty.safetensors' is empty$"),
    ("altered.safetensors", r"^checkpoint 'altered.safetensors' is damaged or was altered"),
    ("text.safetensors", r"^checkpoint 'text.safetensors' is not one of crar-diag's"),
    ("pickle.safetensors", r"is a pickle or a zip archive, .* pickles are never loaded"),
    ("torch.pt", r"is a pickle or a zip archive, as torch.save writes them"),
    ("foreign.safetensors", r"^checkpoint 'foreign.safetensors' is not one of crar-diag's"),
    ("nan.safetensors", r"nan.safetensors': parameter 'q.3.bias' must be finite, is not$"),
    ("swap.safetensors", r"^checkpoint 'swap.safetensors' does not fit its architecture: expec"),
    ("newer.safetensors", r"newer.safetensors' has format version 2, .*: use a newer crar-diag$"),
    ("strange.safetensors", r"^checkpoint 'strange.safetensors' does not fit its architecture"),
    ("task.safetensors", r"task.safetensors' has the wrong architecture for simple-maze: exp"),
]
