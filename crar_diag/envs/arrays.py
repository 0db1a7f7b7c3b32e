"""One code for NumPy arrays and torch tensors, without importing torch."""

import sys
from typing import Any, TypeVar

import numpy as np

ArrayT = TypeVar("ArrayT")
"""A NumPy array or a torch tensor: a function of one kind returns the same kind."""


def is_tensor(array: object) -> bool:
    """Tell whether `array` is a torch tensor.

    Whoever holds a tensor has imported torch, so a missing module answers no, and packages that
    only use NumPy never pay for the import.

    Args:
        array: any object.

    Returns:
        True for a torch tensor.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(array: object) -> Any:
    """Return the module whose functions take `array`.

    Args:
        array: a NumPy array or a torch tensor.

    Returns:
        `torch` for a tensor, else `numpy`. The package uses only functions, and spellings of their
        arguments (`axis`, `keepdims`), that both have.
    """
    return sys.modules["torch"] if is_tensor(array) else np


class Constant:
    """A NumPy array with a torch copy a device, each made once.

    Tables are needed at every rendered batch; copying them to an accelerator each time would cost
    more than the rendering.

    Args:
        array: the values, any shape.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._copies: dict[Any, Any] = {}

    def like(self, other: ArrayT) -> ArrayT:
        """Return the values as the kind of array that `other` is, on its device.

        Args:
            other: a NumPy array or a torch tensor, any shape.

        Returns:
            The values, in their own shape and dtype. Shared: do not write into it.
        """
        result: Any = self.array
        if is_tensor(other):
            device = other.device  # type: ignore[attr-defined]
            if device not in self._copies:
                self._copies[device] = namespace(other).asarray(self.array, device=device)
            result = self._copies[device]
        return result
