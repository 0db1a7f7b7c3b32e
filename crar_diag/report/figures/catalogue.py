"""All figures: what each is called, which groups of a report it needs, and how it is found.

entry = entry_of("6")
figure = find("6", Report("report.h5"), Choice(run="original")).draw()
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from crar_diag.envs.names import LABYRINTH, SIMPLE_MAZE
from crar_diag.errors import InputError, did_you_mean, show
from crar_diag.report.figures import comparisons, runs
from crar_diag.report.figures.mazes import maze_pictures, pictures_figure
from crar_diag.report.figures.selection import Choice, Found, MissingDataError, Report
from crar_diag.report.figures.worked_example import worked_example
from crar_diag.report.figures.worked_example_figures import mismatch_figure, swapped_figure
from crar_diag.report.score_figures import FIGURES as SCORE_FIGURES

_REPORT: Final = "crar-diag report RUN... -o report.h5"
_LANDSCAPE: Final = "crar-diag landscape A B -o report.h5"
_SCORES: Final = "crar-diag scores FILE.csv -o report.h5, or " + _REPORT


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes:
        title: what it shows.
        find: finds what it is drawn from in a report.
        needs: the groups, in words; empty where it needs no report.
        command: that makes them.
        options: the attributes of a `Choice` that it heeds.
    """

    title: str
    find: Callable[[Report, Choice], Found]
    needs: str = ""
    command: str = ""
    options: frozenset[str] = frozenset()


def _maze(environment: str, report: Report | None, choice: Choice) -> Found:
    seed = choice.seed or 0
    words = {"environment": environment} | ({"seed": seed} if environment == LABYRINTH else {})
    return Found(pictures_figure, (maze_pictures(environment, seed=seed),), {}, words)


def _swapped(report: Report | None, choice: Choice) -> Found:
    return Found(swapped_figure, (worked_example(),))


def _mismatch(report: Report | None, choice: Choice) -> Found:
    return Found(mismatch_figure, (worked_example(),))


_MEMBER: Final = frozenset({"run", "members"})
_RUN: Final = frozenset({"run"})
_LOSS: Final = frozenset({"run", "loss"})
_STATES: Final = "/config/<run>, /embedding/<run>/states"
_ENDED: Final = f"{_STATES}, /embedding/<run>"
_HISTORIES: Final = "/config/<run>, /embedding/<run>, /history/<run> of transfers and of their base"

