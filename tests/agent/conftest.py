"""Fixtures that the tests of sealed files share."""

from pathlib import Path

import pytest

from crar_diag.agent.checkpoint import Checkpoint, to_bytes
from tests.agent.small_agents import metadata, parameters


@pytest.fixture(scope="module")
def content() -> bytes:
    return to_bytes(Checkpoint(parameters(), metadata()))


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "agent.safetensors"
