"""The curvature of agents as rows of a table."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from crar_diag.report.page.cells import text


def curvature_rows(name: str, dataset: xr.Dataset) -> Iterator[tuple[str, ...]]:
    """Yield a row for each space and point of a report's `hessian/<name>`.

    Each is: the agent, the space, the verdict, how many eigenvalues were found below and above 0,
    the smallest and the largest, the trace and its interval. What a group lacks stays empty.
    """
    for space in map(str, dataset.space.values):
        for point in map(str, dataset.point.values):
            own = dataset.sel(space=space, point=point)
            where = space if dataset.sizes["point"] == 1 else f"{space}, {point}"
            trace = [_number(own, one) for one in ("trace", "trace_low", "trace_high")]
            ends = f"{trace[1]} to {trace[2]}" if trace[1] and trace[2] else ""
            yield (
                name,
                where,
                str(own.verdict.values) if "verdict" in own else "",
                *(str(int(own[one])) if one in own else "" for one in ("negative", "positive")),
                *(_extreme(own, end) for end in ("smallest", "largest")),
                trace[0],
                ends,
            )


def _number(own: xr.Dataset, name: str) -> str:
    return text(own[name].values) if name in own else ""


def _extreme(own: xr.Dataset, end: str) -> str:
    """Return the outermost eigenvalue at an end of the spectrum."""
    if "eigenvalue" not in own:
        return ""
    values = own.eigenvalue.sel(end=end).values
    values = values[np.isfinite(values)]
    outermost = np.min if end == "smallest" else np.max
    return text(outermost(values)) if values.size else ""
