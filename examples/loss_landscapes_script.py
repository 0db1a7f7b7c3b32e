"""Draw losses between and around simple-maze agents with the library loss-landscapes.

python examples/loss_landscapes_script.py A.safetensors B.safetensors -o between.png

A user's own script: its calls are the library's, on a model and a metric of crar-diag. Both
pictures are labelled with the points that release 3.0.6 evaluates: see docs/loss-landscapes.md.
"""

import argparse
import sys
from pathlib import Path

import loss_landscapes
import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from crar_diag.agent.loading import load_agent
from crar_diag.errors import CrarDiagError
from crar_diag.landscape.agents import agent_problem, comparable
from crar_diag.landscape.bridge import AgentModule, LossesMetric, LossMetric


def plane_coordinates(steps: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where `random_plane` evaluates, in lengths of the model, `[steps, steps]` each."""
    row, column = np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij")
    shifted = column + (row % 2 == 0)
    half, scale = steps / 2, steps * distance
    return (row - half) / scale, (shifted - half) / scale


def main() -> None:
    """Parse, evaluate, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--distance", type=float, default=1.0, help="2 spans half of what 1 does")
    options = parser.parse_args()
    ends = comparable([load_agent(options.a), load_agent(options.b)])
    a, b = (agent.parameters for agent in ends.agents)
    problem = agent_problem(ends.agents[0], ends.domain)

    # The metric holds A's dynamics; the modules have the encoders, which the library moves.
    every = LossesMetric(problem, held=a)
    line = loss_landscapes.linear_interpolation(
        AgentModule(problem, a), AgentModule(problem, b), every, steps=options.steps
    )
    torch.manual_seed(0)
    plane = loss_landscapes.random_plane(
        AgentModule(problem, b),
        LossMetric(problem, held=a, loss="transition"),
        distance=options.distance,
        steps=options.steps,
        normalization="filter",
    )

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    alphas = np.arange(1, options.steps + 1) / options.steps
    for name, values in zip(every.names, line.T, strict=True):
        left.plot(alphas, values, label=name.replace("_", " "))
    left.set(xlabel="alpha (A at 0, B at 1)", ylabel="loss")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    x, y = plane_coordinates(options.steps, options.distance)
    filled = right.tricontourf(x.ravel(), y.ravel(), plane.ravel(), levels=20)
    figure.colorbar(filled, label="transition loss")
    right.plot(0, 0, "w+")
    right.set(xlabel="along one direction / length of B", ylabel="along the other")
    figure.savefig(options.output, dpi=150)
    print(options.output)


if __name__ == "__main__":
    try:
        main()
    except CrarDiagError as error:
        sys.exit(f"loss_landscapes_script: {error}")