ENTRIES: Final[Mapping[str, Entry]] = {
    "3": Entry("the simple maze and its inverse", partial(_maze, SIMPLE_MAZE)),
    "4": Entry(
        "the labyrinth and its inverse", partial(_maze, LABYRINTH), options=frozenset({"seed"})
    ),
    "5": Entry(
        "embedding of a base model during training", runs.base_training, _STATES, _REPORT, _MEMBER
    ),
    "6": Entry(
        "embedding of a successful transfer during training",
        *(runs.successful_training, _ENDED, _REPORT, _MEMBER),
    ),
    "7": Entry(
        "embedding of a failing transfer during training",
        *(runs.failed_training, _ENDED, _REPORT, _MEMBER),
    ),
    "8": Entry(
        "scores by base model and by seed",
        *(partial(comparisons.scores, 8), "/history/scores, or /history/<run>", _SCORES, _RUN),
    ),
    "9": Entry(
        "states of base models above those of their transfers",
        *(runs.images, f"{_ENDED} of the labyrinth", _REPORT, _MEMBER),
    ),
    "10": Entry(
        "scores of approaches on a good and a poor base model",
        *(partial(comparisons.scores, 10), "/history/scores, or /history/<run>", _SCORES, _RUN),
    ),
    "11": Entry(
        "embedding of a base model beside that of a failed transfer",
        *(runs.base_beside_failure, _ENDED, _REPORT, _MEMBER),
    ),
    "12": Entry("worked example: an encoder on a picture and on its inverse", _swapped),
    "13": Entry(
        "losses of a base model and of a failed transfer",
        *(runs.losses_of_failure, _HISTORIES, _REPORT, _MEMBER),
    ),
    "14": Entry("worked example: predicted against expected next embedding", _mismatch),
    "15": Entry(
        "loss over encoders and dynamics, and the slice where these are frozen",
        comparisons.dynamics,
        f"/plane/*{comparisons.DYNAMICS_PLANE}",
        "crar-diag landscape A B --mode dynamics-plane -o report.h5",
        _LOSS,
    ),
    "16": Entry(
        "losses of a base model, a successful and a failed transfer in the labyrinth",
        *(runs.losses_of_both, f"{_HISTORIES}, of the labyrinth", _REPORT, _MEMBER),
    ),
    "17": Entry(
        "a transfer with its encoder reset: embedding beside its base's, and losses",
        *(runs.reset_encoder, f"{_ENDED}, /history/<run>", _REPORT, _MEMBER),
    ),
    "18": Entry(
        "scores by learning rate and by seed",
        *(partial(comparisons.scores, 18), "/history/scores, or /history/<run>", _SCORES, _RUN),
    ),
    "surfaces": Entry(
        "a loss over a plane with frozen and with re-fitted dynamics",
        *(comparisons.surfaces, "/plane/<name>", _LANDSCAPE, _LOSS),
    ),
    "barriers": Entry(
        "barrier of every loss, with frozen and with re-fitted dynamics",
        *(comparisons.barriers, "/line/<name>", _LANDSCAPE, _RUN),
    ),
    "paths": Entry(
        "minimum-loss path and straight segment between two models, and a rotation",
        *(comparisons.paths, "/path/<name>", "crar-diag path A B -o report.h5", _RUN),
    ),
    "spectra": Entry(
        "densities of the Hessian's eigenvalues, dynamics frozen and unfrozen",
        *(comparisons.spectra, "/hessian/<name>", "crar-diag curvature CKPT... -o report.h5", _RUN),
    ),
    "kinds": Entry(
        "kinds of outcome over time, and their shares",
        *(comparisons.kinds, "/embedding/<run>/kinds", _REPORT, _RUN),
    ),
    "remedies": Entry(
        "success with restarts and with realignment",
        *(comparisons.remedies, "/embedding/<run>/restarts", _REPORT, _RUN),
    ),
}
"""The figures by name: the paper's have their numbers there."""


def entry_of(name: str) -> Entry:
    """Return a figure by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name in ENTRIES:
        return ENTRIES[name]
    words = [key for key in ENTRIES if not key.isdecimal()]
    hint = did_you_mean(name, words)
    if "did you mean" not in hint:
        hint = f" (choose from 3 to 18, {', '.join(words)})"
    raise InputError(f"there is no figure {show(name)}{hint}")


def find(name: str, report: Report | None, choice: Choice | None = None) -> Found:
    """Find what a figure is drawn from.

    Args:
        name: of the figure.
        report: that it is drawn from; some need none.
        choice: what is drawn where several things could be; the first that fits by default.

    Raises:
        InputError: there is no such figure, it has no use for something in the choice, or the
            report lacks what it needs; the sentence says which command would make it.
    """
    entry, chosen = entry_of(name), choice or Choice()
    for option in ("run", "members", "loss", "seed"):
        given = getattr(chosen, option) not in (None, ())
        if given and option not in entry.options:
            argument = option.removesuffix("s") if option == "members" else option
            raise InputError(f"figure {name} leaves no such choice", arguments=[argument])
    if entry.needs and report is None:
        raise InputError(f"figure {name} is drawn from a report: give one", arguments=["from"])
    try:
        return entry.find(report, chosen)  # type: ignore[arg-type]
    except MissingDataError as error:
        raise InputError(f"figure {name} needs {error.what}: make it by {error.command}") from None


def available(report: Report) -> dict[str, str]:
    """Return for each figure what a report lacks for it, in a sentence; empty where it has all."""
    missing = {}
    for name in ENTRIES:
        try:
            found = find(name, report)
            if found.figure in SCORE_FIGURES.values():
                found.draw()  # whether runs differ in what it compares, only drawing tells
            missing[name] = ""
        except InputError as error:
            missing[name] = str(error)
    return missing
