"""The devices that PyTorch sees in this process."""

import torch

from crar_diag.errors import InputError


def device_named(name: str, who: str = "PyTorch") -> torch.device:
    """Return a device of this process.

    Args:
        name: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        who: sees the devices, for the sentence.

    Raises:
        InputError: the device is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda":
        return torch.device(name)
    # Compared as a number first: PyTorch keeps eight bits of it.
    if not count:
        raise InputError(f"{who} sees no CUDA device: expected 'cpu' or 'auto'")
    if int(number or 0) >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise InputError(f"{who} sees no '{name}': expected {there}")
    return torch.device(f"cuda:{int(number)}" if number else "cuda")
