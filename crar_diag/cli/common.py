"""What the commands share: options, devices, JSON, tables."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from crar_diag.distributed.scheduler import DaskPool

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu or cuda (cuda:N for one of several).")
]
ReportOption = Annotated[
    Path | None, typer.Option("-o", "--output", help="Report (HDF5) to make or add to.")
]
ResamplingSeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of all resampling.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads; all cores by default."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on the workers of this Dask scheduler: tcp://HOST:8786.",
        show_default="on this machine",
    ),
]


def check_device_name(name: str) -> None:
    """Refuse what is no device's name, whether or not the device is here.

    Raises:
        InputError: it is neither auto nor cpu, cuda or cuda:N.
    """
    kind, colon, number = name.partition(":")
    numbered = kind == "cuda" and number.isdecimal()
    if kind not in ("auto", "cpu", "cuda") or (colon and not numbered):
        raise InputError(
            f"--device: unknown device '{name}'{did_you_mean(name, ('auto', 'cpu', 'cuda'))}"
        )


def choose_device(name: str, threads: int | None) -> "torch.device":
    """Return the device that an option names; set PyTorch's number of threads, and no TF32.

    Raises:
        InputError: an unknown or absent device.
    """
    import torch

    from crar_diag.devices import device_named

    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # see `lifting.full_precision`
    check_device_name(name)
    return device_named(name, f"--device {name}: PyTorch")


def choose_place(device: str, threads: int | None, scheduler: str | None) -> "torch.device":
    """Return the device of this process: with a scheduler the CPU, for its workers have the device.

    Raises:
        InputError: an unknown device, or one absent where it is needed; a number of threads with a
            scheduler, whose workers have their own.
    """
    if scheduler is None:
        return choose_device(device, threads)
    if threads is not None:
        raise InputError("--threads: with --scheduler each worker has its own number of threads")
    check_device_name(device)
    return choose_device("cpu", None)


@contextmanager
def dask_workers(scheduler: str) -> "Iterator[DaskPool]":
    """Yield the workers of a scheduler; say so if there are none yet.

    Raises:
        InputError: no scheduler answers there.
    """
    from crar_diag.distributed.scheduler import DaskPool

    with DaskPool(scheduler) as pool:
        if not pool.workers():
            typer.echo(
                f"crar-diag: the scheduler at '{scheduler}' has no workers yet: waiting for some",
                err=True,
            )
        yield pool


def print_json(value: Any) -> None:
    """Print one JSON object; numbers that are not finite become null."""
    typer.echo(json.dumps(_finite(value), indent=2, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned columns, as wide as their longest entry."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def size(count: float) -> str:
    """Return a number of bytes such as `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def number(value: float, form: str = ".2f") -> str:
    """Return a number with two decimals, or of another form; a dash where it is not finite."""
    return format(value, form) if math.isfinite(value) else "-"


def interval(ends: Sequence[float]) -> str:
    """Return the two ends of an interval; a dash where there is none."""
    low, high = ends
    return f"{low:.2f} to {high:.2f}" if math.isfinite(low) else "-"
