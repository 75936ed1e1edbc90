"""What a check works on: a plain structure, a plain result, and the evaluator that turns one into the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError

Array = NDArray[np.float64]
BASIC = ("energy", "forces")


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms without a host package. Å; cell rows are lattice vectors, zero rows where there is none.

    Attributes:
        positions: shape (n_atoms, 3), float64.
        numbers: atomic numbers, shape (n_atoms,), int64.
        cell: shape (3, 3), float64; left-handed cells are allowed.
        pbc: shape (3,), bool.
    """

    positions: Array
    numbers: NDArray[np.int64]
    cell: Array
    pbc: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        positions: Sequence[Sequence[float]] | Array,
        numbers: Sequence[int] | NDArray[np.int64],
        cell: Sequence[Sequence[float]] | Array | None = None,
        pbc: bool | Sequence[bool] | NDArray[np.bool_] | None = None,
    ) -> Structure:
        """Copy and convert the arguments; without ``pbc`` a structure is periodic when it has a cell.

        Raises:
            InputError: if shapes do not fit.

        Example:
            >>> Structure.of([[0.0, 0.0, 0.0]], [18]).n_atoms
            1
        """
        x = np.array(positions, dtype=np.float64)
        z = np.array(numbers, dtype=np.int64)
        if x.ndim != 2 or x.shape[1] != 3 or z.shape != x.shape[:1]:
            raise InputError(f"positions must be (n, 3) and numbers (n,); found {x.shape} and {z.shape}")
        lattice = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
        periodic = np.array(np.broadcast_to(cell is not None if pbc is None else pbc, 3), dtype=bool)
        if lattice.shape != (3, 3):
            raise InputError(f"cell must be (3, 3); found {lattice.shape}")
        return cls(x, z, lattice, periodic)

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Absolute volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def periodic(self) -> bool:
        """Whether all three directions repeat, so that a stress exists."""
        return bool(self.pbc.all())

    def copy(self) -> Structure:
        return Structure(self.positions.copy(), self.numbers.copy(), self.cell.copy(), self.pbc.copy())

    def moved(self, positions: Array) -> Structure:
        """The same atoms at other positions."""
        return replace(self.copy(), positions=np.array(positions, dtype=np.float64))

    def displaced(self, atom: int, axis: int, by: float) -> Structure:
        """One coordinate changed."""
        positions = self.positions.copy()
        positions[atom, axis] += by
        return self.moved(positions)

    def transformed(self, matrix: Array) -> Structure:
        """Positions and cell under x → M x: a rotation, a reflection or a deformation."""
        return replace(self.copy(), positions=self.positions @ matrix.T, cell=self.cell @ matrix.T)

    def permuted(self, order: NDArray[np.int64]) -> Structure:
        """Atom ``order[i]`` becomes atom i."""
        return replace(self.copy(), positions=self.positions[order], numbers=self.numbers[order])

    def repeated(self, counts: tuple[int, int, int]) -> Structure:
        """Supercell; the copies follow each other, each in the order of the original atoms."""
        shifts = np.array([(i, j, k) for i in range(counts[0]) for j in range(counts[1]) for k in range(counts[2])])
        positions = (self.positions[None] + (shifts @ self.cell)[:, None]).reshape(-1, 3)
        cell = self.cell * np.array(counts, dtype=np.float64)[:, None]
        return Structure(positions, np.tile(self.numbers, len(shifts)), cell, self.pbc.copy())

    def joined(self, other: Structure) -> Structure:
        """Both sets of atoms in this structure's cell."""
        positions = np.concatenate([self.positions, other.positions])
        return replace(self.copy(), positions=positions, numbers=np.concatenate([self.numbers, other.numbers]))


@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluator returns; what was not asked for or does not exist is None.

    Attributes:
        energy: total energy, eV.
        forces: shape (n_atoms, 3), eV/Å.
        stress: (1/V) dE/dε, shape (3, 3), eV/Å³, positive under tension.
        energies: energy of each atom, shape (n_atoms,), eV.
        hessian: second derivatives, shape (3 n_atoms, 3 n_atoms), eV/Å².
    """

    energy: float
    forces: Array
    stress: Array | None = None
    energies: Array | None = None
    hessian: Array | None = None


class Evaluator(Protocol):
    """Anything that gives energies and forces.

    Attributes:
        name: for titles and messages.
        properties: what ``evaluate`` can be asked for, out of energy, forces, stress, energies, hessian.
        cutoff: interaction radius in Å when it is known.
        elements: atomic numbers that are supported when they are known.
    """

    name: str
    properties: frozenset[str]
    cutoff: float | None
    elements: tuple[int, ...] | None

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        """Energy, forces and those of the other asked properties that exist for this structure."""
        ...


@runtime_checkable
class BatchEvaluator(Protocol):
    """An evaluator that also takes several structures in one call."""

    def evaluate_batch(self, structures: Sequence[Structure]) -> list[Result]:
        """One result for each structure, in order."""
        ...


@runtime_checkable
class StoredArrays(Protocol):
    """An evaluator that shows the arrays its program keeps as results (``calc.results`` in ASE)."""

    def stored_arrays(self) -> dict[str, Array]:
        """The arrays themselves, not copies."""
        ...


@runtime_checkable
class BackendEvaluator(Protocol):
    """An evaluator of a model that runs on several kernel backends."""

    def backend_names(self) -> tuple[str, ...]:
        """Usable backends, the reference first."""
        ...

    def with_backend(self, name: str) -> Evaluator:
        """The same model on one backend."""
        ...


@runtime_checkable
class DifferentiableEvaluator(Protocol):
    """An evaluator that can test its own derivatives by automatic differentiation."""

    def gradient_errors(self, structure: Structure) -> dict[str, float]:
        """Largest deviation of first, second, … derivatives from numerical ones, relative, by name."""
        ...


@runtime_checkable
class DoublePrecisionEvaluator(Protocol):
    """A single-precision evaluator that has a double-precision twin with the same weights."""

    def in_float64(self) -> Evaluator:
        """The twin."""
        ...
