"""How far two embeddings of the same states lie apart, and how large one of them is.

An embedding is `[..., S, *state_shape]`: S states, with any axes before them (members, times).
Vector states have one axis, the labyrinth's three; `state_axes` says which, because the shape alone
does not. Values that are not finite give NaN, and so do those whose squares overflow: a run that
diverged must not stop the look at the others.
"""

import math

import numpy as np

from crar_diag.errors import InputError

VECTOR = 1
"""Axes of a vector state, `[d]`."""
SPATIAL = 3
"""Axes of the labyrinth's state, `[C, H, W]`."""


def mean_distance(first: np.ndarray, second: np.ndarray, *, state_axes: int = VECTOR) -> np.ndarray:
    """Return the mean over states of ||x_s - y_s||, the L2 distance of the paper's section 5.2.2.

    The norm is that of the flattened difference.

    Args:
        first: `[..., S, *state_shape]`.
        second: the same states in another embedding; the axes before S broadcast.
        state_axes: how many axes a state has.

    Returns:
        `[...]`, in the units of the embedding.

    Raises:
        InputError: the shapes do not fit.
    """
    x, y = flat_states(first, second, state_axes=state_axes)
    with np.errstate(over="ignore", invalid="ignore"):
        return finite_or_nan(np.sqrt(((x - y) ** 2).sum(-1)).mean(-1))


def size(embedding: np.ndarray, *, state_axes: int = VECTOR) -> np.ndarray:
    """Return the RMS norm sqrt(mean_s ||x_s||^2), `[...]`.

    Args:
        embedding: `[..., S, *state_shape]`.
        state_axes: how many axes a state has.

    Raises:
        InputError: there are too few axes, or no states.
    """
    (states,) = flat_states(embedding, state_axes=state_axes)
    return root_mean_square(states)


def spread(embedding: np.ndarray, *, state_axes: int = VECTOR) -> np.ndarray:
    """Return the RMS distance of the states from their centroid, `[...]`.

    Args:
        embedding: `[..., S, *state_shape]`.
        state_axes: how many axes a state has.

    Raises:
        InputError: there are too few axes, or no states.
    """
    (states,) = flat_states(embedding, state_axes=state_axes)
    with np.errstate(over="ignore", invalid="ignore"):
        return root_mean_square(states - states.mean(-2, keepdims=True))


def root_mean_square(states: np.ndarray) -> np.ndarray:
    """Return sqrt(mean_s ||x_s||^2) of flat states `[..., S, n]`, NaN where not finite, `[...]`."""
    with np.errstate(over="ignore", invalid="ignore"):
        return finite_or_nan(np.sqrt((states**2).sum(-1).mean(-1)))


def finite_or_nan(values: np.ndarray) -> np.ndarray:
    """Return `values` with NaN in place of infinities."""
    return np.where(np.isfinite(values), values, np.nan)


def flat_states(*embeddings: np.ndarray, state_axes: int) -> list[np.ndarray]:
    """Return embeddings in float64 with every state as a vector, each `[..., S, n]`.

    Args:
        embeddings: `[..., S, *state_shape]`, all of the same states.
        state_axes: how many axes a state has.

    Raises:
        InputError: there are too few axes, no states, unequal states, or leading axes that do not
                broadcast.
    """
    arrays = [np.asarray(embedding, np.float64) for embedding in embeddings]
    for array in arrays:
        if array.ndim <= state_axes:
            raise InputError(
                f"expected an embedding of at least {state_axes + 1} axes, states first, "
                f"got shape {array.shape}"
            )
        if 0 in array.shape[-state_axes - 1 :]:
            raise InputError(f"expected at least one state, got shape {array.shape}")
        if array.shape[-state_axes - 1 :] != arrays[0].shape[-state_axes - 1 :]:
            raise InputError(
                f"expected embeddings of the same states, got shapes {arrays[0].shape} "
                f"and {array.shape}"
            )
    try:
        np.broadcast_shapes(*(array.shape[: -state_axes - 1] for array in arrays))
    except ValueError as error:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise InputError(f"expected leading axes that broadcast, got shapes {shapes}") from error
    numbers = math.prod(arrays[0].shape[-state_axes:])
    return [array.reshape(*array.shape[:-state_axes], numbers) for array in arrays]
