"""Scored runs, judged together: outcomes, tables and the base's effect as groups of a report."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.report.score_outcomes import LAST_EPOCHS, ScoreOutcomes, judge_scores
from crar_diag.report.score_statistics import score_effects, score_tables
from crar_diag.report.score_table import read_scores


@dataclass(frozen=True, eq=False)
class ScoreStudy:
    """The scores of M runs and what they say.

    Attributes:
        history: scores over epochs; see `score_table.read_scores`.
        outcomes: what became of each run.
        tables: by approach, learning rate, base and seed; see `score_statistics.score_tables`.
        effects: of the base model; see `score_statistics.score_effects`.
    """

    history: xr.Dataset
    outcomes: ScoreOutcomes
    tables: dict[str, xr.Dataset]
    effects: xr.Dataset

    def groups(self) -> dict[str, xr.Dataset]:
        """Return everything as groups of a report, `history/scores` and in `statistics/scores`.

        The latter itself is left to the scores of transfers that `report.transfers` has read.
        """
        return {
            "history/scores": self.history,
            "statistics/scores/runs": self._outcomes(),
            **{f"statistics/scores/by_{name}": table for name, table in self.tables.items()},
            "statistics/scores/base_effect": self.effects,
        }

    def _outcomes(self) -> xr.Dataset:
        found = self.outcomes
        columns: dict[str, tuple[Any, str]] = {
            "final_score": (found.score, "mean of the last scores, reward an episode"),
            "outcome": (found.outcome, "success, failure, unfinished or undecided"),
            "why": (found.why, "why a run is unfinished"),
            "complete": (found.complete, "whether it came to its end"),
            "scored_epochs": (found.scored, "epochs with a score"),
            "expected_epochs": (found.expected, "epochs of its approach and rate"),
        }
        coords = {name: self.history[name] for name in self.history.coords if name != "epoch"}
        return xr.Dataset(
            {name: labelled(["run"], values, text) for name, (values, text) in columns.items()},
            coords=coords,
            attrs={
                "last_epochs": found.last,
                "groups": found.groups.groups if found.groups else 0,
                "reason": found.reason,
                **(vars(found.bands) if found.bands else {}),
            },
        )

    def notes(self) -> list[str]:
        """Return what a reader has to know of the runs, in sentences."""
        found, notes = self.outcomes, []
        lengths = sorted(set(found.expected.tolist()))
        if len(lengths) > 1:
            notes.append(
                f"approaches and rates have different lengths: {lengths[0]} to {lengths[-1]} epochs"
            )
        without = ~found.complete
        if without.any():
            notes.append(
                f"{_runs(without)} without a final score: unfinished, and in no rate or mean "
                f"({_counted(found.why[without])})"
            )
        gaps = found.complete & (found.scored < found.expected)
        if gaps.any():
            notes.append(
                f"{_runs(gaps)} without a score at some epochs before the last {found.last}: "
                f"{', '.join(self.history.run.values[gaps].tolist())}"
            )
        if ignored := str(self.history.attrs.get("ignored_columns", "")):
            notes.append(f"columns that are not used: {ignored}")
        return notes


def study_scores(path: str | Path, *, last: int = LAST_EPOCHS, seed: int = 0) -> ScoreStudy:
    """Read the scores of runs and say what became of them.

    Args:
        path: a CSV file; see `score_table`.
        last: over how many epochs at its end a run's score is averaged.
        seed: of all resampling.

    Raises:
        InputError: no such file, or a value in it will not do; or `last` is below 1.
    """
    history = read_scores(path)
    outcomes = judge_scores(history, last)
    return ScoreStudy(
        history,
        outcomes,
        score_tables(history, outcomes, seed),
        score_effects(history, outcomes, seed),
    )


def _runs(chosen: np.ndarray) -> str:
    count = int(chosen.sum())
    return f"{count} run{'s' if count > 1 else ''}"


def _counted(reasons: np.ndarray) -> str:
    counts = Counter(map(str, reasons))
    return ", ".join(f"{text}: {n}" if n > 1 else text for text, n in counts.items())
