"""What the metrics need to know of a crystal."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Crystal(Protocol):
    """Anything with a periodic cell: records of data sets and generated crystals alike.

    Attributes:
        cell: lattice vectors in rows, Å, shape (3, 3).
        fractional_positions: shape (n_atoms, 3).
        numbers: atomic numbers, shape (n_atoms,).
    """

    @property
    def cell(self) -> NDArray[np.float64]: ...

    @property
    def fractional_positions(self) -> NDArray[np.float64]: ...

    @property
    def numbers(self) -> NDArray[Any]: ...


def composition_of(crystal: Crystal) -> dict[int, int]:
    """Atoms in the cell by atomic number, increasing."""
    return dict(sorted(Counter(np.asarray(crystal.numbers).tolist()).items()))


def volume_of(crystal: Crystal) -> float:
    """Of the cell, Å³; NaN if the cell is not finite."""
    cell = np.asarray(crystal.cell, dtype=np.float64)
    return float(abs(np.linalg.det(cell))) if np.isfinite(cell).all() else float("nan")
