"""Draws landscapes while killing the command again and again, with real SIGKILLs.

Run as a script, in a process of its own with one thread, so that it may fork: a forked child is at
work at once, while a fresh process would spend its first seconds importing.

    python -m tests.cli.landscape_killing FOLDER ARGUMENT...

Runs `crar-diag landscape ARGUMENT...` into FOLDER/peaceful/report.h5; then into
FOLDER/killed/report.h5, the n-th child killed just before the n-th change that it makes to the
folder, until one ends; then two at once, of different names, into FOLDER/together/report.h5. Prints
one JSON object: how many points of each surface were kept after each kill.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from crar_diag.cli.main import main
from crar_diag.landscape import drawing, partial, reward  # noqa: F401 (before the forks)
from crar_diag.report import store, views  # noqa: F401
from tests.agent.killing import CHANGES, attempt, killed


def command(folder: Path, *arguments: str) -> Callable[[], None]:
    """Return what runs the command into a report in a folder, which is made."""
    folder.mkdir(exist_ok=True)

    def run() -> None:
        sys.argv = ["crar-diag", "landscape", *arguments, "-o", str(folder / "report.h5")]
        with open(os.devnull, "w") as sys.stdout:  # noqa: PTH123
            try:
                main()
            except SystemExit as ended:
                if ended.code:
                    raise

    return run


def kept(folder: Path) -> dict[str, int]:
    """Return how many points each partial surface has, as far as it can be read."""
    found = {}
    for path in folder.glob("report.h5.*.partial"):
        with np.load(path) as file:
            found[path.name.split(".")[-2]] = int(file["done"])
    return found


def before_every_change(folder: Path, *arguments: str) -> list[dict[str, int]]:
    """Kill the n-th child just before the n-th change that it makes to the folder."""
    run = command(folder, *arguments)

    def work(last: int) -> None:
        count = 0

        def hook(event: str, given: tuple[object, ...]) -> None:
            nonlocal count
            if event in CHANGES and str(given[0]).startswith(str(folder)):
                count += 1
                if count == last:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(hook)
        run()

    found = []
    while killed(attempt(lambda: work(len(found) + 1))):
        found.append(kept(folder))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    partial.SECONDS_BETWEEN = 0.0  # type: ignore[misc]
    drawing._EVALUATED_AT_ONCE = 16
    where, given = Path(sys.argv[1]), sys.argv[2:]
    assert not killed(attempt(command(where / "peaceful", *given)))
    answer = before_every_change(where / "killed", *given)
    both = [attempt(command(where / "together", *given, "--name", name)) for name in ("one", "two")]
    assert not any(killed(child) for child in both)
    print(json.dumps(answer))
