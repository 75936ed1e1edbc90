"""Speed and memory of a MACE potential beside mace-torch and symmetrix: the same weights in all calculators.

Energy, forces and stress through ASE, positions moving every step, the calculators in turns in one process; peak
memory of each in a process of its own. Times are the smallest of all steps: processor time on one thread, wall time on
several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from atomsym.core import InputError, MissingDependencyError
from atomsym.workflows.benchmarks.own_process import in_own_process

SIZES = ("small", "medium", "large")
SYSTEM_NAMES = ("mol27", "water192", "cu108", "cu864")
PEERS = ("mace-torch", "symmetrix")

_CASES = "atomsym.workflows.benchmarks.potential_case"
_MODULES = {
    "mace-torch": ("mace", "Install it with: pip install mace-torch"),
    "symmetrix": ("symmetrix", "Build it from https://github.com/wcwitt/symmetrix, or measure without it"),
}


def run(
    systems: Sequence[str] = SYSTEM_NAMES,
    *,
    sizes: Sequence[str] = ("medium",),
    dtype: torch.dtype = torch.float32,
    peers: Sequence[str] = ("mace-torch",),
    memory: bool = True,
) -> list[dict[str, Any]]:
    """Measure our calculator and those of the peers, with torch's present number of threads.

    Args:
        systems: any of mol27, water192, cu108, cu864.
        sizes: small (128 scalars), medium (and 128 vectors), large (and 128 tensors of degree 2).
        dtype: float32 or float64.
        peers: mace-torch, or mace-torch and symmetrix; without any, our engine and our autograd on random weights.
            symmetrix computes on one thread, and all models then have a first layer without residual, as it needs.
        memory: also measure peak memory.

    Returns:
        One row a size and system; times in ms, memory in MB above the loaded model, forces in eV/Å. For every other
        calculator ``speed_up`` and ``memory_ratio`` are its time and memory over ours, ``force_deviation`` is the
        largest difference of a force component from ours.

    Raises:
        InputError: if a system, size or peer is unknown, or symmetrix is to run beside others on several threads.
        MissingDependencyError: if a peer is not installed, or mace-torch, which makes the weights for any of them.
        CalculationError: if a case fails; the message ends with what it said.
    """
    require_known({"system": (systems, SYSTEM_NAMES), "size": (sizes, SIZES), "peer": (peers, PEERS)})
    _require_measurable(peers)
    names = [*peers, "atomsym"] if peers else ["atomsym-autograd", "atomsym"]
    first = "plain" if "symmetrix" in peers else "residual"
    models = {"dtype": str(dtype).removeprefix("torch."), "first_interaction": first}
    rows = []
    for size in sizes:
        for system in systems:
            case = {"size": size, "system": system, **models}
            found = in_own_process(_CASES, {**case, "what": "time", "calculators": names})
            if memory:
                found |= _memory(case, names)
            rows.append({"case": f"{system} {size}", **case, **found})
    return rows


def require_known(choices: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Check names given against those known, by kind.

    Raises:
        InputError: if one is not known.
    """
    for kind, (given, known) in choices.items():
        unknown = [name for name in given if name not in known]
        if unknown:
            raise InputError(f"unknown {kind} '{unknown[0]}'; known: {', '.join(known)}")


def _require_measurable(peers: Sequence[str]) -> None:
    threads = torch.get_num_threads()
    if "symmetrix" in peers and threads > 1:
        raise InputError(
            f"symmetrix computes on one thread, and {threads} are set. Compare with it on one: --threads 1"
        )
    for name in dict.fromkeys(("mace-torch", *peers) if peers else ()):
        require_peer(name)


def require_peer(name: str) -> None:
    """Check that another package is there.

    Raises:
        MissingDependencyError: if not.
    """
    module, advice = _MODULES[name]
    if find_spec(module) is None:
        raise MissingDependencyError(f"this benchmark needs {name}, which is missing. {advice}")


def _memory(case: dict[str, Any], names: Sequence[str]) -> dict[str, float]:
    """Peak memory of every calculator, and of the others over ours."""
    found: dict[str, float] = {}
    for name in names:
        found |= in_own_process(_CASES, {**case, "what": "memory", "calculators": [name]})
    ours = max(found["atomsym_memory_mb"], 1.0)
    return found | {f"{name}_memory_ratio": found[f"{name}_memory_mb"] / ours for name in names if name != "atomsym"}
