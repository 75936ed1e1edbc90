"""Many structures in one evaluation, for calculators that can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.symmetric_relaxation import Evaluated, EvaluateMany

LARGEST_BATCH = 4096
"""Atoms that go through a model together."""


def evaluate_many(calculator: BaseCalculator) -> EvaluateMany | None:
    """Energies, forces and stresses of several periodic structures at once; None for calculators that cannot.

    Models of this package can, with all settings of their calculator. CHGNet's own batches were no faster on a
    processor than its single structures.

    Args:
        calculator: any of ASE.
    """
    if not isinstance(calculator, AtomsymCalculator):
        return None

    def evaluate(structures: Sequence[Atoms]) -> list[Evaluated | Exception]:
        found: list[Evaluated | Exception] = []
        for batch in _batches(structures):
            found += _together(calculator, batch)
        return found

    return evaluate


def _batches(structures: Sequence[Atoms]) -> list[list[Atoms]]:
    """In order, at most so many atoms at a time."""
    batches: list[list[Atoms]] = []
    n_atoms = LARGEST_BATCH
    for atoms in structures:
        if n_atoms + len(atoms) > LARGEST_BATCH:
            batches.append([])
            n_atoms = 0
        batches[-1].append(atoms)
        n_atoms += len(atoms)
    return batches


def _together(calculator: AtomsymCalculator, batch: Sequence[Atoms]) -> list[Evaluated | Exception]:
    """One batch; one by one, if it fails, so that only the answer of the one to blame is an error."""
    try:
        found = calculator.calculate_many(batch)
    except Exception as error:  # noqa: BLE001 - it is an answer
        return [error] if len(batch) == 1 else [one for atoms in batch for one in _together(calculator, [atoms])]
    return [(one["energy"], one["forces"], np.asarray(voigt_6_to_full_3x3_stress(one["stress"]))) for one in found]
