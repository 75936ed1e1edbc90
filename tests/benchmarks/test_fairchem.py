"""A model of fairchem and what it was converted to: both calculators on the same structures, in turn, in one run.

    python tests/benchmarks/test_fairchem.py --python ~/fairchem/bin/python [--repeats 3] [mol27 water192 cu108]

makes a random model of the size of UMA-S with merged experts, converts it, and prints processor time of one thread,
the best of all repeats in single precision, and how far energies (without isolated atoms) and forces are from each
other. Atoms move before every call.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.models import ESCNMD
from atomsym.workflows.benchmarks.potential_systems import SYSTEMS
from atomsym.workflows.convert.command import convert

SIZE = {"sphere_channels": 128, "hidden_channels": 128, "edge_channels": 128, "num_layers": 4, "cutoff": 6.0,
        "num_distance_basis": 64}  # fmt: skip
PEERS: dict[str, dict[str, Any]] = {
    "fairchem": {},
    "fairchem, umas_fast_pytorch": {"mode": "umas_fast_pytorch"},
}
"""Settings of fairchem's inference, all with merged experts and without recomputation, its fastest ones on a CPU."""
COMPILED = {"fairchem, compiled": {"compile": True}}
OURS = "atomsym"

Result = dict[str, tuple[float, float, np.ndarray]]


CONVERT = Path(__file__).parents[1] / "workflows" / "convert"
SCRIPT = str(CONVERT / "fairchem_peer.py")


def foreign_calculator() -> ModuleType:
    """The module that lies beside the tests of the converter."""
    spec = importlib.util.spec_from_file_location("foreign_calculator", CONVERT / "foreign_calculator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def models(python: str, folder: Path, size: dict[str, Any]) -> tuple[Path, Path]:
    """A random checkpoint and the file that it is converted to."""
    foreign, own = folder / "foreign.pt", folder / "own.safetensors"
    settings = json.dumps({"foreign": {"backbone": size, "elements": [1, 6, 7, 8, 29]}})
    subprocess.run([python, SCRIPT, "make", str(folder), settings], check=True, capture_output=True)
    _, found = convert(foreign, own, trust=True, python=python)
    sys.stderr.write(f"float64: energy {found.energy:.0e}, forces {found.forces:.0e}, stress {found.stress:.0e}\n")
    return foreign, own


def own_answer(calculator: AtomsymCalculator, model: ESCNMD, atoms: Atoms) -> tuple[float, float, np.ndarray]:
    """Processor time in seconds, interaction energy and forces by our calculator."""
    isolated = dict(zip(model.elements, model.config.atomic_energies, strict=True))
    atoms.calc = calculator
    start = time.process_time()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    return time.process_time() - start, energy - sum(isolated[number] for number in atoms.numbers), forces


def peer_answer(peer: Any, model: ESCNMD, atoms: Atoms) -> tuple[float, float, np.ndarray]:
    """The same by fairchem's."""
    isolated = dict(zip(model.elements, model.config.atomic_energies, strict=True))
    cell = atoms.cell.array.tolist() if atoms.pbc.any() else None
    said = peer.ask(atoms.numbers.tolist(), atoms.positions.tolist(), cell)
    return said["cpu_seconds"], said["energy"] - sum(isolated[n] for n in atoms.numbers), np.array(said["forces"])


def rows(
    python: str, systems: list[str], repeats: int, peers: dict[str, dict[str, Any]], size: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """One a system and calculator: milliseconds, and deviations from the first calculator of fairchem."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        foreign, own = models(python, Path(name), size)
        model = load_model(own)
        assert isinstance(model, ESCNMD)
        answers: dict[str, Callable[[Atoms], tuple[float, float, np.ndarray]]] = {}
        for label, options in peers.items():
            peer = stack.enter_context(foreign_calculator().Peer(python, SCRIPT, str(foreign), **options))
            answers[label] = lambda atoms, peer=peer: peer_answer(peer, model, atoms)  # type: ignore[misc]
        calculator = AtomsymCalculator(model, dtype="float32")
        answers[OURS] = lambda atoms: own_answer(calculator, model, atoms)
        for system in systems:
            best, results = dict.fromkeys(answers, np.inf), {}
            for repeat in range(repeats + 1):
                atoms = SYSTEMS[system]()
                atoms.rattle(0.02, seed=repeat)
                for label, answer in answers.items():
                    seconds, *results[label] = answer(atoms.copy())
                    if repeat:  # the first one warms up
                        best[label] = min(best[label], seconds)
            energy, forces = results[next(iter(peers))]
            for label, (own_energy, own_forces) in results.items():
                yield {
                    "system": system,
                    "calculator": label,
                    "ms": 1e3 * best[label],
                    "energy": abs(own_energy - energy) / abs(energy),
                    "forces": float(np.abs(own_forces - forces).max() / np.abs(forces).max()),
                }


@pytest.mark.slow
@pytest.mark.skipif("ATOMSYM_FAIRCHEM_PYTHON" not in os.environ, reason="needs ATOMSYM_FAIRCHEM_PYTHON")
def test_our_calculator_agrees_and_is_faster() -> None:
    torch.set_num_threads(1)
    size = {**SIZE, "num_layers": 2}
    found = list(rows(os.environ["ATOMSYM_FAIRCHEM_PYTHON"], ["mol27"], 3, PEERS, size))
    *theirs, ours = found
    assert ours["energy"] < 1e-5
    assert ours["forces"] < 1e-5
    assert ours["ms"] < min(row["ms"] for row in theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("systems", nargs="*", help=f"of {', '.join(SYSTEMS)}; default: mol27")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with fairchem-core")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="also fairchem with torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    peers = PEERS | COMPILED if arguments.compiled else PEERS
    print("| system | calculator | ms | energy | forces |\n| --- | --- | --- | --- | --- |")
    for row in rows(arguments.python, arguments.systems or ["mol27"], arguments.repeats, peers, SIZE):
        numbers = f"{row['ms']:.0f} | {row['energy']:.0e} | {row['forces']:.0e}"
        print(f"| {row['system']} | {row['calculator']} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
