"""Directions of a plane: random ones scaled filter by filter, and orthonormal ones through points.

Li, Xu, Taylor, Studer and Goldstein (2018), "Visualizing the loss landscape of neural nets": a
random direction shows a loss surface's shape only if each of its filters has the length of the
model's own, since scaling one layer up and the next one down leaves a network as it is.
"""

import torch

from crar_diag.errors import InputError
from crar_diag.landscape.problem import Parameters
from crar_diag.landscape.vectors import added, difference, dot, doubled, norm, scaled


def gaussian(like: Parameters, seed: int) -> Parameters:
    """Return a direction with independent standard normal entries, float64, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {  # by name: a file has no order
        name: torch.randn(like[name].shape, generator=generator, dtype=torch.float64)
        for name in sorted(like)
    }
    return {name: drawn[name].to(p.device) for name, p in like.items()}


def filter_normalised(direction: Parameters, model: Parameters) -> Parameters:
    """Return the direction with each filter scaled to the length of the model's, float64.

    A filter is what feeds one unit: a row of a weight matrix, a kernel of a convolution. Biases
    (and all parameters of one axis) get no direction, as in the published code (`biasbn`).
    A filter of the direction that is zero stays zero.

    Args:
        direction: d.
        model: theta; each filter becomes d_i / ||d_i|| ||theta_i||.
    """
    found = {}
    for name, d in doubled(direction).items():
        if d.dim() <= 1:
            found[name] = torch.zeros_like(d)
            continue
        own, wanted = (p.detach().double().flatten(1).norm(dim=1) for p in (d, model[name]))
        factor = torch.where(own > 0, wanted / own.clamp(min=torch.finfo(own.dtype).tiny), 0.0)
        found[name] = d * factor.reshape(-1, *[1] * (d.dim() - 1))
    return found


def without(direction: Parameters, unit: Parameters) -> Parameters:
    """Return the part of a direction that is orthogonal to another of length 1."""
    # Twice: the first difference of nearly parallel directions leaves rounding behind.
    for _ in range(2):
        direction = added(direction, unit, -dot(direction, unit))
    return direction


def random_direction(
    model: Parameters, seed: int, orthogonal_to: Parameters | None = None
) -> Parameters:
    """Return a Gaussian direction, filter-normalised, then made orthogonal to another.

    Args:
        model: whose filters give the lengths.
        seed: of the draw; the same direction on every machine.
        orthogonal_to: any direction of the same parameters.

    Returns:
        float64, zero along biases; its length is about that of the model's weights, and what
        orthogonality takes off it is of the order 1 / sqrt(parameters).
    """
    found = filter_normalised(gaussian(model, seed), model)
    if orthogonal_to is None:
        return found
    # Orthogonal to its part along weights, and so to all of it: no bias gets a direction.
    other = {
        n: p if p.dim() > 1 else torch.zeros_like(p) for n, p in doubled(orthogonal_to).items()
    }
    length = norm(other)
    return without(found, scaled(other, 1 / length)) if length > 0 else found


def plane_through(
    a: Parameters, b: Parameters, c: Parameters
) -> tuple[tuple[Parameters, Parameters], dict[str, tuple[float, float]]]:
    """Return orthonormal directions of the plane through three points, and where these lie in it.

    Args:
        a: its origin.
        b: lies on the first axis.
        c: the third point.

    Returns:
        The directions (u, v), float64, and the coordinates of `a`, `b` and `c`, such that
        `a + x u + y v` is the point.

    Raises:
        InputError: the three lie on one line.
    """
    first, second = (difference(doubled(p), doubled(a)) for p in (b, c))
    length = norm(first)
    if length == 0:
        raise InputError("expected three different points of a plane, found the first two equal")
    u = scaled(first, 1 / length)
    rest = without(second, u)
    height = norm(rest)
    # What points of one line are off it in their own precision.
    rounding = max(torch.finfo(p.dtype).eps for p in a.values()) * max(norm(a), norm(b), norm(c))
    if height <= max(rounding, 1e-9 * max(norm(second), length)):
        raise InputError("expected three points of a plane, found them on one line")
    v = scaled(rest, 1 / height)
    places = {"a": (0.0, 0.0), "b": (length, 0.0), "c": (dot(second, u), height)}
    return (u, v), places
