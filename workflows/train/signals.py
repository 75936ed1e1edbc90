"""SIGTERM and Ctrl-C become a request to stop after the current step, so that the run can be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignals:
    """While active, the first signal is remembered and a second one interrupts at once. Handlers are put back after.

    Example:
        >>> with StopSignals() as stop:
        ...     stop()
        ''
    """

    def __init__(self) -> None:
        self._received = ""
        self._previous: dict[int, Any] = {}

    def __call__(self) -> str:
        """Name of the signal that came; empty while none has."""
        return self._received

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
