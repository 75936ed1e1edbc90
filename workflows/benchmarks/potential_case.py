"""One case of the benchmark of potentials, in a process of its own: ``python -m`` this module with a JSON argument.

mace-torch changes global settings when it is imported and when a calculator is made, and the peak memory of a process
never falls; neither may touch the caller.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.models import MACE, MACEConfig
from atomsym.workflows.benchmarks.potential_systems import ELEMENTS, SYSTEMS

HIDDEN = {"small": "0e", "medium": "0e+1o", "large": "0e+1o+2e"}
"""Irreps of the features by size; 128 channels of each."""

_CUTOFF, _CHANNELS, _RADIAL, _NEIGHBORS = 5.0, 128, 10, 40.0
_BUDGET = 12.0  # seconds of timed calls


def foreign_model(size: str, dtype: torch.dtype) -> torch.nn.Module:
    """A model of mace-torch with random weights, 2 layers, l ≤ 3, correlation 3, cutoff 5 Å."""
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model: torch.nn.Module = modules.ScaleShiftMACE(
        r_max=_CUTOFF,
        num_bessel=_RADIAL,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps([(_CHANNELS, irrep) for irrep in HIDDEN[size].split("+")]),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(ELEMENTS)),
        avg_num_neighbors=_NEIGHBORS,
        atomic_numbers=list(ELEMENTS),
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    return model


def own_model(size: str) -> MACE:
    """The same architecture with random weights of our own, for runs without mace-torch in memory."""
    torch.manual_seed(0)
    energies = (0.0,) * len(ELEMENTS)
    config = MACEConfig(
        ELEMENTS, _CUTOFF, energies, _NEIGHBORS, channels=_CHANNELS, hidden=HIDDEN[size], n_radial=_RADIAL
    )
    return MACE(config)


def calculators(size: str, dtype: str, names: list[str]) -> dict[str, Calculator]:
    """Calculators by name: ``mace-torch``, ``atomsym`` (the same weights if both are wanted), ``atomsym-autograd``."""
    found: dict[str, Calculator] = {}
    potential: MACE | None = None
    if "mace-torch" in names:
        from mace.calculators import MACECalculator

        module = foreign_model(size, getattr(torch, dtype))
        if len(names) > 1:
            from atomsym.workflows.convert import potential_from_mace

            potential = potential_from_mace(module)
        found["mace-torch"] = MACECalculator(models=module, device="cpu", default_dtype=dtype)
    for name, engine in (("atomsym", "auto"), ("atomsym-autograd", "autograd")):
        if name in names:
            potential = own_model(size) if potential is None else potential
            found[name] = AtomsymCalculator(potential, dtype=dtype, engine=engine)
    return found


def stepper(atoms: Atoms, calculator: Calculator) -> Callable[[], None]:
    """One step of a dynamics: positions move, then energy, forces and, where there is a volume, stress."""
    draw, start = np.random.default_rng(1), atoms.positions.copy()
    own = atoms.copy()
    own.calc = calculator

    def step() -> None:
        own.positions[:] = start + draw.normal(scale=0.005, size=start.shape)
        own.get_potential_energy()
        own.get_forces()
        if own.pbc.all():
            own.get_stress()

    return step


def measure_time(case: dict[str, Any]) -> dict[str, Any]:
    """Interleaved times of the calculators, ms, and how far their forces are apart."""
    atoms = SYSTEMS[case["system"]]()
    found = calculators(case["size"], case["dtype"], case["calculators"])
    steps = {name: stepper(atoms, calculator) for name, calculator in found.items()}
    clock = time.process_time if case["threads"] == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    rounds, begin = 0, time.perf_counter()
    while rounds < 3 or time.perf_counter() - begin < _BUDGET:
        rounds += 1
        for name, step in steps.items():
            # A fast calculator gets more calls in a round, each after a warm one, as in a dynamics of its own.
            n_calls = 1 if name == "mace-torch" else 4
            for call in range(n_calls):
                start = clock()
                step()
                if call or n_calls == 1:
                    times[name].append(1e3 * (clock() - start))
    row: dict[str, Any] = {"atoms": len(atoms)}
    for name, values in times.items():
        row[f"{name}_ms"], row[f"{name}_median_ms"] = min(values), statistics.median(values)
    if {"mace-torch", "atomsym"} <= set(found):
        row["speed_up"] = row["mace-torch_ms"] / row["atomsym_ms"]
        theirs, ours = (found[name].get_property("forces", atoms) for name in ("mace-torch", "atomsym"))
        row["largest_force"] = float(np.abs(theirs).max())
        row["force_deviation"] = float(np.abs(ours - theirs).max())
    return row


def measure_memory(case: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of three steps above that of the process with the loaded model, MB."""
    (name,) = case["calculators"]
    calculator = calculators(case["size"], case["dtype"], [name])[name]
    step = stepper(SYSTEMS[case["system"]](), calculator)
    before = _forget_the_past()
    for _ in range(3):
        step()
    return {f"{name}_memory_mb": _peak() - before}


def _forget_the_past() -> float:
    """Hand freed memory back and restart the record of the peak (Linux); memory in use now, MB.

    Without it, what loading the model took and gave back would hide what a step takes.
    """
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
            return _status("VmRSS")
    return _peak()


def _peak() -> float:
    if sys.platform == "linux":
        return _status("VmHWM")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _status(entry: str) -> float:
    """An entry of this process's status, MB."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(entry + ":")) / 2**10


def main() -> None:
    """Run the case of the argument and print its row as the last line."""
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mace-torch's own
        row = (measure_memory if case["what"] == "memory" else measure_time)(case)
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
