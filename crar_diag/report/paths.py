"""Paths between two models as a group of a report: losses, barriers, rotations; `/path/<name>`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.errors import InputError
from crar_diag.landscape.connections import COURSES, KINDS, Connection
from crar_diag.landscape.problem import SUM
from crar_diag.landscape.profiles import Profile
from crar_diag.landscape.rotation import TURNINGS
from crar_diag.report.labelling import attributes, stacked, weights_in_order

_BARRIERS: Final = {
    "above_line": "largest rise above the straight line between the losses at the ends",
    "above_line_at": "place of the largest rise above the straight line",
    "above_ends": "highest loss minus the larger of those at the ends",
    "above_ends_at": "place of the highest loss",
}
_END_REFIT: Final = {
    "before": (np.float64, "weighted sum at the end with its own dynamics", "1"),
    "after": (np.float64, "weighted sum at the end with its dynamics re-fitted", "1"),
    "iterations": (np.int64, "iterations of the re-fit at the end", "iterations"),
    "converged": (bool, "whether the re-fit at the end improved no more", "1"),
}

Embeddings = Mapping[str, Mapping[str, np.ndarray]]
"""Kind of dynamics -> `straight` or `curve` -> abstract states at each point, `[T, states, d]`."""


def path_dataset(
    connections: Mapping[str, Connection],
    *,
    attrs: Mapping[str, Any],
    rotations: Mapping[str, Profile] | None = None,
    embeddings: Embeddings | None = None,
) -> xr.Dataset:
    """Return the losses along the paths between two models, as a group of a report.

    Args:
        connections: `frozen`, `unfrozen` or both, of the same losses and number of points.
        attrs: of the group: endpoints, settings; dicts are stored as JSON.
        rotations: the losses of A turned by angles: `together` with its dynamics, and the
            `encoder` alone.
        embeddings: of the points, of the same connections.

    Returns:
        Over `dynamics`, `path` (`straight`, `curve`), `loss` and `t` the `value` and, where losses
        are means over a sample, its standard `error`; over all but `t` the `highest` value and the
        barriers (`landscape.barriers.Barrier`), from a finer search; over all but `loss` the
        `arc_length` and the `embedding`; over `dynamics`, of the curve's optimisation, `converged`
        and `iterations`; over `end`, of unfrozen dynamics, what re-fitting them changed; over
        `turning`, `loss` and `angle` the `rotation_value`, with its barriers.

    Raises:
        InputError: no connection, or an unknown one, or ones that do not fit together.
    """
    unknown = sorted(set(connections) - set(KINDS))
    if unknown or not connections:
        raise InputError(
            f"expected connections {' and '.join(KINDS)}, found {unknown[0] if unknown else 'none'}"
        )
    kinds = [kind for kind in KINDS if kind in connections]
    first = connections[kinds[0]].profiles[COURSES[0]]
    losses = sorted(first.losses, key=lambda name: name == SUM)
    profiles = [[connections[kind].profiles[course] for course in COURSES] for kind in kinds]
    data = _profile_variables(profiles, losses, ("dynamics", "path"), "t")
    lengths = np.array([[one.lengths for one in row] for row in profiles])
    data["arc_length"] = labelled(
        ("dynamics", "path", "t"), lengths, "length of the path from A, in the moving parameters"
    )
    data |= _optimisation([connections[kind] for kind in kinds])
    weights = connections[kinds[0]].ends.problem.weights
    data["weight"] = labelled(("loss",), weights_in_order(losses, weights), "weight in the sum")
    coords = {
        "dynamics": labelled(("dynamics",), kinds, "how the dynamics are treated"),
        "path": labelled(("path",), list(COURSES), "straight segment or minimum-loss curve"),
        "loss": labelled(("loss",), losses, "name of the loss"),
        "t": labelled(("t",), first.places, "position on the path, A at 0 and B at 1"),
    }
    if rotations is not None:
        data |= _rotation_variables(rotations, losses)
        coords |= _rotation_coordinates(rotations)
    if embeddings is not None:
        states = np.stack([[embeddings[kind][course] for course in COURSES] for kind in kinds])
        dims = ("dynamics", "path", "t", "state", "dim")
        data["embedding"] = labelled(dims, states, "abstract state")
    if any("end" in variable[0] for variable in data.values()):
        coords["end"] = labelled(("end",), ["a", "b"], "end of the path")
    return xr.Dataset(data, coords=coords, attrs=attributes(attrs))


def _profile_variables(
    profiles: Sequence[Sequence[Profile]],
    losses: Sequence[str],
    dims: tuple[str, str],
    along: str,
    prefix: str = "",
) -> dict[str, Any]:
    """Return values, errors and barriers of profiles in rows and columns, named `dims`.

    Raises:
        InputError: profiles of other losses or numbers of points than the first.
    """
    places = profiles[0][0].places
    for one in (one for row in profiles for one in row):
        if set(one.losses) != set(losses) or not np.array_equal(one.places, places):
            raise InputError("expected paths with the same losses at the same points")

    def gathered(kind: str) -> np.ndarray:
        def of(one: Profile) -> np.ndarray:
            return stacked(getattr(one, kind), losses, places.shape, "values")

        return np.array([[of(one) for one in row] for row in profiles])

    every = (*dims, "loss", along)
    data = {f"{prefix}value": labelled(every, gathered("losses"), "loss along the path")}
    if any(one.errors for row in profiles for one in row):
        data[f"{prefix}error"] = labelled(
            every, gathered("errors"), "standard error of the loss along the path"
        )
    highest = [[[one.highest[name] for name in losses] for one in row] for row in profiles]
    data[f"{prefix}highest"] = labelled(every[:-1], highest, "highest loss on the path")
    for name, long_name in _BARRIERS.items():
        values = [
            [[getattr(one.barriers[loss], name) for loss in losses] for one in row]
            for row in profiles
        ]
        units = "degree" if name.endswith("_at") and along == "angle" else "1"
        data[f"{prefix}{name}"] = labelled(every[:-1], np.array(values), long_name, units)
    return data


def _optimisation(connections: Sequence[Connection]) -> dict[str, Any]:
    paths = [one.path for one in connections]
    converged, iterations = [p.converged for p in paths], [p.iterations for p in paths]
    found = {
        "converged": labelled(
            ("dynamics",), np.array(converged), "whether optimising the curve gained no more"
        ),
        "iterations": labelled(
            ("dynamics",),
            np.array(iterations, np.int64),
            "iterations of the curve's optimisation",
            "iterations",
        ),
    }
    for refits in (one.ends.refits for one in connections):
        if refits:
            found |= {
                f"refit_{name}": labelled(
                    ("end",), np.array([getattr(r, name) for r in refits], kind), about, units
                )
                for name, (kind, about, units) in _END_REFIT.items()
            }
    return found


def _rotation_variables(rotations: Mapping[str, Profile], losses: Sequence[str]) -> dict[str, Any]:
    if set(rotations) != set(TURNINGS):
        raise InputError(f"expected rotations {' and '.join(TURNINGS)}, found {list(rotations)}")
    columns = [[rotations[turning]] for turning in TURNINGS]
    found = _profile_variables(columns, losses, ("turning", "one"), "angle", "rotation_")
    return {
        name: labelled(
            tuple(dim for dim in dims if dim != "one"),
            np.asarray(values)[:, 0],
            about["long_name"],
            about["units"],
        )
        for name, (dims, values, about) in found.items()
    }


def _rotation_coordinates(rotations: Mapping[str, Profile]) -> dict[str, Any]:
    return {
        "turning": labelled(
            ("turning",),
            list(TURNINGS),
            "what turns: encoder and dynamics together, or the encoder alone",
        ),
        "angle": labelled(
            ("angle",), rotations[TURNINGS[0]].places, "angle by which A is turned", "degree"
        ),
    }
