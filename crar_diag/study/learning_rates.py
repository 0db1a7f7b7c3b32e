"""The study of appendix D: six learning rates on one good base model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crar_diag.agent.presets import transfer_preset
from crar_diag.envs.names import LABYRINTH
from crar_diag.study import commands
from crar_diag.study.learning_rates_findings import RATES, findings
from crar_diag.study.recipe import Recipe, Step


@dataclass(frozen=True)
class _Sizes:
    """How much is run.

    Attributes:
        bases: base models, of which the best is taken.
        transfers: of each, to find the best.
        seeds: of each rate.
        more: further seeds at 1e-4, whose result the paper doubted.
    """

    bases: int
    transfers: int
    seeds: int
    more: int


_SIZES: Final = {
    "quick": _Sizes(bases=3, transfers=4, seeds=4, more=0),
    "paper": _Sizes(bases=6, transfers=6, seeds=6, more=6),
}
_DOUBTED: Final = 1e-4


def recipe(preset: str, environment: str = LABYRINTH, bases: Sequence[str] = ()) -> Recipe:
    """Return the study of learning rates.

    Args:
        preset: `quick` or `paper`.
        environment: of the agents; the paper's is the labyrinth.
        bases: checkpoints that take the place of base models of its own.
    """
    sizes = _SIZES[preset]
    begun = commands.begin(environment, preset, bases, sizes.bases, sizes.transfers)
    published = transfer_preset(environment, preset)
    # The transfers that find the best base model have the published rate.
    rates = [rate for rate in RATES if rate not in published["learning_rates"]]
    updates, files = int(published["updates"]), commands.files(bases, begun.count)

    def transfers(name: str, rates: Sequence[float], first: int, number: int) -> Step:
        words = ", ".join(f"{rate:g}" for rate in rates)
        return commands.transfer_chosen(
            name,
            f"the best of them at {words}, {number} times each",
            files,
            (0,),
            (
                *("--learning-rate", ",".join(f"{rate:g}" for rate in rates)),
                *("--preset", preset, "--seeds", f"{first}:{first + number}"),
            ),
            len(rates) * number,
            updates,
        )

    steps = [
        *begun.steps,
        commands.gather("report", begun.runs),
        transfers("rates", rates, 0, sizes.seeds),
    ]
    runs = [*begun.runs, f"{commands.OUT}/rates"]
    if sizes.more:
        steps.append(transfers("rates-more", [_DOUBTED], sizes.seeds, sizes.more))
        runs = [*runs, f"{commands.OUT}/rates-more"]
    steps.append(commands.gather("report-rates", runs))
    figures = ("18", "kinds") if environment == LABYRINTH else ("kinds",)
    drawing = [*map(commands.figure, figures), commands.page()]
    return Recipe("learning-rates", preset, environment, steps, findings, drawing, tuple(bases))
