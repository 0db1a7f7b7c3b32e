"""How transfers ended, one row each, as labelled data: from runs' folders and from checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import labelled
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS, UNFROZEN
from crar_diag.embedding.kinds import Thresholds, classify_history
from crar_diag.embedding.outcome import (
    HELD_OUT_MAZES,
    NO_BASE,
    TransferOutcomes,
    embed,
    held_out_tiles,
    rooms,
)
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.errors import InputError

_COLUMNS: dict[str, tuple[str, str]] = {
    "run": ("run folder, or the folder of the checkpoint", "1"),
    "environment": ("task", "1"),
    "variant": ("variant of the transfer", "1"),
    "base": ("base model; empty from scratch", "1"),
    "base_sha256": ("SHA-256 of the base model's file", "1"),
    "seed": ("seed of the transfer", "1"),
    "initial_learning_rate": ("learning rate in the first epoch", "1"),
    "restarts": ("encoders of which the best was kept", "1"),
    "realign": ("whether maps of the embedding were tried", "1"),
    "unfrozen": ("whether the dynamics moved too", "1"),
    "updates": ("updates of the transfer", "updates"),
    "kind": ("kind of outcome", "1"),
    "distance": ("mean L2 distance to the base's embedding", "1"),
    "identity_residual": ("RMS distance to the base, relative to its RMS norm", "1"),
    "residual": ("the same after the best orthogonal map", "1"),
    "margin": ("residual of the second best of rotation and reflection, minus that", "1"),
    "reflected": ("whether the best map is a reflection", "1"),
    "angle": ("angle of the best rotation", "degrees"),
    "axis": ("axis of the best reflection", "degrees"),
    "spread": ("RMS distance from the centroid, relative to the base's", "1"),
    "score": ("mean validation score of the last epochs, reward an episode", "1"),
}
"""What is known of every transfer, with its long name and units; `final_loss` comes besides."""


def of_run(outcomes: TransferOutcomes, restarts: int | None = None) -> xr.Dataset:
    """Return how the transfers of a run ended.

    Args:
        outcomes: of the run.
        restarts: keep the best of each transfer's first so many restarts; all by default.

    Returns:
        One `transfer` a row: the columns of this module and `final_loss` over `loss`.
    """
    rows, config = outcomes.kept(restarts), outcomes.config
    remedied = ~np.isin(outcomes.variant[rows], NOT_TRAINED_AS_THE_OTHERS)
    tried = min(restarts or config.restarts, config.restarts)
    shas = dict(zip(config.base_labels(), (b.sha256 for b in config.bases), strict=True))
    columns: dict[str, Any] = {
        "run": [str(outcomes.path)] * len(rows),
        "environment": [config.environment] * len(rows),
        "variant": outcomes.variant[rows],
        "base": outcomes.base[rows],
        "base_sha256": [shas.get(str(base), "") for base in outcomes.base[rows]],
        "seed": outcomes.seed[rows],
        "initial_learning_rate": outcomes.learning_rate[rows],
        "restarts": np.where(remedied, tried, 1),
        "realign": remedied & (config.realign.every > 0),
        "unfrozen": outcomes.unfrozen[rows],
        "updates": [config.updates] * len(rows),
        "kind": outcomes.kinds[rows, -1],
        "score": outcomes.score[rows],
    }
    for name, values in outcomes.numbers.items():
        if name in _COLUMNS:
            columns[name] = values[rows, -1]
    return _dataset(list(outcomes.transfer[rows]), columns, outcomes.losses[rows, -1])


def of_checkpoints(paths: Sequence[str | Path], thresholds: Thresholds | None = None) -> xr.Dataset:
    """Return how transfers ended whose checkpoints are given.

    Their scores are not known, nor whether they still moved: what is `unfinished` in a run is
    `other` here.

    Args:
        paths: checkpoints of transfers; the base that each names must be there.
        thresholds: where one kind of outcome ends and the next begins.

    Raises:
        InputError: no file is given, one is not a transfer's, or its base is missing or changed.
    """
    if not paths:
        raise InputError("expected at least one checkpoint of a transfer, got none")
    names: list[str] = []
    losses: list[list[float]] = []
    rows: list[dict[str, Any]] = []
    embeddings: dict[str, np.ndarray] = {}
    for path in map(Path, paths):
        agent = load_agent(path)
        names.append(path.stem)
        own = {name: x for name, x in agent.metadata.losses.items() if x is not None}
        losses.append([own.get(name, np.nan) for name in LOSSES])
        rows.append(_row(agent, embeddings, thresholds))
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    return _dataset(names, columns, np.array(losses))


def _row(
    agent: Agent, embeddings: dict[str, np.ndarray], thresholds: Thresholds | None
) -> dict[str, Any]:
    """Return the columns of one checkpoint; `embeddings` keeps those of bases, by their file."""
    metadata = agent.metadata
    configuration = metadata.configuration
    try:
        variant = configuration["variants"][0]
        remedied = variant not in NOT_TRAINED_AS_THE_OTHERS
        row: dict[str, Any] = {
            "variant": variant,
            "initial_learning_rate": (
                configuration["optimizer"]["learning_rate"]
                if variant == "scratch"
                else configuration["learning_rates"][0]
            ),
            "restarts": configuration["restarts"] if remedied else 1,
            "realign": remedied and configuration["realign"]["every"] > 0,
        }
    except (KeyError, IndexError, TypeError):
        raise InputError(
            f"checkpoint '{agent.path}' is a base model: expected that of a transfer"
        ) from None
    tiles = simple_maze.all_tiles()
    if metadata.environment != SIMPLE_MAZE:
        tiles = held_out_tiles(HELD_OUT_MAZES)
    row |= dict.fromkeys(_COLUMNS.keys() - row.keys(), np.nan)
    row |= {
        "run": str(agent.path.parent),
        "environment": metadata.environment,
        "base": "",
        "base_sha256": metadata.base_sha256 or "",
        "seed": metadata.seed,
        "unfrozen": variant in UNFROZEN,
        "updates": metadata.updates,
        "kind": NO_BASE,
    }
    if metadata.base is not None:
        row["base"] = Path(metadata.base).stem
        if metadata.base not in embeddings:
            embeddings[metadata.base] = embed(_base_of(agent), tiles)
        wanted = embeddings[metadata.base]
        found = classify_history(
            wanted,
            embed(agent, tiles)[None, None],
            pieces=rooms(metadata.environment),
            thresholds=thresholds,
        )
        row["kind"] = str(found.kinds[0, 0])
        for name in _COLUMNS:
            if hasattr(found, name):
                row[name] = getattr(found, name)[0, 0]
    if metadata.diverged_at is not None:
        row["kind"] = "diverged"
    return row


def _base_of(agent: Agent) -> Agent:
    base = Path(str(agent.metadata.base))
    if not base.is_file():
        raise InputError(
            f"checkpoint '{agent.path}' was transferred from '{base}', which is not there: run "
            "this where its base model is"
        )
    if file_sha256(base) != agent.metadata.base_sha256:
        raise InputError(
            f"checkpoint '{agent.path}' was transferred from '{base}', which has changed since"
        )
    return load_agent(base)


def _dataset(names: list[str], columns: Mapping[str, Any], losses: np.ndarray) -> xr.Dataset:
    variables = {
        name: labelled("transfer", _array(columns[name]), long_name, units)
        for name, (long_name, units) in _COLUMNS.items()
    }
    final = labelled(("transfer", "loss"), losses, "final loss, exact or on held-out mazes")
    return xr.Dataset(
        {**variables, "final_loss": final},
        coords={
            "transfer": labelled("transfer", np.array(names, dtype=object), "name of the transfer"),
            "loss": labelled("loss", list(LOSSES), "name of the loss"),
        },
    )


def _array(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array
