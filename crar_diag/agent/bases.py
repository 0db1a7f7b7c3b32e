"""The base models of transfers: their files are those a run began with, and they go together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.agent.transfer_config import Transfer, TransferConfig
from crar_diag.errors import InputError


def bases_of(config: TransferConfig, members: slice = slice(None)) -> dict[int, Agent]:
    """Read the base models that some transfers of a run, or all, begin from.

    Returns:
        By position among the run's bases; see `bases_used`.

    Raises:
        InputError: see `load_bases`.
    """
    used = bases_used(config.transfers()[members])
    return dict(zip(used, load_bases(config, used), strict=True))


def bases_used(transfers: Sequence[Transfer]) -> list[int]:
    """Return the positions of the bases that transfers begin from; the first where none does."""
    return sorted({t.base for t in transfers if t.base is not None}) or [0]


def load_bases(config: TransferConfig, positions: Sequence[int] | None = None) -> list[Agent]:
    """Read base models of a run of transfers.

    Args:
        config: of the run.
        positions: which of its bases; all by default.

    Raises:
        InputError: one is missing, was changed since the run began, or is of another task or
            architecture than the run.
    """
    agents = []
    for base in config.bases if positions is None else [config.bases[k] for k in positions]:
        if not Path(base.path).is_file():
            raise InputError(
                f"base model '{base.path}' of the run is not there: run this where it is"
            )
        agent = load_agent(base.path)
        if file_sha256(base.path) != base.sha256:
            raise InputError(
                f"base model '{base.path}' is not the file that this run began with: expected "
                f"SHA-256 {base.sha256[:12]}..."
            )
        agents.append(agent)
    check_bases(agents)
    return agents


def check_bases(agents: Sequence[Agent]) -> None:
    """Refuse base models that cannot be one population.

    Raises:
        InputError: naming the first that differs from the first of all, and in what.
    """
    first = agents[0]
    for agent in agents:
        for what in ("environment", "observation", "domain"):
            here, there = getattr(agent.metadata, what), getattr(first.metadata, what)
            if here != there:
                raise InputError(
                    f"base model '{agent.path}' is of {what} '{here}', '{first.path}' of "
                    f"'{there}': the bases of one run must agree"
                )
        if agent.architecture != first.architecture or _dtype(agent) != _dtype(first):
            raise InputError(
                f"base model '{agent.path}' has another architecture or precision than "
                f"'{first.path}': the bases of one run must agree"
            )


def task_of_bases(agents: Sequence[Agent]) -> dict[str, Any]:
    """Return what the bases decide of a `TransferConfig`, by its keys.

    Raises:
        InputError: they disagree, or their configuration lacks a constant of the losses.
    """
    check_bases(agents)
    found: dict[str, Any] = {
        "environment": agents[0].metadata.environment,
        "observation": agents[0].metadata.observation,
        "precision": str(_dtype(agents[0])).removeprefix("torch."),
    }
    for key in ("discount_factor", "double_q", "pair_scale"):
        values = [agent.metadata.configuration.get(key) for agent in agents]
        for agent, value in zip(agents, values, strict=True):
            if value is None or value != values[0]:
                raise InputError(
                    f"base model '{agent.path}' was trained with {key} = {value}, "
                    f"'{agents[0].path}' with {values[0]}: the bases of one run must agree"
                )
        found[key] = values[0]
    return found


def base_files(paths: Sequence[str | Path]) -> list[dict[str, str]]:
    """Return `path` and `sha256` of base models, as a `TransferConfig` has them."""
    return [{"path": str(Path(path)), "sha256": file_sha256(path)} for path in paths]


def _dtype(agent: Agent) -> torch.dtype:
    return next(iter(agent.parameters.values())).dtype
