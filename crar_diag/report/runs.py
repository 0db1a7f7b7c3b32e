"""Runs gathered for a report: of base models and of transfers, finished ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from pydantic import ValidationError

from crar_diag.agent import checkpoint
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.config_sources import describe_error
from crar_diag.agent.history import read_history
from crar_diag.agent.run import CONFIG_NAME, HISTORY_NAME, Run, read_run
from crar_diag.embedding.kinds import Thresholds
from crar_diag.errors import InputError
from crar_diag.report.records import (
    TRANSFERS,
    config_dataset,
    history_dataset,
    kind_of,
    states_dataset,
)
from crar_diag.report.transfers import TransferStudy, run_labels, study_transfers


@dataclass(frozen=True, eq=False)
class Gathered:
    """Runs for a report.

    Attributes:
        runs: by the name of their groups.
        study: what became of the transfers among them; None where there are only base models.
    """

    runs: Mapping[str, Run]
    study: TransferStudy | None

    def groups(self) -> dict[str, xr.Dataset]:
        """Return everything as groups of a report."""
        found: dict[str, xr.Dataset] = {}
        for label, run in self.runs.items():
            history = read_history(run.history_path)
            found[f"config/{label}"] = config_dataset(run)
            found[f"history/{label}"] = history_dataset(run, history)
            found[f"embedding/{label}/states"] = states_dataset(run, history["embedding"])
        return found | ({} if self.study is None else self.study.groups())


def gather(
    folders: Sequence[str | Path], seed: int = 0, thresholds: Thresholds | None = None
) -> Gathered:
    """Read finished runs, of base models and of transfers, and judge the transfers together.

    Args:
        folders: of the runs.
        seed: of all resampling.
        thresholds: where one kind of outcome ends and the next begins.

    Raises:
        InputError: no folder, one that is given twice, is no finished run's or lacks a member, or
            a base model of a run of transfers is missing or changed.
    """
    paths = [Path(path).resolve() for path in folders]
    if not paths:
        raise InputError("expected at least one run folder, got none")
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"'{twice}' is given twice: its members would count twice")
    runs = dict(zip(run_labels(folders), map(open_run, folders), strict=True))
    transfers = {k: run for k, run in runs.items() if kind_of(run.config) == TRANSFERS}
    study = None
    if transfers:
        where = [run.path for run in transfers.values()]
        study = study_transfers(where, (), seed, thresholds, list(transfers))
    return Gathered(runs, study)


def open_run(path: str | Path) -> Run:
    """Return a finished run.

    A folder of base models with their `history.h5` and without a `run.toml`, as they are shipped,
    is one too: its configuration is the one that all of its checkpoints state.

    Raises:
        InputError: not a run's folder, a member is missing, or the run is not finished.
    """
    path = Path(path)
    if (path / HISTORY_NAME).is_file() and not (path / CONFIG_NAME).exists():
        return Run(path, _stated_config(path))
    run = read_run(path)
    if not run.finished:
        raise InputError(f"run folder '{path}' is not finished: resume it first")
    return run


def _stated_config(path: Path) -> TrainConfig:
    """Return the configuration of a folder of base models, by what its checkpoints state.

    Each states its own seed; the history tells in which order they are members.
    """
    seeds = read_history(path / HISTORY_NAME)["training"].member.values.tolist()
    files = sorted(path.glob("*.safetensors"))
    what = f"folder '{path}' has a {HISTORY_NAME} and no {CONFIG_NAME}: expected it to hold"
    if not files:
        raise InputError(f"{what} checkpoints, found none")
    stated = [checkpoint.load(file).metadata.configuration for file in files]
    for file, one in zip(files, stated, strict=True):
        if {**one, "seeds": []} != {**stated[0], "seeds": []} or "bases" in one:
            raise InputError(
                f"{what} base models of one configuration alone, found '{file.name}' of another"
            )
    try:
        config = TrainConfig.model_validate({**stated[0], "seeds": seeds})
    except ValidationError as error:
        raise InputError(describe_error(error, lambda key: f"{files[0]}: {key}")) from None
    missing = [stem for stem in config.members() if not (path / f"{stem}.safetensors").is_file()]
    if missing:
        raise InputError(f"{what} every member of that history, missing {missing[0]}.safetensors")
    return config
