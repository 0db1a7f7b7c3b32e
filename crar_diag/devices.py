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
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        seen = f"no '{name}' among {count} CUDA devices" if count else "no CUDA device"
        raise InputError(f"{who} sees {seen}: expected 'cpu' or 'auto'")
    return device
