"""The study of sections 5.2.1 and 5.2.2: base models of the labyrinth and their transfers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crar_diag.envs.names import LABYRINTH
from crar_diag.study import commands
from crar_diag.study.labyrinth_findings import findings
from crar_diag.study.recipe import Recipe


@dataclass(frozen=True)
class _Sizes:
    """How much is run: base models, transfers of each, pairs that landscapes compare."""

    bases: int
    transfers: int
    pairs: int


_SIZES: Final = {
    "quick": _Sizes(bases=2, transfers=2, pairs=0),  # too short for a correct transfer
    "paper": _Sizes(bases=6, transfers=6, pairs=1),
}
_LANDSCAPE: Final = (
    *("--mode", "line,random-plane,reward"),
    *("--points", "21", "--unfrozen-points", "9"),
)
_FIGURES: Final = ("4", "8", "9", "16", "kinds")
_OF_PAIRS: Final = ("surfaces", "barriers")


def recipe(preset: str, environment: str = LABYRINTH, bases: Sequence[str] = ()) -> Recipe:
    """Return the study of the labyrinth.

    Args:
        preset: `quick` or `paper`.
        environment: of the agents.
        bases: checkpoints that take the place of base models of its own.
    """
    sizes = _SIZES[preset]
    begun = commands.begin(environment, preset, bases, sizes.bases, sizes.transfers)
    steps = [
        *begun.steps,
        commands.gather("report", begun.runs),
        *(commands.landscape_of_pair(number, _LANDSCAPE) for number in range(sizes.pairs)),
    ]
    names = _FIGURES + (_OF_PAIRS if sizes.pairs else ())
    drawing = [*map(commands.figure, names), commands.page()]
    return Recipe("labyrinth", preset, environment, steps, findings, drawing, tuple(bases))
