"""Draw what became of each base model's transfers: the base, one embedding a kind, kinds over time.

python examples/plot_transfers.py runs/original -o transfers.png
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from plot_embedding import embed

from crar_diag.agent.bases import load_bases
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import Agent
from crar_diag.agent.run import read_run
from crar_diag.embedding.outcome import TransferOutcomes, read_outcomes
from crar_diag.envs import simple_maze
from crar_diag.errors import CrarDiagError
from crar_diag.report.embedding import plot_embedding
from crar_diag.report.kinds import plot_kinds
from crar_diag.report.trajectories import kinds_over_time

SHOWN = 3
"""Kinds of each base that are shown, the most frequent ones."""


def typical(outcomes: TransferOutcomes, rows: np.ndarray) -> list[tuple[int, str]]:
    """Return for the most frequent kinds the member in the middle by distance, and a title."""
    kinds = outcomes.kinds[rows, -1]
    found = []
    for kind, count in Counter(map(str, kinds)).most_common(SHOWN):
        own = rows[kinds == kind]
        middle = own[np.argsort(outcomes.numbers["distance"][own, -1])[len(own) // 2]]
        loss = outcomes.transition[middle, -1]
        found.append((int(middle), f"{count} of {len(rows)}: {kind}, $L_p$ = {loss:.2g}"))
    return found


def draw(outcomes: TransferOutcomes, bases: list[Agent], output: Path) -> None:
    """Draw a row for each base."""
    history = read_history(read_run(outcomes.path).history_path)["embedding"]
    shares = kinds_over_time(outcomes)
    figure, axes = plt.subplots(
        len(bases),
        SHOWN + 2,
        figsize=(2.4 * (SHOWN + 2), 2.4 * len(bases)),
        layout="constrained",
        squeeze=False,
    )
    for row, (label, base) in enumerate(zip(outcomes.config.base_labels(), bases, strict=True)):
        states, following = embed(base)
        loss = base.metadata.losses["transition"]
        plot_embedding(
            states.numpy(),
            following.numpy(),
            simple_maze.SIDES,
            title=f"{label}, $L_p$ = {loss:.2g}",
            ax=axes[row, 0],
        )
        members = typical(outcomes, np.flatnonzero(outcomes.base == label))
        for ax, (member, title) in zip(axes[row, 1:], members, strict=False):
            last = history.isel(member=member, time=-1)
            plot_embedding(
                last.embedding.values, last.prediction.values, simple_maze.SIDES, title=title, ax=ax
            )
        for ax in axes[row, 1 + len(members) : -1]:
            ax.remove()
        plot_kinds(shares, label, ax=axes[row, -1])
    for ax in axes.flat:
        ax.title.set_fontsize(8)
        ax.tick_params(labelsize=6)
        ax.set_xlabel(ax.get_xlabel(), fontsize=7)
        ax.set_ylabel(ax.get_ylabel(), fontsize=7)
    rooms = axes[0, 0].get_legend_handles_labels()
    kinds = {
        n: h for ax in axes[:, -1] for h, n in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        [*rooms[0], *kinds.values()],
        [*rooms[1], *kinds],
        loc="outside lower center",
        ncols=9,
        frameon=False,
        fontsize=8,
    )
    figure.savefig(output, dpi=110)


def main() -> None:
    """Parse, read, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run of transfers")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    outcomes = read_outcomes(options.run)
    draw(outcomes, load_bases(outcomes.config), options.output)
    print(options.output)


if __name__ == "__main__":
    try:
        main()
    except CrarDiagError as error:
        sys.exit(f"plot_transfers: {error}")
