"""Which groups the figures of landscapes, outcomes and scores are drawn from."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from crar_diag.agent.history import labelled
from crar_diag.envs.names import LABYRINTH
from crar_diag.errors import InputError, did_you_mean
from crar_diag.landscape.problem import SUM
from crar_diag.report.curvature_figure import curvature_figure
from crar_diag.report.figures.barriers import barriers_figure
from crar_diag.report.figures.landscapes import dynamics_figure
from crar_diag.report.figures.outcomes import kinds_figure, realigned_conditions, remedies_figure
from crar_diag.report.figures.selection import Choice, Found, MissingDataError, Report
from crar_diag.report.path_figure import path_figure
from crar_diag.report.plane_figure import plane_figure
from crar_diag.report.records import TRANSFERS
from crar_diag.report.score_figures import FIGURES as SCORE_FIGURES

DYNAMICS_PLANE: Final = "-dynamics-plane"
SCORES: Final = "history/scores"

MOST_SPECTRA: Final = 3
"""Panels of densities that a page has room for."""

_LANDSCAPE: Final = "crar-diag landscape A B -o report.h5"


def dynamics(report: Report, choice: Choice) -> Found:
    """Find what figure 15 shows: a plane of encoders and dynamics, the line between its ends."""
    groups = report.matching(f"plane/*{DYNAMICS_PLANE}")
    if not groups:
        raise MissingDataError(
            f"a group /plane/*{DYNAMICS_PLANE}",
            "crar-diag landscape A B --mode dynamics-plane -o report.h5",
        )
    group = _chosen(groups, choice)
    dataset = report.read(group)
    line = _line_of(report, group, dataset)
    words = {"group": group} | ({} if line is None else {"line": _line_name(group)})
    data = (dataset,) if line is None else (dataset, line)
    return Found(dynamics_figure, data, {"loss": choice.loss or SUM}, words | _loss(choice))


def surfaces(report: Report, choice: Choice) -> Found:
    """Find a plane with a frozen and an unfrozen surface."""
    groups = [
        group
        for group in report.matching("plane/*")
        if {"frozen", "unfrozen"} <= set(report.read(group).data_vars)
    ]
    if not groups:
        raise MissingDataError(
            "a group /plane/<name> with frozen and unfrozen dynamics", _LANDSCAPE
        )
    group = _chosen(groups, choice)
    options = {"loss": choice.loss or SUM}
    return Found(plane_figure, (report.read(group),), options, {"group": group} | _loss(choice))


def barriers(report: Report, choice: Choice) -> Found:
    """Find the lines between models: all, or the chosen one."""
    groups = [group for group in report.matching("line/*") if "above_line" in report.read(group)]
    if not groups:
        raise MissingDataError("a group /line/<name>", _LANDSCAPE)
    if choice.run is not None:
        groups = [_chosen(groups, choice)]
    data = tuple(report.read(group) for group in groups)
    return Found(barriers_figure, data, {}, {"group": groups})


def paths(report: Report, choice: Choice) -> Found:
    """Find the paths between two models."""
    groups = report.matching("path/*")
    if not groups:
        raise MissingDataError("a group /path/<name>", "crar-diag path A B -o report.h5")
    group = _chosen(groups, choice)
    return Found(path_figure, (report.read(group),), {}, {"group": group})


def spectra(report: Report, choice: Choice) -> Found:
    """Find the densities of eigenvalues of the first agents that have some, or of a chosen one."""
    groups = [group for group in report.matching("hessian/*") if "density" in report.read(group)]
    if not groups:
        raise MissingDataError(
            "a group /hessian/<name> with a density of eigenvalues",
            "crar-diag curvature CKPT... -o report.h5",
        )
    shown = [_chosen(groups, choice)] if choice.run is not None else groups[:MOST_SPECTRA]
    data = tuple(report.read(group) for group in shown)
    titles = [group.partition("/")[2] for group in shown]
    return Found(spectra_figure, data, {"titles": titles}, {"group": shown})


def spectra_figure(*datasets: xr.Dataset, titles: Sequence[str], title: str = "") -> Figure:
    """Draw the densities of the Hessian's eigenvalues of several agents, one below the other.

    Args:
        datasets: each a report's `hessian/<name>`.
        titles: above each panel.
        title: above all.
    """
    return curvature_figure(dict(zip(titles, datasets, strict=True)), title=title)


def kinds(report: Report, choice: Choice) -> Found:
    """Find the shares of kinds over time."""
    group = _of_run(report, "kinds", "crar-diag report RUN... -o report.h5", choice)
    return Found(kinds_figure, (report.read(group),), {}, {"group": group})


def remedies(report: Report, choice: Choice) -> Found:
    """Find what restarts are worth, and the success of transfers with realignment."""
    command = "crar-diag transfer BASE... --restarts K --out RUN, and crar-diag report RUN -o "
    group = _of_run(report, "restarts", f"{command}report.h5", choice)
    words: dict[str, Any] = {"group": group}
    data = [report.read(group)]
    rates = "statistics/rates"
    if rates in report.names and realigned_conditions(report.read(rates)):
        data.append(report.read(rates))
        words["conditions"] = realigned_conditions(report.read(rates))
    else:
        words["left out"] = "realignment, of which the report has no transfers beside plain ones"
    return Found(remedies_figure, tuple(data), {}, words)


def scores(number: int, report: Report, choice: Choice) -> Found:
    """Find the validation scores of figure 8, 10 or 18: those of a table, or of runs.

    Raises:
        MissingDataError: the report has none.
    """
    runs = [
        run
        for run in report.runs_of(TRANSFERS, LABYRINTH, "history/{}")
        if "score" in report.read(f"history/{run}")
    ]
    if choice.run is None and SCORES in report.names:
        return Found(SCORE_FIGURES[number], (report.read(SCORES),), {}, {"group": SCORES})
    if not runs:
        raise MissingDataError(
            f"a group /{SCORES}, or /history/<run> of transfers in the labyrinth with scores",
            "crar-diag scores FILE.csv -o report.h5, or crar-diag report RUN... -o report.h5",
        )
    if choice.run is not None and choice.run not in runs:
        raise InputError(
            f"expected one of the report's runs with scores, found '{choice.run}'"
            f"{did_you_mean(choice.run, runs)}",
            arguments=["run"],
        )
    shown = runs if choice.run is None else [choice.run]
    data = scores_of_runs([report.read(f"history/{run}") for run in shown])
    return Found(SCORE_FIGURES[number], (data,), {}, {"run": shown})


def scores_of_runs(histories: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the scores of transfers as `score_table.read_scores` returns those of a table.

    Of restarts the first is taken, which starts as a transfer without restarts does: which of them
    is the best, is not known while they train. Members without any score are left out.

    Args:
        histories: a report's `history/<run>` of transfers, with scores.
    """
    parts = []
    for one in histories:
        there = np.isfinite(one.score.values).any(axis=1) & (one.restart.values == 0)
        parts.append(one.isel(member=np.flatnonzero(there)))
    longest = max(one.sizes["epoch"] for one in parts)
    score = np.concatenate(
        [
            np.pad(
                one.score.values,
                ((0, 0), (0, longest - one.sizes["epoch"])),
                constant_values=np.nan,
            )
            for one in parts
        ]
    )

    def column(name: str) -> np.ndarray:
        return np.concatenate([one[name].values for one in parts])

    return xr.Dataset(
        {
            "score": labelled(("run", "epoch"), score, "validation score, reward an episode"),
            "recorded": labelled(("run", "epoch"), np.isfinite(score), "whether there is one"),
        },
        coords={
            "run": labelled(["run"], column("member"), "transfer"),
            "epoch": labelled(["epoch"], np.arange(1, longest + 1), "epoch"),
            "approach": labelled(["run"], column("variant"), "approach"),
            "base": labelled(["run"], column("base"), "base model; empty where there is none"),
            "seed": labelled(["run"], column("seed"), "seed"),
            "learning_rate": labelled(["run"], column("initial_learning_rate"), "learning rate"),
        },
    )


