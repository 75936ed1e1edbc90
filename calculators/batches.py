"""Many structures in one evaluation, for calculators that can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.evaluator import Evaluator
from atomsym.calculators.symmetric_relaxation import Evaluated, EvaluateMany
from atomsym.core import AtomGraph

LARGEST_BATCH = 4096
"""Atoms that go through a model together."""


def evaluate_many(calculator: BaseCalculator) -> EvaluateMany | None:
    """Energies, forces and stresses of several periodic structures at once; None for calculators that cannot.

    Models of this package can. CHGNet's own batches were no faster on a processor than its single structures.

    Args:
        calculator: any of ASE.
    """
    if not isinstance(calculator, AtomsymCalculator) or not {"forces", "stress"} <= set(
        calculator.implemented_properties
    ):
        return None
    provenance = calculator.provenance
    dtype = torch.float32 if provenance["dtype"] == "float32" else torch.float64
    evaluator = Evaluator(calculator.potential, device=torch.device(provenance["device"]), dtype=dtype)

    def evaluate(structures: Sequence[Atoms]) -> list[Evaluated | Exception]:
        found: dict[int, Evaluated | Exception] = {}
        graphs: dict[int, AtomGraph] = {}
        for place, atoms in enumerate(structures):
            try:
                graphs[place] = evaluator.graph(
                    atoms.positions, atoms.numbers.astype(np.int64), np.array(atoms.cell), np.array(atoms.pbc)
                )
            except Exception as error:  # noqa: BLE001 - it is this structure's answer
                found[place] = error
        for places in _batches({place: graph.n_atoms for place, graph in graphs.items()}):
            found |= _together(evaluator, {place: graphs[place] for place in places})
        return [found[place] for place in range(len(structures))]

    return evaluate


def _batches(sizes: dict[int, int]) -> list[list[int]]:
    """Places in order, at most so many atoms at a time."""
    batches: list[list[int]] = []
    n_atoms = LARGEST_BATCH
    for place, size in sizes.items():
        if n_atoms + size > LARGEST_BATCH:
            batches.append([])
            n_atoms = 0
        batches[-1].append(place)
        n_atoms += size
    return batches


def _together(evaluator: Evaluator, graphs: dict[int, AtomGraph]) -> dict[int, Evaluated | Exception]:
    """One batch; alone, one by one, if it fails, so that only the answer of the one to blame is an error."""
    try:
        result = evaluator.evaluate(AtomGraph.batch(list(graphs.values())), ("forces", "stress"))
    except Exception as error:  # noqa: BLE001
        if len(graphs) == 1:
            return dict.fromkeys(graphs, error)
        return {place: answer for one in graphs for place, answer in _together(evaluator, {one: graphs[one]}).items()}
    energies, forces, stress = (_numpy(value) for value in (result.energy, result.forces, result.stress))
    ends = np.cumsum([graph.n_atoms for graph in graphs.values()])
    parts = np.split(forces, ends[:-1])
    return {place: (float(energies[i]), parts[i], stress[i]) for i, place in enumerate(graphs)}


def _numpy(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().cpu().to(torch.float64).numpy()
