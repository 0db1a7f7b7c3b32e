"""Lines of a report as a page draws them: losses along them, and the embedding at every point."""

from typing import Any, Final

import xarray as xr

from crar_diag.report.figures.selection import Report
from crar_diag.report.page.encoding import numbers
from crar_diag.report.page.surfaces import about

NO_STATES: Final = (
    "This report does not hold the embedding along this line: it was drawn by an older crar-diag, "
    "by another engine, or between agents whose states are no points of a plane. In the simple maze"
    " the slider needs a new line: crar-diag landscape CKPT_A CKPT_B --mode line -o REPORT"
)
NO_PREDICTIONS: Final = (
    "This report does not hold the predicted transitions along this line, which an older crar-diag "
    "drew: for them, draw it anew by crar-diag landscape CKPT_A CKPT_B --mode line -o REPORT"
)


def lines_data(report: Report) -> list[dict[str, Any]]:
    """Return every line of a report.

    Returns:
        For each `/line/<name>`: its `name`, `about` it, positions `alpha`, `curves` (a `loss`, its
        `dynamics`, the `values` and, of a sample, their standard `error`), where it holds them the
        states (`embedding`, `[alpha][state][2]`), where they lead (`prediction`,
        `[alpha][state][action][2]`), and each state's `side`; `note` says what is missing.
    """
    return [_line(name, report.read(name)) for name in report.matching("line/*")]


def _line(name: str, dataset: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name.partition("/")[2],
        "about": about(dataset),
        "alpha": numbers(dataset.alpha.values),
        "losses": [str(loss) for loss in dataset.loss.values][::-1],  # the sum comes first
        "curves": _curves(dataset),
        "note": "",
    }
    if "embedding" not in dataset or dataset.embedding.shape[2:] != (2,):
        return found | {"note": NO_STATES}
    found["embedding"] = numbers(dataset.embedding.values)
    found["side"] = dataset.side.values.tolist() if "side" in dataset.coords else None
    if "prediction" not in dataset:
        return found | {"note": NO_PREDICTIONS}
    found["prediction"] = numbers(dataset.prediction.values)
    found["actions"] = [str(action) for action in dataset.action.values]
    return found


def _curves(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Return a curve for each loss and kind of dynamics; one for both where they cannot differ."""
    kinds = [str(kind) for kind in dataset.dynamics.values]
    depends = "depends_on_dynamics" in dataset
    found = []
    for loss in map(str, dataset.loss.values):
        alike = depends and not bool(dataset.depends_on_dynamics.sel(loss=loss))
        for kind in kinds[:1] if alike else kinds:
            own = dataset.sel(loss=loss, dynamics=kind)
            curve = {
                "loss": loss,
                "dynamics": "both" if alike and len(kinds) > 1 else kind,
                "values": numbers(own.value.values),
            }
            if "error" in own:
                curve["error"] = numbers(own.error.values)
            found.append(curve)
    return found
