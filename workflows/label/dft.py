"""Density functional theory and Hartree–Fock with PySCF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError, LabelledStructure, MissingDependencyError
from atomsym.core.elements import symbol_of
from atomsym.core.units import BOHR, HARTREE
from atomsym.core.validation import validate_structure
from atomsym.workflows.label.electrons import unpaired_electrons
from atomsym.workflows.label.engine import LabelError, Labels

FloatArray = NDArray[np.float64]


def pyscf_engine(**settings: Any) -> PyscfEngine:
    """The engine ``pyscf``."""
    return PyscfEngine(**settings)


class PyscfEngine:
    """Kohn–Sham or Hartree–Fock energies, analytic forces and analytic Hessians of molecules.

    Args:
        functional: as PySCF names it, or ``hf``.
        basis: as PySCF names it.
        grid: level of the integration grid, 0 to 9.
        convergence: of the energy, hartree; the gradient of the orbitals follows it.
        open_shell: label structures with an odd number of electrons as doublets.

    Raises:
        ConfigError: if a setting is out of range.
        MissingDependencyError: if PySCF is not installed.

    Source: Q. Sun et al., J. Chem. Phys. 153, 024109 (2020).
    """

    name = "pyscf"

    def __init__(
        self,
        *,
        functional: str = "b3lyp",
        basis: str = "def2-svp",
        grid: int = 4,
        convergence: float = 1e-10,
        open_shell: bool = False,
    ) -> None:
        if grid not in range(10) or not 0 < convergence < 1:
            raise ConfigError(f"grid is a level from 0 to 9 and convergence lies in 0 … 1; found {grid}, {convergence}")
        try:
            import pyscf
        except ImportError as error:
            raise MissingDependencyError.for_package("pyscf", "pyscf", "the engine pyscf") from error
        self._pyscf = pyscf
        self.functional, self.basis, self.grid = functional, basis, grid
        self.convergence, self.open_shell = convergence, open_shell

    @property
    def level_of_theory(self) -> str:
        return f"{self.functional.upper()}/{self.basis} (PySCF)"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "functional": self.functional, "basis": self.basis, "grid": self.grid, "convergence": self.convergence,
            "open_shell": self.open_shell,
        }  # fmt: skip

    def label(self, structure: LabelledStructure, hessian: bool = False) -> Labels:
        """Energy, forces, and the analytic Hessian if asked for.

        Raises:
            LabelError: if the structure is periodic, the basis lacks an element, or the SCF does not converge.
        """
        validate_structure(structure.positions, structure.numbers, structure.cell, structure.pbc)
        if structure.n_atoms == 0 or structure.pbc.any():
            raise LabelError("the engine pyscf labels molecules; the structure is periodic or has no atoms")
        try:
            return self._label(structure, hessian)
        except (RuntimeError, ValueError, KeyError, NotImplementedError) as error:  # PySCF has no errors of its own
            if isinstance(error, LabelError):
                raise
            raise LabelError(f"PySCF: {error}") from error

    def _label(self, structure: LabelledStructure, hessian: bool) -> Labels:
        field = self._mean_field(structure)
        energy = float(field.kernel())
        if not field.converged:
            raise LabelError("PySCF: the self-consistent field did not converge")
        gradient = field.nuc_grad_method()
        gradient.grid_response = True  # else the forces miss the motion of the grid, and do not sum to zero
        forces = -np.asarray(gradient.kernel(), dtype=np.float64) * (HARTREE / BOHR)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise LabelError("PySCF: energy or forces are not finite")
        if not hessian:
            return Labels(energy * HARTREE, forces)
        blocks = np.asarray(field.Hessian().kernel(), dtype=np.float64)  # (n, n, 3, 3)
        matrix = blocks.transpose(0, 2, 1, 3).reshape(forces.size, forces.size) * (HARTREE / BOHR**2)
        asymmetry = float(np.abs(matrix - matrix.T).max())
        return Labels(energy * HARTREE, forces, None, 0.5 * (matrix + matrix.T), asymmetry)

    def _mean_field(self, structure: LabelledStructure) -> Any:
        spin = unpaired_electrons(structure, open_shell=self.open_shell)
        atoms = [
            (symbol_of(int(number)), tuple(position / BOHR))
            for number, position in zip(structure.numbers, structure.positions, strict=True)
        ]
        molecule = self._pyscf.gto.M(atom=atoms, basis=self.basis, spin=spin, unit="Bohr", verbose=0)
        if self.functional.lower() == "hf":
            field = self._pyscf.scf.UHF(molecule) if spin else self._pyscf.scf.RHF(molecule)
        else:
            field = self._pyscf.dft.UKS(molecule) if spin else self._pyscf.dft.RKS(molecule)
            field.xc, field.grids.level = self.functional, self.grid
        field.conv_tol = self.convergence
        return field
