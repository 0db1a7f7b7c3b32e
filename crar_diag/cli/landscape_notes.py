"""What a reader has to know about the numbers of `crar-diag landscape`, in sentences."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.landscape.views import Between

# Of the largest coordinate: a mark that is off a plane by less lies in it, but for rounding.
_IN_THE_PLANE = 1e-5


def notes_on(found: "Mapping[str, xr.Dataset]", between: "Between") -> list[str]:
    """Return the notes: weights, dynamics, convergence, distances."""
    from crar_diag.landscape.agents import same_dynamics

    sums = ", ".join(f"{name} {weight:g}" for name, weight in between.problem.weights.items())
    notes = [f"weights of the losses in the sum: {sums}"]
    if not same_dynamics([between.dynamics, *between.ends.agents]):
        notes.append(
            f"the checkpoints differ in their dynamics: those of '{between.dynamics.path}' are "
            "taken everywhere"
        )
        if "dynamics-plane" in found:
            notes[-1] += " but in the dynamics-plane"
    if any(_is_unfrozen(dataset) for dataset in found.values()):
        notes.append(
            "volume, random_pairs and consecutive_pairs do not depend on the dynamics: re-fitting "
            "cannot change them"
        )
    apart = [one.attrs["distance_a_b"] for one in found.values() if "distance_a_b" in one.attrs]
    if apart:
        notes.append(f"the encoders of A and B are {apart[0]:.4g} apart (Euclidean, all weights)")
    for mode, dataset in found.items():
        notes += [f"{mode}: {words}" for words in _of_view(dataset)]
    return notes


def _is_unfrozen(dataset: "xr.Dataset") -> bool:
    return "unfrozen" in dataset or (
        "dynamics" in dataset.coords and "unfrozen" in dataset.dynamics.values
    )


def _of_view(dataset: "xr.Dataset") -> list[str]:
    notes = []
    if "converged" in dataset:
        converged = dataset.converged.values
        notes.append(f"the re-fit converged at {int(converged.sum())} of {converged.size} points")
    sizes = dataset.sizes
    if sizes.get("x", 0) and sizes.get("x_unfrozen", sizes["x"]) != sizes["x"]:
        notes.append(
            "the two surfaces are sampled at different points: extremes may differ by that"
        )
    if "point" in dataset.dims:
        extent = max(float(abs(dataset[name]).max()) for name in ("point_x", "point_y"))
        for name, distance in zip(dataset.point.values, dataset.point_distance.values, strict=True):
            if distance > _IN_THE_PLANE * max(extent, 1.0):
                notes.append(
                    f"{name} lies {distance:.4g} off the plane, shown where it projects to"
                )
    if "trajectory_distance" in dataset:
        ratio = dataset.attrs["explained_variance_ratio"]
        notes.append(
            f"the plane has {100 * sum(ratio):.3g}% of the trajectory's variance; its snapshots "
            f"lie up to {float(dataset.trajectory_distance.max()):.4g} off it"
        )
    if dataset.attrs.get("engine") == "loss-landscapes":
        notes.append("by loss-landscapes, at the coordinates that it really samples")
    return notes
