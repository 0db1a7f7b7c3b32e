"""A line between two models as a group of a report: losses, re-fits, barriers; `/line/<name>`."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.errors import InputError
from crar_diag.landscape.barriers import Barrier, barrier
from crar_diag.landscape.surface import Surface
from crar_diag.report.labelling import (
    attributes,
    dependence,
    losses_of,
    stacked,
    weights_in_order,
)

DYNAMICS: Final = ("frozen", "unfrozen")

# Losses that do not depend on the dynamics are computed twice, batched differently: what may
# differ is rounding in single precision.
_SAME_RELATIVE, _SAME_ABSOLUTE = 1e-3, 1e-6


def line_dataset(
    alphas: np.ndarray,
    surfaces: Mapping[str, Surface],
    *,
    attrs: Mapping[str, Any],
    weights: Mapping[str, float],
    depends_on_dynamics: Collection[str],
    embedding: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
) -> xr.Dataset:
    """Return the losses along a line, as a group of a report.

    Args:
        alphas: coordinates, `[G]`: A at 0, B at 1, both among them.
        surfaces: `frozen`, `unfrozen` or both, of `[G]` losses each.
        attrs: of the group: endpoints, settings; dicts are stored as JSON. Figures call what an
            unfrozen landscape re-fits by `refits`, where that is not the dynamics.
        weights: of the losses in the sum; 1 for one that is not named.
        depends_on_dynamics: the losses that can differ between frozen and unfrozen dynamics
            (`labelling.DYNAMICS_LOSSES` for CRAR agents).
        embedding: the abstract states at each point, `[G, states, d]`, where they are points of
            a plane or so.
        prediction: of those states' next ones by the frozen dynamics, x + p(x, a),
            `[G, states, actions, d]`; only together with the embedding.

    Returns:
        Over `dynamics`, `loss` and `alpha` the `value` and, where losses are means over a sample,
        its standard `error`; over `dynamics` and `loss` the barriers between the ends
        (`landscape.barriers.Barrier`); over `loss` its `weight` and `depends_on_dynamics`; over
        `alpha`, of the re-fit, `converged` and `iterations`; the `embedding` and the `prediction`
        where given.

    Raises:
        InputError: no surface, one of another name, shape or losses, 0 or 1 not among the
            coordinates, or a loss that is said not to depend on the dynamics but does.
    """
    present = _present(surfaces)
    alphas = np.asarray(alphas, np.float64)
    losses = losses_of(present.values())
    value = np.stack([stacked(s.losses, losses, alphas.shape, "value") for s in present.values()])
    depending = dependence(losses, depends_on_dynamics, weights)
    _check_independent(value, losses, depending)
    dims = ("dynamics", "loss", "alpha")
    data = {"value": labelled(dims, value, "loss along the line")}
    if any(surface.errors for surface in present.values()):
        errors = [stacked(s.errors, losses, alphas.shape, "error") for s in present.values()]
        data["error"] = labelled(dims, np.stack(errors), "standard error of the loss")
    data |= _barriers(alphas, value)
    data["weight"] = labelled(["loss"], weights_in_order(losses, weights), "weight in the sum")
    data["depends_on_dynamics"] = labelled(
        ["loss"], depending, "whether frozen and unfrozen dynamics can give it different values"
    )
    if "unfrozen" in present:
        data |= refit_variables(present["unfrozen"], ("alpha",), alphas.shape)
    if embedding is not None:
        data["embedding"] = _embedding(embedding, len(alphas))
        if prediction is not None:
            data["prediction"] = _prediction(prediction, np.shape(embedding))
    coords = {
        "dynamics": labelled(["dynamics"], list(present), "how the dynamics are treated"),
        "loss": labelled(["loss"], losses, "name of the loss"),
        "alpha": labelled(["alpha"], alphas, "position on the line, A at 0 and B at 1"),
    }
    return xr.Dataset(data, coords=coords, attrs=attributes(attrs))


def refit_variables(
    surface: Surface, dims: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return `converged` and `iterations` of an unfrozen surface as variables.

    Raises:
        InputError: the surface has none, or of another shape.
    """
    found = {}
    for name, values, kind, long_name, units in (
        ("converged", surface.converged, bool, "whether the re-fit improved no more", "1"),
        ("iterations", surface.iterations, np.int64, "iterations of the re-fit", "iterations"),
    ):
        if values is None or np.shape(values) != shape:
            raise InputError(
                f"expected '{name}' of an unfrozen surface of shape {shape}, found "
                f"{None if values is None else np.shape(values)}"
            )
        found[name] = labelled(dims, np.asarray(values, kind), long_name, units)
    return found


def _present(surfaces: Mapping[str, Surface]) -> dict[str, Surface]:
    unknown = sorted(set(surfaces) - set(DYNAMICS))
    if unknown:
        raise InputError(f"expected surfaces frozen and unfrozen, found '{unknown[0]}'")
    return {name: surfaces[name] for name in DYNAMICS if name in surfaces}


def _check_independent(value: np.ndarray, losses: list[str], depending: np.ndarray) -> None:
    """Refuse a wrong claim that a loss is the same for both: a figure would hide a curve."""
    for name, depends, rows in zip(losses, depending, np.moveaxis(value, 1, 0), strict=True):
        same = np.allclose(
            rows[0], rows[-1], rtol=_SAME_RELATIVE, atol=_SAME_ABSOLUTE, equal_nan=True
        )
        if not depends and not same:
            raise InputError(
                f"expected loss '{name}' to be the same for frozen and unfrozen dynamics, found "
                f"a difference of {np.nanmax(np.abs(rows[0] - rows[-1])):.3g}",
                arguments=["depends_on_dynamics"],
            )


def _barriers(alphas: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    found: list[list[Barrier]] = [[barrier(alphas, loss) for loss in rows] for rows in value]
    long_names = {
        "above_line": "largest rise above the straight line between the losses of A and B",
        "above_line_at": "position on the line of the largest rise above the straight line",
        "above_ends": "largest loss between A and B minus the larger of theirs",
        "above_ends_at": "position on the line of the largest loss between A and B",
    }
    return {
        name: labelled(
            ("dynamics", "loss"),
            np.array([[getattr(one, name) for one in row] for row in found]),
            long_name,
        )
        for name, long_name in long_names.items()
    }


def _embedding(embedding: np.ndarray, points: int) -> Any:
    values = np.asarray(embedding)
    if values.ndim != 3 or len(values) != points:
        raise InputError(
            f"expected an embedding [{points}, states, d] along the line, found {values.shape}"
        )
    return labelled(("alpha", "state", "dim"), values, "abstract state")


def _prediction(prediction: np.ndarray, embedded: tuple[int, ...]) -> Any:
    values = np.asarray(prediction)
    if values.ndim != 4 or values.shape[:2] + values.shape[3:] != embedded:
        points, states, size = embedded
        raise InputError(
            f"expected a prediction [{points}, {states}, actions, {size}] along the line, found "
            f"{values.shape}"
        )
    words = "next abstract state that the frozen dynamics predict"
    return labelled(("alpha", "state", "action", "dim"), values, words)
