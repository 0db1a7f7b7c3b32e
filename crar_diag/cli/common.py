"""What the commands share: options, devices, progress, JSON, tables."""

import json
import math
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from crar_diag.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch
    import xarray as xr

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

    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # see `lifting.full_precision`
    available = torch.cuda.is_available()
    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and not available:
        raise InputError(f"--device {name}: PyTorch sees no CUDA device here; use --device cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


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


_arguments: ContextVar[Sequence[str] | None] = ContextVar("arguments", default=None)


@contextmanager
def as_command(arguments: Sequence[str]) -> Iterator[None]:
    """Let the block be a command with these arguments, where one command runs another."""
    token = _arguments.set(tuple(arguments))
    try:
        yield
    finally:
        _arguments.reset(token)


def command_line() -> str:
    """Return this command as it was typed, for the provenance of what it writes."""
    arguments = _arguments.get()
    return shlex.join(["crar-diag", *(sys.argv[1:] if arguments is None else arguments)])


def add_to_report(
    output: Path,
    groups: "Mapping[str, xr.Dataset]",
    seed: int,
    device: "torch.device | str" = "cpu",
) -> None:
    """Add groups to a report, with this command as what made them."""
    from crar_diag.report import store
    from crar_diag.report.provenance import provenance

    made = provenance(command=command_line(), seeds=[seed], device=str(device))
    store.add_to_report(output, groups, made)


def check_report_place(output: Path) -> None:
    """Refuse, before any work, a file that no report can be added to.

    Raises:
        InputError: it is there and is no whole report, or its folder is not there or takes no
            files.
    """
    from crar_diag.agent.storage import reason
    from crar_diag.report.store import check_report

    if not is_folder(output.parent):
        raise InputError(f"report '{output}': there is no folder '{output.parent}'")
    try:
        output.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"report '{output}' cannot be written: {reason(error)}") from None
    else:
        check_report(output)
    check_folder(output.parent, f"report '{output}'")


def check_folder(folder: Path, what: str) -> None:
    """Refuse, before any work, a folder in which no file can be made.

    Raises:
        InputError: it is such a folder; the message begins with `what` was to be made there.
    """
    from crar_diag.agent.storage import reason

    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{what}: expected a folder that takes files, found '{folder}': {reason(error)}"
        ) from None


def duration(seconds: float) -> str:
    """Return a time such as `1 h 05 min`, `3 min 20 s` or `12 s`."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def rate(value: float) -> str:
    """Return a number a second such as `12,345`, `123` or `0.123`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(count: float) -> str:
    """Return a number of bytes such as `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event for the length of the block.

    The first one sets the event, so that the work can save and stop; a second one interrupts.
    """
    event = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class ProgressLine:
    """One line on standard error with the rate and the time left; silent if not a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the line."""
        if self._begun:
            sys.stderr.write("\n")

    def show(self, share: float, done: str, speed: float, unit: str, left: float) -> None:
        """Write the line anew.

        Args:
            share: of the work, 0 to 1, that is done.
            done: the same in words.
            speed: how many units a second, NaN while that is not known.
            unit: what is counted.
            left: seconds.
        """
        if not self._terminal:
            return
        pace = "preparing"
        if not math.isnan(speed):
            pace = f"{rate(speed)} {unit}/s, {duration(left)} left"
        text = f"{share:4.0%}  {done}, {pace}"
        # A line that a narrow terminal wraps could not be written over: the bar gives way first.
        columns = _columns() - 1
        width = min(30, columns - len(text) - 3)
        if width > 0:
            text = f"[{'#' * int(width * share):<{width}}] {text}"
        sys.stderr.write(f"\r{text[:columns]}\x1b[K")
        sys.stderr.flush()
        self._begun = True


def counting(
    line: ProgressLine, unit: str, stop: threading.Event | None = None, what: str = ""
) -> Callable[[int, int], None]:
    """Return what shows on `line` how many of all units are done.

    The rate is that since the first call, which says how many were done before.

    Args:
        line: where.
        unit: what is counted.
        stop: when it is set, the next call raises KeyboardInterrupt.
        what: is done to them, where a command does several things.
    """
    began = time.monotonic()
    before: int | None = None

    def show(done: int, total: int) -> None:
        nonlocal before
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        before = done if before is None else before
        speed = math.nan
        if done > before:
            speed = (done - before) / (time.monotonic() - began)
        words = f"{what}{': ' if what else ''}{done:,} of {total:,} {unit}"
        line.show(done / total, words, speed, unit, (total - done) / speed)

    return show


def _columns() -> int:
    """Return the width of the terminal at standard error; 80 where it does not tell."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def checkpoint_files(paths: Sequence[Path]) -> list[Path]:
    """Return checkpoint files, those of run folders among the paths included.

    Raises:
        InputError: a folder that is not a run, or one with members missing.
    """
    from crar_diag.agent.runfolder import read_run

    files: list[Path] = []
    for path in paths:
        files.extend(read_run(path).checkpoints.values() if is_folder(path) else [path])
    return files


def is_hdf5(path: Path) -> bool:
    """Tell an HDF5 file by its first bytes from everything else."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Tell a folder from everything else, what cannot be looked at included."""
    try:
        return path.is_dir()
    except OSError:
        return False
