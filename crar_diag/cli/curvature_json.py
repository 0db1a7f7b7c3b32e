"""What `crar-diag curvature --json` prints of an agent."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

    from crar_diag.agent.loading import Agent
    from crar_diag.landscape.agent_curvature import AgentCurvature, Analysis
    from crar_diag.landscape.curvature import Curvature
    from crar_diag.landscape.polish import Polish
    from crar_diag.landscape.spectrum import Eigenpairs

_POLISH: Final = (
    "distance",
    "relative_distance",
    "iterations",
    "products",
    "converged",
    "losses_before",
    "losses_after",
    "gradient_norm_before",
    "gradient_norm_after",
)


def displacements(found: "AgentCurvature") -> "dict[str, Tensor]":
    """Return how the smallest eigenvalue in the embedding moves the states, by point; maybe none.

    Returns:
        Displacements `[states, d]` of length 1 in all.
    """
    if "embedding" not in found.analyses:
        return {}
    own = found.analyses["embedding"]
    return {
        point: curvature.smallest.directions[0].reshape(own.states[point].shape)
        for point, curvature in own.points.items()
    }


def as_json(name: str, agent: "Agent", found: "AgentCurvature") -> dict[str, Any]:
    """Return the curvature of one agent, of types that JSON has.

    Args:
        name: what it is called.
        agent: from its file.
        found: its curvature.
    """
    from crar_diag.agent.checkpoint import file_sha256

    moves = displacements(found)
    spaces = {}
    for space, own in found.analyses.items():
        points = {point: _point_json(curvature) for point, curvature in own.points.items()}
        if space == "embedding":
            for point, moved in moves.items():
                points[point]["displacement"] = moved.tolist()
        spaces[space] = {
            "size": next(iter(own.points.values())).size,
            "points": points,
            "polish": None if own.polish is None else _polish_json(own, own.polish),
        }
    return {
        "path": str(agent.path),
        "name": name,
        "sha256": file_sha256(agent.path),
        "domain": found.domain,
        "weights": found.weights,
        "smoothing": found.temperature,
        "smoothing_bound": found.bound,
        "held_out_transitions": found.transitions,
        "spaces": spaces,
    }


def _point_json(own: "Curvature") -> dict[str, Any]:
    return {
        "verdict": own.verdict,
        "losses": own.losses,
        "gradient_norms": own.gradient_norms,
        "decrement": own.decrement,
        "negative": own.negative,
        "positive": own.positive,
        "smallest": _pairs_json(own.smallest),
        "largest": _pairs_json(own.largest),
        "trace": {"value": own.trace.value, "low": own.trace.low, "high": own.trace.high},
        "eigenvalues": None if own.eigenvalues is None else own.eigenvalues.tolist(),
    }


def _pairs_json(pairs: "Eigenpairs") -> list[dict[str, Any]]:
    return [
        {"value": float(value), "residual": float(residual), "converged": bool(sure)}
        for value, residual, sure in zip(
            pairs.values, pairs.residuals, pairs.converged, strict=True
        )
    ]


def _polish_json(own: "Analysis", way: "Polish") -> dict[str, Any]:
    found = {name: getattr(way, name) for name in _POLISH}
    return found | {"embedding_distance": own.embedding_distance}
