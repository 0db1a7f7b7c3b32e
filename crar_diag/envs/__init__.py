"""The paper's two mazes, what agents see of them, and random-policy data.

Importing this package registers `crar_diag/SimpleMaze-v0` and `crar_diag/MetaLabyrinth-v0` with
Gymnasium. torch is not imported; functions of tiles take its tensors as well as NumPy arrays.
"""

import gymnasium

from crar_diag.envs.data import TransitionData, exact_transitions, gather
from crar_diag.envs.domains import Domain, domain_names, get_domain, register_domain
from crar_diag.envs.labyrinth import MetaLabyrinthEnv
from crar_diag.envs.mazes import LabyrinthState, from_maps, generate
from crar_diag.envs.names import DEFAULT_OBSERVATION, ENVIRONMENTS, OBSERVATIONS
from crar_diag.envs.observer import Observer
from crar_diag.envs.pictures import picture
from crar_diag.envs.rendering import render, sprite_table
from crar_diag.envs.simple_maze import SimpleMazeEnv
from crar_diag.envs.vector import MetaLabyrinthVectorEnv, SimpleMazeVectorEnv

__all__ = [
    "DEFAULT_OBSERVATION",
    "ENVIRONMENTS",
    "OBSERVATIONS",
    "Domain",
    "LabyrinthState",
    "MetaLabyrinthEnv",
    "MetaLabyrinthVectorEnv",
    "Observer",
    "SimpleMazeEnv",
    "SimpleMazeVectorEnv",
    "TransitionData",
    "domain_names",
    "exact_transitions",
    "from_maps",
    "gather",
    "generate",
    "get_domain",
    "picture",
    "register_domain",
    "render",
    "sprite_table",
]

for _id, _class, _module in (
    ("crar_diag/SimpleMaze-v0", "SimpleMaze", "simple_maze"),
    ("crar_diag/MetaLabyrinth-v0", "MetaLabyrinth", "labyrinth"),
):
    # The vector classes step all lanes in one batch, which `make_vec` then uses by default.
    gymnasium.register(
        id=_id,
        entry_point=f"crar_diag.envs.{_module}:{_class}Env",
        vector_entry_point=f"crar_diag.envs.vector:{_class}VectorEnv",
    )
