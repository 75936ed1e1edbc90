"""Long work that can be stopped in good order: by Ctrl-C, by the signal that batch systems send, or by a time limit."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console

from atomsym.core import ConfigError

EXIT_STOPPED = 75
"""Exit code of a program that was stopped and can be resumed: EX_TEMPFAIL of sysexits.h, "try again"."""
EXIT_CODES = (
    f"Exit code: 0 done, 2 wrong use, {EXIT_STOPPED} stopped (Ctrl-C, SIGTERM, time limit): `--resume FOLDER` goes on."
)

Stop = Callable[[], str | bool]
"""Asked between steps: whether to stop now; a reason in words counts as yes."""


class StoppedError(Exception):
    """Work has been left in good order because that was asked for; its text says in which stage."""


class StopRequest:
    """Gives the reason to stop: the name of a signal, "time limit", or an empty text while there is none.

    Raises:
        ConfigError: if the time limit is not positive.
    """

    def __init__(self, minutes: float | None = None) -> None:
        if minutes is not None and not minutes > 0:
            raise ConfigError(f"--max-minutes must be above 0; found {minutes}")
        self._signal = ""
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes

    def __call__(self) -> str:
        return self._signal or ("time limit" if time.monotonic() >= self._deadline else "")

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop after the present step; a second Ctrl-C stops at once. Batch systems may send SIGTERM several times."""
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = self._signal or signal.Signals(number).name


@contextmanager
def stop_requests(minutes: float | None = None) -> Iterator[StopRequest]:
    """A stop request that listens to SIGINT and SIGTERM while the block runs; handlers are put back after.

    Example:
        >>> with stop_requests() as stop:
        ...     stop()
        ''
    """
    stop = StopRequest(minutes)
    in_main = threading.current_thread() is threading.main_thread()  # only there can handlers be set
    numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
    before = {number: signal.signal(number, stop.on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable(console: Console, go_on: str, minutes: float | None = None) -> Iterator[StopRequest]:
    """``stop_requests`` for a program: a second Ctrl-C ends it at once, with the command that goes on."""
    try:
        with stop_requests(minutes) as stop:
            yield stop
    except KeyboardInterrupt:
        raise exit_stopped(console, "Interrupted", go_on) from None


def exit_stopped(console: Console, how: str, go_on: str) -> typer.Exit:
    """Tell how a program was stopped and which command goes on; the exit is to be raised."""
    console.print(f"{how}. Go on with: {go_on}", highlight=False, soft_wrap=True)
    return typer.Exit(EXIT_STOPPED)
