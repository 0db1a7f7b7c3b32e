"""A run as labelled data: its configuration, its losses over time, its embeddings over time."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
import xarray as xr

from crar_diag.agent import checkpoint, networks
from crar_diag.agent.bases import load_bases
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import read_text, to_toml
from crar_diag.agent.history import labelled
from crar_diag.agent.loading import Agent
from crar_diag.agent.probes import HELD_OUT_PICTURES
from crar_diag.agent.run import CONFIG_NAME, Run
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.embedding.outcome import base_embedding, held_out_tiles
from crar_diag.envs import simple_maze
from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE

BASE_MODELS: Final = "base models"
TRANSFERS: Final = "transfers"
"""What a run holds, as `/config/<run>` and `/embedding/<run>/states` say it."""

LARGEST: Final = 50_000_000
"""Bytes of embeddings and predictions that a report takes of a run as they are."""
RECORDS: Final = 30
"""How many records are taken of a larger one."""

ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    SIMPLE_MAZE: ("up", "down", "left", "right"),
    LABYRINTH: ("down", "right", "up", "left"),
}

SIDE: Final = "0 left of the wall, 1 the door, 2 right of it"
"""What the coordinate `side` of a state of the simple maze says."""


def kind_of(config: TrainConfig) -> str:
    """Return what a run holds: `BASE_MODELS` or `TRANSFERS`."""
    return TRANSFERS if isinstance(config, TransferConfig) else BASE_MODELS


def config_dataset(run: Run) -> xr.Dataset:
    """Return what a run was asked to do, and which files came out: `/config/<run>`.

    Returns:
        `toml`, the resolved configuration as text, with its `sha256`; what the run holds (`kind`),
        its `environment` and `updates`; over `agent` the `seed` and the `checkpoint_sha256` of each
        file; of transfers, over `base`, the `base_path` and the `base_sha256`.
    """
    config, stored = run.config, run.path / CONFIG_NAME
    text = read_text(stored) if stored.exists() else to_toml(config)
    files = run.checkpoints
    one: dict[str, tuple[Any, str, str]] = {
        "toml": (text, "resolved configuration, the text of run.toml", "1"),
        "sha256": (hashlib.sha256(text.encode()).hexdigest(), "SHA-256 of that text", "1"),
        "kind": (kind_of(config), "what the run holds", "1"),
        "environment": (config.environment, "task", "1"),
        "updates": (np.int64(config.updates), "updates of each member", "updates"),
    }
    data = {name: labelled((), *about) for name, about in one.items()}
    shas = [checkpoint.file_sha256(file) for file in files.values()]
    data["checkpoint_sha256"] = labelled(["agent"], shas, "SHA-256 of the agent's checkpoint")
    coords = {"agent": labelled(["agent"], [file.stem for file in files.values()], "agent")}
    if isinstance(config, TransferConfig):
        bases = config.bases
        coords["base"] = labelled(["base"], list(config.base_labels()), "base model")
        data["base_path"] = labelled(["base"], [b.path for b in bases], "file of the base model")
        data["base_sha256"] = labelled(["base"], [b.sha256 for b in bases], "SHA-256 of that file")
    source = CONFIG_NAME if stored.exists() else "checkpoints"
    return xr.Dataset(data, coords=coords, attrs={"configuration_from": source})


def history_dataset(run: Run, history: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return a run's record over time: `/history/<run>`.

    Args:
        run: of base models or transfers.
        history: its record (`agent.history.read_history`).

    Returns:
        Over `member` and `loss`, the `expected_loss` with its error at every `time`, and the
        `training_loss`, a mean over batches, in every `epoch`; over `member` and `epoch` the
        `learning_rate` and, where any was measured, the validation `score`; over `epoch` the
        `seconds` that it took. Times and ends of epochs are in updates.
    """
    training, evaluation = history["training"], history["evaluation"]
    if not np.isfinite(training.score.values).any():
        training = training.drop_vars("score")
    together = _named(run, xr.merge([training, evaluation], compat="equals", join="exact"))
    return together.assign_attrs(_about(run))


