"""Transfers of a report as a page draws them: points that show their embedding when chosen."""

from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.errors import InputError
from crar_diag.report.figures.images import pair_of
from crar_diag.report.figures.selection import Report
from crar_diag.report.page.encoding import number, numbers
from crar_diag.report.page.words import described
from crar_diag.report.transfers import run_labels

NO_STATES: Final = (
    "This report does not hold this transfer's embedding: gather its run by crar-diag report RUN "
    "-o REPORT"
)

NO_PLANE: Final = "Its abstract states are neither points of a plane nor images."


def outcomes_data(report: Report) -> dict[str, Any] | None:
    """Return what became of the transfers of a report; None where it holds none.

    Returns:
        `transfers`: of each its `name`, `condition`, `base`, `kind`, `success`, `words`, `losses`,
        `distance`, `score`, and either its `states` (a plane's points or an image, beside those of
        its base) or a `note`; `bases`: the states of base models, by the key that `states` name;
        `losses`: their names.
    """
    if "outcome" not in report.names:
        return None
    outcome = report.read("outcome")
    bases: dict[str, Any] = {}
    return {
        "transfers": [
            _transfer(report, outcome.isel(transfer=row), bases)
            for row in range(outcome.sizes["transfer"])
        ],
        "bases": bases,
        "losses": [str(loss) for loss in outcome.loss.values],
    }


def _transfer(report: Report, own: xr.Dataset, bases: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": str(own.transfer.values),
        "success": bool(own.success),
        "words": described(own),
        **{name: str(own[name].values) for name in ("condition", "base", "kind")},
        **{name: number(own[name]) for name in ("distance", "score")},
        "losses": [number(value) for value in own.final_loss.values],
    }
    run, member = _place(own)
    group = f"embedding/{run}/states"
    if not run or group not in report.names or member not in report.read(group).member.values:
        return found | {"note": NO_STATES}
    states = report.read(group)
    if "channel" in states.embedding.dims:
        return found | _image(states, member)
    if states.embedding.shape[3:] != (2,):
        return found | {"note": NO_PLANE}
    return found | _points(run, states, member, bases)


def _place(own: xr.Dataset) -> tuple[str, str]:
    """Return the run and the member under which a report holds a transfer's states."""
    if "states_run" in own:
        return str(own.states_run.values), str(own.states_member.values)
    # An older report, which does not say it: of one run a name, whose folder's it has.
    return run_labels([str(own.run.values)])[0], str(own.transfer.values)


def _points(run: str, states: xr.Dataset, member: str, bases: dict[str, Any]) -> dict[str, Any]:
    own = states.sel(member=member).isel(time=-1)
    base = str(own.base.values)
    found: dict[str, Any] = {"states": _plane(own, "embedding", "prediction"), "base_states": None}
    if "base_model" in states.dims and base in states.base_model.values:
        key = f"{run}/{base}"
        if key not in bases:
            of_base = states.sel(base_model=base)
            bases[key] = _plane(of_base, "base_embedding", "base_prediction")
        found["base_states"] = key
    return found


def _plane(own: xr.Dataset, embedding: str, prediction: str) -> dict[str, Any]:
    return {
        "embedding": numbers(own[embedding].values),
        "prediction": numbers(own[prediction].values),
        "side": own.side.values.tolist() if "side" in own.coords else None,
        "actions": [str(action) for action in own.action.values],
    }


def _image(states: xr.Dataset, member: str) -> dict[str, Any]:
    """Return the states of the first picture, channels side by side, the base's first."""
    try:
        pair = pair_of(states, member)
    except InputError:  # it has no base
        pair = states.embedding.sel(member=member).isel(time=-1, picture=0).values[None]
    return {"images": numbers(np.asarray(pair))}
