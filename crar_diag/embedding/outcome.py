"""What became of every transfer of a run: its embedding beside its base's, over time.

The base sees each state in its own domain, the transfer the same state in the domain that it was
put into. In the simple maze these are all 31 states; in the labyrinth they are held-out mazes, few
over time, as the history records them, and `HELD_OUT_MAZES` at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crar_diag.agent import checkpoint, networks, probes
from crar_diag.agent.bases import load_bases
from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.agent.run import Run, read_run
from crar_diag.agent.transfer_config import UNFROZEN, TransferConfig
from crar_diag.embedding.kinds import KINDS, Outcomes, Thresholds, classify_history
from crar_diag.embedding.pieces import ROOMS
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

HELD_OUT_MAZES = 48
"""Mazes on which the distance at the end of a labyrinth's transfer is measured (paper: at least
one; section 5.2.2)."""

LAST_EPOCHS = 20
"""Over how many epochs at its end the score of a run is averaged, as for the paper's figures."""

NO_BASE = "no base"
"""The kind of a transfer from scratch, which has no base to be compared with."""


@dataclass(frozen=True, eq=False)
class TransferOutcomes:
    """The M encoders of a run of transfers at K times.

    Attributes:
        path: the run's folder.
        config: of the run.
        members: different names, `[M]`.
        transfer: the name of the transfer that each belongs to; restarts share it, `[M]`.
        variant: `[M]`.
        base: label of the base model, empty from scratch, `[M]`.
        seed: `[M]`.
        learning_rate: at epoch 0, `[M]`.
        restart: `[M]`.
        times: updates, `[K]`.
        kinds: `KINDS` or `NO_BASE`, `[M, K]`.
        numbers: what the kinds were read off, each `[M, K]`, by the names of `Outcome`.
        losses: exact or held-out, `[M, K, 7]`.
        score: mean over the last `LAST_EPOCHS` epochs, NaN where not measured, `[M]`.
        realigned: how many maps were folded in up to each time, `[M, K]`.
    """

    path: Path
    config: TransferConfig
    members: np.ndarray
    transfer: np.ndarray
    variant: np.ndarray
    base: np.ndarray
    seed: np.ndarray
    learning_rate: np.ndarray
    restart: np.ndarray
    times: np.ndarray
    kinds: np.ndarray
    numbers: dict[str, np.ndarray]
    losses: np.ndarray
    score: np.ndarray
    realigned: np.ndarray

    @property
    def transition(self) -> np.ndarray:
        """The transition loss, `[M, K]`."""
        return self.losses[:, :, LOSSES.index("transition")]

    @property
    def unfrozen(self) -> np.ndarray:
        """Whose dynamics move, so that the distance to the base is the wrong measure, `[M]`."""
        return np.isin(self.variant, UNFROZEN)

    def kept(self, restarts: int | None = None) -> np.ndarray:
        """Return the best encoder of each transfer by its final transition loss, positions `[T]`.

        Args:
            restarts: among how many of each transfer's first restarts; all by default.
        """
        final = np.nan_to_num(self.transition[:, -1], nan=np.inf)
        order = np.argsort(final, kind="stable")
        if restarts is not None:
            order = order[self.restart[order] < restarts]
        _, first = np.unique(self.transfer[order], return_index=True)
        return np.sort(order[first])


_NUMBERS = (
    "distance",
    "identity_residual",
    "residual",
    "margin",
    "reflected",
    "angle",
    "axis",
    "spread",
    "displacement",
)


_NAME = np.dtype(f"U{max(map(len, (*KINDS, NO_BASE)))}")


def read_outcomes(path: str | Path, thresholds: Thresholds | None = None) -> TransferOutcomes:
    """Read what became of the transfers of a finished run.

    Args:
        path: the run's folder.
        thresholds: where one kind of outcome ends and the next begins.

    Raises:
        InputError: not a finished run of transfers, or a base model of it is missing or changed.
    """
    run = read_run(path)
    config = run.config
    if not isinstance(config, TransferConfig):
        raise InputError(f"run folder '{path}' holds base models: expected transfers")
    if not run.finished:
        raise InputError(f"run folder '{path}' is not finished: resume it first")
    history = read_history(run.history_path)
    embedding, evaluation, training = (
        history[group] for group in ("embedding", "evaluation", "training")
    )
    bases = load_bases(config)
    labels = config.base_labels()
    of_member = embedding.base.values.astype(str)
    states = embedding.embedding.values
    kinds = np.full(states.shape[:2], NO_BASE, dtype=_NAME)
    numbers = {name: np.full(states.shape[:2], np.nan) for name in _NUMBERS}
    for label, base in zip(labels, bases, strict=True):
        rows = np.flatnonzero(of_member == label)
        if len(rows):
            found = classify_history(
                base_embedding(base),
                states[rows],
                pieces=rooms(config.environment),
                thresholds=thresholds,
            )
            _fill(kinds, numbers, rows, found)
    outcomes = TransferOutcomes(
        path=Path(path),
        config=config,
        members=embedding.member.values.astype(str),
        transfer=embedding.transfer.values.astype(str),
        variant=embedding.variant.values.astype(str),
        base=of_member,
        seed=embedding.seed.values,
        learning_rate=embedding.initial_learning_rate.values,
        restart=embedding.restart.values,
        times=embedding.time.values,
        kinds=kinds,
        numbers=numbers,
        losses=evaluation.expected_loss.values,
        score=_last_scores(training.score.values),
        realigned=_realigned(embedding),
    )
    if config.environment != SIMPLE_MAZE:
        _measure_at_the_end(outcomes, run, bases, thresholds)
    _name_diverged(outcomes, run)
    return outcomes


