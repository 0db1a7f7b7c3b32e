"""Runs of transfers of which some begin where they should end, so that both kinds are there."""

from collections.abc import Sequence
from pathlib import Path

import torch

from crar_diag.agent import checkpoint
from crar_diag.agent.checkpoint import Checkpoint
from tests.runs import BASES, trained, transfer_config


def save_even(path: Path, seed: int) -> Path:
    """Write a shipped base model made even: it sees the same in a picture and in its inverse.

    Half of its first layer's units come again with the sign of their weights changed, and the next
    layer weighs both alike. Its transfers to the inverse begin at its own embedding.
    """
    found = checkpoint.load(BASES / f"base-seed{seed}.safetensors")
    parameters = dict(found.parameters)
    first, bias = parameters["encoder.1.weight"], parameters["encoder.1.bias"]
    second = parameters["encoder.2.weight"]
    half = len(first) // 2
    bias = bias[:half] + torch.linspace(-0.5, 0.5, half)  # without one, odd halves cancel
    parameters["encoder.1.weight"] = torch.cat([first[:half], -first[:half]])
    parameters["encoder.1.bias"] = torch.cat([bias, bias])
    parameters["encoder.2.weight"] = torch.cat([second[:, :half]] * 2, dim=1)
    checkpoint.save(Checkpoint(parameters, found.metadata), path)
    return path


def mixed_bases(folder: Path, even: Sequence[int], shipped: Sequence[int]) -> list[Path]:
    """Return even base models, whose transfers succeed, and shipped ones, whose do not at once."""
    return [save_even(folder / f"even{seed}.safetensors", seed) for seed in even] + [
        BASES / f"base-seed{seed}.safetensors" for seed in shipped
    ]


def mixed_run(folder: Path, bases: Sequence[Path], *settings: str, **options: object) -> Path:
    """Transfer base models for an instant, at a rate that leaves them about where they begin."""
    config = transfer_config(
        bases, "updates=4", "learning_rates=1e-6", *settings, seeds="0:3", **options
    )
    return trained(config, folder)