def states_dataset(run: Run, embedding: xr.Dataset, largest: int = LARGEST) -> xr.Dataset:
    """Return the embeddings of a run over time: `/embedding/<run>/states`.

    Args:
        run: of base models or transfers.
        embedding: the record (`agent.history.read_history`).
        largest: bytes above which about `RECORDS` records, evenly in the logarithm of time, are
            taken; the attribute `records` says which.

    Returns:
        Over `member`, `time` and `picture` the `embedding` and, over `action` besides, the
        `prediction` of the next one; over `picture` the mazes (`tiles`) and, in the simple maze,
        the player's `state_row` and `state_column` and the `side` that it is on (0 left of the
        wall, 1 the door, 2 right of it). Of transfers also the `base_embedding` and the
        `base_prediction` of the same states, each base model's in its own domain.
    """
    names = [name for name in ("embedding", "prediction", "realignment") if name in embedding]
    kept, words = _records(embedding.time.values, embedding[names].nbytes, largest)
    found = _named(run, embedding[names].isel(time=kept))
    environment = run.config.environment
    data, coords = _pictures(environment)
    coords |= _axes(found)
    coords["action"] = labelled(["action"], list(ACTIONS[environment]), "action of the agent")
    about = {**_about(run), "records": words}
    if isinstance(run.config, TransferConfig):
        bases = load_bases(run.config)
        about["base_domain"] = bases[0].metadata.domain  # they agree in it
        data |= _bases(bases, tuple(map(str, found.embedding.dims[2:])))
        coords["base_model"] = labelled(
            ["base_model"], list(run.config.base_labels()), "base model"
        )
    return found.assign(data).assign_coords(coords).assign_attrs(about)


def _records(times: np.ndarray, size: int, largest: int) -> tuple[np.ndarray, str]:
    """Return which records are kept, and that in words."""
    count = len(times)
    if size <= largest or count <= RECORDS:
        return np.arange(count), f"all {count}"
    wanted = np.geomspace(1, times[-1] + 1, RECORDS)
    nearest = [int(np.argmin(np.abs(np.log((times + 1) / one)))) for one in wanted]
    kept = np.unique([0, *nearest, count - 1])
    return kept, f"{len(kept)} of {count}, evenly in the logarithm of time"


def _named(run: Run, dataset: xr.Dataset) -> xr.Dataset:
    """Return a record with the name of each member, as its file has it, and the seed."""
    if "seed" in dataset.coords:
        return dataset
    seeds = dataset.member.values
    names = np.array(run.config.members(), dtype=object)
    return dataset.assign_coords(
        member=labelled(["member"], names, "name of the member"),
        seed=labelled(["member"], seeds, "seed of the member"),
    )


def _about(run: Run) -> dict[str, str]:
    config = run.config
    found = {"run_kind": kind_of(config), "environment": config.environment}
    return found | {"domain": config.domain}


def _pictures(environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the mazes that a record is of, as variables and as coordinates."""
    coords: dict[str, Any] = {}
    if environment == SIMPLE_MAZE:
        tiles = simple_maze.all_tiles()
        rows, columns = simple_maze.STATES.T
        coords["state_row"] = labelled(["picture"], rows, "row of the player")
        coords["state_column"] = labelled(["picture"], columns, "column of the player")
        coords["side"] = labelled(["picture"], simple_maze.SIDES, SIDE)
    else:
        tiles = held_out_tiles(HELD_OUT_PICTURES)
    coords["picture"] = labelled(["picture"], np.arange(len(tiles)), "number of the picture")
    axes = ("tile_row", "tile_column")
    for axis in axes:
        words = axis.replace("_", " ")
        coords[axis] = labelled([axis], np.arange(tiles.shape[1]), f"{words} in the maze")
    what = "what stands there: 0 path, 1 wall, 2 player, 3 key"
    return {"tiles": labelled(["picture", *axes], tiles, what)}, coords


def _axes(states: xr.Dataset) -> dict[str, Any]:
    """Return coordinates for the axes of an abstract state, which count from 1."""
    return {
        str(axis): labelled(
            [str(axis)], np.arange(1, states.sizes[axis] + 1), f"{axis} of the abstract state"
        )
        for axis in states.embedding.dims[3:]
    }


def _bases(bases: Sequence[Agent], axes: tuple[str, ...]) -> dict[str, Any]:
    """Return the states of base models and what they predict from them; `axes`: of one record."""
    embeddings = np.stack([base_embedding(base) for base in bases])
    predictions = []
    for base, states in zip(bases, embeddings, strict=True):
        with torch.no_grad():
            own = torch.from_numpy(states)
            found = networks.predict_each_action(base.architecture, base.parameters, own)
        predictions.append(found.numpy())
    picture, *rest = axes
    return {
        "base_embedding": labelled(
            ("base_model", picture, *rest), embeddings, "abstract state of the base model"
        ),
        "base_prediction": labelled(
            ("base_model", picture, "action", *rest),
            np.stack(predictions),
            "next abstract state that the base model predicts",
        ),
    }
