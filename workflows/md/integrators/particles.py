"""The moving atoms of a run: plain arrays in double precision, and the one place that asks the model for forces."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import CalculationError, InputError, PropertyNotAvailableError
from atomsym.workflows.structures import held_atoms

FloatArray = NDArray[np.float64]


class Particles:
    """Positions, momenta and cell of an ASE ``Atoms`` with what the model says about them. ASE's units.

    Atoms that ``FixAtoms`` holds do not move; other constraints are refused. Where no atom is held, the total momentum
    is zero (``remove_drift`` before a run sees to it) and stays so, which leaves 3N − 3 degrees of freedom;
    temperatures are per degree of freedom.

    Args:
        atoms: with a calculator; positions, momenta and cell are changed in place.

    Raises:
        InputError: for constraints other than ``FixAtoms``, or if no atom can move.

    Attributes:
        masses: shape (n_atoms, 1), amu.
        free: shape (n_atoms, 1), 1 for atoms that move and 0 for those that are held.
        degrees_of_freedom: of the momenta.
        energy: of the present positions, eV; as of ``evaluate``.
        forces: shape (n_atoms, 3), eV/Å, zero on held atoms.
        stress: shape (3, 3) without the momenta's share, eV/Å³; None if it was not asked for.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        if not atoms.has("momenta"):
            atoms.set_momenta(np.zeros((len(atoms), 3)))
        self.positions: FloatArray = atoms.arrays["positions"]
        self.momenta: FloatArray = atoms.arrays["momenta"]
        self.masses: FloatArray = atoms.get_masses()[:, None]
        if not (self.masses > 0).all():
            raise InputError(f"atoms[{int(self.masses.argmin())}] has no mass; dynamics needs one of every atom")
        held = held_atoms(atoms)
        self.free: FloatArray = np.where(held, 0.0, 1.0)[:, None]
        n_free = int((~held).sum())
        if n_free == 0:
            raise InputError("every atom is held fixed; there is nothing to move")
        self.drifts = bool(held.any()) or n_free == 1  # is there no conserved total momentum?
        self.degrees_of_freedom = 3 * n_free - (0 if self.drifts else 3)
        self.energy = float("nan")
        self.forces: FloatArray = np.zeros_like(self.positions)
        self.stress: FloatArray | None = None

    @property
    def has_volume(self) -> bool:
        """Whether the system is periodic in three directions, so that stress and density mean something."""
        return bool(self.atoms.pbc.all())

    @property
    def cell(self) -> FloatArray:
        """Lattice vectors in rows, Å; a view."""
        return self.atoms.cell.array

    @property
    def volume(self) -> float:
        return abs(float(np.linalg.det(self.cell)))

    @property
    def kinetic_energy(self) -> float:
        return 0.5 * float((self.momenta**2 / self.masses).sum())

    @property
    def temperature(self) -> float:
        """2 K / (degrees of freedom · k), K."""
        return 2 * self.kinetic_energy / (self.degrees_of_freedom * units.kB)

    def remove_drift(self) -> None:
        """Take out the total momentum (of held atoms: every momentum).

        This is the orthogonal projection in √m-weighted coordinates: it turns Maxwell–Boltzmann momenta into
        Maxwell–Boltzmann momenta with zero sum, so a thermostat's noise stays exact under it.
        """
        self.momenta *= self.free
        if not self.drifts:
            self.momenta -= self.masses * (self.momenta.sum(axis=0) / self.masses.sum())

    def draw_momenta(self, temperature: float, generator: np.random.Generator) -> None:
        """Maxwell–Boltzmann momenta without a total momentum."""
        width = np.sqrt(self.masses * units.kB * temperature)
        self.momenta[:] = width * generator.standard_normal(self.momenta.shape)
        self.remove_drift()

    def evaluate(self, *, stress: bool = False) -> None:
        """Ask the model for energy and forces (and stress) of the present positions.

        Raises:
            CalculationError: if an answer is not finite.
            PropertyNotAvailableError: if there is no stress.
        """
        calculator = self.atoms.calc
        if isinstance(calculator, AtomsymCalculator):
            calculator.calculate(self.atoms, ["energy", "forces", "stress"] if stress else ["energy", "forces"])
        try:
            self.energy = float(self.atoms.get_potential_energy())
            self.forces = self.atoms.get_forces(apply_constraint=False) * self.free
            self.stress = self.atoms.get_stress(voigt=False, apply_constraint=False) if stress else None
        except PropertyNotImplementedError as error:
            raise PropertyNotAvailableError(f"the model cannot do this dynamics: {error}") from error
        for name, value in (("energy", self.energy), ("forces", self.forces), ("stress", self.stress)):
            if value is not None and not np.isfinite(value).all():
                raise CalculationError(f"the model's {name} is not finite")

    def pressure_tensor(self) -> FloatArray:
        """Σ p pᵀ / m / V − stress, eV/Å³, symmetric; ``evaluate(stress=True)`` comes first."""
        if self.stress is None:
            raise PropertyNotAvailableError("the stress of these positions was not computed")
        return self.momenta.T @ (self.momenta / self.masses) / self.volume - self.stress
