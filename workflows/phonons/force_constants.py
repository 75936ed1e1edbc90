"""Force constants of a supercell: rows of its Hessian, or phonopy's finite displacements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from atomsym.calculators.ase import AtomsymCalculator, to_graph
from atomsym.calculators.ase.errors import as_ase_errors
from atomsym.calculators.evaluator import adapted
from atomsym.calculators.phonopy import as_force_constants, from_phonopy
from atomsym.core import CalculationError, check_elements
from atomsym.derivatives import HessianOperator
from atomsym.kernels.neighbors import connect
from atomsym.workflows.hessian_source import forces_of, hessian_of
from atomsym.workflows.phonons.settings import Route

if TYPE_CHECKING:
    from phonopy import Phonopy

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ForceConstants:
    """Force constants of a supercell and how good they are.

    Attributes:
        values: compact, shape (n_primitive, n_supercell, 3, 3), eV/Å², with the sum rule imposed.
        route: where they come from.
        evaluations: Hessian rows, or supercells whose forces were computed.
        sum_rule_before, sum_rule_after: largest |Σ_j Φ_ij|, eV/Å², before and after it was imposed.
        scale: largest |Φ|, eV/Å², to judge them by.
    """

    values: FloatArray
    route: Literal["hessian", "finite-displacement"]
    evaluations: int
    sum_rule_before: float
    sum_rule_after: float
    scale: float


def find_force_constants(
    phonon: Phonopy,
    calculator: BaseCalculator,
    *,
    route: Route = "auto",
    displacement: float = 0.01,
    progress: Progress | None = None,
) -> ForceConstants:
    """Compute the force constants of ``phonon``'s supercell and set them there, with the acoustic sum rule imposed.

    Args:
        phonon: with its supercell; gets the force constants.
        calculator: of a model of this package, or any other.
        route: see ``PhononsSettings``.
        displacement: of finite displacements, Å.
        progress: called with a word for the work, and the finished and total number of its parts.

    Raises:
        PropertyNotAvailableError: if Hessian rows are asked of a calculator that has none.
        CalculationError: if the calculator fails, or its answer is not finite.
    """
    chosen = route
    if route == "auto":
        chosen = "hessian" if isinstance(calculator, AtomsymCalculator) else "finite-displacement"
    if chosen == "hessian":
        rows = _hessian_rows(phonon, calculator)
        phonon.force_constants = as_force_constants(rows)
        evaluations = len(rows)
    else:
        evaluations = _displace(phonon, calculator, displacement, progress)
    before = np.array(phonon.force_constants)
    if not np.isfinite(before).all():
        raise CalculationError("the force constants are not finite")
    phonon.symmetrize_force_constants(show_drift=False)
    after = np.array(phonon.force_constants)
    return ForceConstants(
        values=after,
        route="hessian" if chosen == "hessian" else "finite-displacement",
        evaluations=evaluations,
        sum_rule_before=sum_rule_violation(before),
        sum_rule_after=sum_rule_violation(after),
        scale=float(np.abs(after).max()),
    )


def sum_rule_violation(force_constants: FloatArray) -> float:
    """Largest |Σ_j Φ_ij| over atoms i and directions, eV/Å²: zero, since moving a crystal as a whole costs nothing."""
    return float(np.abs(force_constants.sum(axis=1)).max())


def _hessian_rows(phonon: Phonopy, calculator: BaseCalculator) -> FloatArray:
    """Rows of the primitive cell's atoms of the supercell's Hessian, shape (3 n_primitive, 3 n_supercell)."""
    atoms = from_phonopy(phonon.supercell)
    atoms.calc = calculator
    rows = (3 * np.asarray(phonon.primitive.p2s_map)[:, None] + np.arange(3)).ravel()
    if isinstance(calculator, AtomsymCalculator):
        return _products(atoms, calculator, rows)
    return hessian_of(atoms, source="analytic").hessian[rows]


def _products(atoms: Atoms, calculator: AtomsymCalculator, rows: NDArray[np.int64]) -> FloatArray:
    """H is symmetric, so a row is a Hessian-vector product with a unit vector: two force evaluations, any size."""
    with as_ase_errors():
        device = torch.device(calculator.provenance["device"])
        potential = adapted(calculator.potential, device, torch.float64)
        bare = to_graph(atoms, torch.float64, device)
        check_elements(bare, potential.elements)
        graph = connect(bare, potential.cutoff)
        operator = HessianOperator(potential, graph)
        units = torch.zeros((3 * len(atoms), len(rows)), dtype=torch.float64, device=device)
        units[torch.as_tensor(rows), torch.arange(len(rows))] = 1.0
        return np.asarray((operator @ units).cpu().numpy().T, dtype=np.float64)


def _displace(phonon: Phonopy, calculator: BaseCalculator, distance: float, progress: Progress | None) -> int:
    """Forces of phonopy's displaced supercells; positive and negative where symmetry does not make them equal."""
    phonon.generate_displacements(distance=distance)
    supercells = phonon.supercells_with_displacements or []
    forces = []
    for number, supercell in enumerate(supercells):
        atoms = from_phonopy(supercell)
        atoms.calc = calculator
        forces.append(forces_of(atoms))
        if progress is not None:
            progress("displaced supercells", number + 1, len(supercells))
    phonon.forces = np.array(forces)
    phonon.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    return len(forces)
