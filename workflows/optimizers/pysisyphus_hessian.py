"""Any ASE calculator as one of pysisyphus, with Hessians: for its optimizers, chains of states, IRC and the rest.

pysisyphus asks a calculator by element symbols and coordinates in bohr and wants hartree; it needs no base class of its
own for that, so this module does not import it.

Example:
    ``geometry.set_calculator(PysisyphusCalculator(AtomsymCalculator("organic")))``
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from atomsym.core import CalculationError, InputError
from atomsym.core.units import BOHR, HARTREE
from atomsym.workflows.calculator import require_known_charge
from atomsym.workflows.hessian_source import forces_of, hessian_of

FloatArray = NDArray[np.float64]


class PysisyphusCalculator:
    """Energies, forces and Hessians of molecules in hartree and bohr, of an ASE calculator.

    The Hessian is that of ``hessian_of``: the calculator's own, or differences of its forces.

    Args:
        calculator: any ASE calculator.
        charge: of the molecule, e; put into the structure's info, and refused by models that do not know charge.
        mult: its spin multiplicity; the same.

    Raises:
        InputError: by its methods, if symbols and coordinates do not fit, or the model does not know the charge.
        CalculationError: by its methods, if the calculator fails or what it returns is not finite.

    Example:
        >>> from ase.calculators.emt import EMT
        >>> found = PysisyphusCalculator(EMT()).get_forces(("N", "N"), np.array([0.0, 0, 0, 0, 0, 2.1]))
        >>> sorted(found), found["forces"].shape
        (['energy', 'forces'], (6,))
    """

    def __init__(self, calculator: BaseCalculator, *, charge: int = 0, mult: int = 1) -> None:
        self.calculator, self.charge, self.mult = calculator, charge, mult

    def get_energy(self, atoms: Sequence[str], coords: FloatArray, **_: Any) -> dict[str, Any]:
        """``energy`` in hartree."""
        return {"energy": self._energy(self._structure(atoms, coords))}

    def get_forces(self, atoms: Sequence[str], coords: FloatArray, **_: Any) -> dict[str, Any]:
        """``energy``, and ``forces`` in hartree/bohr, shape (3n,)."""
        structure = self._structure(atoms, coords)
        forces = forces_of(structure).ravel() * (BOHR / HARTREE)
        return {"energy": self._energy(structure), "forces": forces}

    def get_hessian(self, atoms: Sequence[str], coords: FloatArray, **_: Any) -> dict[str, Any]:
        """``energy``, ``forces``, and ``hessian`` in hartree/bohr², shape (3n, 3n)."""
        found = self.get_forces(atoms, coords)
        hessian = hessian_of(self._structure(atoms, coords)).hessian
        return {**found, "hessian": hessian * (BOHR**2 / HARTREE)}

    def get_restart_info(self) -> dict[str, Any]:
        """Nothing has to be kept."""
        return {}

    def set_restart_info(self, restart_info: dict[str, Any]) -> None:
        """Nothing was kept."""

    def _structure(self, symbols: Sequence[str], coordinates: FloatArray) -> Atoms:
        positions = np.asarray(coordinates, dtype=np.float64)
        if positions.size != 3 * len(symbols):
            raise InputError(f"{len(symbols)} atoms need {3 * len(symbols)} coordinates; found {positions.size}")
        atoms = Atoms([symbol.capitalize() for symbol in symbols], positions.reshape(-1, 3) * BOHR)
        if self.charge:
            atoms.info["charge"] = self.charge
        if self.mult != 1:
            atoms.info["multiplicity"] = self.mult
        atoms.calc = self.calculator
        require_known_charge(atoms)
        return atoms

    def _energy(self, atoms: Atoms) -> float:
        energy = float(atoms.get_potential_energy())
        if not np.isfinite(energy):
            raise CalculationError("the energy that the calculator returns is not finite")
        return energy / HARTREE
