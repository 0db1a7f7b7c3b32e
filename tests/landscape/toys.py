"""A small regression whose best readout has a closed form, and its losses in plain NumPy."""

import numpy as np
import torch

from crar_diag.landscape.problem import Problem

RIDGE = 0.05
HIDDEN = {"hidden.weight": (4, 3), "hidden.bias": (4,)}
READOUT = {"readout.weight": (4,)}


def data(seed: int = 0, dtype: torch.dtype = torch.float64):
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.normal(size=s)).to(dtype) for s in ((12, 3), (12,)))


def model(seed: int, dtype: torch.dtype = torch.float64):
    rng = np.random.default_rng(100 + seed)
    shapes = HIDDEN | READOUT
    return {name: torch.from_numpy(rng.normal(size=s)).to(dtype) for name, s in shapes.items()}


def hidden(parameters):
    return {name: parameters[name] for name in HIDDEN}


def readout(parameters):
    return {name: parameters[name] for name in READOUT}


def population(models):
    return {name: torch.stack([m[name] for m in models]) for name in models[0]}


def units(parameters, batch):
    return torch.tanh(batch[0] @ parameters["hidden.weight"].T + parameters["hidden.bias"])


def of_units(x, parameters, y):
    w = parameters["readout.weight"]
    return {"fit": ((x @ w - y) ** 2).mean(), "ridge": (w * w).sum(), "size": (x * x).mean()}


def problem(features: bool = False, dtype: torch.dtype = torch.float64, **changes) -> Problem:
    """Losses `fit` and `ridge` (0.05 in the sum) of the readout, and `size`, of the units alone."""
    batch = data(dtype=dtype)
    settings = {"moves": ("hidden.*",), "refits": ("readout.*",), "weights": {"ridge": RIDGE}}
    settings |= changes
    if features:

        def seen(parameters, batch):
            return {"x": units(parameters, batch), "others": [(batch[1],)]}

        def of_features(parameters, seen):
            return of_units(seen["x"], parameters, seen["others"][0][0])

        return Problem(of_features, batch, features=seen, **settings)
    return Problem(lambda p, b: of_units(units(p, b), p, b[1]), batch, **settings)


def units_by_hand(parameters) -> np.ndarray:
    w, b = (parameters[name].double().numpy() for name in HIDDEN)
    return np.tanh(data()[0].numpy() @ w.T + b)


def losses_by_hand(parameters, weight: np.ndarray | None = None) -> dict[str, float]:
    """The losses and their sum in NumPy, with a readout of one's own."""
    x, y = units_by_hand(parameters), data()[1].numpy()
    w = parameters["readout.weight"].double().numpy() if weight is None else weight
    found = {"fit": np.mean((x @ w - y) ** 2), "ridge": w @ w, "size": np.mean(x * x)}
    return found | {"sum": found["fit"] + RIDGE * found["ridge"] + found["size"]}


def best_readout(parameters) -> np.ndarray:
    """The readout that minimises the sum at a model's units: ridge regression in closed form."""
    x, y = units_by_hand(parameters), data()[1].numpy()
    return np.linalg.solve(x.T @ x / len(y) + RIDGE * np.eye(x.shape[1]), x.T @ y / len(y))
