"""The names that users write, the environments and the kinds of observation, and their checks."""

from typing import Final, Literal, get_args

from crar_diag.errors import InputError, did_you_mean

Environment = Literal["simple-maze", "labyrinth"]
SIMPLE_MAZE: Final = "simple-maze"
LABYRINTH: Final = "labyrinth"
ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)

Observation = Literal["symbolic", "pixels"]
SYMBOLIC: Final = "symbolic"
PIXELS: Final = "pixels"
OBSERVATIONS: Final[tuple[Observation, ...]] = get_args(Observation)

DEFAULT_OBSERVATION: Final[dict[Environment, Observation]] = {
    SIMPLE_MAZE: SYMBOLIC,
    LABYRINTH: PIXELS,
}
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
