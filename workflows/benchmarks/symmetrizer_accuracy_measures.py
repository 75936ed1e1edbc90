"""Errors of trained models, also on turned structures, and their time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.symmetry.frames import Group, random_elements
from atomsym.training import ReferenceEnergies, TrainingData
from atomsym.training.reference_energies import compositions, fit_element_energies
from atomsym.training.statistics import total_targets
from atomsym.workflows.benchmarks.machine import best_seconds
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import AccuracySet
from atomsym.workflows.evaluate.run import TargetErrors, evaluate_structures


def errors_of(
    model: Potential, structures: Sequence[LabelledStructure], chosen: AccuracySet
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Errors in the unit of the set and meV/Å, and the predicted energies in that unit."""
    found = evaluate_structures(model, structures, each=True)
    values = (r.predicted_target if isinstance(r, TargetErrors) else r.predicted_energy for r in found.structures)
    predicted = np.array([chosen.value(structure, value) for structure, value in zip(structures, values, strict=True)])
    difference = predicted - np.array([chosen.label(structure) for structure in structures])
    forces = found.errors.table()["all"].get("forces") if chosen.forces else None
    return {
        "energy_mae": float(np.abs(difference).mean()),
        "energy_rmse": math.sqrt(float((difference**2).mean())),
        "forces_mae": None if forces is None else 1e3 * forces.mae,
        "forces_rmse": None if forces is None else 1e3 * forces.rmse,
    }, predicted


def turned(structures: Sequence[LabelledStructure], group: Group, seed: int) -> list[LabelledStructure]:
    """Each structure, with its cell and forces, turned by a random element of a group; labels of stress are dropped."""
    generator = torch.Generator().manual_seed(seed)
    operations = random_elements(len(structures), group, generator=generator).numpy()
    return [
        replace(
            structure,
            positions=structure.positions @ operation.T,
            cell=structure.cell @ operation.T,
            forces=None if structure.forces is None else structure.forces @ operation.T,
            stress=None,
            hessian=None,
        )
        for structure, operation in zip(structures, operations, strict=True)
    ]


def baseline_error(data: TrainingData, chosen: AccuracySet) -> float:
    """Mean absolute error of a mean over the training structures, in the unit of the set.

    Of the intensive property, or of the energy of each adsorbate, by adsorbed atom.
    """
    labels: dict[int, list[float]] = {}
    for structure in data.train:
        labels.setdefault(_kind(structure, chosen), []).append(chosen.label(structure))
    means = {kind: float(np.mean(values)) for kind, values in labels.items()}
    errors = [
        abs(means[_kind(structure, chosen)] - chosen.label(structure))
        for structure in data.tests["test"]
        if _kind(structure, chosen) in means
    ]
    return float(np.mean(errors))


def composition_error(data: TrainingData) -> float:
    """Mean absolute error of Σ_z x_z y_z: atomic fractions x, and values y of the elements fitted to the training part.

    That is what a model of an intensive property begins with.

    Raises:
        DataError: if the test has an element that the training lacks.
    """
    counts, elements = compositions(data.train)
    values, unique = fit_element_energies(counts, total_targets(data.train))
    fitted = ReferenceEnergies(dict(zip(elements, values.tolist(), strict=True)), "least_squares", unique)
    errors = [(s.target or 0.0) - fitted.of(s.numbers) / s.n_atoms for s in data.tests["test"]]
    return float(np.abs(errors).mean())


def _kind(structure: LabelledStructure, chosen: AccuracySet) -> int:
    """Atomic number of what is not the metal; the same for all crystals."""
    if chosen.intensive:
        return 0
    return int(structure.numbers[structure.numbers != atomic_number_of(structure.group)][0])


def seconds_each(
    model: Path, structures: Sequence[LabelledStructure], properties: tuple[str, ...] | None = None
) -> float:
    """Time of one structure in the ASE calculator in the precision of the model, neighbor list included.

    Args:
        model: the file.
        structures: to average over.
        properties: what is computed; default: the energy, or what the model gives in its place.
    """
    calculator = AtomsymCalculator(model, dtype="auto")
    atoms = [Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc) for s in structures]

    def every() -> None:
        for one in atoms:
            calculator.calculate(one, properties)

    return best_seconds(every) / len(structures)


def mean_frames(model: Path, structures: Sequence[LabelledStructure]) -> float:
    """Frames of a structure, on average; 1 for a model without a symmetrizer."""
    potential = load_model(model)
    if not isinstance(potential, SymmetrizedPotential):
        return 1.0
    graphs = [AtomGraph.from_arrays(s.positions, s.numbers, s.cell, s.pbc) for s in structures]
    batch = AtomGraph.batch([connect(graph, potential.cutoff) for graph in graphs])
    return potential.symmetrizer.frames(batch).n_frames / len(structures)
