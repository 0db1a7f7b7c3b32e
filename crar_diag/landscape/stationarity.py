"""What gradient and curvature say of a point: local minimum, saddle, or not stationary."""

from typing import Final

import numpy as np

from crar_diag.landscape.lanczos import Krylov
from crar_diag.landscape.spectrum import floor_of

STATIONARY: Final = 1e-4
"""A point is stationary if the Newton decrement is at most this share of the loss. A gradient's
norm alone says nothing: it changes with the scale of the parameters, the decrement does not."""

# Of losses of order one: where a loss is fitted to 0, no share of it is small.
_NEGLIGIBLE: Final = 1e-12


def decrement(values: np.ndarray, components: np.ndarray, floor: float) -> float:
    """Return what a Newton step promises to lower the loss by, 1/2 sum_k g_k^2 / |lambda_k|.

    The step goes downhill along negative curvature as well (Dauphin et al., 2014, saddle-free
    Newton); curvatures below the floor count as the floor, so that it stays finite in flat places.

    Args:
        values: eigenvalues lambda_k, `[m]`.
        components: of the gradient along their directions, g_k, `[m]`.
        floor: at least 0; where both it and a curvature are 0, the promise is infinite.
    """
    moving = components != 0
    curvature = np.maximum(np.abs(values[moving]), floor)
    with np.errstate(divide="ignore"):
        return float((components[moving] ** 2 / curvature).sum() / 2)


def krylov_decrement(krylov: Krylov, gradient_norm: float, floor: float) -> float:
    """Return the decrement as Lanczos from the gradient knows it, by Gauss' quadrature.

    With few steps it is that of the directions found so far, most often too low.

    Args:
        krylov: started at the gradient.
        gradient_norm: ||g||.
        floor: above 0.
    """
    components = gradient_norm * krylov.weights().sqrt().numpy()
    return decrement(krylov.values.numpy(), components, floor)


def is_stationary(loss: float, decrement: float) -> bool:
    """Return whether the decrement is at most `STATIONARY` of the loss."""
    return decrement <= max(STATIONARY * abs(loss), _NEGLIGIBLE)


def count_negative(values: np.ndarray) -> int:
    """Return how many eigenvalues are below 0 by more than the floor (`spectrum.FLOOR`).

    Of Ritz values it is a number that H has at least, converged or not (Cauchy's interlacing): each
    is the curvature along a direction, and the directions are orthogonal.
    """
    return int((values < -floor_of(values)).sum())


def count_positive(values: np.ndarray) -> int:
    """Return how many eigenvalues are above 0 by more than the floor; see `count_negative`."""
    return int((values > floor_of(values)).sum())


def verdict(*, loss: float, gradient_norm: float, decrement: float, negative: int) -> str:
    """Return in words what kind of point it is.

    Flat directions do not count: `local minimum` says that no direction was found along which the
    loss falls to second order, not that it rises along all.

    Args:
        loss: the weighted sum.
        gradient_norm: of the weighted sum.
        decrement: see `decrement`.
        negative: directions of negative curvature that were found (`count_negative`).
    """
    if not is_stationary(loss, decrement):
        return f"not stationary (gradient norm {gradient_norm:.2g})"
    if negative:
        word = "direction" if negative == 1 else "directions"
        return f"saddle ({negative} negative {word} found)"
    return "local minimum"
