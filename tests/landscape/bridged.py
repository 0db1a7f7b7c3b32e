"""Problems with two models each, for the tests of the bridge to loss-landscapes."""

import numpy as np
import torch
from loss_landscapes.metrics.metric import Metric

from crar_diag.agent.loading import load_agent
from crar_diag.landscape.agents import agent_problem
from crar_diag.landscape.problem import Problem, matching
from tests import runs

CASES = ["simple maze", "labyrinth", "not CRAR"]


def bowl(parameters, batch):
    # One loss with terms and one without, with a parameter that is held.
    terms = (batch @ parameters["layer.weight"].T + parameters["layer.bias"]).square().sum(1)
    return {"fit": terms * parameters["scale"], "size": parameters["layer.weight"].square().sum()}


def bowl_problem(dtype):
    generator = torch.Generator().manual_seed(3)
    batch = torch.randn(7, 3, generator=generator, dtype=torch.float64).to(dtype)
    return Problem(losses=bowl, batch=batch, moves=("layer.*",), weights={"size": 0.5})


def bowl_model(dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layer.weight": (2, 3), "scale": (), "layer.bias": (2,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for name, shape in shapes.items()
    }


def maze(dtype):
    agents = [load_agent(runs.BASES / f"base-seed{seed}.safetensors") for seed in (0, 1)]
    models = [{name: p.to(dtype) for name, p in one.parameters.items()} for one in agents]
    models[1] |= {name: p for name, p in models[0].items() if not name.startswith("encoder.")}
    return agent_problem(agents[0], "inverse", dtype=dtype), *models


def labyrinth(dtype, folder):
    config = runs.labyrinth_config("0:1", 4)
    agent = load_agent(runs.save_agent(folder / "agent.safetensors", config))
    problem = agent_problem(agent, "inverse", transitions=6, dtype=dtype)
    models = []
    for seed in (1, 2):
        # An untrained agent's biases are zero, by which the library would divide.
        generator = torch.Generator().manual_seed(seed)
        moved = {
            name: p.double() + 0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
            for name, p in matching(agent.parameters, ["encoder.*"]).items()
        }
        models.append({n: p.to(dtype) for n, p in (agent.parameters | moved).items()})
    return problem, *models


def case(kind, dtype, folder):
    """Return a problem and two models of which the parameters that do not move are the same."""
    if kind == "simple maze":
        return maze(dtype)
    if kind == "labyrinth":
        return labyrinth(dtype, folder)
    return bowl_problem(dtype), bowl_model(dtype, 1), bowl_model(dtype, 2)


def one(moving):
    return {name: p[None] for name, p in moving.items()}


def bits(parameters):
    return {name: p.detach().numpy().tobytes() for name, p in parameters.items()}


class Where(Metric):
    """Notes where the library evaluates the model."""

    def __init__(self):
        super().__init__()
        self.points = []

    def __call__(self, model_wrapper):
        parameters = model_wrapper.get_module_parameters().parameters
        self.points.append(torch.cat([p.flatten() for p in parameters]).clone())
        return len(self.points) - 1


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(
            values, expected[name].double(), rtol=tolerance, atol=tolerance, err_msg=name
        )
