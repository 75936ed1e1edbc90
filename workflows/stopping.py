"""Programs that can be stopped in good order: by a time limit, Ctrl-C or the signal that batch systems send."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from atomsym.core import ConfigError

EXIT_UNFINISHED = 3
"""Exit code of a program that has not reached its end, but can be resumed."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

Stop = Callable[[], bool]


class StopRequest:
    """Says yes when the time is over or a signal has come.

    Attributes:
        by_user: whether it was Ctrl-C.
    """

    def __init__(self, minutes: float | None) -> None:
        if minutes is not None and not minutes > 0:
            raise ConfigError(f"--max-minutes must be above 0; found {minutes}")
        self.by_user = False
        self._asked = False
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes

    def __call__(self) -> bool:
        return self._asked or time.monotonic() >= self._deadline

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop after the present step; a second Ctrl-C stops at once."""
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked, self.by_user = True, number == signal.SIGINT


@contextmanager
def stop_requests(minutes: float | None) -> Iterator[StopRequest]:
    """A stop request that listens to SIGINT and SIGTERM while the block runs."""
    stop = StopRequest(minutes)
    before = {number: signal.signal(number, stop.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
