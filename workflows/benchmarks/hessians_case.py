"""One case of the benchmark of Hessians, in a process of its own: ``python -m`` this module with a JSON argument."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator, to_graph
from atomsym.heads import HessianHeadConfig, HessianPotential
from atomsym.inference import HessianEngine
from atomsym.models import MACE, MACEConfig
from atomsym.workflows.benchmarks.own_process import answer_case, peak_megabytes
from atomsym.workflows.benchmarks.potential_case import own_model, settings
from atomsym.workflows.benchmarks.potential_peers import PEER_CALCULATORS, foreign_model
from atomsym.workflows.benchmarks.potential_systems import mol27
from atomsym.workflows.convert import potential_from_mace

FloatArray = NDArray[np.float64]
Way = Callable[[Atoms], FloatArray]

SYSTEMS: dict[str, Callable[[], Atoms]] = {"acetone": lambda: molecule("CH3COCH3"), "mol27": mol27}
SIZES = ("medium", "organic")
BATCH = 16
BATCHED = f"predicted, {BATCH} at once"
WAYS = ("predicted", BATCHED, "finite-difference", "vmap", "rows")
PEER_WAYS = ("mace-torch get_hessian", "mace-torch row loop")

_ROUNDS, _SLOW_ROUNDS = 4, 2
_SLOW = 2.0  # seconds: what takes longer is called once a round, in fewer rounds
_SHARE = 0.3  # seconds of a round for what is faster
_MOST_CALLS = 10


def models(case: dict[str, Any]) -> tuple[MACE, HessianPotential, torch.nn.Module | None]:
    """Our potential, one with a Hessian head on it, and mace-torch's model of the same weights if it is measured."""
    config, head = _configs(case["size"])
    module = foreign_model(config, getattr(torch, case["dtype"])) if case["peers"] else None
    potential = own_model(config) if module is None else potential_from_mace(module)
    headed = HessianPotential.of("mace", potential.config, head)
    headed.backbone.load_state_dict(potential.state_dict())
    return potential, headed, module


def _configs(size: str) -> tuple[MACEConfig, HessianHeadConfig]:
    if size != "organic":
        return settings({"size": size, "first_interaction": "residual"}), HessianHeadConfig()
    shipped = cast(HessianPotential, load_model("organic"))
    config = cast(MACEConfig, shipped.backbone.config)
    # no repulsion: mace-torch does not know that of the shipped model, and it costs next to nothing
    none = (0.0,) * len(config.elements)
    bare = replace(config, repulsion="none", repulsion_end=1.0, hold_below=0.0, atomic_energies=none)
    return bare, shipped.config.head


def ways(case: dict[str, Any]) -> dict[str, Way]:
    """Makers of the Hessian of a structure, shape (3n, 3n), by the names of the case's ways."""
    potential, headed, module = models(case)
    exact = AtomsymCalculator(potential, dtype="float64")
    predicting = AtomsymCalculator(headed, dtype=case["dtype"])
    found: dict[str, Way] = {
        "predicted": lambda atoms: predicting.get_hessian(atoms, method="predicted"),  # asked so, without an energy
        BATCHED: _batched(headed),
        "finite-difference": lambda atoms: exact.get_hessian(atoms, method="finite-difference"),
        "vmap": lambda atoms: exact.get_hessian(atoms, method="vmap"),
        "rows": lambda atoms: exact.get_hessian(atoms, method="rows"),
    }
    if module is not None:
        found |= _mace_ways(module, case["dtype"])
    return {name: found[name] for name in case["ways"]}


def _batched(potential: HessianPotential) -> Way:
    """Maker of the Hessian of one of several copies whose Hessians are predicted together, by an engine of its own."""
    predictor = cast(HessianEngine, HessianEngine.of(copy.deepcopy(potential).double()))
    return lambda atoms: predictor.hessians(to_graph([atoms] * BATCH, torch.float64))[0].numpy()


def _mace_ways(module: torch.nn.Module, dtype: str) -> dict[str, Way]:
    """mace-torch's own method (vmap over 16 rows at a time from 22 atoms on), and its loop over rows."""
    from mace.modules import utils

    calculator: Any = PEER_CALCULATORS["mace-torch"](module, dtype, molecule("H2O"))

    def by(function: Callable[..., Any]) -> Way:
        def hessian(atoms: Atoms) -> FloatArray:
            utils.compute_hessians_vmap = function
            found = np.asarray(calculator.get_hessian(atoms=atoms), dtype=np.float64)
            return found.reshape(3 * len(atoms), 3 * len(atoms))

        return hessian

    return dict(zip(PEER_WAYS, map(by, (utils.compute_hessians_vmap, utils.compute_hessians_loop)), strict=True))


def measure_time(case: dict[str, Any]) -> dict[str, Any]:
    """Smallest time of a Hessian by each way, ms, and its deviation from that by rows."""
    atoms = SYSTEMS[case["system"]]()
    clock = time.process_time if case["threads"] == 1 else time.perf_counter
    times, matrices = _in_turns(ways(case), atoms, clock)
    reference = matrices["rows"]
    measured: dict[str, dict[str, Any]] = {}
    for name, matrix in matrices.items():
        measured[name] = {"ms": 1e3 * min(times[name]) / (BATCH if name == BATCHED else 1)}
        if not name.startswith("predicted"):
            measured[name]["deviation"] = float(np.abs(matrix - reference).max() / np.abs(reference).max())
    return {"atoms": len(atoms), "ways": measured}


def _in_turns(
    found: dict[str, Way], atoms: Atoms, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, FloatArray]]:
    """Seconds of each way, whose calls take turns, and the matrix of its first call; later the atoms move a little."""
    draw = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in found}
    matrices: dict[str, FloatArray] = {}
    for turn in range(_ROUNDS):
        for name, way in found.items():
            fastest = min(times[name], default=_SLOW)
            if fastest >= _SLOW and turn >= _SLOW_ROUNDS:
                continue
            for _ in range(min(max(int(_SHARE / fastest), 1), _MOST_CALLS)):
                moved = atoms.copy()
                if name in matrices:
                    moved.positions += draw.normal(0.0, 1e-4, moved.positions.shape)
                start = clock()
                matrix = way(moved)
                times[name].append(clock() - start)
                matrices.setdefault(name, matrix)
    return times, matrices


def measure_memory(case: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of a first call above that of the process with the loaded model, MB."""
    atoms = SYSTEMS[case["system"]]()
    (way,) = ways(case).values()
    return {"memory_mb": peak_megabytes(lambda: way(atoms))}


def _measure(case: dict[str, Any]) -> dict[str, Any]:
    return (measure_memory if case["what"] == "memory" else measure_time)(case)


if __name__ == "__main__":
    answer_case(_measure)
