"""Structures and Hessians for phonopy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import InputError, MissingDependencyError

if TYPE_CHECKING:
    from phonopy.structure.atoms import PhonopyAtoms


def to_phonopy(atoms: Atoms) -> PhonopyAtoms:
    """A crystal as phonopy's, with its masses.

    Raises:
        InputError: if it is not periodic in three directions.
        MissingDependencyError: if phonopy is missing.
    """
    if not atoms.pbc.all():
        raise InputError(f"phonopy knows crystals: pbc must be True in three directions; found {atoms.pbc.tolist()}")
    try:
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise MissingDependencyError.for_package("phonopy", "phonons", "phonons of a crystal") from error
    return PhonopyAtoms(
        symbols=list(atoms.symbols),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(wrap=False),
        masses=atoms.get_masses(),
    )


def from_phonopy(cell: PhonopyAtoms) -> Atoms:
    """A cell of phonopy (unit cell, supercell or primitive cell) as ASE's, with its masses."""
    return Atoms(
        symbols=cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, masses=cell.masses, pbc=True
    )


def as_force_constants(hessian: Any, rows: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """A Hessian of a supercell as phonopy's force constants.

    Φ[i, j, a, b] = H[3i+a, 3j+b], eV/Å², phonopy's unit for ASE's.

    Args:
        hessian: of the supercell in phonopy's order of atoms, shape (3n, 3n), or the rows of some atoms, shape
            (3r, 3n); a dense array or any matrix of ``scipy.sparse``. eV/Å².
        rows: atoms whose rows are taken out of a whole Hessian; ``phonon.primitive.p2s_map`` gives the compact force
            constants. Default: all rows that are there.

    Returns:
        Shape (r, n, 3, 3), C-contiguous, float64, for ``phonon.force_constants``.

    Raises:
        InputError: if the shape fits no Hessian, or a row is not there.

    Example:
        >>> as_force_constants(np.arange(36.0).reshape(6, 6))[0, 1, 0]
        array([3., 4., 5.])
    """
    if getattr(hessian, "ndim", 0) != 2 or hessian.shape[0] % 3 or hessian.shape[1] % 3:
        raise InputError(f"a Hessian has 3 rows and 3 columns an atom; found the shape {np.shape(hessian)}")
    if rows is not None:
        chosen = np.asarray(rows, dtype=np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < hessian.shape[0] // 3):
            raise InputError(f"atoms {chosen.tolist()} are asked for; the Hessian has rows of {hessian.shape[0] // 3}")
        lines = (3 * chosen[:, None] + np.arange(3)).ravel()
        hessian = hessian.tocsr()[lines] if hasattr(hessian, "tocsr") else np.asarray(hessian)[lines]
    dense = hessian.toarray() if hasattr(hessian, "toarray") else np.asarray(hessian)
    blocks = np.asarray(dense, dtype=np.float64).reshape(dense.shape[0] // 3, 3, dense.shape[1] // 3, 3)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))
