"""From checkpoint files to agents: the file's architecture is rebuilt and checked against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crar_diag.agent import checkpoint, networks
from crar_diag.agent.architecture import Architecture, architecture_for
from crar_diag.agent.networks import Parameters
from crar_diag.agent.storage import reason
from crar_diag.errors import InputError


@dataclass(frozen=True, eq=False)
class Agent:
    """One agent with what its file says of it.

    Attributes:
        path: the file.
        parameters: by name, in the architecture's order, without a member axis.
        architecture: its layers.
        metadata: everything else in the file.
    """

    path: Path
    parameters: Parameters
    architecture: Architecture
    metadata: checkpoint.CheckpointMetadata


def load_agent(path: str | Path) -> Agent:
    """Read a checkpoint and check its parameters against its architecture.

    Raises:
        InputError: the file is not a whole checkpoint of an agent for its task; the sentence says
            what it is instead.
    """
    path = Path(path)
    found = checkpoint.load(path)
    metadata = found.metadata
    try:
        architecture = Architecture.from_spec(metadata.architecture)
    except InputError as error:
        raise InputError(f"checkpoint '{path}': {error}") from error
    expected = architecture_for(metadata.environment, metadata.observation)
    fits = (
        architecture.observation_shape == expected.observation_shape
        and architecture.actions == expected.actions
    )
    if not fits:
        raise InputError(
            f"checkpoint '{path}' has the wrong architecture for {metadata.environment}: expected "
            f"observations {expected.observation_shape} and {expected.actions} actions, found "
            f"{architecture.observation_shape} and {architecture.actions}"
        )
    checkpoint.check_shapes(found, architecture.shapes(), path)
    # A file has no order: its reader returns the parameters in another one each time.
    parameters = {name: found.parameters[name] for name in architecture.shapes()}
    _try(architecture, parameters, path)
    return Agent(path, parameters, architecture, metadata)


def _try(architecture: Architecture, parameters: Parameters, path: Path) -> None:
    """Let the agent see one empty picture: a file may describe layers that do not fit together."""
    picture = next(iter(parameters.values())).new_zeros((1, *architecture.observation_shape))
    returns = {
        "encoder": architecture.state_shape,
        "transition": architecture.state_shape,
        "reward": (1,),
        "discount": (1,),
        "q": (architecture.actions,),
    }
    inputs = {"encoder": picture}
    for component, expected in returns.items():
        try:
            with torch.no_grad():
                output = networks.apply(architecture, component, parameters, inputs[component])
        except Exception as error:  # whatever PyTorch raises, the description is at fault
            raise InputError(
                f"checkpoint '{path}': the layers of its {component} do not fit together: "
                f"{reason(error)}"
            ) from error
        if output.shape[1:] != expected:
            raise InputError(
                f"checkpoint '{path}' has the wrong architecture: expected its {component} to "
                f"return {list(expected)}, found {list(output.shape[1:])}"
            )
        if component == "encoder":
            joined = networks.join(architecture, output, torch.zeros(1, dtype=torch.int64))
            inputs |= dict.fromkeys(("transition", "reward", "discount"), joined)
            inputs["q"] = output


def load_agents(paths: Sequence[str | Path]) -> list[Agent]:
    """Read several checkpoints.

    Raises:
        InputError: see `load_agent`; or if no path is given.
    """
    if not paths:
        raise InputError("expected at least one checkpoint, got none")
    return [load_agent(path) for path in paths]
