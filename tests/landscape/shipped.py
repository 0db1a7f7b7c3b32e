"""The shipped transfers of the base model of seed 0 as ends of landscapes."""

import numpy as np

from crar_diag.agent.loading import load_agent
from crar_diag.landscape.agents import agent_problem, comparable
from crar_diag.landscape.vectors import flatten
from crar_diag.landscape.views import Between
from tests.runs import BASES

CORRECT, WRONG, UNFINISHED = (
    BASES / "transfers" / f"original-base-seed0-lr8e-05-seed{seed}.safetensors"
    for seed in (12, 17, 20)
)
STRUCTURE = ("volume", "random_pairs", "consecutive_pairs")


def between(*paths, dynamics=None, domain=None, **settings) -> Between:
    """Agents on the problem of the first; its dynamics unless others are given."""
    agents = [load_agent(path) for path in paths or (CORRECT, WRONG)]
    ends = comparable(agents, domain)
    problem = agent_problem(agents[0], ends.domain, **settings)
    return Between(problem, ends, agents[0] if dynamics is None else load_agent(dynamics))


def distance(one, other) -> float:
    """How far two sets of parameters are from each other."""
    return float(np.linalg.norm((flatten(one).double() - flatten(other).double()).numpy()))


def nearest(grid, x, y):
    """The grid's point nearest to a place: where it is, and its parameters."""
    i, j = (int(np.abs(axis - at).argmin()) for axis, at in zip(grid.axes, (x, y), strict=True))
    k = i * len(grid.axes[1]) + j
    point = {name: p[0] for name, p in grid.points(k, k + 1).items()}
    return (float(grid.axes[0][i]), float(grid.axes[1][j])), point
