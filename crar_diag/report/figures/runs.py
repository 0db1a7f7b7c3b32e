"""Which runs and members the figures of trainings and embeddings are drawn from."""

from collections.abc import Sequence
from typing import Any, Final

from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE
from crar_diag.report.figures.embeddings import (
    BASE_TIMES,
    TRANSFER_TIMES,
    beside_base_figure,
    nearest_records,
    training_figure,
    variant_figure,
)
from crar_diag.report.figures.images import MOST, images_figure
from crar_diag.report.figures.loss_curves import losses_figure
from crar_diag.report.figures.selection import (
    Candidate,
    Choice,
    Found,
    MissingDataError,
    Report,
    Slot,
    base_candidates,
    failed,
    pick,
    restrict_runs,
    successful,
    transfer_candidates,
)
from crar_diag.report.records import BASE_MODELS, TRANSFERS

STATES: Final = "embedding/{}/states"
HISTORY: Final = "history/{}"

_MAZES: Final = {SIMPLE_MAZE: "simple maze", LABYRINTH: "labyrinth"}
_TRANSFER: Final = "crar-diag transfer BASE... --out RUN, and crar-diag report RUN -o report.h5"
_RESET: Final = (
    "crar-diag transfer BASE... --variant reset-encoder --out RUN, and crar-diag report RUN -o "
    "report.h5"
)
_BASES: Final = "crar-diag report RUN_OF_BASE_MODELS -o report.h5"

SUCCESS: Final[Slot] = ("a successful transfer", successful)
FAILURE: Final[Slot] = ("a failed transfer", failed)
RESET: Final[Slot] = ("a reset-encoder transfer", lambda one: one.variant == "reset-encoder")


def base_training(report: Report, choice: Choice) -> Found:
    """Find what figure 5 shows."""
    runs = _runs(report, BASE_MODELS, SIMPLE_MAZE, STATES, choice)
    (one,) = _chosen(base_candidates(report, runs), [("a base model", bool)], choice, _BASES)
    return _training(report, one, BASE_TIMES)


def successful_training(report: Report, choice: Choice) -> Found:
    """Find what figure 6 shows."""
    (one,) = _transfers(report, SIMPLE_MAZE, STATES, [SUCCESS], choice)
    return _training(report, one, TRANSFER_TIMES)


def failed_training(report: Report, choice: Choice) -> Found:
    """Find what figure 7 shows."""
    (one,) = _transfers(report, SIMPLE_MAZE, STATES, [FAILURE], choice)
    return _training(report, one, TRANSFER_TIMES)


def base_beside_failure(report: Report, choice: Choice) -> Found:
    """Find what figure 11 shows."""
    (one,) = _transfers(report, SIMPLE_MAZE, STATES, [FAILURE], choice)
    states = report.read(STATES.format(one.run))
    return Found(beside_base_figure, (states,), {"member": one.name}, _words(one))


def losses_of_failure(report: Report, choice: Choice) -> Found:
    """Find what figure 13 shows."""
    (one,) = _transfers(report, SIMPLE_MAZE, HISTORY, [FAILURE], choice, with_base=True)
    return _losses(report, [one], ["failed transfer"])


def losses_of_both(report: Report, choice: Choice) -> Found:
    """Find what figure 16 shows."""
    slots = [SUCCESS, FAILURE]
    found = _transfers(report, LABYRINTH, HISTORY, slots, choice, with_base=True)
    return _losses(report, found, ["successful transfer", "failed transfer"])


def reset_encoder(report: Report, choice: Choice) -> Found:
    """Find what figure 17 shows."""
    (one,) = _transfers(report, SIMPLE_MAZE, STATES, [RESET], choice, _RESET)
    data = (report.read(STATES.format(one.run)), report.read(HISTORY.format(one.run)))
    return Found(variant_figure, data, {"member": one.name}, _words(one))


