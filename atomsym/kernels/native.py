"""Finds the compiled CPU kernels: one extension module per instruction-set level, the best one wins."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

import torch

from atomsym.core.errors import BackendError

_LEVELS = {"AVX512": ("avx512", "avx2", "baseline"), "AVX2": ("avx2", "baseline")}


@cache
def cpu_extension() -> ModuleType:
    """The extension module compiled for the best instruction set that this processor runs.

    ``ATOMSYM_CPU_LEVEL`` (baseline, avx2 or avx512) asks for one by name, for tests and comparisons.

    Raises:
        BackendError: if none can be imported, or the one asked for cannot.
    """
    wanted = os.environ.get("ATOMSYM_CPU_LEVEL")
    levels = (wanted,) if wanted else _LEVELS.get(torch.backends.cpu.get_cpu_capability(), ("baseline",))
    reasons = []
    for level in levels:
        try:
            return importlib.import_module(f"atomsym.kernels.cpu._{level}")
        except ImportError as error:
            reasons.append(f"{level}: {error}")
    raise BackendError(
        "the compiled CPU kernels cannot be imported (" + "; ".join(reasons) + "). "
        "Reinstall atomsym, or ask for backend='reference'"
    )


def cpu_level() -> str:
    """Name of the instruction-set level in use: baseline, avx2 or avx512."""
    return cpu_extension().__name__.rsplit("._", 1)[1]


def cpu_reason() -> str | None:
    """None if the compiled CPU kernels can be used, else why not."""
    try:
        cpu_extension()
    except BackendError as error:
        return str(error)
    return None


def n_threads() -> int:
    """Threads that a CPU kernel may use: torch's own setting, so that ``torch.set_num_threads`` governs both."""
    return torch.get_num_threads()
