"""The curvature of an agent's losses as a group of a report: `/hessian/<name>`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.landscape.agent_curvature import AgentCurvature
from crar_diag.landscape.curvature import Curvature
from crar_diag.landscape.polish import Polish
from crar_diag.landscape.spaces import EMBEDDING
from crar_diag.landscape.spectrum import FLOOR, Density
from crar_diag.landscape.stationarity import STATIONARY
from crar_diag.report.labelling import attributes, weights_in_order

ENDS: Final = ("smallest", "largest")

_Entry = tuple[Callable[[Curvature], Any], str, str]

# Of each space and point: what, in words, in units.
_SINGLE: Final[dict[str, _Entry]] = {
    "verdict": (lambda c: c.verdict, "local minimum, saddle or not stationary", "1"),
    "negative": (lambda c: c.negative, "negative eigenvalues found", "eigenvalues"),
    "positive": (lambda c: c.positive, "positive eigenvalues found", "eigenvalues"),
    "decrement": (lambda c: c.decrement, "decrease that a Newton step promises", "1"),
    "trace": (lambda c: c.trace.value, "trace of the Hessian", "1"),
    "trace_low": (lambda c: c.trace.low, "lower end of its 95 % interval", "1"),
    "trace_high": (lambda c: c.trace.high, "upper end of its 95 % interval", "1"),
}

# Of each space that was polished.
_POLISH: Final[dict[str, tuple[str, str]]] = {
    "distance": ("Euclidean distance that the polish went", "1"),
    "relative_distance": ("the same over the norm of what varies", "1"),
    "iterations": ("iterations of the polish", "iterations"),
    "products": ("Hessian products of the polish", "products"),
    "converged": ("whether the polish came to a stationary point", "1"),
}


def curvature_dataset(found: AgentCurvature, *, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Return the curvature in each space, as a group of a report.

    Args:
        found: what was computed.
        attrs: of the group: the checkpoint, its sha256; dicts are stored as JSON.

    Returns:
        Over `space` and `point` the `verdict`, the numbers of `negative` and `positive` eigenvalues
        found, the `decrement`, the `trace` with its interval; over `loss`, too, its `value` and
        `gradient_norm`; over `end` and `rank` the extreme `eigenvalue` with its `residual` and
        whether it `eigenvalue_converged` (NaN and False where there are fewer); over `grid` the
        `density` at `density_at`, smoothed by `density_width`, and over `node` the quadrature's
        points `node_at` and weights `node_weight` that it is made of (NaN and 0 where there are
        fewer). Over `space` its `size` and, of a
        polish, `polish_*` and `embedding_distance`; over `loss` its `weight`. In the simple maze
        `states` where each state lies and, of the embedding, all of its `embedding_eigenvalue` and
        the `displacement` of the states along the smallest.
    """
    spaces = list(found.analyses)
    points = list(next(iter(found.analyses.values())).points)
    losses = list(next(iter(found.analyses.values())).points[points[0]].losses)
    grid = [[one.points[point] for point in points] for one in found.analyses.values()]
    data = _values(grid, losses) | _eigenvalues(grid) | _densities(grid)
    data["weight"] = labelled(
        ("loss",), weights_in_order(losses, found.weights), "weight in the sum"
    )
    sizes = [row[0].size for row in grid]
    data["size"] = labelled(("space",), sizes, "number of variables", "variables")
    data |= _polish(found) | _states(found, points) | _embedding(found, points)
    coords = {
        "space": labelled(("space",), spaces, "what varies"),
        "point": labelled(("point",), points, "where"),
        "loss": labelled(("loss",), losses, "name of the loss"),
        "end": labelled(("end",), list(ENDS), "end of the spectrum"),
    }
    return xr.Dataset(data, coords=coords, attrs=attributes({**attrs, **_settings(found)}))


def _settings(found: AgentCurvature) -> dict[str, Any]:
    settings = found.settings
    about: dict[str, Any] = {
        "domain": found.domain,
        "smoothing": found.temperature,
        "smoothing_bound": found.bound,
        "steps": settings.steps,
        "probes": settings.probes,
        "density_probes": settings.density_probes,
        "seed": settings.seed,
        "floor": FLOOR,
        "stationary": STATIONARY,
    }
    if found.transitions is not None:
        about["held_out_transitions"] = found.transitions
    if found.polish_iterations is not None:
        about["polish_iterations"] = found.polish_iterations
    return about


