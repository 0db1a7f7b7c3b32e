"""The names that users write, the environments and the kinds of observation, and their checks."""

from typing import Final

from crar_diag.errors import InputError, did_you_mean

SIMPLE_MAZE: Final = "simple-maze"
LABYRINTH: Final = "labyrinth"
ENVIRONMENTS: Final = (SIMPLE_MAZE, LABYRINTH)

SYMBOLIC: Final = "symbolic"
PIXELS: Final = "pixels"
OBSERVATIONS: Final = (SYMBOLIC, PIXELS)

DEFAULT_OBSERVATION: Final = {SIMPLE_MAZE: SYMBOLIC, LABYRINTH: PIXELS}
"""The kind of observation that the paper gives to each environment's agent."""


def check_environment(name: str) -> str:
    """Return `name` if it is one of `ENVIRONMENTS`.

    Args:
        name: what the user wrote.

    Returns:
        The same name.

    Raises:
        InputError: the name is unknown.
    """
    if name not in ENVIRONMENTS:
        raise InputError(f"unknown environment '{name}'{did_you_mean(str(name), ENVIRONMENTS)}")
    return name


def check_observation(kind: str) -> str:
    """Return `kind` if it is one of `OBSERVATIONS`.

    Args:
        kind: what the user wrote.

    Returns:
        The same kind.

    Raises:
        InputError: the kind is unknown.
    """
    if kind not in OBSERVATIONS:
        raise InputError(f"unknown observation '{kind}'{did_you_mean(str(kind), OBSERVATIONS)}")
    return kind