def _name_diverged(outcomes: TransferOutcomes, run: Run) -> None:
    """Name the kept encoders that diverged: they stay at their last finite parameters."""
    checkpoints = run.checkpoints
    for m in outcomes.kept():
        at = checkpoint.load(checkpoints[str(outcomes.transfer[m])]).metadata.diverged_at
        if at is not None:
            outcomes.kinds[m, outcomes.times > at] = "diverged"


def _fill(
    kinds: np.ndarray, numbers: dict[str, np.ndarray], rows: np.ndarray, found: Outcomes
) -> None:
    kinds[rows] = found.kinds
    for name in _NUMBERS:
        numbers[name][rows] = getattr(found, name)


def _last_scores(score: np.ndarray) -> np.ndarray:
    """Return the mean of the scores measured in the last epochs, `[M]`."""
    last = score[:, -LAST_EPOCHS:]
    counts = np.isfinite(last).sum(axis=1)
    sums = np.nansum(last, axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _realigned(embedding: Any) -> np.ndarray:
    if "realignment" not in embedding:
        return np.zeros(embedding.embedding.shape[:2], np.int64)
    folded = np.isfinite(embedding.realignment.values).all(axis=(2, 3))
    counts: np.ndarray = folded.cumsum(axis=1)
    return counts


def rooms(environment: str) -> np.ndarray | None:
    """Return the pieces of an embedding that can change places; None where there are none."""
    return ROOMS if environment == SIMPLE_MAZE else None


def base_embedding(base: Agent) -> np.ndarray:
    """Return a base model's states of the pictures that a history records, in its own domain.

    `[31, 2]` in the simple maze, else of the first held-out mazes, `[8, *state_shape]`.
    """
    if base.metadata.environment == SIMPLE_MAZE:
        return embed(base, simple_maze.all_tiles())
    return embed(base, held_out_tiles(probes.HELD_OUT_PICTURES))


def embed(agent: Agent, tiles: np.ndarray) -> np.ndarray:
    """Return an agent's states of some mazes as it sees them in its own domain, `[S, ...]`."""
    metadata = agent.metadata
    observer = Observer(metadata.environment, metadata.observation, metadata.domain)
    some = next(iter(agent.parameters.values()))
    with torch.no_grad():
        pictures = observer(torch.from_numpy(tiles)).to(some.dtype)
        states: np.ndarray = networks.encode(agent.architecture, agent.parameters, pictures).numpy()
    return states


def held_out_tiles(mazes: int) -> np.ndarray:
    """Return the first held-out mazes of the labyrinth, uint8 `[mazes, 8, 8]`."""
    return probes.held_out(max(probes.HELD_OUT_TRANSITIONS, mazes)).tiles[:mazes]


def _measure_at_the_end(
    outcomes: TransferOutcomes, run: Run, bases: Sequence[Agent], thresholds: Thresholds | None
) -> None:
    """Replace the last record of the kept encoders by one on many held-out mazes."""
    tiles, limits = held_out_tiles(HELD_OUT_MAZES), thresholds or Thresholds()
    labels = outcomes.config.base_labels()
    wanted = {label: embed(base, tiles) for label, base in zip(labels, bases, strict=True)}
    for m in outcomes.kept():
        if outcomes.base[m]:
            agent = load_agent(run.checkpoint_path(str(outcomes.transfer[m])))
            found = classify_history(
                wanted[outcomes.base[m]], embed(agent, tiles)[None, None], thresholds=thresholds
            )
            kind = found.kinds[0, 0]
            if kind == "other" and outcomes.numbers["displacement"][m, -1] > limits.moving:
                kind = "unfinished"  # whether it moves, the history alone knows
            outcomes.kinds[m, -1] = kind
            for name in _NUMBERS:
                if name != "displacement":
                    outcomes.numbers[name][m, -1] = getattr(found, name)[0, 0]
