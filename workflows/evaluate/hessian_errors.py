"""How far a Hessian is from its reference, in terms of its uses: curvatures, lowest mode, zero-point energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import DataError, LabelledStructure
from atomsym.core.units import BOHR, HARTREE
from atomsym.workflows.hessian_source import HessianResult
from atomsym.workflows.vibrations.modes import WAVENUMBER, normal_modes
from atomsym.workflows.vibrations.thermochemistry import zero_point_energy

FloatArray = NDArray[np.float64]

NEGATIVE = 1e-6 * HARTREE / BOHR**2
"""eV/Å²/amu: a curvature below minus this is negative; in published evaluations: 10⁻⁶ Hartree/bohr²/amu."""


@dataclass(frozen=True)
class HessianErrors:
    """Errors of one Hessian. Modes are mass-weighted, with translations and rotations projected out.

    Attributes:
        entries: mean absolute error of the entries, eV/Å².
        eigenvalues: mean absolute difference of the sorted eigenvalues of the whole matrix, eV/Å².
        wavenumbers: mean absolute difference of the sorted wavenumbers (imaginary ones negative), 1/cm.
        lowest_curvature: absolute error of the lowest curvature, eV/Å²/amu.
        lowest_mode: |cosine| between the lowest modes, mass-weighted.
        negative_modes, reference_negative_modes: curvatures below ``-NEGATIVE``.
        zero_point_energy: error of ½ Σ h ν over the real modes, eV.
    """

    entries: float
    eigenvalues: float
    wavenumbers: float
    lowest_curvature: float
    lowest_mode: float
    negative_modes: int
    reference_negative_modes: int
    zero_point_energy: float


@dataclass(frozen=True)
class HessianSummary:
    """Means over structures.

    Attributes:
        n_structures: how many.
        entries: mean over all entries of all structures, eV/Å²; large molecules weigh more, as in published tables.
        eigenvalues, wavenumbers, lowest_curvature, lowest_mode: means over structures, as in ``HessianErrors``.
        right_negative_modes: fraction of structures with the right number of negative modes.
        zero_point_energy: mean absolute error, eV.
        seconds: time of one Hessian, median.
    """

    n_structures: int
    entries: float
    eigenvalues: float
    wavenumbers: float
    lowest_curvature: float
    lowest_mode: float
    right_negative_modes: float
    zero_point_energy: float
    seconds: float


@dataclass
class HessianComparison:
    """What one method gave for a set of structures.

    Attributes:
        errors: of each structure, in the order of the set.
        n_entries: entries of each Hessian.
        seconds: time of each Hessian.
        modes: pairs of reference and found wavenumbers of all structures, 1/cm.
    """

    errors: list[HessianErrors] = field(default_factory=list)
    n_entries: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    modes: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)

    def summary(self) -> HessianSummary:
        """Means over the structures compared so far; NaN where there are none."""
        if not self.errors:
            return HessianSummary(0, *[math.nan] * (len(fields(HessianSummary)) - 1))
        columns = {f.name: np.array([getattr(e, f.name) for e in self.errors]) for f in fields(HessianErrors)}
        right = columns["negative_modes"] == columns["reference_negative_modes"]
        return HessianSummary(
            n_structures=len(self.errors),
            entries=float(np.average(columns["entries"], weights=self.n_entries)),
            eigenvalues=float(columns["eigenvalues"].mean()),
            wavenumbers=float(columns["wavenumbers"].mean()),
            lowest_curvature=float(columns["lowest_curvature"].mean()),
            lowest_mode=float(columns["lowest_mode"].mean()),
            right_negative_modes=float(right.mean()),
            zero_point_energy=float(np.abs(columns["zero_point_energy"]).mean()),
            seconds=float(np.median(self.seconds)),
        )


def compare_hessians(
    structures: Sequence[LabelledStructure],
    hessian: Callable[[Atoms], FloatArray],
    *,
    clock: Callable[[], float],
    on_progress: Callable[[int], None] | None = None,
) -> HessianComparison:
    """Compare Hessians of structures with their labels.

    Args:
        structures: with Hessians.
        hessian: from a structure to its Hessian, shape (3n, 3n), eV/Å².
        clock: seconds; its differences are the times of the calls.
        on_progress: is told how many structures are done.

    Raises:
        DataError: if a structure has no Hessian.
    """
    comparison = HessianComparison()
    for number, structure in enumerate(structures):
        if structure.hessian is None:
            raise DataError(f"{structure.source or f'structure {number}'} has no Hessian to compare with")
        atoms = atoms_of(structure)
        start = clock()
        found = np.asarray(hessian(atoms), dtype=np.float64)
        comparison.seconds.append(clock() - start)
        errors, pair = hessian_errors(atoms, found, structure.hessian)
        comparison.errors.append(errors)
        comparison.n_entries.append(found.size)
        comparison.modes.append(pair)
        if on_progress is not None:
            on_progress(number + 1)
    return comparison


def hessian_errors(
    atoms: Atoms, found: FloatArray, reference: FloatArray
) -> tuple[HessianErrors, tuple[FloatArray, FloatArray]]:
    """Errors of one Hessian, and the wavenumbers of the reference and of it, 1/cm.

    Both are made symmetric first. The eigenvectors compared are those of mass-weighted coordinates: of unit norm, and
    independent of how light the atoms are that move.

    Args:
        atoms: positions and masses.
        found, reference: shape (3n, 3n), eV/Å².

    Source: metrics as in Burger et al. 2025 (arXiv 2509.21624).
    """
    ours, wanted = 0.5 * (found + found.T), 0.5 * (reference + reference.T)
    modes, exact = (normal_modes(atoms, _as_result(matrix, len(atoms))) for matrix in (ours, wanted))
    curvatures, expected = (_curvatures(each.wavenumbers) for each in (modes, exact))
    masses = np.repeat(np.sqrt(atoms.get_masses()), 3)
    soft = [_unit(masses * each.displacements[0].ravel()) for each in (modes, exact)] if len(exact) else []
    errors = HessianErrors(
        entries=float(np.abs(ours - wanted).mean()),
        eigenvalues=float(np.abs(np.linalg.eigvalsh(ours) - np.linalg.eigvalsh(wanted)).mean()),
        wavenumbers=float(np.abs(modes.wavenumbers - exact.wavenumbers).mean()) if len(exact) else 0.0,
        lowest_curvature=float(abs(curvatures[0] - expected[0])) if len(exact) else 0.0,
        lowest_mode=float(abs(soft[0] @ soft[1])) if soft else 1.0,
        negative_modes=int((curvatures < -NEGATIVE).sum()),
        reference_negative_modes=int((expected < -NEGATIVE).sum()),
        zero_point_energy=zero_point_energy(modes.wavenumbers) - zero_point_energy(exact.wavenumbers),
    )
    return errors, (exact.wavenumbers, modes.wavenumbers)


def atoms_of(structure: LabelledStructure) -> Atoms:
    """A labelled structure without its labels."""
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)


def _as_result(matrix: FloatArray, n_atoms: int) -> HessianResult:
    return HessianResult(matrix, np.arange(n_atoms), "analytic", 0.0, None, 0)


def _curvatures(wavenumbers: FloatArray) -> FloatArray:
    """Eigenvalues of the mass-weighted Hessian, eV/Å²/amu, by their wavenumbers."""
    return np.asarray(np.sign(wavenumbers) * (wavenumbers / WAVENUMBER) ** 2)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))
