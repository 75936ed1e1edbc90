"""A crystal in the parameters that its symmetry leaves free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError
from atomsym.symmetry.wyckoff.protostructure import Protostructure


@dataclass(frozen=True, eq=False)
class SymmetricCrystal:
    """A protostructure with a lattice and the free coordinates of its orbits: the conventional cell.

    Attributes:
        protostructure: which positions are occupied.
        cell: vectors in rows, Å, shape (3, 3); of the crystal system of the group.
        parameters: x, y, z of each orbit, shape (n_orbits, 3); those that a position does not have are ignored.

    Raises:
        InputError: if the shapes are wrong, a value is not finite or the cell has no volume.

    Example:
        >>> salt = SymmetricCrystal(Protostructure(225, ((11, "a"), (17, "b"))), 5.64 * np.eye(3), np.zeros((2, 3)))
        >>> salt.numbers.tolist(), salt.fractional_positions[4].tolist()
        ([11, 11, 11, 11, 17, 17, 17, 17], [0.5, 0.5, 0.5])
    """

    protostructure: Protostructure
    cell: NDArray[np.float64]
    parameters: NDArray[np.float64]

    def __post_init__(self) -> None:
        n_orbits = len(self.protostructure.orbits)
        for name, shape in (("cell", (3, 3)), ("parameters", (n_orbits, 3))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise InputError(f"{name} must be finite numbers of shape {shape}; found shape {value.shape}")
            object.__setattr__(self, name, value)
        if abs(np.linalg.det(self.cell)) < 1e-6:
            raise InputError("the cell has no volume")

    @property
    def n_atoms(self) -> int:
        return self.protostructure.n_atoms

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers, orbit after orbit, shape (n_atoms,)."""
        structure = self.protostructure
        return np.repeat(np.array(structure.elements, dtype=np.int64), structure.multiplicities)

    @property
    def fractional_positions(self) -> NDArray[np.float64]:
        """In [0, 1), orbit after orbit, shape (n_atoms, 3)."""
        orbits = zip(self.protostructure.positions, self.parameters, strict=True)
        return np.concatenate([position.coordinates(own) for position, own in orbits])

    @property
    def positions(self) -> NDArray[np.float64]:
        """Cartesian, Å, shape (n_atoms, 3)."""
        return self.fractional_positions @ self.cell
