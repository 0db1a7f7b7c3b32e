"""The colour scale of a plane: one for all surfaces in a figure, logarithmic where they need it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from crar_diag.errors import InputError

DECADES: Final = 5
"""A logarithmic scale leads at most so far below its largest value."""

_BANDS: Final = 32
# Multiples of a power of ten that get a contour line, by how many decades there are at most.
_MULTIPLES: Final = ((2.5, (1, 2, 5)), (4.0, (1, 3)), (np.inf, (1,)))


@dataclass(frozen=True, eq=False)
class Scale:
    """What value has which colour.

    Attributes:
        norm: logarithmic or linear, with `vmin` and `vmax` set.
        levels: edges of the filled bands, from `vmin` to `vmax`.
        lines: values that have a contour line.
        cut: whether values below `vmin` were found, which have its colour.
    """

    norm: Normalize
    levels: np.ndarray
    lines: np.ndarray
    cut: bool

    @property
    def logarithmic(self) -> bool:
        """Whether equal distances in colour are equal ratios."""
        return isinstance(self.norm, LogNorm)

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Return the values, what is below the scale just below it, what is not finite as NaN."""
        values = np.where(np.isfinite(values), values, np.nan)
        low = float(self.norm.vmin or 0.0)
        return np.where(values < low, low - 0.01 * abs(low), values)


def scale_of(arrays: Iterable[np.ndarray]) -> Scale:
    """Return the scale that covers all values: logarithmic where they span more than a decade.

    Raises:
        InputError: no value is finite.
    """
    values = np.concatenate([np.ravel(array) for array in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        raise InputError("expected a surface with finite values, found none")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high > 10 * low:
        bottom = max(low, high * 10.0**-DECADES)
        levels = np.geomspace(bottom, high, _BANDS + 1)
        levels[[0, -1]] = bottom, high
        return Scale(LogNorm(bottom, high), levels, _log_lines(bottom, high), low < bottom)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # flat, but for rounding
        high = low + (abs(low) or 1.0) * 1e-3
    lines = _within(MaxNLocator(9, steps=[1, 2, 5, 10]), low, high)
    return Scale(Normalize(low, high), np.linspace(low, high, _BANDS + 1), lines, False)


def written(value: float) -> str:
    """Return a number as a figure writes it: -0.5, 200, 3 x 10^-5."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:g}".replace("-", "\N{MINUS SIGN}")
    mantissa, exponent = f"{value:e}".split("e")
    factor = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if factor == "1" else rf"${factor} \times {power}$"


def _log_lines(low: float, high: float) -> np.ndarray:
    decades = np.log10(high / low)
    multiples = next(steps for most, steps in _MULTIPLES if decades <= most)
    return _within(LogLocator(10, multiples, numticks=50), low, high)


def _within(locator: Locator, low: float, high: float) -> np.ndarray:
    lines = np.asarray(locator.tick_values(low, high), np.float64)
    return lines[(lines > low) & (lines < high)]
