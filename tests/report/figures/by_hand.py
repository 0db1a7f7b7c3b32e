"""A report written down by hand, with something for every figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import labelled
from crar_diag.embedding.kinds import KINDS
from crar_diag.embedding.outcome import NO_BASE
from crar_diag.envs import simple_maze
from crar_diag.landscape.surface import Surface
from crar_diag.report.lines import line_dataset
from crar_diag.report.planes import Axis, plane_dataset
from crar_diag.report.store import add_to_report
from tests.report.labelled import MADE
from tests.report.surfaces import ALPHAS, WEIGHTS, line_surface, plane, refitted_line

TIMES = np.array([0, 1, 10, 100, 1_000, 4_000, 21_000, 80_000])
LONG = np.array([0, 10, 1_000, 5_000, 20_000, 100_000, 160_000])
BASES = ("good", "poor")
ENDS = {
    "original-good-seed0": ("original", "good", "identity"),
    "original-good-seed1": ("original", "good", "unfinished"),
    "original-poor-seed0": ("original", "poor", "exchange"),
    "reset-encoder-poor-seed0": ("reset-encoder", "poor", "identity"),
    "oracle-good": ("oracle", "good", "identity"),
    "scratch-seed0": ("scratch", "", NO_BASE),
}
"""Transfers by name: variant, base model, and the kind that it ends as."""


def text(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=object)


def sha(name: str, environment: str) -> str:
    return (f"{name} {environment}".encode().hex() + "0" * 64)[:64]


def config(kind: str, agents: Sequence[str], environment: str = "simple-maze") -> xr.Dataset:
    data = {
        "kind": labelled((), kind, "kind"),
        "environment": labelled((), environment, "task"),
        "checkpoint_sha256": labelled(
            ["agent"], text([sha(one, environment) for one in agents]), "digest"
        ),
    }
    coords = {"agent": labelled(["agent"], text(agents), "agent")}
    if kind == "transfers":
        coords["base"] = labelled(["base"], text(BASES), "base model")
        data["base_sha256"] = labelled(
            ["base"], text([sha(b, environment) for b in BASES]), "digest"
        )
    return xr.Dataset(data, coords=coords)


def ended(names: Sequence[str] = tuple(ENDS)) -> xr.Dataset:
    """What became of transfers: unfinished all the time, until the end."""
    kinds = np.full((len(names), len(TIMES)), "unfinished", dtype=object)
    kinds[:, -1] = [ENDS[name][2] for name in names]
    return xr.Dataset(
        {"kind": labelled(["member", "time"], kinds, "kind of outcome")},
        coords=members(names) | {"time": labelled(["time"], TIMES, "updates so far", "updates")},
    )


def members(names: Sequence[str]) -> dict:
    return {
        "member": labelled(["member"], text(names), "name"),
        "variant": labelled(["member"], text([ENDS[one][0] for one in names]), "variant"),
        "base": labelled(["member"], text([ENDS[one][1] for one in names]), "base model"),
        "seed": labelled(["member"], np.arange(len(names)), "seed"),
        "initial_learning_rate": labelled(["member"], np.full(len(names), 8e-5), "rate"),
        "restart": labelled(["member"], np.zeros(len(names), np.int64), "restart"),
    }


def states(
    names: Sequence[str], times: np.ndarray = TIMES, transfers: bool = True, images: bool = False
) -> xr.Dataset:
    """States at random, every one another."""
    rng = np.random.default_rng(len(names))
    pictures, shape = (8, (3, 8, 8)) if images else (31, (2,))
    axes = ("channel", "row", "column") if images else ("coordinate",)
    lead = ("member", "time", "picture")

    def some(*size: int) -> np.ndarray:
        return rng.uniform(-1, 1, (*size, *shape)).astype(np.float32)

    count = (len(names), len(times), pictures)
    actions = ("up", "down", "left", "right")
    data = {
        "embedding": labelled((*lead, *axes), some(*count), "state"),
        "prediction": labelled((*lead, "action", *axes), some(*count, 4), "prediction"),
    }
    coords = {
        "member": labelled(["member"], text(names), "name"),
        "time": labelled(["time"], times, "updates so far", "updates"),
        "action": labelled(["action"], text(actions), "action"),
        **{a: labelled([a], np.arange(1, n + 1), a) for a, n in zip(axes, shape, strict=True)},
    }
    if not images:
        coords["side"] = labelled(["picture"], simple_maze.SIDES, "side")
    if transfers:
        coords |= members(names)
        coords["base_model"] = labelled(["base_model"], text(BASES), "base model")
        lead = ("base_model", "picture")
        data["base_embedding"] = labelled((*lead, *axes), some(2, pictures), "state")
        data["base_prediction"] = labelled(
            (*lead, "action", *axes), some(2, pictures, 4), "prediction"
        )
    attrs = {"domain": "inverse", "base_domain": "normal"}
    return xr.Dataset(data, coords=coords, attrs=attrs)


def history(names: Sequence[str], times: np.ndarray = TIMES, scores: int = 0) -> xr.Dataset:
    """Losses that fall from about 1 to about 0.01, those of reward, discount and Q to 1e-9."""
    rng = np.random.default_rng(len(names) + 1)
    fall = np.array([1e-9 if one in ("reward", "discount", "q") else 1e-2 for one in LOSSES])
    share = np.linspace(0, 1, len(times))[:, None]
    losses = fall**share * rng.uniform(0.8, 1.2, (len(names), len(times), len(LOSSES)))
    dims = ("member", "time", "loss")
    coords = {
        "member": labelled(["member"], text(names), "name"),
        "time": labelled(["time"], times, "updates so far", "updates"),
        "loss": labelled(["loss"], text(LOSSES), "loss"),
    }
    if set(names) <= set(ENDS):
        coords |= members(names)
    data = {
        "expected_loss": labelled(dims, losses, "loss"),
        "expected_loss_error": labelled(dims, 0.1 * losses * (scores > 0), "its error"),
    }
    if scores:
        values = rng.normal(size=(len(names), scores))
        data["score"] = labelled(("member", "epoch"), values, "score")
        coords["epoch"] = labelled(["epoch"], 2000 * np.arange(1, scores + 1), "end", "updates")
    return xr.Dataset(data, coords=coords)


def shares() -> xr.Dataset:
    """Of all transfers and of each base's: unfinished at first, then as they end."""
    kinds = [*KINDS, NO_BASE]
    share = np.zeros((3, len(kinds), len(TIMES)))
    grown = np.linspace(0, 1, len(TIMES))
    for row, one in enumerate(("exchange", "identity", "exchange")):
        share[row, kinds.index(one)] = grown
        share[row, kinds.index("unfinished")] = 1 - grown
    return xr.Dataset(
        {"share": labelled(["base", "kind", "time"], share, "share")},
        coords={
            "base": labelled(["base"], text(["all", *BASES]), "base model"),
            "kind": labelled(["kind"], text(kinds), "kind"),
            "time": labelled(["time"], TIMES, "updates so far", "updates"),
        },
    )


