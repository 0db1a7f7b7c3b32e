"""One agent in one file: its parameters and what they are, in a sealed container (`sealing`)."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError, field_validator

from crar_diag.agent.config import (
    COMPONENTS,
    LOSSES,
    CountOrZero,
    FrozenModel,
    Seed,
)
from crar_diag.agent.config_sources import describe_error
from crar_diag.agent.sealing import (
    CHECKPOINT,
    FORMAT_VERSION,
    canonical_json,
    open_regular,
    seal,
    unseal,
)
from crar_diag.agent.storage import write_atomically
from crar_diag.envs.names import Environment, Observation
from crar_diag.errors import CrarDiagError, InputError

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


class CheckpointMetadata(FrozenModel):
    """What a checkpoint says about its agent.

    Attributes:
        format_version: of the file.
        environment: and `observation`, `domain`: the task that the agent was trained on.
        architecture: the name and the layer specification, as JSON; opaque here.
        configuration: of the run, as JSON; opaque here.
        seed: of the member's data, initialisation and batches.
        updates: how many updates the parameters have seen.
        base: the checkpoint that a transfer began from, and `base_sha256`, of its file.
        frozen: the components that training held fixed.
        losses: the final value of each loss; None where it was not finite.
        diverged_at: the update at which training left the finite numbers, else None.
        versions: of the libraries that made the file.
    """

    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    environment: Environment
    observation: Observation
    domain: Text
    architecture: dict[str, Any]
    configuration: dict[str, Any]
    seed: Seed
    updates: CountOrZero
    base: Text | None = None
    base_sha256: Sha256 | None = None
    frozen: tuple[str, ...] = ()
    losses: Mapping[str, float | None]
    diverged_at: CountOrZero | None = None
    versions: dict[str, str]

    @field_validator("architecture", "configuration", mode="before")
    @classmethod
    def _as_json(cls, value: Any) -> Any:
        # Once through JSON, so that tuples are lists before saving as they are after loading.
        try:
            return json.loads(canonical_json(value))
        except (TypeError, ValueError):
            raise ValueError("made of JSON values") from None

    @field_validator("frozen", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("frozen")
    @classmethod
    def _components(cls, frozen: tuple[str, ...]) -> tuple[str, ...]:
        if not set(frozen) <= set(COMPONENTS):
            raise ValueError(f"components ({', '.join(COMPONENTS)})")
        return frozen

    @field_validator("losses")
    @classmethod
    def _finite_in_order(cls, losses: Mapping[str, float | None]) -> dict[str, float | None]:
        if not losses.keys() <= set(LOSSES):
            raise ValueError(f"a table of losses ({', '.join(LOSSES)})")
        finite = {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in losses.items()
        }
        return {name: finite[name] for name in LOSSES if name in finite}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One agent.

    Attributes:
        parameters: name -> tensor [...], finite float32 or float64, without a member axis.
        metadata: what they are.
    """

    parameters: dict[str, torch.Tensor]
    metadata: CheckpointMetadata


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write `checkpoint` to `path` atomically.

    Raises:
        CrarDiagError: a parameter that `load` would refuse (not finite, not float32 or float64).
        StorageError: the file system refused.
    """
    write_atomically(path, to_bytes(checkpoint))


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the file's bytes: the same for equal agents.

    Raises:
        CrarDiagError: a parameter that `load` would refuse (not finite, not float32 or float64).
    """
    if not checkpoint.parameters:
        raise CrarDiagError("a checkpoint must hold parameters, found none")
    for name, tensor in checkpoint.parameters.items():
        if not torch.isfinite(tensor).all():
            raise CrarDiagError(f"a checkpoint must hold finite parameters, '{name}' is not")
    document = checkpoint.metadata.model_dump(mode="json")
    return seal(checkpoint.parameters, document, CHECKPOINT)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint, on the CPU.

    Raises:
        InputError: no such file, not a checkpoint, damaged, of a newer format, or with parameters
            that are not finite.
    """
    path = Path(path)
    parameters, document = unseal(path, CHECKPOINT)
    try:
        metadata = CheckpointMetadata.model_validate(document)
    except ValidationError as error:
        sentence = describe_error(error, lambda key: f"metadata entry {key!r:.60}")
        raise InputError(f"checkpoint '{path}': {sentence}") from None
    if not parameters:
        raise InputError(f"checkpoint '{path}' holds no parameters")
    for name, tensor in parameters.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"checkpoint '{path}': parameter '{name}' must be finite, is not")
    return Checkpoint(parameters, metadata)


def check_shapes(
    checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]], path: str | Path
) -> None:
    """Check that the parameters are those of the architecture that the checkpoint names.

    Args:
        checkpoint: what `load` returned.
        expected: name -> shape of every parameter that the architecture has.
        path: the file, for the message.

    Raises:
        InputError: a parameter is missing, unknown, or of another shape.
    """
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.parameters.items()}
    for name in [*expected, *sorted(found.keys() - expected.keys())]:
        shape = tuple(expected[name]) if name in expected else None
        if found.get(name) != shape:
            raise InputError(
                f"checkpoint '{path}' does not fit its architecture: expected parameter '{name}' "
                f"{_shape_text(shape)}, found it {_shape_text(found.get(name))}"
            )


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    with open_regular(path, f"file '{path}'") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
