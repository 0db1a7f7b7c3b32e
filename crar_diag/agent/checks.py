"""What several functions refuse in the same words."""

from crar_diag.agent.architecture import Architecture
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError


def check_observer(architecture: Architecture, observer: Observer, environment: str) -> None:
    """Refuse an observer of another environment or of pictures that the agents cannot see.

    Args:
        architecture: the agents' layers.
        observer: how they would see the environment.
        environment: the one that it has to show.

    Raises:
        InputError: if it shows another one, or pictures of another shape.
    """
    if observer.environment != environment:
        raise InputError(
            f"expected an observer of '{environment}', found one of '{observer.environment}'"
        )
    if observer.shape != architecture.observation_shape:
        raise InputError(
            f"the agents of '{architecture.name}' see {architecture.observation_shape}, "
            f"the observer shows {observer.shape}"
        )


def check_counts(**counts: int) -> None:
    """Refuse counts below 1.

    Args:
        counts: by the name that the user knows.

    Raises:
        InputError: for the first that is below 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be at least 1, found {count}")
