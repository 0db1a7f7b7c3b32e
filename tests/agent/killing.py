"""Trains a run once in peace and once more while killing it again and again, with real SIGKILLs.

Run as a script, in a process of its own with one thread, so that it may fork: a forked child is at
work at once, while a fresh process would spend its first seconds importing.

    python -m tests.agent.killing FOLDER

For each of the two functions below that is wanted, FOLDER has a folder of that name with a
`config.toml`, and gets the runs `peaceful` and `killed` beside it. Prints one JSON object: by the
function's name how many updates were saved after each kill and how many the history told of, and
the memory that this process took.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from crar_diag.agent import training
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import from_toml
from crar_diag.agent.run import read_run
from crar_diag.agent.training import Watch, train
from tests.runs import recorded

# What Python announces before it changes or opens a file.
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def attempt(work: Callable[[], object]) -> int:
    """Do some work in a forked child; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def killed(child: int) -> bool:
    """Wait for a child; tell whether it was killed, and fail if it failed."""
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def found_in(folder: Path) -> tuple[int, int]:
    """Return how many updates a killed run has saved, and how many its history tells of."""
    if not (folder / "run.toml").exists():
        return 0, -1
    return read_run(folder, complete=False).updates_done, recorded(folder)


def at_random_moments(config: TrainConfig, folder: Path) -> list[tuple[int, int]]:
    """Kill when the child reports a random number of updates, and a random while later."""
    rng = random.Random(0)
    targets = [0, *sorted(rng.sample(range(1, config.updates * 9 // 10), 6))]
    found = []
    for target in targets:
        reader, writer = os.pipe()
        watch = Watch(
            progress=lambda p, w=writer: os.write(w, p.updates.to_bytes(8, "little")),
            save_every=0.02,
        )
        child = attempt(lambda watch=watch: train(config, folder, resume=True, watch=watch))
        os.close(writer)
        done = 0
        while done < target:
            word = os.read(reader, 8)  # nothing once the child has ended
            done = int.from_bytes(word, "little") if word else config.updates
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        if killed(child):
            found.append(found_in(folder))
        os.close(reader)
    assert not killed(attempt(lambda: train(config, folder, resume=True)))
    return found


def before_every_change(config: TrainConfig, folder: Path) -> list[tuple[int, int]]:
    """Kill the n-th child just before the n-th change that it makes to the run's folder."""

    def work(last: int) -> None:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in CHANGES and str(arguments[0]).startswith(str(folder)):
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        train(config, folder, resume=True, watch=Watch(save_every=0.0))

    found = []
    while killed(attempt(lambda: work(len(found) + 1))):
        found.append(found_in(folder))
    return found


def peak_bytes() -> int:
    """Return the most memory that this process has had.

    Not by `getrusage`, which begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    training._SAVE_SHARE = float("inf")  # as often as is asked for, whatever it costs
    answer = {}
    for how in (at_random_moments, before_every_change):
        folder = Path(sys.argv[1]) / how.__name__
        if not folder.exists():
            continue
        chosen = from_toml((folder / "config.toml").read_text(), how.__name__)
        train(chosen, folder / "peaceful")
        answer[how.__name__] = how(chosen, folder / "killed")
    answer["peak_bytes"] = peak_bytes()
    print(json.dumps(answer))
