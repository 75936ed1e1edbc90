"""How much a process grows during a call."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atomsym.kernels.memory import set_recycled_limit


def peak_memory(call: Callable[[], Any]) -> int | None:
    """Bytes that the process grows by at most during the call, results included; None where Linux's counters miss.

    Memory that is kept for reuse is given back before, since it would hide what the call needs.
    """
    former = set_recycled_limit(0)
    _give_back_freed_memory()
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")
        before = _status_bytes(status, "VmRSS:")
        call()
        return _status_bytes(status, "VmHWM:") - before
    except OSError:
        return None
    finally:
        set_recycled_limit(former)


def _give_back_freed_memory() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_bytes(status: Path, key: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
