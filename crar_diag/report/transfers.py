"""The outcomes of transfers as groups of a report."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.embedding import finals
from crar_diag.embedding.judgement import Judged, judge
from crar_diag.embedding.kinds import Thresholds
from crar_diag.embedding.outcome import TransferOutcomes, read_outcomes
from crar_diag.errors import InputError
from crar_diag.report.restarts import counts, restarts_of
from crar_diag.report.trajectories import kinds_over_time, trajectories
from crar_diag.report.transfer_statistics import conditions, statistics_of


@dataclass(frozen=True, eq=False)
class TransferStudy:
    """Transfers of one or more runs, judged together.

    Attributes:
        runs: those that were read from folders.
        labels: the name of each in a report.
        finals: how every transfer ended; see `embedding.finals`.
        judged: which of them succeeded.
        statistics: see `statistics_of`.
        seed: of all resampling.
    """

    runs: tuple[TransferOutcomes, ...]
    labels: tuple[str, ...]
    finals: xr.Dataset
    judged: Judged
    statistics: dict[str, xr.Dataset]
    seed: int

    def groups(self) -> dict[str, xr.Dataset]:
        """Return everything as groups of a report."""
        found = {"outcome": self._outcome(), "outcome/judgement": self._judgement()}
        found |= {f"statistics/{name}": data for name, data in self.statistics.items()}
        for label, run in zip(self.labels, self.runs, strict=True):
            found[f"embedding/{label}"] = trajectories(run)
            found[f"embedding/{label}/kinds"] = kinds_over_time(run)
        found |= {f"embedding/{label}/restarts": data for label, data in self.restarts.items()}
        return found

    @cached_property
    def restarts(self) -> dict[str, xr.Dataset]:
        """What restarts are worth, by the name of each run that has them."""
        return {
            label: restarts_of(run, self.seed)
            for label, run in zip(self.labels, self.runs, strict=True)
            if run.config.restarts > 1 and counts(run).any()
        }

    def _outcome(self) -> xr.Dataset:
        run, member = self._places()
        about = {
            "condition": (conditions(self.finals), "variant, rate and remedies"),
            "group": (self.judged.group, "group found from the data, 0 the best, -1 not grouped"),
            "success": (self.judged.success, "whether it counts as a success"),
            "states_run": (run, "run of the group /embedding/<run>/states that holds its states"),
            "states_member": (member, "the member that it is there; both empty without a run"),
        }
        return self.finals.assign(
            {
                name: labelled("transfer", values, long_name)
                for name, (values, long_name) in about.items()
            }
        )

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the run and the member of each transfer's states, `[T]` each."""
        places = [
            (label, str(member))
            for label, run in zip(self.labels, self.runs, strict=True)
            for member in run.members[run.kept()]
        ]
        checkpoints = self.finals.sizes["transfer"] - len(places)
        columns = np.array([*places, *[("", "")] * checkpoints], dtype=object).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    def _judgement(self) -> xr.Dataset:
        sets = self.judged.judgements
        nan = float("nan")
        columns = {
            "environment": ([one.environment for one in sets], "task"),
            "unfrozen": ([one.unfrozen for one in sets], "whether the dynamics moved too"),
            "measures": ([", ".join(one.measures) for one in sets], "what they were grouped by"),
            "groups": ([len(one.sizes) for one in sets], "how many groups there are"),
            "bic_groups": (
                [one.groups.bic_groups if one.groups else 0 for one in sets],
                "components that BIC chose",
            ),
            "dip": ([one.groups.dip if one.groups else nan for one in sets], "Hartigan's dip"),
            "dip_p": ([one.groups.dip_p if one.groups else nan for one in sets], "its p-value"),
            "bimodality": (
                [one.groups.bimodality if one.groups else nan for one in sets],
                "Sarle's bimodality coefficient",
            ),
            "ashman_d": (
                [
                    one.groups.separation.ashman_d if one.groups and one.groups.separation else nan
                    for one in sets
                ],
                "Ashman's D of the two least separate groups",
            ),
            "reason": ([one.reason for one in sets], "why so many groups"),
        }
        return xr.Dataset(
            {
                name: labelled("set", values, long_name)
                for name, (values, long_name) in columns.items()
            },
            coords={"set": labelled("set", np.arange(len(sets)), "set judged")},
        )


def study_transfers(
    folders: Sequence[str | Path],
    checkpoints: Sequence[str | Path] = (),
    seed: int = 0,
    thresholds: Thresholds | None = None,
    labels: Sequence[str] | None = None,
) -> TransferStudy:
    """Read transfers and say what became of them.

    Args:
        folders: of finished runs of transfers.
        checkpoints: of further transfers.
        seed: of all resampling.
        thresholds: where one kind of outcome ends and the next begins.
        labels: the name of each run in a report; `run_labels` by default.

    Raises:
        InputError: nothing is given, or a run, a checkpoint or a base model will not do.
    """
    paths = [Path(path).resolve() for path in (*folders, *checkpoints)]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"'{twice}' is given twice: its transfers would count twice")
    runs = tuple(read_outcomes(folder, thresholds) for folder in folders)
    parts = [finals.of_run(run) for run in runs]
    if checkpoints:
        parts.append(finals.of_checkpoints(checkpoints, thresholds))
    if not parts:
        raise InputError("expected a run of transfers or checkpoints of some, got none")
    together = xr.concat(parts, "transfer") if len(parts) > 1 else parts[0]
    together = _one_name_a_base(together)
    judged = judge(together)
    names = tuple(run_labels([run.path for run in runs]) if labels is None else labels)
    statistics = statistics_of(together, judged.success, seed)
    return TransferStudy(runs, names, together, judged, statistics, seed)


def _one_name_a_base(finals: xr.Dataset) -> xr.Dataset:
    """Return the same with one name for each base model, which runs gave without each other."""
    shas = finals.base_sha256.values.astype(str)
    name_of: dict[str, str] = {}
    for sha, name in zip(shas, finals.base.values.astype(str), strict=True):
        name_of.setdefault(sha, name)
    count = Counter(name_of.values())
    names = [
        name_of[sha] if count[name_of[sha]] == 1 else f"{name_of[sha]}-{sha[:8]}" for sha in shas
    ]
    return finals.assign(base=finals.base.copy(data=np.array(names, dtype=object)))


def run_labels(paths: Sequence[str | Path]) -> list[str]:
    """Return a different name for each run, fit for a group: its folder's, numbered if need be."""
    found = [re.sub(r"[^A-Za-z0-9_.,=@+-]", "-", Path(path).resolve().name) for path in paths]
    names = [name.lstrip("_.,=@+-") or "run" for name in found]
    # `/history/scores` holds the scores of a table.
    names = ["scores-run" if name == "scores" else name for name in names]
    if len(set(names)) < len(names):
        names = [f"{name}-{k}" for k, name in enumerate(names)]
    return names
