"""Speed and memory of a MACE potential beside mace-torch: the same weights in both calculators.

Energy, forces and stress through ASE, positions moving every step, both calculators in turns in one process; peak
memory of each in a process of its own. Times are the smallest of all steps: processor time on one thread, wall time on
several.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from atomsym.core import CalculationError, InputError, MissingDependencyError

SIZES = ("small", "medium", "large")
SYSTEM_NAMES = ("mol27", "water192", "cu108", "cu864")
PEER = "mace-torch"


def run(
    systems: Sequence[str] = SYSTEM_NAMES,
    *,
    sizes: Sequence[str] = ("medium",),
    dtype: torch.dtype = torch.float32,
    baseline: bool = True,
    memory: bool = True,
) -> list[dict[str, Any]]:
    """Measure our calculator and mace-torch's, with torch's present number of threads.

    Args:
        systems: any of mol27, water192, cu108, cu864.
        sizes: small (128 scalars), medium (and 128 vectors), large (and 128 tensors of degree 2).
        dtype: float32 or float64.
        baseline: also measure mace-torch; without it, our engine and our autograd on random weights.
        memory: also measure peak memory.

    Returns:
        One row a size and system; times in ms, memory in MB above the loaded model, forces in eV/Å,
        ``speed_up`` = mace-torch's time over ours.

    Raises:
        InputError: if a system or size is unknown.
        MissingDependencyError: if the baseline is wanted and mace-torch is not installed.
        CalculationError: if a case fails; the message ends with what it said.
    """
    for kind, given, known in (("system", systems, SYSTEM_NAMES), ("size", sizes, SIZES)):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise InputError(f"unknown {kind} '{unknown[0]}'; known: {', '.join(known)}")
    if baseline and find_spec("mace") is None:
        raise MissingDependencyError(
            "the baseline of this benchmark needs mace-torch, which is missing. Install it with: pip install mace-torch"
        )
    names = [PEER, "atomsym"] if baseline else ["atomsym", "atomsym-autograd"]
    rows = []
    for size in sizes:
        for system in systems:
            case = {"size": size, "system": system, "dtype": str(dtype).removeprefix("torch.")}
            found = _in_process({**case, "what": "time", "calculators": names})
            if memory:
                for name in names:
                    found |= _in_process({**case, "what": "memory", "calculators": [name]})
                found["memory_ratio"] = found[f"{names[-1 if not baseline else 0]}_memory_mb"] / max(
                    found["atomsym_memory_mb"], 1.0
                )
            rows.append({"case": f"{system} {size}", **case, **found})
    return rows


def _in_process(case: dict[str, Any]) -> dict[str, Any]:
    threads = torch.get_num_threads()
    command = [
        sys.executable,
        "-m",
        "atomsym.workflows.benchmarks.potential_case",
        json.dumps({**case, "threads": threads}),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise CalculationError(f"the case {case} failed: {said[0]}")
    row: dict[str, Any] = json.loads(finished.stdout.strip().splitlines()[-1])
    return row
