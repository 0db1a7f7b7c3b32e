"""Draw the loss between two solutions of a model that is not CRAR: a small regression network.

The second solution is trained from another seed with the first one's readout, which is held as a
transfer holds the dynamics. The hidden layer leads from one solution to the other: with the readout
frozen, and re-fitted at each point of the line.

python examples/landscape_of_any_model.py -o regression.png
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from crar_diag.errors import CrarDiagError
from crar_diag.landscape.grids import Line, line_alphas
from crar_diag.landscape.problem import Parameters, Problem
from crar_diag.landscape.refit import RefitSettings
from crar_diag.landscape.surface import frozen_surface, unfrozen_surface
from crar_diag.report.line_figure import line_figure
from crar_diag.report.lines import line_dataset
from crar_diag.report.style import save_figure

WEIGHTS = {"error": 1.0, "size": 0.002}
"""Of the losses in the sum that is trained on, drawn and re-fitted."""


def network(seed: int) -> nn.Sequential:
    """Return a fresh network of two layers, from a number to a number."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = {"hidden": nn.Linear(1, 16), "tanh": nn.Tanh(), "readout": nn.Linear(16, 1)}
        return nn.Sequential(OrderedDict(layers))


NETWORK = network(0)
"""Whose layers `losses` runs, with any parameters."""


def losses(parameters: Parameters, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the mean squared error, and the mean square of the hidden layer's weights."""
    x, y = batch
    gap = functional_call(NETWORK, parameters, x) - y
    return {"error": (gap * gap).mean(), "size": parameters["hidden.weight"].square().mean()}


def toy_data(count: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return noisy values of a sine, `[count, 1]` each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-2, 2, count)[:, None]
    return x, torch.sin(3 * x) + 0.1 * torch.randn(x.shape, generator=generator)


def trained(problem: Problem, seed: int, held: Parameters, steps: int = 1000) -> Parameters:
    """Return what a network's parameters are after training from a seed, some of them held."""
    moving: Parameters = {n: p for n, p in network(seed).named_parameters() if n not in held}
    optimiser = torch.optim.Adam(moving.values(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        problem.total(problem.values(held | moving)).backward()
        optimiser.step()
    return held | {name: p.detach() for name, p in moving.items()}


def main() -> None:
    """Train twice, compute both lines, draw, print the barriers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--points", type=int, default=61)
    options = parser.parse_args()
    alphas = line_alphas(options.points)
    problem = Problem(losses, toy_data(), moves=["hidden.*"], refits=["readout.*"], weights=WEIGHTS)
    a = trained(problem, 0, {})
    held = problem.refitted(a)
    b = trained(problem, 1, held)
    grid = Line(problem.moving(a), problem.moving(b), alphas)
    surfaces = {
        "frozen": frozen_surface(problem, grid, held),
        "unfrozen": unfrozen_surface(problem, grid, held, RefitSettings(tolerance=1e-5)),
    }
    dataset = line_dataset(
        alphas,
        surfaces,
        attrs={"seed_a": 0, "seed_b": 1, "refits": "readout"},
        weights=WEIGHTS,
        depends_on_dynamics=["error"],  # the readout, which is re-fitted; `size` does not see it
    )
    save_figure(line_figure(dataset, title="a regression network"), options.output)
    for name in surfaces:
        found = dataset.sel(dynamics=name, loss="sum")
        height, place = float(found.above_line), float(found.above_line_at)
        print(f"readout {name}: barrier {height:.4f} at alpha = {place:.3f}")
    print(options.output)


if __name__ == "__main__":
    try:
        main()
    except CrarDiagError as error:
        sys.exit(f"landscape_of_any_model: {error}")
