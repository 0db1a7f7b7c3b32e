"""Which transfers and base models a study goes on with, chosen by their outcomes in its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from crar_diag.errors import InputError
from crar_diag.report.figures.selection import FAILURES, UNSETTLED, Report

FIRST: Final = "transfers"
"""Name of the run folder of a study's first transfers, those of all base models."""


@dataclass(frozen=True)
class Pair:
    """A correct and a wrong transfer of one base model.

    Attributes:
        base: label of the base model.
        correct: the transfer that has its embedding: `<run folder's name>/<its own>`.
        wrong: one that has not, in the same way.
    """

    base: str
    correct: str
    wrong: str


def outcomes(report: Report, variant: str = "original", remedied: bool = False) -> xr.Dataset:
    """Return how the transfers of a variant ended, over `transfer`.

    Args:
        report: with outcomes.
        variant: of the transfers.
        remedied: whether those with restarts or realignment are among them.

    Raises:
        InputError: the report has none.
    """
    if "outcome" not in report.names:
        raise InputError(f"report '{report.path}' has no outcomes of transfers")
    ended = report.read("outcome")
    wanted = ended.variant.values == variant
    if not remedied:
        wanted &= (ended.restarts.values == 1) & ~ended.realign.values.astype(bool)
    found = ended.isel(transfer=np.flatnonzero(wanted))
    if not found.sizes["transfer"]:
        raise InputError(f"report '{report.path}' has no transfer of the variant '{variant}'")
    return found


def pairs(report: Report) -> list[Pair]:
    """Return a pair of each base model whose transfers ended both ways.

    The correct one is the nearest to its base's embedding, of those with restarts only where no
    other is correct; the wrong one has settled, if any has, and of those the smallest transition
    loss: the best of the wrong solutions.

    Raises:
        InputError: the report has no transfers.
    """
    ended = outcomes(report, remedied=True)
    found = []
    for base in dict.fromkeys(ended.base.values.astype(str)):
        own = ended.isel(transfer=np.flatnonzero(ended.base.values == base))
        correct = np.flatnonzero(own.success.values)
        wrong = _settled(own)
        if len(correct) and len(wrong):
            order = np.lexsort((own.distance.values[correct], own.restarts.values[correct]))
            losses = own.final_loss.sel(loss="transition").values[wrong]
            best = correct[order[0]], wrong[np.argmin(losses)]
            found.append(Pair(base, *(_place(own, int(one)) for one in best)))
    return found


def pair(report: Report, number: int) -> Pair:
    """Return one of `pairs`, counted from 0.

    Raises:
        InputError: there are fewer.
    """
    found = pairs(report)
    if number >= len(found):
        names = ", ".join(one.base for one in found)
        raise InputError(
            "expected a base model with a correct and a wrong transfer"
            + (f" besides {names}, found no other" if found else ", found none")
        )
    return found[number]


def by_success(report: Report) -> list[str]:
    """Return the labels of the base models, from that whose transfers succeed most often down.

    Only the first transfers of a study count, since later ones are of chosen bases or other rates.
    Bases of equal rates are in the order of their transfers' mean distance to their embedding.

    Raises:
        InputError: the report has no transfers.
    """
    ended = outcomes(report)
    runs = [Path(str(run)).name for run in ended.run.values]
    ended = ended.isel(transfer=np.flatnonzero(np.array(runs) == FIRST))
    if not ended.sizes["transfer"]:
        raise InputError(f"report '{report.path}' has no transfers of a run '{FIRST}'")
    names = list(dict.fromkeys(ended.base.values.astype(str)))

    def worth(base: str) -> tuple[float, float]:
        own = ended.isel(transfer=np.flatnonzero(ended.base.values == base))
        return float(np.mean(own.success.values)), -float(np.nanmean(own.distance.values))

    return sorted(names, key=worth, reverse=True)


def files_of(labels: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the checkpoints of base models by their labels, which are the names of the files.

    Raises:
        InputError: there is none of such a name.
    """
    by_name = {Path(file).stem: file for file in files}
    missing = [label for label in labels if label not in by_name]
    if missing:
        raise InputError(
            f"expected a base model '{missing[0]}' among {', '.join(by_name)}, found none"
        )
    return [by_name[label] for label in labels]


def _settled(own: xr.Dataset) -> np.ndarray:
    """Return the rows of the transfers in a wrong embedding, else of those that are nowhere."""
    kinds = own.kind.values.astype(str)
    for group in (FAILURES, UNSETTLED):
        rows = np.flatnonzero(np.isin(kinds, group) & ~own.success.values)
        if len(rows):
            break
    return rows


def _place(ended: xr.Dataset, row: int) -> str:
    """Return a transfer as the name of its run's folder and its own."""
    return f"{Path(str(ended.run.values[row])).name}/{ended.transfer.values[row]}"
