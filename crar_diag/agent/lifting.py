"""How a function of one agent is applied to every member of a population.

Members are batched by `torch.func.vmap` or computed one after the other, whichever is faster for
the architecture on the device; the results are those of each member alone up to rounding.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.networks import Parameters

# How many pictures are held inside the encoder at once, over all members of a vmapped pass. One of
# the labyrinth takes 16 x 48 x 48 numbers there (144 KiB).
PICTURES_AT_ONCE = 1024

# Where one member is encoded after the other: as many as the cache holds.
PICTURES_IN_CACHE = 32

# An accelerator wants larger pieces, and has the memory for them.
ACCELERATOR_FACTOR = 16


def over_members(
    architecture: Architecture,
    function: Callable[..., Any],
    population: Parameters,
    *inputs: Tensor | Mapping[str, Tensor],
    members_at_once: int | None = None,
) -> Any:
    """Apply a function of one agent to every member, by `vmap` or by a loop; see `lifted`.

    Gradients flow through it, unless the caller forbids them; a loop then takes values only, by
    `networks.values_only`.

    Args:
        architecture: decides which of the two.
        function: `(parameters, *inputs)` -> a tensor or a dict of tensors.
        population: parameters `[member, ...]`.
        inputs: tensors `[member, ...]`, or dicts of them, of which each member gets its own slice.
        members_at_once: bound on the members of one `vmap` (memory); all by default.

    Returns:
        What the function returns, with a leading member axis.
    """
    some = next(iter(population.values()))
    if lifted(architecture, some.device):
        return torch.func.vmap(function, chunk_size=members_at_once)(population, *inputs)
    results = []
    for m in range(len(some)):
        # Channels-last kernels make the CPU's convolutions about a quarter faster here.
        parameters = {
            name: p[m].contiguous(memory_format=torch.channels_last) if p.dim() == 5 else p[m]
            for name, p in population.items()
        }
        with nullcontext() if torch.is_grad_enabled() else networks.values_only():
            results.append(function(parameters, *(_of_member(x, m) for x in inputs)))
    if isinstance(results[0], dict):
        return {name: torch.stack([one[name] for one in results]) for name in results[0]}
    return torch.stack(results)


def lifted(architecture: Architecture, device: torch.device) -> bool:
    """Return whether members are batched by `vmap` rather than looped over.

    Convolutions with a kernel for every member become grouped convolutions, which on a CPU run
    slower than one ordinary convolution after another; dense layers become one batched product.
    """
    return not (architecture.convolutional and device.type == "cpu")


def share(architecture: Architecture, population: Parameters, at_once: int) -> int:
    """Return how many of the rows that fit into memory at once fall to each member, at least 1.

    Args:
        architecture: the members' layers; where they are looped over, each has all of the memory.
        population: parameters `[member, ...]`, on the device that counts.
        at_once: rows that fit on a CPU.
    """
    first = next(iter(population.values()))
    if first.device.type != "cpu":
        at_once *= ACCELERATOR_FACTOR
    return max(1, at_once // len(first)) if lifted(architecture, first.device) else at_once


def pictures_at_once(architecture: Architecture, population: Parameters) -> int:
    """Return how many pictures each member encodes together.

    Args:
        architecture: the members' layers.
        population: parameters `[M, ...]`, on the device that counts.
    """
    if not lifted(architecture, next(iter(population.values())).device):
        return PICTURES_IN_CACHE
    return share(architecture, population, PICTURES_AT_ONCE)


@contextmanager
def full_precision() -> Iterator[None]:
    """Let CUDA compute convolutions in full single precision, in an order that can be repeated.

    PyTorch's own choice is TF32, with 10 bits of a number's 23, and whichever order is fastest.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and NumPy compute on one thread.

    They gain nothing from more on products as small as the simple maze's, and on a busy machine,
    where their threads wait actively for each other, the exact losses of one agent took a second
    instead of three milliseconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def _of_member(entry: Tensor | Mapping[str, Tensor], m: int) -> Tensor | dict[str, Tensor]:
    if isinstance(entry, Tensor):
        return entry[m]
    return {name: values[m] for name, values in entry.items()}