def _values(grid: list[list[Curvature]], losses: list[str]) -> dict[str, Any]:
    """Return what is one number or word for each space and point, and for each loss."""
    data: dict[str, Any] = {
        name: labelled(
            ("space", "point"), np.array([[of(c) for c in row] for row in grid]), words, units
        )
        for name, (of, words, units) in _SINGLE.items()
    }
    dims = ("space", "point", "loss")
    values = [[[c.losses[name] for name in losses] for c in row] for row in grid]
    norms = [[[c.gradient_norms[name] for name in losses] for c in row] for row in grid]
    data["value"] = labelled(dims, np.array(values), "loss")
    data["gradient_norm"] = labelled(dims, np.array(norms), "norm of the loss's gradient")
    return data


def _eigenvalues(grid: list[list[Curvature]]) -> dict[str, Any]:
    """Return the extreme eigenvalues, both ends outermost first."""
    shape = (len(grid), len(grid[0]), len(ENDS))
    ranks = max(len(c.smallest.values) for row in grid for c in row)
    values, residuals = np.full((2, *shape, ranks), np.nan)
    converged = np.zeros((*shape, ranks), bool)
    for s, row in enumerate(grid):
        for p, curvature in enumerate(row):
            for e, end in enumerate(ENDS):
                pairs = getattr(curvature, end)
                count = len(pairs.values)
                values[s, p, e, :count] = pairs.values
                residuals[s, p, e, :count] = pairs.residuals
                converged[s, p, e, :count] = pairs.converged
    dims = ("space", "point", "end", "rank")
    return {
        "eigenvalue": labelled(dims, values, "extreme eigenvalue of the Hessian"),
        "residual": labelled(dims, residuals, "||H v - lambda v|| of its direction v"),
        "eigenvalue_converged": labelled(
            dims, converged, "whether the residual is at most the floor"
        ),
    }


def _densities(grid: list[list[Curvature]]) -> dict[str, Any]:
    found = [[c.density for c in row] for row in grid]
    if found[0][0] is None:
        return {}
    dims = ("space", "point", "grid")
    return {
        "density": labelled(
            dims,
            np.array([[d.values for d in row if d] for row in found]),
            "density of the eigenvalues, smoothed",
        ),
        "density_at": labelled(
            dims, np.array([[d.grid for d in row if d] for row in found]), "eigenvalue"
        ),
        "density_width": labelled(
            dims[:2],
            np.array([[d.width for d in row if d] for row in found]),
            "standard deviation of the smoothing",
        ),
        **_nodes([[d for d in row if d] for row in found]),
    }


def _nodes(found: list[list[Density]]) -> dict[str, Any]:
    shape = len(found), len(found[0]), max(len(d.nodes) for row in found for d in row)
    nodes, weights = np.full(shape, np.nan), np.zeros(shape)
    for s, row in enumerate(found):
        for p, density in enumerate(row):
            nodes[s, p, : len(density.nodes)] = density.nodes
            weights[s, p, : len(density.nodes)] = density.weights
    dims = ("space", "point", "node")
    return {
        "node_at": labelled(dims, nodes, "point of the quadrature of the spectrum, an eigenvalue"),
        "node_weight": labelled(dims, weights, "its weight, a share of all eigenvalues"),
    }


def _polish(found: AgentCurvature) -> dict[str, Any]:
    ways: list[Polish] = [one.polish for one in found.analyses.values() if one.polish is not None]
    if not ways:
        return {}
    data: dict[str, Any] = {
        f"polish_{name}": labelled(
            ("space",), np.array([getattr(way, name) for way in ways]), words, units
        )
        for name, (words, units) in _POLISH.items()
    }
    moved = [one.embedding_distance for one in found.analyses.values()]
    data["embedding_distance"] = labelled(
        ("space",), np.array(moved), "mean distance that the polish moved the abstract states"
    )
    return data


def _states(found: AgentCurvature, points: list[str]) -> dict[str, Any]:
    """Return where the states lie, where they are all states and points of a space."""
    states = [[one.states[p].numpy() for p in points] for one in found.analyses.values()]
    if found.transitions is not None or states[0][0].ndim != 2:
        return {}
    dims = ("space", "point", "state", "dim")
    return {"states": labelled(dims, np.array(states), "abstract state")}


def _embedding(found: AgentCurvature, points: list[str]) -> dict[str, Any]:
    """Return all eigenvalues in the embedding, and how the smallest moves the states."""
    if EMBEDDING not in found.analyses:
        return {}
    own = found.analyses[EMBEDDING]
    shape = own.states[points[0]].shape
    lowest = [own.points[p].smallest.directions[0].reshape(shape).numpy() for p in points]
    return {
        "embedding_eigenvalue": labelled(
            ("point", "order"),
            np.array([own.points[p].eigenvalues for p in points]),
            "eigenvalue of the Hessian by the states' coordinates, ascending",
        ),
        "displacement": labelled(
            ("point", "state", "dim"),
            np.array(lowest),
            "displacement of the states along the smallest eigenvalue, of length 1 in all",
        ),
    }
