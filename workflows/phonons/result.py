"""What a calculation of phonons reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.workflows.phonons.force_constants import ForceConstants

FloatArray = NDArray[np.float64]

INVERSE_CM = 33.35640951981521
"""1/cm of 1 THz."""

IMAGINARY = -0.03
"""THz (1 1/cm): frequencies below are imaginary; acoustic ones at Γ are zero within rounding."""


@dataclass(frozen=True)
class Bands:
    """Frequencies along a path; imaginary ones are negative.

    Attributes:
        distances: along the path, 1/Å, one array a piece.
        frequencies: THz, one array of shape (n_points, 3 n_primitive) a piece.
        ends: names of the wave vectors where each piece begins and ends.
        path: as ASE writes it; a comma is a jump.
    """

    distances: list[FloatArray]
    frequencies: list[FloatArray]
    ends: list[tuple[str, str]]
    path: str


@dataclass(frozen=True)
class DensityOfStates:
    """Modes per THz and primitive cell.

    Attributes:
        frequencies: THz, shape (n,).
        total: shape (n,); its integral is 3 n_primitive.
        by_element: parts of it; empty if there is one element only.
        mesh: numbers of wave vectors along the reciprocal lattice vectors.
    """

    frequencies: FloatArray
    total: FloatArray
    by_element: dict[str, FloatArray]
    mesh: tuple[int, int, int]


@dataclass(frozen=True)
class ThermalProperties:
    """Harmonic thermal properties per primitive cell at constant volume; imaginary modes are left out.

    Attributes:
        temperatures: K.
        free_energy: Helmholtz, zero-point energy included, kJ/mol.
        entropy: J/(mol K).
        heat_capacity: J/(mol K).
    """

    temperatures: FloatArray
    free_energy: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray


@dataclass(frozen=True)
class PhononsResult:
    """Phonons of one crystal.

    Attributes:
        folder: where everything is; None if nothing was written.
        primitive: the primitive cell that they belong to.
        supercell: repetitions of the given cell.
        n_supercell: number of atoms of the supercell.
        max_force: largest force in the given cell, eV/Å.
        max_stress: largest component of its stress, GPa; None if the calculator gives none.
        force_constants: and how they were found.
        gamma: frequencies at Γ, THz, shape (3 n_primitive,); the acoustic ones come first in magnitude.
        lowest: lowest frequency over mesh and path, THz.
        lowest_at: its wave vector, in reciprocal lattice vectors of the primitive cell.
        imaginary_share: part of the modes on the mesh that is imaginary.
        bands, density, thermal: what is drawn.
        warnings: what a reader should know before using the numbers.
    """

    folder: Path | None
    primitive: Atoms
    supercell: tuple[int, int, int]
    n_supercell: int
    max_force: float
    max_stress: float | None
    force_constants: ForceConstants
    gamma: FloatArray
    lowest: float
    lowest_at: tuple[float, float, float]
    imaginary_share: float
    bands: Bands
    density: DensityOfStates
    thermal: ThermalProperties
    warnings: tuple[str, ...]

    @property
    def zero_point_energy(self) -> float:
        """kJ/mol of primitive cells."""
        return float(self.thermal.free_energy[0])

    def as_dict(self) -> dict[str, Any]:
        """Plain data: all but the bands and the density of states, which are tables of their own."""
        found = self.force_constants
        return {
            "folder": None if self.folder is None else str(self.folder),
            "formula": self.primitive.get_chemical_formula(),
            "n_primitive": len(self.primitive),
            "supercell": list(self.supercell),
            "n_supercell": self.n_supercell,
            "max_force_eV_A": self.max_force,
            "max_stress_GPa": self.max_stress,
            "force_constants": {
                "route": found.route,
                "evaluations": found.evaluations,
                "sum_rule_before_eV_A2": found.sum_rule_before,
                "sum_rule_after_eV_A2": found.sum_rule_after,
                "largest_eV_A2": found.scale,
            },
            "gamma_THz": self.gamma.tolist(),
            "lowest_THz": self.lowest,
            "lowest_at": list(self.lowest_at),
            "highest_THz": max(float(piece.max()) for piece in self.bands.frequencies),
            "imaginary_share": self.imaginary_share,
            "path": self.bands.path,
            "mesh": list(self.density.mesh),
            "zero_point_energy_kJ_mol": self.zero_point_energy,
            "thermal": {
                "temperatures_K": self.thermal.temperatures.tolist(),
                "free_energy_kJ_mol": self.thermal.free_energy.tolist(),
                "entropy_J_mol_K": self.thermal.entropy.tolist(),
                "heat_capacity_J_mol_K": self.thermal.heat_capacity.tolist(),
            },
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2) + "\n"
