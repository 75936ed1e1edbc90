"""One case of the benchmark of potentials, in a process of its own: ``python -m`` this module with a JSON argument."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.models import MACE, MACEConfig
from atomsym.workflows.benchmarks.own_process import answer_case, peak_megabytes
from atomsym.workflows.benchmarks.potential_peers import PEER_CALCULATORS, foreign_model
from atomsym.workflows.benchmarks.potential_systems import ELEMENTS, SYSTEMS
from atomsym.workflows.convert import potential_from_mace

HIDDEN = {"small": "0e", "medium": "0e+1o", "large": "0e+1o+2e"}
"""Irreps of the features by size; 128 channels of each."""

_CUTOFF, _CHANNELS, _RADIAL, _NEIGHBORS = 5.0, 128, 10, 40.0
_BUDGET = 12.0  # seconds of timed calls
_ENGINES = {"atomsym": "auto", "atomsym-autograd": "autograd"}


def settings(case: dict[str, Any]) -> MACEConfig:
    """Of the models of a case: 2 layers, l ≤ 3, correlation 3, cutoff 5 Å."""
    return MACEConfig(
        ELEMENTS,
        _CUTOFF,
        (0.0,) * len(ELEMENTS),
        _NEIGHBORS,
        channels=_CHANNELS,
        hidden=HIDDEN[case["size"]],
        n_radial=_RADIAL,
        first_interaction=case["first_interaction"],
    )


def own_model(config: MACEConfig) -> MACE:
    """A model with random weights of our own, for runs without mace-torch in memory."""
    torch.manual_seed(0)
    return MACE(config)


def calculators(case: dict[str, Any], atoms: Atoms) -> dict[str, Calculator]:
    """The calculators of a case by name, with the same weights: mace-torch's, if a peer is among them."""
    config, dtype, names = settings(case), case["dtype"], case["calculators"]
    found: dict[str, Calculator] = {}
    if set(names) <= set(_ENGINES):
        potential = own_model(config)
    else:
        module = foreign_model(config, getattr(torch, dtype))
        potential = potential_from_mace(module)
        found = {name: make(module, dtype, atoms) for name, make in PEER_CALCULATORS.items() if name in names}
    for name in names:
        if name in _ENGINES:
            found[name] = AtomsymCalculator(potential, dtype=dtype, engine=_ENGINES[name])
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
    """Interleaved times of the calculators, ms, and how far the forces of the others are from ours."""
    atoms = SYSTEMS[case["system"]]()
    found = calculators(case, atoms)
    times = _interleaved({name: stepper(atoms, calculator) for name, calculator in found.items()}, case["threads"])
    row: dict[str, Any] = {"atoms": len(atoms)}
    for name, values in times.items():
        row[f"{name}_ms"], row[f"{name}_median_ms"] = min(values), statistics.median(values)
    forces = {name: calculator.get_property("forces", atoms) for name, calculator in found.items()}
    ours = forces.pop("atomsym")
    row["largest_force"] = float(np.abs(ours).max())
    for name, theirs in forces.items():
        row[f"{name}_speed_up"] = row[f"{name}_ms"] / row["atomsym_ms"]
        row[f"{name}_force_deviation"] = float(np.abs(ours - theirs).max())
    return row


def _interleaved(steps: dict[str, Callable[[], None]], threads: int) -> dict[str, list[float]]:
    """Times of the steps, ms, taken in turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
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
    return times


def measure_memory(case: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of three steps above that of the process with the loaded model, MB."""
    (name,) = case["calculators"]
    atoms = SYSTEMS[case["system"]]()
    step = stepper(atoms, calculators(case, atoms)[name])
    return {f"{name}_memory_mb": peak_megabytes(lambda: [step() for _ in range(3)])}


def _measure(case: dict[str, Any]) -> dict[str, Any]:
    return (measure_memory if case["what"] == "memory" else measure_time)(case)


if __name__ == "__main__":
    answer_case(_measure)
