"""A case of a benchmark in a process of its own, and its peak memory there.

mace-torch changes global settings when it is imported and when a calculator is made, and the peak memory of a process
never falls; neither may touch the caller.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from atomsym.core import CalculationError

Row = dict[str, Any]


def in_own_process(module: str, case: Row) -> Row:
    """The row that ``python -m module`` prints for a case, with torch's present number of threads.

    Args:
        module: ends with ``answer_case`` where it is the main module.
        case: plain data; ``threads`` is added.

    Raises:
        CalculationError: if the process fails; the message ends with what it said last.
    """
    threads = torch.get_num_threads()
    command = [sys.executable, "-m", module, json.dumps({**case, "threads": threads})]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise CalculationError(f"the case {case} failed: {said[0]}")
    row: Row = json.loads(finished.stdout.strip().splitlines()[-1])
    return row


def answer_case(measure: Callable[[Row], Row]) -> None:
    """Measure the case of the command line and print its row as the last line."""
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mace-torch's own
        row = measure(case)
    sys.stdout.write(json.dumps(row) + "\n")


def memory_in_use() -> float:
    """Hand freed memory back and restart the record of the peak (Linux); memory in use now, MB.

    Without it, what loading a model took and gave back would hide what its use takes.
    """
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
            return _status("VmRSS")
    return peak_memory()


def peak_memory() -> float:
    """Largest memory of this process since ``memory_in_use`` (elsewhere than on Linux: ever), MB."""
    if sys.platform == "linux":
        return _status("VmHWM")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _status(entry: str) -> float:
    """An entry of this process's status, MB."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(entry + ":")) / 2**10
