"""A structure with reference labels: what data sets are made of, and what training and evaluation read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledStructure:
    """One structure and what a reference method says of it; a label that is not known is None.

    Plain arrays, so that readers need no torch and workers can pickle it. Values are not checked here: readers check
    what comes from files, see ``atomsym.datasets``.

    Attributes:
        numbers: atomic numbers, shape (n_atoms,), int64.
        positions: shape (n_atoms, 3), Å.
        cell: lattice vectors in rows, shape (3, 3), Å; zero rows where there is none.
        pbc: periodic directions, shape (3,), bool.
        energy: total energy, eV.
        forces: shape (n_atoms, 3), eV/Å; rows of NaN are unknown forces of single atoms.
        stress: symmetric, shape (3, 3), eV/Å³, positive under tension.
        hessian: shape (3 n_atoms, 3 n_atoms), eV/Å².
        target: a property that does not grow with the system, such as log10 of a modulus, in the unit of the models
            that learn it.
        weight: of this structure in a loss, >= 0.
        group: name of the part of the data set it belongs to (element, temperature, molecule …), "" for none; tables
            of errors are split by it.
        source: where it came from, as ``file:frame``; messages name it.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray
    pbc: NDArray[np.bool_]
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    hessian: FloatArray | None = None
    target: float | None = None
    weight: float = 1.0
    group: str = ""
    source: str = ""

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)
