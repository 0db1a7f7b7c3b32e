"""Numbers as the cells of a page's tables show them."""

from typing import Any

import numpy as np


def text(value: Any) -> str:
    """Return a value as a table shows it: three digits, `yes` or `no`, an empty place for NaN."""
    kind = np.asarray(value).dtype.kind
    if kind == "b":
        return "yes" if value else "no"
    if kind == "f":
        return f"{float(value):.3g}" if np.isfinite(value) else ""
    return f"{int(value):,}" if kind in "iu" else str(value)


def interval(low: Any, high: Any) -> str:
    """Return the ends of an interval; an empty place where one is not finite."""
    return f"{float(low):.2f} to {float(high):.2f}" if np.isfinite([low, high]).all() else ""


def share(value: Any) -> str:
    """Return a rate with two decimals; an empty place for NaN."""
    return f"{float(value):.2f}" if np.isfinite(value) else ""
