"""Reports of transfers that never ran, with outcomes known by construction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.agent.transfer_config import UNFROZEN
from crar_diag.report.figures.selection import Report
from crar_diag.report.store import add_to_report
from crar_diag.report.transfer_statistics import conditions, statistics_of
from tests.report.labelled import MADE


@dataclass(frozen=True)
class Ended:
    """How a transfer ended."""

    base: str
    seed: int
    success: bool
    kind: str = "identity"
    distance: float = 0.1
    transition: float = 0.001
    variant: str = "original"
    restarts: int = 1
    realign: bool = False
    rate: float = 1e-4
    score: float = float("nan")
    run: str = "transfers"

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.base}-lr{self.rate:g}-seed{self.seed}"


def sha_of(run: str, name: str) -> str:
    """The SHA-256 of a transfer's file, were there any."""
    return hashlib.sha256(f"{run}/{name}".encode()).hexdigest()


def outcome(ended: Sequence[Ended]) -> xr.Dataset:
    """The group `/outcome` of these transfers, as far as studies read it."""
    columns = {
        "run": [f"/somewhere/{one.run}" for one in ended],
        "environment": ["simple-maze"] * len(ended),
        "variant": [one.variant for one in ended],
        "base": [one.base for one in ended],
        "base_sha256": [one.base and sha_of("bases", one.base) for one in ended],
        "unfrozen": [one.variant in UNFROZEN for one in ended],
        "seed": [one.seed for one in ended],
        "initial_learning_rate": [one.rate for one in ended],
        "restarts": [one.restarts for one in ended],
        "realign": [one.realign for one in ended],
        "kind": [one.kind for one in ended],
        "distance": [one.distance for one in ended],
        "score": [one.score for one in ended],
        "states_run": [one.run for one in ended],
        "success": [one.success for one in ended],
    }
    losses = np.array([[one.transition, 0.05] for one in ended])
    data = {name: labelled(["transfer"], np.array(v), name) for name, v in columns.items()}
    data["final_loss"] = labelled(["transfer", "loss"], losses, "final loss")
    coords = {
        "transfer": labelled(["transfer"], [one.name for one in ended], "transfer"),
        "loss": labelled(["loss"], ["transition", "random_pairs"], "loss"),
    }
    found = xr.Dataset(data, coords=coords)
    return found.assign(condition=labelled(["transfer"], conditions(found), "condition"))


def report(path: Path, ended: Sequence[Ended], **groups: xr.Dataset) -> Report:
    """A report of these transfers with their statistics, and further groups, `__` for `/`."""
    found = outcome(ended)
    all_groups = {"outcome": found}
    for run in {one.run for one in ended}:
        names = [one.name for one in ended if one.run == run]
        shas = np.array([sha_of(run, name) for name in names])
        coords = {"agent": labelled(["agent"], np.array(names), "agent")}
        data = {"checkpoint_sha256": labelled(["agent"], shas, "SHA-256")}
        all_groups[f"config/{run}"] = xr.Dataset(data, coords=coords)
    for name, data in statistics_of(found, found.success.values).items():
        all_groups[f"statistics/{name}"] = data
    all_groups |= {name.replace("__", "/"): data for name, data in groups.items()}
    add_to_report(path / "report.h5", all_groups, MADE)
    return Report(path / "report.h5")


def of_base(base: str, successes: int, runs: int, **others: object) -> list[Ended]:
    """Transfers of one base of which the first so many succeed; the others are exchanges."""
    return [
        Ended(base, seed, True, distance=0.1 + 0.01 * seed, **others)  # type: ignore[arg-type]
        if seed < successes
        else Ended(base, seed, False, "exchange", 1.0 + seed, 0.03 + 0.001 * seed, **others)  # type: ignore[arg-type]
        for seed in range(runs)
    ]
