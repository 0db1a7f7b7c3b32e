"""The study of section 5.2.3: six approaches on a good and on a poor base model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crar_diag.agent.presets import transfer_preset
from crar_diag.envs.names import LABYRINTH
from crar_diag.study import commands
from crar_diag.study.recipe import Recipe
from crar_diag.study.variants_findings import VARIANTS, findings


@dataclass(frozen=True)
class _Sizes:
    """How much is run: base models, transfers of each to rank them, seeds of each variant."""

    bases: int
    transfers: int
    seeds: int


_SIZES: Final = {
    "quick": _Sizes(bases=3, transfers=4, seeds=4),
    "paper": _Sizes(bases=6, transfers=6, seeds=6),
}
_FIGURES: Final = {"simple-maze": ("17", "kinds"), LABYRINTH: ("10", "17", "kinds")}


def recipe(preset: str, environment: str = LABYRINTH, bases: Sequence[str] = ()) -> Recipe:
    """Return the study of variants.

    The base models whose original transfers succeed most and least often are the good and the poor
    one.

    Args:
        preset: `quick` or `paper`.
        environment: of the agents; the paper's is the labyrinth.
        bases: checkpoints that take the place of base models of its own.
    """
    sizes = _SIZES[preset]
    begun = commands.begin(environment, preset, bases, sizes.bases, sizes.transfers)
    updates = int(transfer_preset(environment, preset)["updates"])
    others = [name for name in VARIANTS if name != "original"]  # that is in the first transfers
    steps = [
        *begun.steps,
        commands.gather("report", begun.runs),
        commands.transfer_chosen(
            "variants",
            f"{len(others)} variants, {sizes.seeds} times each, on the best and the poorest",
            commands.files(bases, begun.count),
            (0, -1),
            (
                "--variant",
                ",".join(others),
                "--preset",
                preset,
                "--seeds",
                commands.seeds(sizes.seeds),
            ),
            # from scratch there is no base model
            (2 * len(others) - 1) * sizes.seeds,
            updates,
        ),
        commands.gather("report-variants", [*begun.runs, f"{commands.OUT}/variants"]),
    ]
    drawing = [*map(commands.figure, _FIGURES[environment]), commands.page()]
    return Recipe("variants", preset, environment, steps, findings, drawing, tuple(bases))
