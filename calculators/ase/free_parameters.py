"""The free parameters of a crystal as the degrees of freedom that any optimizer of ASE moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import Filter
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import SymmetricCrystal, analyse
from atomsym.symmetry.wyckoff.freedom import Freedom

Array = NDArray[np.float64]


class FreeParameterFilter(Filter):
    """Moves atoms and cell of a crystal with its symmetry kept exactly; the counterpart of ``FrechetCellFilter``.

    What optimizers see as positions are the variables of a ``Freedom``, Å, three in a row and zeros at the end.

    For the optimizers of ASE, one structure at a time, with trajectories and a pressure. ``relax_symmetric`` of
    ``calculators.symmetric_relaxation`` moves the same variables by an optimizer of its own, for generated crystals: it
    takes back steps into collapsed cells and failures of the calculator, which optimizers of ASE cannot, and hands out
    the structures that it wants evaluated, so that many crystals share a pass of the model.

    Args:
        atoms: the conventional cell of ``crystal``, atom for atom; its positions and cell are set.
        crystal: the crystal in the standard setting, such as ``standard_atoms`` gives it.
        cell: whether the lattice is free.
        scalar_pressure: on a free cell, eV/Å³.

    Raises:
        InputError: if the atoms are not those of the crystal, or have constraints.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> from ase.optimize import BFGS
        >>> atoms, crystal = standard_atoms(bulk("Cu", a=3.7))
        >>> atoms.calc = EMT()
        >>> BFGS(FreeParameterFilter(atoms, crystal), logfile=None).run(fmax=1e-3)
        np.True_
        >>> print(round(float(atoms.cell[0, 0]), 2))
        3.59
    """

    def __init__(
        self, atoms: Atoms, crystal: SymmetricCrystal, *, cell: bool = True, scalar_pressure: float = 0.0
    ) -> None:
        if not np.array_equal(atoms.numbers, crystal.numbers):
            raise InputError("the atoms are not those of the crystal in its order; take the ones of standard_atoms")
        if atoms.constraints:
            raise InputError("free parameters cannot be combined with atoms that are held fixed")
        super().__init__(atoms, indices=range(len(atoms)))
        self.freedom = Freedom(crystal)
        self.mask_cell, self.scalar_pressure = cell, scalar_pressure
        self._rows = -(-self.freedom.size // 3)
        self._vector = np.zeros(self.freedom.size)
        self.set_positions(self.get_positions())

    def __len__(self) -> int:
        return self._rows

    @property
    def crystal(self) -> SymmetricCrystal:
        """As it is now."""
        return self.freedom.crystal(self._vector)

    def get_positions(self) -> Array:
        """The variables, Å, shape (n_rows, 3)."""
        return self._padded(self._vector)

    def set_positions(self, positions: Array, **_: Any) -> None:
        self._vector = np.asarray(positions, dtype=np.float64).ravel()[: self.freedom.size].copy()
        crystal = self.crystal
        self.atoms.set_cell(crystal.cell, scale_atoms=False)
        self.atoms.set_positions(crystal.positions)

    def get_forces(self, *_: Any, **__: Any) -> Array:
        """Minus the derivatives with respect to the variables, eV/Å, shape (n_rows, 3)."""
        stress = None
        if self.mask_cell:
            stress = self.atoms.get_stress(voigt=False) + self.scalar_pressure * np.eye(3)
        return self._padded(-self.freedom.gradient(self._vector, self.atoms.get_forces(), stress))

    def get_potential_energy(self, force_consistent: bool = True) -> float:
        """Energy, or enthalpy under a pressure, of the conventional cell, eV."""
        energy = float(self.atoms.get_potential_energy(force_consistent=force_consistent))
        return energy + (self.scalar_pressure * self.atoms.get_volume() if self.mask_cell else 0.0)

    def _padded(self, values: Array) -> Array:
        rows = np.zeros(3 * self._rows)
        rows[: len(values)] = values
        return rows.reshape(-1, 3)


def standard_atoms(atoms: Atoms, *, symprec: float = 0.01) -> tuple[Atoms, SymmetricCrystal]:
    """The conventional cell of a crystal in the standard setting, made exactly symmetric, and its free parameters.

    Args:
        atoms: any cell of the crystal, periodic in three directions.
        symprec: Å, within which atoms count as related by symmetry.

    Raises:
        InputError: if it is not periodic in three directions, or no symmetry can be found.
    """
    if not atoms.pbc.all():
        raise InputError("a space group needs a structure that is periodic in three directions")
    crystal = analyse(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, symprec=symprec)
    return Atoms(crystal.numbers, positions=crystal.positions, cell=crystal.cell, pbc=True), crystal