def restarts() -> xr.Dataset:
    rate = np.array([[0.25, 0.5, 0.75], [0.5, 1.0, 1.0], [0.0, 0.0, 0.5]])
    values = {"rate": rate, "low": rate / 2, "high": (1 + rate) / 2, "alone": rate[:, ::-1]}
    return xr.Dataset(
        {name: labelled(["base", "restarts"], v, name) for name, v in values.items()},
        coords={
            "base": labelled(["base"], text(["all", *BASES]), "base model"),
            "restarts": labelled(["restarts"], np.arange(1, 4), "K"),
        },
    )


def rates() -> xr.Dataset:
    names = ["original, lr 8e-05", "finetune, lr 8e-05", "original, lr 8e-05, realign"]
    rate = np.array([[1.0, 0.0], [1.0, 1.0], [0.75, 0.25]])
    mean = rate.mean(axis=1)
    return xr.Dataset(
        {
            "rate": labelled(["condition", "base"], rate, "rate"),
            "mean_rate": labelled(["condition"], mean, "mean"),
            "mean_low": labelled(["condition"], mean / 2, "low"),
            "mean_high": labelled(["condition"], (1 + mean) / 2, "high"),
        },
        coords={
            "condition": labelled(["condition"], text(names), "condition"),
            "base": labelled(["base"], text(BASES), "base model"),
        },
    )


XS, YS = np.array([-0.5, 0.0, 0.5, 1.0, 1.5]), np.array([-0.5, 0.0, 0.5])
ABOUT = {"sha256_a": "a", "sha256_b": "b", "domain": "inverse"}


def dynamics_plane() -> xr.Dataset:
    """z = 10 + x + 4 y^2 - 2 y: the frozen slice is 10 + x, the least of each x 9.25 + 1 + x ..."""
    x, y = np.meshgrid(XS, YS, indexing="ij")
    z = 10 + x + 4 * y**2 - 2 * y
    losses = {"transition": z, "volume": z - 5, "sum": 2 * z}
    return plane_dataset(
        frozen=(XS, YS, Surface(losses, {})),
        points={"A": (0.0, 0.0, 0.0), "B": (1.0, 0.0, 0.0)},
        axes=(Axis("encoder, A at 0 and B at 1"), Axis("dynamics along a random direction")),
        attrs={**ABOUT, "mode": "dynamics-plane"},
        weights=WEIGHTS,
    )


def line(scale: float = 1.0, **about: str) -> xr.Dataset:
    return line_dataset(
        ALPHAS,
        {"frozen": line_surface(scale), "unfrozen": refitted_line()},
        attrs={**ABOUT, **about},
        weights=WEIGHTS,
        depends_on_dynamics={"transition"},
    )