def images(report: Report, choice: Choice) -> Found:
    """Find what figure 9 shows: the chosen transfers, or the first one of each base model."""
    runs = _runs(report, TRANSFERS, LABYRINTH, STATES, choice)[:1]
    candidates = [one for one in transfer_candidates(report, runs) if one.base]
    labels = list(dict.fromkeys(one.base for one in candidates))[:MOST]
    slots: list[Slot] = [
        (f"a transfer of '{label}'", lambda one, label=label: one.base == label)  # type: ignore[misc]
        for label in labels
    ]
    if choice.members:
        slots = [
            (f"the transfer '{name}'", lambda one, name=name: one.name == name)  # type: ignore[misc]
            for name in choice.members
        ]
    if not slots:
        raise MissingDataError("a transfer of a base model in the labyrinth", _TRANSFER)
    shown = _chosen(candidates, slots, choice, _TRANSFER)
    states = report.read(STATES.format(runs[0]))
    words = {"run": runs[0], "member": [one.name for one in shown]}
    return Found(images_figure, (states,), {"members": words["member"]}, words)


def _runs(report: Report, kind: str, environment: str, part: str, choice: Choice) -> list[str]:
    """Return the runs among which one chooses."""
    runs = report.runs_of(kind, environment, part)
    if not runs:
        command = _BASES if kind == BASE_MODELS else "crar-diag report RUN... -o report.h5"
        group = "/" + part.format("<run>")
        raise MissingDataError(f"a group {group} of {kind} in the {_MAZES[environment]}", command)
    return restrict_runs(runs, choice)


def _transfers(
    report: Report,
    environment: str,
    part: str,
    slots: Sequence[Slot],
    choice: Choice,
    command: str = _TRANSFER,
    with_base: bool = False,
) -> list[Candidate]:
    """Return a transfer for each slot; `with_base`: rather one whose base's history is there."""
    runs = _runs(report, TRANSFERS, environment, part, choice)
    candidates = [one for one in transfer_candidates(report, runs) if one.base]
    if with_base:
        candidates.sort(key=lambda one: _find_base(report, one) is None)
    where = f" in the {_MAZES[environment]}"
    return _chosen(candidates, slots, choice, command, where)


def _chosen(
    candidates: Sequence[Candidate],
    slots: Sequence[Slot],
    choice: Choice,
    command: str,
    where: str = "",
) -> list[Candidate]:
    found = []
    for one, (words, _) in zip(pick(candidates, slots, choice), slots, strict=True):
        if one is None:
            raise MissingDataError(words + where, command)
        found.append(one)
    return found


def _training(report: Report, one: Candidate, times: Sequence[int]) -> Found:
    states = report.read(STATES.format(one.run))
    records = states.time.values[nearest_records(states.time.values, times)].tolist()
    words = {**_words(one), "updates": records}
    return Found(training_figure, (states,), {"member": one.name, "times": times}, words)


def _losses(report: Report, transfers: Sequence[Candidate], titles: Sequence[str]) -> Found:
    """Find the histories of transfers and, before them, that of the first one's base model."""
    base = _find_base(report, transfers[0])
    if base is None:
        what = f"the group /history/<run> of the base model '{transfers[0].base}'"
        raise MissingDataError(what, _BASES)
    shown = [base, *transfers]
    data = tuple(report.read(HISTORY.format(one.run)) for one in shown)
    options = {"members": [one.name for one in shown], "titles": ["base model", *titles]}
    return Found(losses_figure, data, options, _words(*shown))


def _find_base(report: Report, transfer: Candidate) -> Candidate | None:
    """Return the base model of a transfer, by the digest of its file, in a run of the report."""
    config = report.runs[transfer.run]
    sha = str(config.base_sha256.sel(base=transfer.base).values)
    for run, other in report.runs.items():
        if str(other.kind.values) == BASE_MODELS and HISTORY.format(run) in report.names:
            for name, own in zip(other.agent.values, other.checkpoint_sha256.values, strict=True):
                if own == sha:
                    return Candidate(run, str(name))
    return None


def _words(*members: Candidate) -> dict[str, Any]:
    """Return in words which members are drawn: lists where they are several."""
    columns = {
        "run": [one.run for one in members],
        "member": [one.name for one in members],
        "kind": [one.kind for one in members if one.kind],
    }
    return {
        name: values[0] if len(values) == 1 else values
        for name, values in columns.items()
        if values
    }
