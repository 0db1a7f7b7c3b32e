"""What every statistic refuses in the same words: labels, outcomes and numbers that do not fit."""

import numpy as np
from numpy.typing import ArrayLike

from crar_diag.errors import InputError

Label = str | int
"""What names a base, a seed or a kind."""


def check_count(name: str, count: int) -> None:
    """Refuse a count below 1.

    Raises:
        InputError: if it is.
    """
    if count < 1:
        raise InputError(f"{name} must be at least 1, found {count}")


def check_settings(confidence: float, resamples: int = 1) -> None:
    """Refuse a confidence outside (0, 1) or fewer than one resample.

    Raises:
        InputError: if either is out of range.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
    check_count("resamples", resamples)


def read_numbers(name: str, values: ArrayLike, *, dimensions: int = 1) -> np.ndarray:
    """Return finite or missing (NaN) numbers in float64.

    Args:
        name: the argument, as the caller knows it.
        values: `[M]`, or of as many axes as `dimensions` says.
        dimensions: number of axes.

    Raises:
        InputError: if there are no values, infinite ones, or another number of axes.
    """
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers in a rectangular array ({error})") from error
    if numbers.ndim != dimensions or numbers.size == 0:
        raise InputError(
            f"{name} must have {dimensions} axes and at least one value, found {numbers.shape}"
        )
    if np.isinf(numbers).any():
        raise InputError(f"{name} must be finite or NaN, found an infinite value")
    return numbers


def read_complete(name: str, values: ArrayLike) -> np.ndarray:
    """Return numbers `[M]` none of which may be missing.

    Raises:
        InputError: as `read_numbers`, and if one is NaN.
    """
    numbers = read_numbers(name, values)
    if np.isnan(numbers).any():
        raise InputError(f"{name} must not hold NaN, found {int(np.isnan(numbers).sum())} of them")
    return numbers


def read_outcomes(name: str, values: ArrayLike) -> np.ndarray:
    """Return outcomes of runs, bool `[M]`.

    Args:
        name: the argument, as the caller knows it.
        values: True or False, or 1 and 0.

    Raises:
        InputError: if a value is neither.
    """
    numbers = read_complete(name, values)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise InputError(f"{name} must be true or false (1 or 0) for every run")
    return numbers == 1.0


def read_labels(name: str, values: ArrayLike, length: int) -> tuple[tuple[Label, ...], np.ndarray]:
    """Return the distinct labels in sorted order, and which of them each run has, `[M]`.

    Args:
        name: the argument, as the caller knows it.
        values: one label a run.
        length: M.

    Raises:
        InputError: if there is not one label a run.
    """
    labels = np.asarray(values)
    if labels.shape != (length,):
        raise InputError(
            f"{name} must hold one label for each of {length} runs, found the shape {labels.shape}"
        )
    distinct, codes = np.unique(labels, return_inverse=True)
    return tuple(distinct.tolist()), codes
