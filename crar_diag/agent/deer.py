"""Networks of the DeeR code base, which the paper's authors published, as checkpoints of ours.

DeeR saves the weights of an agent as one list of arrays: encoder, Q, reward, discount, transition,
each layer's kernel and bias in turn. Keras, which it builds on, stores inputs first: kernels are
`[inputs, outputs]` and `[height, width, inputs, outputs]`, ours the other way round. Both flatten
images channels-last and put the action at the same place, so that no order within a layer changes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from crar_diag.agent import checkpoint
from crar_diag.agent.architecture import Architecture, architecture_for
from crar_diag.agent.checkpoint import Checkpoint, CheckpointMetadata
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.networks import Parameters, component_of
from crar_diag.agent.safe_joblib import read_dump
from crar_diag.agent.versions import library_versions
from crar_diag.errors import InputError

ORDER: Final = ("encoder", "q", "reward", "discount", "transition")
"""The components in a file of DeeR's."""

IMPORTED: Final = "imported"
"""The entry of a checkpoint's configuration that names the file it was made of."""

_PRECISIONS: Final = ("float32", "float64")


def import_network(
    source: str | Path,
    output: str | Path,
    *,
    environment: str,
    domain: str,
    observation: str | None = None,
    seed: int = 0,
    updates: int = 0,
) -> Checkpoint:
    """Write one of DeeR's networks as a checkpoint, atomically, and return it.

    What the file does not say, the constants and weights of the losses among it, is that of the
    published configuration (`presets`). Float32 and float64 are kept.

    Args:
        source: what DeeR saved by `joblib.dump`; it is read without running anything in it.
        output: the checkpoint; a file that is there is replaced.
        environment: `simple-maze` or `labyrinth`.
        domain: visual domain that the network was trained in.
        observation: `symbolic` or `pixels`; that of the published configuration by default.
        seed: of the network's training, as far as known.
        updates: that it was trained for, as far as known.

    Raises:
        InputError: an unknown name, a source that is no such file or does not fit the architecture,
            or an output that is the source.
        StorageError: the file system refused.
    """
    source, output = Path(source), Path(output)
    if _same(source, output):
        raise InputError(
            f"'{output}' is the file that is to be imported: expected another name for the "
            "checkpoint",
            arguments=["output"],
        )
    config = build_config(environment, domain=domain, observation=observation, seeds=(seed,))
    architecture = architecture_for(config.environment, config.observation)
    dump = read_dump(source)
    parameters = from_keras(dump.arrays, architecture, f"file '{source}'")
    precision = str(dump.arrays[0].dtype)
    configuration = config.model_copy(update={"precision": precision}).model_dump(mode="json")
    made_of = {"format": "DeeR", "file": source.name, "sha256": dump.sha256}
    metadata = CheckpointMetadata(
        environment=config.environment,
        observation=config.observation,
        domain=config.domain,
        architecture=architecture.spec(),
        configuration={**configuration, IMPORTED: made_of},
        seed=seed,
        updates=updates,
        losses={},
        versions=library_versions(),
    )
    made = Checkpoint(parameters, metadata)
    checkpoint.save(made, output)
    return made


def from_keras(arrays: Sequence[np.ndarray], architecture: Architecture, name: str) -> Parameters:
    """Return the parameters of an agent whose weights are stored as DeeR stores them.

    Args:
        arrays: kernels and biases in turn, inputs first, in the order `ORDER`.
        architecture: that they have to fit.
        name: what messages call their source.

    Raises:
        InputError: an array of another shape, precision or number, or one that is not finite; the
            sentence names the first one.
    """
    expected = keras_shapes(architecture)
    total, parameters = len(expected), {}
    for place, (parameter, shape) in enumerate(expected.items(), 1):
        what = f"{_what(parameter)}, array {place} of {total}"
        if place > len(arrays):
            raise InputError(
                f"{name} does not fit {architecture.name}: expected {what}, found {len(arrays)} "
                "arrays"
            )
        array = arrays[place - 1]
        if array.shape != shape:
            raise InputError(
                f"{name} does not fit {architecture.name}: expected {what}, of shape "
                f"{list(shape)}, found {list(array.shape)}"
            )
        _check_values(array, arrays[0].dtype, what, name)
        parameters[parameter] = torch.from_numpy(_outputs_first(array))
    if len(arrays) > total:
        raise InputError(
            f"{name} does not fit {architecture.name}: expected {total} arrays, found {len(arrays)}"
        )
    return {parameter: parameters[parameter] for parameter in architecture.shapes()}


def keras_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape that each parameter has in Keras, by our name, in the order of DeeR."""
    shapes = architecture.shapes()
    # Outputs and inputs change places; height and width come first.
    return {
        parameter: (*shape[2:], *shape[1::-1])
        for component in ORDER
        for parameter, shape in shapes.items()
        if component_of(parameter) == component
    }


def _outputs_first(array: np.ndarray) -> np.ndarray:
    """Return a kernel `[..., inputs, outputs]` as `[outputs, inputs, ...]`, a bias as it is."""
    spatial = array.ndim - 2
    if spatial < 0:
        return array
    axes = (spatial + 1, spatial, *range(spatial))
    return np.ascontiguousarray(array.transpose(axes))


def _check_values(array: np.ndarray, first: Any, what: str, name: str) -> None:
    if str(array.dtype) not in _PRECISIONS:
        raise InputError(f"{name}: expected {what}, of float32 or float64, found {array.dtype}")
    if array.dtype != first:
        raise InputError(
            f"{name}: expected all arrays of one precision, found {first} and in {what}, "
            f"{array.dtype}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name}: {what}, must be finite, is not")


def _what(parameter: str) -> str:
    layer, _, kind = parameter.rpartition(".")
    return f"the {'kernel' if kind == 'weight' else 'bias'} of '{layer}'"


def _same(source: Path, output: Path) -> bool:
    try:
        return output.exists() and source.samefile(output)
    except (OSError, ValueError):  # whatever is wrong with either, reading or writing it will tell
        return False
