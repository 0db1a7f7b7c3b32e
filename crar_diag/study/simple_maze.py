"""The study of section 5.1: base models of the simple maze, their transfers, why some fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crar_diag.envs.names import SIMPLE_MAZE
from crar_diag.study import commands
from crar_diag.study.recipe import Recipe, Step
from crar_diag.study.simple_maze_findings import findings


@dataclass(frozen=True)
class _Sizes:
    """How much is run.

    Attributes:
        bases: base models.
        transfers: of each base model.
        remedied: transfers of each with restarts.
        restarts: encoders of each of those.
        pairs: base models for which a wrong and a correct transfer are compared.
        landscape, curvature, path: options of these commands.
        both: whether curvature is measured at the correct transfers as well.
    """

    bases: int
    transfers: int
    remedied: int
    restarts: int
    pairs: int
    landscape: tuple[str, ...]
    curvature: tuple[str, ...]
    path: tuple[str, ...]
    both: bool


_MODES: Final = ("--mode", "line,random-plane,dynamics-plane")

_SIZES: Final = {
    # In five minutes on two cores.
    "quick": _Sizes(
        bases=3,
        transfers=5,
        remedied=1,
        restarts=3,
        pairs=1,
        landscape=(*_MODES, "--points", "25", "--unfrozen-points", "9"),
        curvature=("--polish", "--dynamics", "frozen", "--probes", "20", "--steps", "50"),
        path=("--dynamics", "frozen", "--iterations", "40"),
        both=False,
    ),
    # The paper has 22 transfers of each of two base models. Six base models instead of two: with
    # two, nothing is known of how base models differ.
    "paper": _Sizes(
        bases=6,
        transfers=22,
        remedied=4,
        restarts=5,
        pairs=3,
        landscape=_MODES,
        curvature=("--polish",),
        path=(),
        both=True,
    ),
}

_FIGURES: Final = (
    *("3", "5", "6", "7", "11", "12", "13", "14", "15"),
    *("surfaces", "barriers", "paths", "spectra", "remedies"),
)


def recipe(preset: str, environment: str = SIMPLE_MAZE, bases: Sequence[str] = ()) -> Recipe:
    """Return the study of the simple maze.

    Args:
        preset: `quick` or `paper`.
        environment: of the agents.
        bases: checkpoints that take the place of base models of its own.
    """
    sizes = _SIZES[preset]
    begun = commands.begin(environment, preset, bases, sizes.bases, sizes.transfers)
    with_restarts = sizes.remedied, begun.count, sizes.restarts
    steps: list[Step] = [
        *begun.steps,
        commands.restart_bases(environment, preset, begun.sources, *with_restarts),
        commands.gather("report", [*begun.runs, commands.RESTARTS]),
    ]
    for number in range(sizes.pairs):
        steps += [
            commands.landscape_of_pair(number, sizes.landscape),
            commands.curvature_of_pair(number, sizes.curvature, sizes.both),
            commands.path_of_pair(number, sizes.path),
        ]
    kinds = commands.figure("kinds", "--run", "transfers")
    drawing = [*map(commands.figure, _FIGURES), kinds, commands.page()]
    return Recipe("simple-maze", preset, environment, steps, findings, drawing, tuple(bases))
