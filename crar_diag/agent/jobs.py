"""From any configuration of a run to its job."""

from collections.abc import Mapping

import torch

from crar_diag.agent.architecture import Architecture, architecture_for
from crar_diag.agent.bases import bases_of
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.device_memory import check_fits
from crar_diag.agent.history import History
from crar_diag.agent.job import Job, check_numbers
from crar_diag.agent.loading import Agent
from crar_diag.agent.transfer import TransferJob
from crar_diag.agent.transfer_config import TransferConfig


def job_of(
    config: TrainConfig,
    device: torch.device,
    members: slice = slice(None),
    bases: Mapping[int, Agent] | None = None,
) -> Job:
    """Return what a run of this configuration trains.

    Args:
        config: of the run.
        device: where it runs.
        members: which of its members; all by default.
        bases: of transfers, the base models of these; read from their files by default.

    Raises:
        InputError: a base model of transfers will not do.
    """
    if isinstance(config, TransferConfig):
        return TransferJob(config, device, members, bases)
    return Job(config, device, members)


def empty_history(config: TrainConfig) -> History:
    """Return a history with room for all members of a run.

    Raises:
        InputError: a base model of transfers will not do.
    """
    kind = TransferJob if isinstance(config, TransferConfig) else Job
    return kind.empty_history(config, architecture_of(config))


def architecture_of(config: TrainConfig, bases: Mapping[int, Agent] | None = None) -> Architecture:
    """Return the architecture of a run's agents; transfers have that of their base models.

    Args:
        config: of the run.
        bases: of transfers, some base models; one is read from its file by default.

    Raises:
        InputError: a base model of transfers will not do.
    """
    if not isinstance(config, TransferConfig):
        return architecture_for(config.environment, config.observation)
    (first, *_) = (bases_of(config, slice(0, 1)) if bases is None else bases).values()
    return first.architecture


def sample_of(config: TrainConfig, seeds: int, transitions: int) -> TrainConfig:
    """Return the configuration of a small part of a run, on little data."""
    few = min(config.data.transitions, transitions)
    data = config.data.model_copy(update={"transitions": few})
    return config.model_copy(update={"seeds": config.seeds[:seeds], "data": data})


def without_device(config: TrainConfig) -> TrainConfig:
    """Return a configuration as it can be asked of on a machine without the run's device."""
    if config.engine != "graphed":
        return config
    return config.model_copy(update={"engine": "auto"})


def check(config: TrainConfig, device: torch.device | str = "cpu") -> None:
    """Refuse a configuration that would fail on the way, before a run's first file is written.

    Args:
        config: of the run.
        device: where it would run.

    Raises:
        InputError: naming the key, what was expected and what was found.
    """
    check_numbers(config)
    # The parts themselves know what they cannot do; two transitions are enough to ask them.
    job = job_of(sample_of(config, 1, 2), torch.device(device))
    job.engine(None)
    architecture = job.population.architecture
    check_fits(config, architecture, config.member_count, torch.device(device))
