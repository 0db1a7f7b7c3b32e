"""Small runs that several test files train, and what makes two of them the same."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import checkpoint, networks, probes, variants
from crar_diag.agent.architecture import architecture_for
from crar_diag.agent.bases import base_files, task_of_bases
from crar_diag.agent.checkpoint import Checkpoint, CheckpointMetadata
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import build_config, build_transfer_config
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import load_agent, load_agents
from crar_diag.agent.realignment import fold
from crar_diag.agent.streams import stream
from crar_diag.agent.training import train
from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS, TransferConfig

# Epochs that end within seconds, target copies within an epoch, and a last epoch that is shorter.
MAZE = [
    "updates_per_epoch=20",
    "target_period=7",
    "data.transitions=100",
    "data.steps_per_gathering=30",
    "data.mark_last_terminal=true",
]
LABYRINTH = [
    "observation=symbolic",
    "updates_per_epoch=4",
    "target_period=3",
    "batch_size=4",
    "data.transitions=50",
    "evaluation.depth=1",
    "evaluation.steps=6",
    "evaluation.episode_cap=4",
    "evaluation.environments=2",
]

# Two epochs.
TRANSFER = {
    "simple-maze": [*MAZE, "updates_per_epoch=10", "updates=20", "delay=1"],
    "labyrinth": [*LABYRINTH, "updates=8", "delay=1"],
}

BASES = Path(__file__).parents[1] / "examples" / "checkpoints" / "simple-maze"
"""The shipped base models, `base-seed0.safetensors` to `base-seed5.safetensors`."""

HELD_OUT = 12
"""Transitions in the held-out sample of labyrinths; the real number takes seconds to draw."""


def maze_config(seeds: str = "0:2", updates: int = 50, *settings: str) -> TrainConfig:
    return build_config("simple-maze", "quick", None, [*MAZE, *settings], **given(seeds, updates))


def labyrinth_config(seeds: str = "0:2", updates: int = 10, *settings: str) -> TrainConfig:
    return build_config(
        "labyrinth", "quick", None, [*LABYRINTH, *settings], **given(seeds, updates)
    )


def transfer_config(bases: Sequence[Path], *settings: str, **options: object) -> TransferConfig:
    task = task_of_bases(load_agents(bases))
    small = TRANSFER[task["environment"]]
    return build_transfer_config(
        base_files(bases), task, "quick", None, [*small, *settings], **options
    )


def given(seeds: str, updates: int) -> dict[str, str | int]:
    return {"seeds": seeds, "updates": updates}


def content(folder: Path) -> dict[str, bytes]:
    """Return a folder's files but for the lock and the history, whose durations differ."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "history.h5")
    }


def assert_same_run(first: Path, second: Path) -> None:
    """Equal files, byte for byte, and equal histories but for the durations."""
    assert content(first) == content(second)
    histories = [read_history(folder / "history.h5") for folder in (first, second)]
    assert histories[0].keys() == histories[1].keys()
    for group, one in histories[0].items():
        other = histories[1][group]
        assert one.variables.keys() == other.variables.keys()
        for name, variable in one.variables.items():
            if name == "seconds":
                assert np.isfinite(variable).all()
                assert np.isfinite(other[name]).all()
            else:
                assert variable.dtype == other[name].dtype
                np.testing.assert_array_equal(variable, other[name], err_msg=f"{group}/{name}")


def recorded(folder: Path) -> int:
    """Return the last update that a run's history on disk tells of; -1 where there is no history.

    It tells of all records up to there and of none after them.
    """
    if not (folder / "history.h5").exists():
        return -1
    history = read_history(folder / "history.h5")
    told = np.isfinite(history["embedding"].embedding).all(["member", "picture", "coordinate"])
    last = int(told.time[told].max())
    for group, dataset in history.items():
        if "variant" in dataset.coords:  # points of reference have no losses on batches
            dataset = dataset.sel(member=~dataset.variant.isin(NOT_TRAINED_AS_THE_OTHERS))
        for name, variable in dataset.data_vars.items():
            step = "epoch" if "epoch" in variable.dims else "time"
            if name not in ("score", "realignment"):
                there = np.isfinite(variable).all([dim for dim in variable.dims if dim != step])
                assert (there == (variable[step] <= last)).all(), f"{group}/{name}"
    return last


def trained(config: TrainConfig, folder: Path) -> Path:
    """Train a run in one go, as fixtures of more than a test's scope do; return its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
        train(config, folder)
    return folder


def save_agent(path: Path, config: TrainConfig, seed: int = 0, **changes: object) -> Path:
    """Write the untrained agent of a seed as a checkpoint; `changes` replace its metadata."""
    architecture = architecture_for(config.environment, config.observation)
    metadata = {
        "environment": config.environment,
        "observation": config.observation,
        "domain": config.domain,
        "architecture": architecture.spec(),
        "configuration": config.model_dump(mode="json"),
        "seed": seed,
        "updates": 0,
        "losses": {},
        "versions": {},
    }
    dtype = getattr(torch, config.precision)
    parameters = networks.initialise(architecture, stream(seed, "initialisation"), dtype)
    parameters |= changes.pop("parameters", {})
    checkpoint.save(
        Checkpoint(parameters, CheckpointMetadata.model_validate(metadata | changes)), path
    )
    return path


def save_turned(path: Path, matrix: np.ndarray) -> Path:
    """Write a base model from which a transfer to the inverse begins at another's states, mapped.

    Its encoder is the exact solution for the shipped base model of seed 1, with an orthogonal map
    of the embedding folded in; its dynamics are that base model's.
    """
    base = load_agent(BASES / "base-seed1.safetensors")
    oracle = variants.start(base.architecture, "oracle", base.parameters, 0, torch.float32)
    parameters = fold(base.architecture, oracle, matrix)
    checkpoint.save(Checkpoint(parameters, base.metadata), path)
    return path


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let the kernel refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
