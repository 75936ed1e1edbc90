"""What a calculation of vibrations reports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.calculators.ase import as_vibrations_data
from atomsym.workflows.hessian_source import HessianResult
from atomsym.workflows.vibrations.modes import NormalModes
from atomsym.workflows.vibrations.thermochemistry import Thermochemistry

if TYPE_CHECKING:
    from ase.vibrations.data import VibrationsData


@dataclass(frozen=True)
class VibrationsResult:
    """Vibrations of one structure.

    Attributes:
        folder: where everything is; None if nothing was written.
        atoms: the structure they belong to, without calculator.
        energy: potential energy, eV.
        max_force: largest force on an atom that may move, eV/Å; zero at a stationary point.
        hessian: and where it comes from.
        modes: wavenumbers and displacements.
        intensities: infrared, km/mol, shape (n_modes,); None if the calculator gives no dipole moment.
        thermochemistry: at the temperature and pressure asked for.
        n_fragments: number of molecules that bonds make of the structure.
        warnings: what a reader should know before using the numbers.
    """

    folder: Path | None
    atoms: Atoms
    energy: float
    max_force: float
    hessian: HessianResult
    modes: NormalModes
    intensities: NDArray[np.float64] | None
    thermochemistry: Thermochemistry
    n_fragments: int
    warnings: tuple[str, ...]

    def to_ase(self) -> VibrationsData:
        """The same Hessian as ASE's ``VibrationsData``, which projects nothing out."""
        return as_vibrations_data(self.atoms, self.hessian.hessian, self.hessian.indices.tolist())

    def as_dict(self) -> dict[str, Any]:
        """Plain data: everything but the Hessian and displacements, which are files of their own."""
        modes = self.modes
        return {
            "folder": None if self.folder is None else str(self.folder),
            "formula": self.atoms.get_chemical_formula(),
            "n_atoms": len(self.atoms),
            "moving_atoms": self.hessian.indices.tolist(),
            "energy_eV": self.energy,
            "max_force_eV_A": self.max_force,
            "hessian": {
                "method": self.hessian.method,
                "step_A": self.hessian.step,
                "asymmetry": self.hessian.asymmetry,
                "evaluations": self.hessian.evaluations,
            },
            "shape": modes.shape,
            "projected_out": {
                "translations": modes.n_translations,
                "rotations": modes.n_rotations,
                "wavenumbers_1_cm": modes.residual_wavenumbers.tolist(),
            },
            "n_imaginary": modes.n_imaginary,
            "wavenumbers_1_cm": modes.wavenumbers.tolist(),
            "reduced_masses_amu": modes.reduced_masses.tolist(),
            "force_constants_eV_A2": modes.force_constants.tolist(),
            "infrared_km_mol": None if self.intensities is None else self.intensities.tolist(),
            "n_fragments": self.n_fragments,
            "thermochemistry": asdict(self.thermochemistry),
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2) + "\n"