def path() -> xr.Dataset:
    """A straight segment with a barrier of 1, and a curve without one."""
    t = np.linspace(0, 1, 5)
    value = np.full((2, 2, 2, 5), 1e-3)
    value[:, 0] += np.sin(np.pi * t)
    return xr.Dataset(
        {
            "value": labelled(["dynamics", "path", "loss", "t"], value, "loss along the path"),
            "weight": labelled(["loss"], np.array([1.0, np.nan]), "weight in the sum"),
        },
        coords={
            "dynamics": labelled(["dynamics"], text(["frozen", "unfrozen"]), "dynamics"),
            "path": labelled(["path"], text(["straight", "curve"]), "path"),
            "loss": labelled(["loss"], text(["transition", "sum"]), "loss"),
            "t": labelled(["t"], t, "position"),
        },
    )


def spectrum() -> xr.Dataset:
    """A density of 100 eigenvalues, one of them at 2 and the others at 0."""
    at = np.linspace(-1, 3, 81)
    density = np.exp(-((at / 0.2) ** 2)) + 0.01 * np.exp(-(((at - 2) / 0.2) ** 2)) + 1e-9
    lead = ["space", "point"]
    numbers = {
        "density": ([*lead, "grid"], np.tile(density, (2, 1, 1))),
        "density_at": ([*lead, "grid"], np.tile(at, (2, 1, 1))),
        "density_width": (lead, np.full((2, 1), 0.2)),
        "node_at": ([*lead, "node"], np.tile([0.0, 2.0], (2, 1, 1))),
        "node_weight": ([*lead, "node"], np.tile([0.99, 0.01], (2, 1, 1))),
        "size": (["space"], np.array([100, 200])),
        "eigenvalue": ([*lead, "end", "rank"], np.full((2, 1, 2, 1), 2.0)),
        "eigenvalue_converged": ([*lead, "end", "rank"], np.ones((2, 1, 2, 1), bool)),
        "verdict": (lead, text(["saddle", "local minimum"])[:, None]),
    }
    return xr.Dataset(
        {name: labelled(dims, values, name) for name, (dims, values) in numbers.items()},
        coords={
            "space": labelled(["space"], text(["frozen", "unfrozen"]), "what varies"),
            "point": labelled(["point"], text(["checkpoint"]), "where"),
            "end": labelled(["end"], text(["smallest", "largest"]), "end"),
        },
    )


def scores() -> xr.Dataset:
    """Two approaches at two rates on two base models, two seeds each, three epochs."""
    rows = [
        (approach, base, seed, rate)
        for approach in ("original", "finetune")
        for base in BASES
        for rate in (1e-4, 5e-4)
        for seed in (0, 1)
    ]
    approach, base, seed, rate = zip(*rows, strict=True)
    values = np.random.default_rng(0).normal(size=(len(rows), 3))
    return xr.Dataset(
        {
            "score": labelled(["run", "epoch"], values, "score"),
            "recorded": labelled(["run", "epoch"], np.ones(values.shape, bool), "there"),
        },
        coords={
            "run": labelled(["run"], text([f"run{k}" for k in range(len(rows))]), "run"),
            "epoch": labelled(["epoch"], np.arange(1, 4), "epoch"),
            "approach": labelled(["run"], text(approach), "approach"),
            "base": labelled(["run"], text(base), "base model"),
            "seed": labelled(["run"], np.array(seed), "seed"),
            "learning_rate": labelled(["run"], np.array(rate), "rate"),
        },
    )


def groups() -> dict[str, xr.Dataset]:
    """All groups of the report."""
    names = tuple(ENDS)
    return {
        "config/base": config("base models", BASES),
        "history/base": history(BASES, LONG),
        "embedding/base/states": states(BASES, LONG, transfers=False),
        "config/moved": config("transfers", names),
        "history/moved": history(names),
        "embedding/moved": ended(),
        "embedding/moved/states": states(names),
        "embedding/moved/kinds": shares(),
        "embedding/moved/restarts": restarts(),
        "statistics/rates": rates(),
        "config/mazes": config("base models", BASES, "labyrinth"),
        "history/mazes": history(BASES, LONG, scores=3),
        "config/mazes-moved": config("transfers", names, "labyrinth"),
        "history/mazes-moved": history(names, scores=3),
        "embedding/mazes-moved": ended(),
        "embedding/mazes-moved/states": states(names, images=True),
        "history/scores": scores(),
        "line/a-to-b": line(),
        "line/c-to-d": line(2.0),
        "plane/a-to-b-dynamics-plane": dynamics_plane(),
        "plane/a-to-b-random-plane": plane(),
        "path/a-to-b": path(),
        **{f"hessian/{name}": spectrum() for name in "abcd"},
    }


def report(path: Path, *without: str) -> Path:
    """Write the report, but for groups that begin in these ways."""
    kept = {name: data for name, data in groups().items() if not name.startswith(without or ("-",))}
    add_to_report(path, kept, MADE)
    return path
