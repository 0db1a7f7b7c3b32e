"""The paths between two agents as a group of a report: what was compared, and how it was found."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.landscape.connections import COURSES, Connection, embeddings
from crar_diag.landscape.path_settings import PathSettings
from crar_diag.landscape.profiles import Profile
from crar_diag.landscape.symmetries import Alignment
from crar_diag.landscape.views import Between
from crar_diag.report.paths import path_dataset
from crar_diag.report.views import ends_of


def agent_path_dataset(
    between: Between,
    connections: Mapping[str, Connection],
    *,
    settings: PathSettings,
    rotations: Mapping[str, Profile] | None = None,
    alignment: Alignment | None = None,
    about: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return the group `/path/<name>` of two agents.

    Args:
        between: the agents.
        connections: `frozen`, `unfrozen` or both.
        settings: with which the curves were optimised.
        rotations: of A, where its states are points of a plane (`rotation_profiles`).
        alignment: of B to A, where it was aligned first.
        about: attributes besides.

    Returns:
        See `path_dataset`; in the simple maze with the abstract states along the paths.
    """
    attrs: dict[str, Any] = {**ends_of(between), "settings": vars(settings), **(about or {})}
    attrs["aligned"] = alignment is not None
    if alignment is not None:
        for key in ("distance_before", "distance_after", "moved", "units"):
            attrs[f"alignment_{key}"] = getattr(alignment, key)
    agent = between.ends.agents[0]
    states: dict[str, dict[str, np.ndarray]] = {}
    for kind, one in connections.items():
        for course in COURSES:
            grid = one.course(course)(one.profiles[course].places)
            found = embeddings(one.ends.problem, agent, grid)
            if found is not None:
                states.setdefault(kind, {})[course] = found.cpu().numpy()
    return path_dataset(connections, attrs=attrs, rotations=rotations, embeddings=states or None)
