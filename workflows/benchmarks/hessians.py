"""Hessians of a MACE potential by every way there is, beside mace-torch with the same weights."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.heads import HessianPotential
from atomsym.models import MACE
from atomsym.workflows.benchmarks.potential_case import settings
from atomsym.workflows.benchmarks.potential_peers import PEER_CALCULATORS, foreign_model
from atomsym.workflows.benchmarks.potential_systems import mol27
from atomsym.workflows.convert import potential_from_mace

FloatArray = NDArray[np.float64]
Way = Callable[[Atoms], FloatArray]

SYSTEMS: dict[str, Callable[[], Atoms]] = {"acetone": lambda: molecule("CH3COCH3"), "mol27": mol27}
_SIZE = {"size": "medium", "first_interaction": "residual"}
_REPEATS = 3
_LONG = 2.0  # seconds; what takes longer is timed once


def run(systems: Sequence[str] = ("acetone", "mol27"), *, dtype: torch.dtype = torch.float64) -> list[dict[str, Any]]:
    """Time the Hessian of a molecule by each method, with torch's present number of threads.

    The model is that of ``atomsym benchmark potential`` (128x0e+128x1o, l ≤ 3) with random weights; the head of the
    predicted Hessian has its default size. Derivatives of our calculators are always in double precision.

    Args:
        systems: any of acetone (10 atoms) and mol27.
        dtype: of mace-torch, and of the predicted Hessian.

    Returns:
        One row a system and method: seconds; ``over the head`` is its time over that of the predicted Hessian,
        ``speed-up over row loop`` the time of mace-torch's loop over rows over it (if installed), ``deviation`` the
        largest difference from our derivative by rows over its largest entry.
    """
    return [row for system in systems for row in _rows(system, SYSTEMS[system](), dtype)]


def _rows(system: str, atoms: Atoms, dtype: torch.dtype) -> list[dict[str, Any]]:
    ways = _ways(dtype)
    found = {name: _timed(way, atoms) for name, way in ways.items()}
    reference = found["atomsym rows"][1]
    peer = found.get("mace-torch row loop")
    rows = []
    for name, (seconds, matrix) in found.items():
        row: dict[str, Any] = {"system": system, "atoms": len(atoms), "method": name, "seconds": seconds}
        row["over the head"] = seconds / found["atomsym predicted"][0]
        if peer is not None:
            row["speed-up over row loop"] = peer[0] / seconds
        if name != "atomsym predicted":
            row["deviation"] = float(np.abs(matrix - reference).max() / np.abs(reference).max())
        rows.append(row)
    return rows


def _ways(dtype: torch.dtype) -> dict[str, Way]:
    name = str(dtype).removeprefix("torch.")
    config = settings(_SIZE)
    module = foreign_model(config, dtype) if find_spec("mace") is not None else None
    torch.manual_seed(0)
    potential = MACE(config) if module is None else potential_from_mace(module)
    exact = AtomsymCalculator(potential, dtype="float64")
    headed = HessianPotential.of("mace", potential.config).to(dtype)
    headed.backbone.load_state_dict(potential.state_dict())
    predicting = AtomsymCalculator(headed, dtype=name, hessian="predicted")
    ways: dict[str, Way] = {
        "atomsym predicted": predicting.get_hessian,
        "atomsym differences": lambda atoms: exact.get_hessian(atoms, method="finite-difference"),
        "atomsym vmap": lambda atoms: exact.get_hessian(atoms, method="vmap"),
        "atomsym rows": lambda atoms: exact.get_hessian(atoms, method="rows"),
    }
    return ways if module is None else ways | _mace_ways(module, name)


def _mace_ways(module: torch.nn.Module, dtype: str) -> dict[str, Way]:
    """mace-torch's own choice (vmap over 16 rows at a time from 22 atoms on), and its loop over rows."""
    from mace.modules import utils

    calculator: Any = PEER_CALCULATORS["mace-torch"](module, dtype, molecule("H2O"))
    vmap, loop = utils.compute_hessians_vmap, utils.compute_hessians_loop

    def by(function: Callable[..., Any]) -> Way:
        def hessian(atoms: Atoms) -> FloatArray:
            utils.compute_hessians_vmap = function
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.asarray(calculator.get_hessian(atoms=atoms))
            return found.reshape(3 * len(atoms), 3 * len(atoms))

        return hessian

    return {"mace-torch default": by(vmap), "mace-torch row loop": by(loop)}


def _timed(way: Way, atoms: Atoms) -> tuple[float, FloatArray]:
    """Smallest time of a few calls, s, and the matrix; atoms move a little between the calls."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    matrix = way(copy.deepcopy(atoms))
    best = clock() - start
    for call in range(_REPEATS if best < _LONG * _REPEATS else 1):
        moved = atoms.copy()
        moved.rattle(1e-4, seed=call)
        start = clock()
        way(moved)
        best = min(best, clock() - start)
    return best, matrix
