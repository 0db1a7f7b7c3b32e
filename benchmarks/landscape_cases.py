"""The planes that the landscape benchmark evaluates, and whether both ways agree on them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE, Dense, architecture_for
from crar_diag.agent.assessment import settings_of
from crar_diag.agent.checkpoint import CheckpointMetadata
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.agent.losses import Forward, all_losses
from crar_diag.agent.presets import preset
from crar_diag.envs.names import LABYRINTH
from crar_diag.landscape.agents import agent_problem
from crar_diag.landscape.bridge_grids import library_random_plane
from crar_diag.landscape.directions import random_direction
from crar_diag.landscape.grids import Plane
from crar_diag.landscape.problem import Parameters, Problem, evaluate

SHIPPED = Path(__file__).parents[1] / "examples" / "checkpoints" / "simple-maze"
ROWS_OF = {"encoder": 31, "transition": 124, "reward": 124, "discount": 124, "q": 31}
"""How many inputs each network of the simple maze needs for a point's exact losses."""


@dataclass(frozen=True)
class Case:
    """What is evaluated: our problem, the same as the library's users would write it, an agent.

    Attributes:
        name: of the environment.
        ours: evaluated by `frozen_surface`.
        theirs: evaluated by the library.
        parameters: of the agent.
        side: points along each axis of the plane.
    """

    name: str
    ours: Problem
    theirs: Problem
    parameters: Parameters
    side: int

    @property
    def plane(self) -> Plane:
        """A plane around the agent, as far as its own length."""
        moving = self.ours.moving(self.parameters)
        u = random_direction(moving, 0)
        axis = np.linspace(-1.0, 1.0, self.side)
        return Plane(moving, u, random_direction(moving, 1, u), axis, axis)

    def difference(self) -> float:
        """Return the largest difference between ours and the library's at the same points."""
        found = library_random_plane(self.theirs, self.parameters, self.parameters, 3)
        plane = Plane(self.ours.moving(self.parameters), found.u, found.v, np.zeros(1), np.zeros(1))
        points = plane.at(*found.coordinates.reshape(-1, 2).T)
        own = evaluate(self.ours, points, self.parameters).losses
        return max(
            np.abs(values.flatten() - own[name].numpy()).max().item()
            for name, values in found.surface.losses.items()
        )


def maze_case(side: int) -> Case:
    """Return the simple maze, exact losses, the shipped base model of seed 0."""
    agent = load_agent(SHIPPED / "base-seed0.safetensors")
    problem = agent_problem(agent, "inverse")
    return Case("simple maze, 31 states, 124 pairs", problem, problem, agent.parameters, side)


def labyrinth_case(side: int, transitions: int) -> Case:
    """Return the labyrinth, a drawn agent on held-out transitions.

    The library's users would pass all transitions through the networks as one batch.
    """
    config, architecture = preset(LABYRINTH), architecture_for(LABYRINTH, "pixels")
    parameters = networks.initialise(architecture, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    for name, p in parameters.items():
        if name.endswith(".bias"):  # the library divides by the length of a bias
            parameters[name] = 0.01 * torch.randn(p.shape, generator=generator)
    metadata = CheckpointMetadata(
        environment=LABYRINTH,
        observation="pixels",
        domain="normal",
        architecture=architecture.spec(),
        configuration=config.model_dump(mode="json"),
        seed=0,
        updates=0,
        base=None,
        base_sha256=None,
        frozen=(),
        losses={},
        diverged_at=None,
        versions={},
    )
    agent = Agent(Path("drawn"), parameters, architecture, metadata)
    ours, settings = agent_problem(agent, "inverse", transitions=transitions), settings_of(agent)

    def at_once(parameters: Parameters, batch: Parameters) -> Parameters:
        return all_losses(Forward(architecture, parameters, batch, settings))

    batch = ours.batch.batch(torch.arange(len(ours.batch)))
    theirs = Problem(at_once, batch, moves=ours.moves, weights=ours.weights)
    return Case(f"labyrinth, {transitions} transitions", ours, theirs, parameters, side)


def operations(points: int) -> float:
    """Return the operations of the matrix products of so many points of the simple maze."""
    single = sum(
        rows * layer.inputs * layer.outputs
        for component, rows in ROWS_OF.items()
        for layer in SIMPLE_MAZE.layers(component)
        if isinstance(layer, Dense)
    )
    return 2.0 * points * single


def product_rate(threads: int) -> float:
    """Return the operations a second of one large product in single precision."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2, 2048, 2048, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    torch.mm(a, b)
    return 2 * 2048**3 / (time.perf_counter() - start)
