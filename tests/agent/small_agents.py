"""A small agent on disk, and what the tests of its file ask of it."""

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

from crar_diag.agent.checkpoint import Checkpoint, CheckpointMetadata, load
from crar_diag.agent.sealing import CHECKPOINT, seal
from crar_diag.errors import InputError


def metadata(**changes: object) -> CheckpointMetadata:
    values = {
        "environment": "simple-maze",
        "observation": "symbolic",
        "domain": "inverse",
        "architecture": {"name": "vector", "encoder": [[64, 2], "tanh"]},
        "configuration": {"updates": 10, "optimizer": {"learning_rate": 5e-4}},
        "seed": 3,
        "updates": 10,
        "base": "base-seed0.safetensors",
        "base_sha256": "0" * 64,
        "frozen": ("transition", "q"),
        "losses": {"transition": 0.1, "q": None},
        "diverged_at": None,
        "versions": {"torch": "2.13.0"},
    }
    return CheckpointMetadata.model_validate(values | changes)


def parameters() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "encoder.0.weight": torch.randn(3, 4, generator=generator),
        "encoder.0.bias": torch.zeros(3),
        "q.0.weight": torch.randn(2, 3, generator=generator, dtype=torch.float64),
        "scale": torch.tensor(-0.0),
    }


def file_of(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(InputError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def same(left: Checkpoint, right: Checkpoint) -> bool:
    return (
        left.metadata == right.metadata
        and left.parameters.keys() == right.parameters.keys()
        and all(
            a.dtype == (b := right.parameters[name]).dtype
            and a.shape == b.shape
            and a.numpy().tobytes() == b.numpy().tobytes()
            for name, a in left.parameters.items()
        )
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abé"\\\n'), inner),
    max_leaves=8,
)


def sealed(tensors: dict[str, torch.Tensor] | None = None, **changes: object) -> bytes:
    document = {**metadata().model_dump(mode="json"), **changes}
    return seal(parameters() if tensors is None else tensors, document, CHECKPOINT)
