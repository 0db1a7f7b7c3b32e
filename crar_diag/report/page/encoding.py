"""Data as a page carries it: numbers that JSON has, and text that no browser takes for markup."""

import html
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

DIGITS: Final = 6
"""Significant digits of a number in a page: more than a screen shows, fewer bytes than all."""

# Within <script>, `</script` and `<!--` end or change it; the two separators end a line of
# JavaScript. JSON reads all of these escapes back as what they stand for.
_ESCAPES: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def escape(value: object) -> str:
    """Return text as HTML, for content and for quoted attributes."""
    return html.escape(str(value), quote=True)


def numbers(values: Any) -> Any:
    """Return an array of any shape as nested lists; what is not finite becomes None.

    Numbers that are not whole are rounded to `DIGITS` significant digits.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return array.tolist()
    return _rounded(array.astype(np.float64).tolist())


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def number(value: Any) -> float | None:
    """Return one number, None where it is not finite."""
    found = float(value)
    return found if np.isfinite(found) else None


def as_script(data: Mapping[str, Any]) -> str:
    """Return data as JSON that may stand within `<script type="application/json">`.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character, replacement in _ESCAPES.items():
        text = text.replace(character, replacement)
    return text
