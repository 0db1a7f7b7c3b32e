"""What commands show while they work, and how they are stopped: progress, durations, Ctrl-C."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self


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
