"""A small report by hand: a plane, two lines, outcomes, and names that are markup."""

from pathlib import Path

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.envs import simple_maze
from crar_diag.report.lines import line_dataset
from crar_diag.report.store import add_to_report
from tests.report.figures.by_hand import ENDS, line, rates, states, text
from tests.report.labelled import MADE
from tests.report.surfaces import ALPHAS, WEIGHTS, line_surface, plane, refitted_line

HOSTILE = "</script><script>alert(1)</script>"
"""The name of the first transfer; that of the others is as it is by hand."""
HOSTILE_FILE = "<img src=x onerror=alert(1)>"
"""The name of a checkpoint."""
NAMES = (HOSTILE, *list(ENDS)[1:])
LOSSES = ("transition", "volume")
SUCCESS = (True, False, False, True, True, False)


def moving_line() -> xr.Dataset:
    """A line whose states turn once around, each predicting a step of 0.1 by each action."""
    angles = np.linspace(0, 2 * np.pi, len(ALPHAS))
    some = np.random.default_rng(0).uniform(-1, 1, (31, 2))
    turns = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])
    embedding = np.einsum("aij,sj->asi", turns, some).astype(np.float32)
    steps = 0.1 * np.array([[0, 1], [0, -1], [-1, 0], [1, 0]], np.float32)
    found = line_dataset(
        ALPHAS,
        {"frozen": line_surface(), "unfrozen": refitted_line()},
        attrs={
            "checkpoint_a": f"runs/{HOSTILE_FILE}.safetensors",
            "domain": "inverse",
            "mode": "line",
        },
        weights=WEIGHTS,
        depends_on_dynamics={"transition"},
        embedding=embedding,
        prediction=embedding[:, :, None] + steps,
    )
    return found.assign_coords(
        action=labelled(["action"], text(("up", "down", "left", "right")), "action"),
        side=labelled(["state"], simple_maze.SIDES, "side"),
    )


def moved_states() -> xr.Dataset:
    found = states(tuple(ENDS))
    return found.assign_coords(member=labelled(["member"], text(NAMES), "name"))


def outcome(linked: bool = True) -> xr.Dataset:
    """What became of the transfers; `linked`: says where their states are."""
    count = len(NAMES)
    variants, bases, kinds = zip(*ENDS.values(), strict=True)
    distance = np.array([0.05, 0.5, 1.2, 0.06, 0.01, np.nan])
    columns = {
        "run": text(["/somewhere/moved"] * count),
        "variant": text(variants),
        "base": text(bases),
        "kind": text(kinds),
        "condition": text([f"{variant}, lr 8e-05" for variant in variants]),
        "success": np.array(SUCCESS),
        "distance": distance,
        "residual": distance / 2,
        "reflected": np.zeros(count, bool),
        "angle": np.full(count, 12.0),
        "axis": np.full(count, np.nan),
        "score": np.full(count, np.nan),
    }
    if linked:
        columns |= {"states_run": text(["moved"] * count), "states_member": text(NAMES)}
    loss = np.geomspace(1e-3, 1, 2 * count).reshape(count, 2)
    return xr.Dataset(
        {
            **{name: labelled(["transfer"], values, name) for name, values in columns.items()},
            "final_loss": labelled(["transfer", "loss"], loss, "loss"),
        },
        coords={
            "transfer": labelled(["transfer"], text(NAMES), "transfer"),
            "loss": labelled(["loss"], text(LOSSES), "loss"),
        },
    )


def groups() -> dict[str, xr.Dataset]:
    return {
        "line/a-to-b": moving_line(),
        "line/old": line(),
        "plane/a-to-b-random-plane": plane(),
        "embedding/moved/states": moved_states(),
        "outcome": outcome(),
        "statistics/rates": rates(),
    }


def report(path: Path, **others: xr.Dataset) -> Path:
    """Write the report; `others` take the place of groups of the same name."""
    add_to_report(path, groups() | others, MADE)
    return path
