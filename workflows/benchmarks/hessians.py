"""Hessians of MACE potentials by every way there is, beside mace-torch's with the same weights.

All ways take turns in one process; peak memory of each is that of a process of its own. Times are the smallest of a
few: processor time on one thread, wall time on several.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from atomsym.core import InputError
from atomsym.workflows.benchmarks.hessians_case import PEER_WAYS, SIZES, SYSTEMS, WAYS
from atomsym.workflows.benchmarks.own_process import in_own_process
from atomsym.workflows.benchmarks.potential import require_known, require_peer

PEERS = ("mace-torch",)
_CASES = "atomsym.workflows.benchmarks.hessians_case"
_RATIOS = {
    "over predicted": "predicted",
    "get_hessian over it": "mace-torch get_hessian",
    "row loop over it": "mace-torch row loop",
}


def run(
    systems: Sequence[str] = tuple(SYSTEMS),
    *,
    sizes: Sequence[str] = ("medium",),
    dtype: torch.dtype = torch.float64,
    peers: Sequence[str] | None = None,
    memory: bool = True,
) -> list[dict[str, Any]]:
    """Measure the Hessian of a molecule by each way, with torch's present number of threads.

    The weights are random ones, of mace-torch where it is measured; the Hessian head is untrained. Derivatives of our
    calculators are always in double precision.

    Args:
        systems: any of acetone (10 atoms) and mol27.
        sizes: medium (128x0e+128x1o, l ≤ 3, the model of ``atomsym benchmark potential``) or organic (the backbone and
            the head of that shipped model).
        dtype: of mace-torch, and of the predicted Hessian.
        peers: mace-torch or nothing; None: mace-torch if it is installed.
        memory: also measure peak memory.

    Returns:
        One row a size, system and way: ``ms`` and its ratios (``over predicted``: this time over that of the predicted
        Hessian; ``get_hessian over it`` and ``row loop over it``: times of mace-torch's own method and of its loop over
        rows over this one), ``deviation`` (largest difference from our derivative by rows over its largest entry; none
        for predicted ones), ``memory_mb`` (peak of a first call above the loaded model).

    Raises:
        InputError: if a name is unknown.
        MissingDependencyError: if a peer that was asked for is not installed.
        CalculationError: if a case fails.
    """
    if peers is None:
        peers = PEERS if find_spec("mace") is not None else ()
    elif "symmetrix" in peers:
        raise InputError("symmetrix has no Hessians; measure them with --peers mace-torch, or --peers ''")
    require_known({"system": (systems, tuple(SYSTEMS)), "size": (sizes, SIZES), "peer": (peers, PEERS)})
    for name in peers:
        require_peer(name)
    ways = [*WAYS, *(PEER_WAYS if peers else ())]
    rows = []
    for size in sizes:
        for system in systems:
            case = {"size": size, "system": system, "dtype": str(dtype).removeprefix("torch."), "peers": list(peers)}
            found = in_own_process(_CASES, {**case, "what": "time", "ways": ways})
            for way in ways:
                row = {"case": f"{system} {size}", "atoms": found["atoms"], "way": way, **_compared(found["ways"], way)}
                if memory:
                    row |= in_own_process(_CASES, {**case, "what": "memory", "ways": [way]})
                rows.append(row)
    return rows


def _compared(measured: dict[str, dict[str, Any]], way: str) -> dict[str, Any]:
    """Times of a way and what they are of those of others, as far as there are any."""
    own = measured[way]
    row: dict[str, Any] = {"ms": own["ms"]}
    for name, other in _RATIOS.items():
        if other in measured:
            ratio = measured[other]["ms"] / own["ms"]
            row[name] = 1 / ratio if other == "predicted" else ratio
    return row | ({"deviation": own["deviation"]} if "deviation" in own else {})
