"""Draw the embedding of simple-maze checkpoints, as in figure 5 of the paper.

python examples/plot_embedding.py examples/checkpoints/simple-maze/*.safetensors -o base.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

from crar_diag.agent import networks
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.envs import Observer, simple_maze
from crar_diag.errors import CrarDiagError, InputError
from crar_diag.report.embedding import plot_embedding


def embed(agent: Agent) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the states `[31, 2]` and the predicted next states `[31, 4, 2]` of an agent."""
    metadata = agent.metadata
    if metadata.environment != "simple-maze":
        raise InputError(f"'{agent.path}' is an agent of {metadata.environment}, not simple-maze")
    observer = Observer(metadata.environment, metadata.observation, metadata.domain)
    pictures = observer(torch.from_numpy(simple_maze.all_tiles()))
    pictures = pictures.to(next(iter(agent.parameters.values())).dtype)
    with torch.no_grad():
        states = networks.encode(agent.architecture, agent.parameters, pictures)
        return states, networks.predict_each_action(agent.architecture, agent.parameters, states)


def main() -> None:
    """Parse, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    columns = min(3, len(options.checkpoints))
    rows = -(-len(options.checkpoints) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.2 * columns, 3.2 * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(options.checkpoints) :]:
        ax.remove()
    for path, ax in zip(options.checkpoints, axes.flat, strict=False):
        agent = load_agent(path)
        states, following = embed(agent)
        loss = agent.metadata.losses["transition"]
        title = f"seed {agent.metadata.seed}, $L_p$ = {loss:.2g}"
        plot_embedding(states.numpy(), following.numpy(), simple_maze.SIDES, title=title, ax=ax)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(options.output, dpi=150)
    print(options.output)


if __name__ == "__main__":
    try:
        main()
    except CrarDiagError as error:
        sys.exit(f"plot_embedding: {error}")
