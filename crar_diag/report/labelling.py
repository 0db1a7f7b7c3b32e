"""What the data sets of landscapes have in common: the order of losses, attributes, checks."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.agent.losses import LOSS_COMPONENTS
from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM
from crar_diag.landscape.surface import Surface

DYNAMICS_LOSSES: Final = frozenset(
    name for name, components in LOSS_COMPONENTS.items() if set(components) != {"encoder"}
)
"""The losses of a CRAR agent that depend on its dynamics: all but the three structure losses."""


def attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of types that netCDF-4 has: dicts become JSON, booleans 0 or 1."""
    found: dict[str, Any] = {}
    for name, value in attrs.items():
        if isinstance(value, Mapping):
            found[name] = json.dumps(dict(value))
        else:
            found[name] = int(value) if isinstance(value, bool | np.bool_) else value
    return found


def losses_of(surfaces: Iterable[Surface]) -> list[str]:
    """Return the names of the losses that all surfaces have, in their order, the sum last.

    Raises:
        InputError: no surface, or surfaces of different losses.
    """
    names = [list(surface.losses) for surface in surfaces]
    if not names:
        raise InputError("expected a frozen or an unfrozen surface, found neither")
    for other in names[1:]:
        if set(other) != set(names[0]):
            raise InputError(
                "expected frozen and unfrozen surfaces of the same losses, found "
                f"{', '.join(names[0])} and {', '.join(other)}"
            )
    return sorted(names[0], key=lambda name: name == SUM)


def stacked(
    values: Mapping[str, np.ndarray], losses: Iterable[str], shape: tuple[int, ...], what: str
) -> np.ndarray:
    """Return the values of losses, `[loss, *shape]`, float64; NaN for one that has none.

    Raises:
        InputError: values of another shape; the message calls them `what`.
    """
    rows = []
    for name in losses:
        row = np.asarray(values.get(name, np.full(shape, np.nan)), np.float64)
        if row.shape != shape:
            raise InputError(
                f"expected the {what} of loss '{name}' of shape {shape}, found {row.shape}"
            )
        rows.append(row)
    return np.stack(rows)


def weights_in_order(losses: Iterable[str], weights: Mapping[str, float]) -> np.ndarray:
    """Return each loss's weight in the sum, `[loss]`: 1 unless named, NaN for the sum itself."""
    return np.array([np.nan if n == SUM else float(weights.get(n, 1.0)) for n in losses])


def dependence(
    losses: Collection[str], depending: Collection[str], weights: Mapping[str, float]
) -> np.ndarray:
    """Return which losses can differ between frozen and unfrozen dynamics, bool `[loss]`.

    The sum can where a loss of other weight than 0 can.

    Raises:
        InputError: a name that is none of the losses.
    """
    unknown = sorted(set(depending) - set(losses))
    if unknown:
        raise InputError(
            f"expected names of the losses {', '.join(losses)}, found '{unknown[0]}'",
            arguments=["depends_on_dynamics"],
        )
    any_does = any(weights.get(n, 1.0) != 0 for n in depending if n != SUM)
    return np.array([any_does if n == SUM else n in depending for n in losses])


def with_refits(text: str, dataset: xr.Dataset) -> str:
    """Return a text about dynamics with the name of what the data set's landscape re-fits."""
    return text.replace("dynamics", str(dataset.attrs.get("refits", "dynamics")))


def check_loss(dataset: xr.Dataset, loss: str) -> None:
    """Refuse the name of a loss that the data does not have.

    Raises:
        InputError: naming those that it has.
    """
    if "loss" not in dataset.coords or loss not in dataset.loss.values:
        names = dataset.loss.values if "loss" in dataset.coords else []
        raise InputError(
            f"expected one of the losses {', '.join(map(str, names))}, found '{loss}'",
            arguments=["loss"],
        )
