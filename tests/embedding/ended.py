"""Transfers written down by hand: how they ended, and what became of them over time."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.config import LOSSES
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.embedding.outcome import TransferOutcomes

DEFAULTS: dict[str, Any] = {
    "run": "runs/hand",
    "environment": "simple-maze",
    "variant": "original",
    "base": "a",
    "initial_learning_rate": 8e-5,
    "restarts": 1,
    "realign": False,
    "updates": 20,
    "kind": "identity",
    "distance": 0.1,
    "identity_residual": 0.05,
    "residual": 0.05,
    "margin": 0.5,
    "reflected": 0.0,
    "angle": 1.0,
    "axis": 2.0,
    "spread": 1.0,
    "score": np.nan,
}


def ended(transition: Any = 1e-3, **columns: Any) -> xr.Dataset:
    """How transfers ended, one a row; what is not a list is the same for all.

    Seeds count up from 0, bases' digests go with their names, and the variant decides what moved,
    unless given.
    """
    given = {**DEFAULTS, **columns}
    n = max(len(v) if np.ndim(v) else 1 for v in (*given.values(), transition))
    full = {name: np.broadcast_to(np.array(value), n).copy() for name, value in given.items()}
    full.setdefault("seed", np.arange(n))
    full.setdefault("unfrozen", np.isin(full["variant"], ("finetune", "scratch")))
    full.setdefault("base_sha256", np.array([digest(name) for name in full["base"]]))
    losses = np.full((n, len(LOSSES)), 0.1)
    losses[:, LOSSES.index("transition")] = transition
    return xr.Dataset(
        {
            **{name: ("transfer", as_text(v), says(name)) for name, v in full.items()},
            "final_loss": (("transfer", "loss"), losses, says("loss")),
        },
        coords={
            "transfer": ("transfer", as_text(np.array([f"t{k}" for k in range(n)])), says("name")),
            "loss": ("loss", list(LOSSES), says("loss")),
        },
    )


def won(successes: int, runs: int) -> list[bool]:
    """Which of some runs succeeded: the first ones."""
    return [True] * successes + [False] * (runs - successes)


def digest(base: str) -> str:
    return sha256(base.encode()).hexdigest() if base else ""


def as_text(values: np.ndarray) -> np.ndarray:
    return values.astype(object) if values.dtype.kind == "U" else values


def says(what: str) -> dict[str, str]:
    return {"units": "1", "long_name": what}


def followed(
    config: TransferConfig, kinds: Any, path: str = "runs/hand", **changes: Any
) -> TransferOutcomes:
    """What became of all encoders of a run at three times or more: numbers at random.

    Args:
        config: of the run.
        kinds: `[M, K]`.
        path: its folder, which need not exist.
        changes: other attributes than those.
    """
    transfers, names = config.transfers(), config.base_labels()
    kinds = np.array(kinds)
    rng = np.random.default_rng(0)
    numbers = ["distance", "identity_residual", "residual", "margin", "reflected", "angle", "axis"]
    numbers += ["spread", "displacement"]
    several = config.restarts > 1
    given = {
        "path": Path(path),
        "config": config,
        "members": np.array([t.name + several * f"-restart{t.restart}" for t in transfers]),
        "transfer": np.array([t.name for t in transfers]),
        "variant": np.array([t.variant for t in transfers]),
        "base": np.array(["" if t.base is None else names[t.base] for t in transfers]),
        "seed": np.array([t.seed for t in transfers]),
        "learning_rate": np.array([t.learning_rate for t in transfers]),
        "restart": np.array([t.restart for t in transfers]),
        "times": np.arange(kinds.shape[1]) * 10,
        "kinds": kinds,
        "numbers": {name: rng.random(kinds.shape) for name in numbers},
        "losses": rng.random((*kinds.shape, len(LOSSES))),
        "score": np.full(len(transfers), np.nan),
        "realigned": np.zeros(kinds.shape, np.int64),
    }
    return TransferOutcomes(**given | changes)
