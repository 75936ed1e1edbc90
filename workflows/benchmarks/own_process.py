"""A case of a benchmark in a process of its own, and its peak memory there.

mace-torch changes global settings when it is imported and when a calculator is made, and the peak memory of a process
never falls; neither may touch the caller.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from atomsym.core import CalculationError
from atomsym.workflows.benchmarks.peak_memory import peak_memory

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


def peak_megabytes(call: Callable[[], Any]) -> float:
    """What a call takes at most, MB; not a number where Linux's counters miss."""
    peak = peak_memory(call)
    return math.nan if peak is None else peak / 2**20