def _chosen(groups: Sequence[str], choice: Choice) -> str:
    """Return the group that a user chose by its name, else the first."""
    if choice.run is None:
        return groups[0]
    names = {group.partition("/")[2]: group for group in groups}
    names |= {name.removesuffix(DYNAMICS_PLANE): group for name, group in names.items()}
    if choice.run not in names:
        raise InputError(
            f"expected one of the report's comparisons, found '{choice.run}'"
            f"{did_you_mean(choice.run, names)}",
            arguments=["run"],
        )
    return names[choice.run]


def _of_run(report: Report, part: str, command: str, choice: Choice) -> str:
    """Return the group of a run: the chosen one's, or the first."""
    runs = [group.split("/")[1] for group in report.matching(f"embedding/*/{part}")]
    if not runs:
        raise MissingDataError(f"a group /embedding/<run>/{part}", command)
    if choice.run is not None and choice.run not in runs:
        raise InputError(
            f"expected one of the report's runs, found '{choice.run}'"
            f"{did_you_mean(choice.run, runs)}",
            arguments=["run"],
        )
    return f"embedding/{choice.run or runs[0]}/{part}"


def _line_name(group: str) -> str:
    return f"line/{group.partition('/')[2].removesuffix(DYNAMICS_PLANE)}"


def _line_of(report: Report, group: str, plane: xr.Dataset) -> xr.Dataset | None:
    """Return the line between a plane's ends, if the report has one of re-fitted dynamics."""
    if _line_name(group) not in report.names:
        return None
    line = report.read(_line_name(group))
    if "dynamics" not in line.dims or "unfrozen" not in line.dynamics.values:
        return None
    same = all(
        plane.attrs.get(name) == line.attrs.get(name) for name in ("sha256_a", "sha256_b", "domain")
    )
    weights = plane.weight.equals(line.weight)
    return line if same and weights else None


def _loss(choice: Choice) -> dict[str, str]:
    return {"loss": choice.loss or SUM}
