"""All studies by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crar_diag.agent.config import PRESETS
from crar_diag.envs.names import ENVIRONMENTS, LABYRINTH, SIMPLE_MAZE
from crar_diag.errors import InputError, did_you_mean, show
from crar_diag.study import labyrinth, learning_rates, simple_maze, variants
from crar_diag.study.recipe import Recipe


@dataclass(frozen=True)
class Study:
    """One study of the paper.

    Attributes:
        title: what it asks.
        recipe: makes it, from a preset, an environment and base models.
        environments: in which it makes sense, the paper's first.
    """

    title: str
    recipe: Callable[[str, str, Sequence[str]], Recipe]
    environments: tuple[str, ...]


STUDIES: Final[Mapping[str, Study]] = {
    "simple-maze": Study(
        "which transfers of the simple maze succeed, and why others fail (section 5.1)",
        simple_maze.recipe,
        (SIMPLE_MAZE,),
    ),
    "labyrinth": Study(
        "which transfers of the labyrinth succeed (sections 5.2.1 and 5.2.2)",
        labyrinth.recipe,
        (LABYRINTH,),
    ),
    "variants": Study(
        "six approaches on a good and a poor base model (section 5.2.3)",
        variants.recipe,
        (LABYRINTH, SIMPLE_MAZE),
    ),
    "learning-rates": Study(
        "six learning rates on a good base model (appendix D)",
        learning_rates.recipe,
        (LABYRINTH, SIMPLE_MAZE),
    ),
}


def build(
    study: str, preset: str, environment: str | None = None, bases: Sequence[str] = ()
) -> Recipe:
    """Return a study.

    Args:
        study: its name in `STUDIES`.
        preset: `quick` or `paper`.
        environment: of its agents; by default the paper's, but for `quick` the simple maze where
            the study makes sense there: minutes instead of a day.
        bases: checkpoints of base models that take the place of its own; two or more.

    Raises:
        InputError: an unknown name, an environment that is not the study's, or base models that
            are too few or share a file name.
    """
    if study not in STUDIES:
        raise InputError(f"unknown study {show(study)}{did_you_mean(study, STUDIES)}")
    if preset not in PRESETS:
        raise InputError(f"unknown preset {show(preset)}{did_you_mean(preset, PRESETS)}")
    possible = STUDIES[study].environments
    if environment is None:
        environment = possible[-1] if preset == "quick" else possible[0]
    if environment not in ENVIRONMENTS:
        hint = did_you_mean(environment, ENVIRONMENTS)
        raise InputError(f"unknown environment {show(environment)}{hint}")
    if environment not in possible:
        raise InputError(
            f"the study {study} is of {' or '.join(possible)}, found {show(environment)}",
            arguments=["env"],
        )
    _check_bases(bases)
    return STUDIES[study].recipe(preset, environment, bases)


def _check_bases(bases: Sequence[str]) -> None:
    if len(bases) == 1:
        raise InputError(
            "expected two base models or more, found one: nothing is known then of how they differ",
            arguments=["base"],
        )
    stems = [Path(base).stem for base in bases]
    if len({*stems}) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(
            f"expected base models in files of different names, found two '{twice}'",
            arguments=["base"],
        )
