"""The closest contact of a crystal, in units of the sum of the covalent radii."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from atomsym.core.elements import COVALENT_RADII
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal

RADII = np.array(COVALENT_RADII)
_SHORTEST = np.array([v for v in product((-1, 0, 1), repeat=3) if v > (0, 0, 0)], dtype=np.float64)
"""Lattice vectors among which the shortest one of a nearly reduced cell is."""


def closest_contact(crystal: SymmetricCrystal) -> float:
    """Smallest d / (r₁ + r₂) over all pairs of atoms and periodic images, with covalent radii r; exact in any cell.

    One atom of each orbit stands for the others.

    Example:
        >>> salt = SymmetricCrystal(Protostructure(225, ((11, "a"), (17, "b"))), 5.64 * np.eye(3), np.zeros((2, 3)))
        >>> round(closest_contact(salt), 3)
        1.052
    """
    structure = crystal.protostructure
    centres = np.cumsum((0, *structure.multiplicities[:-1]))
    fractional, radii = crystal.fractional_positions, RADII[crystal.numbers]
    apart = fractional - fractional[centres][:, None]
    apart -= np.rint(apart)
    sums = radii[centres][:, None] + radii
    own = centres[:, None] == np.arange(len(radii))
    ratios = np.where(own, np.inf, np.linalg.norm(apart @ crystal.cell, axis=2) / sums)
    images = np.linalg.norm(crystal.cell, axis=1).min() / (2 * radii.min())
    nearest = min(float(ratios.min()), float(images))  # found already, so that images farther away need no look
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    reach = np.floor(nearest * sums.max() / heights + 0.5).astype(int)
    shifts = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    vectors = (apart[:, :, None] + shifts) @ crystal.cell
    squares = np.einsum("lmsi,lmsi->lms", vectors, vectors)
    squares[own] = np.where(shifts.any(axis=1), squares[own], np.inf)
    return float(np.sqrt((squares / sums[:, :, None] ** 2).min()))


def lattice_contact(protostructure: Protostructure, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest d / (2 r) between the images of an atom: of the largest atom, at the shortest lattice vector.

    Args:
        protostructure: which atoms there are.
        cells: shape (n_cells, 3, 3), nearly reduced.
    """
    shortest = np.linalg.norm(_SHORTEST @ cells, axis=2).min(axis=1)
    return np.asarray(shortest / (2 * RADII[list(protostructure.elements)].max()))


def contact_with(
    centres: NDArray[np.float64], atoms: NDArray[np.float64], cells: NDArray[np.float64], sums: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Smallest d / (r₁ + r₂) of atoms to centres, at the image that is nearest along each lattice vector by itself.

    In skewed cells another image can be nearer: an upper bound.

    Args:
        centres: fractional, shape (n_cells, n_candidates, 3).
        atoms: fractional, shape (n_cells, n_candidates or 1, n_atoms, 3).
        cells: shape (n_cells, 3, 3).
        sums: of the radii, shape (n_atoms,).

    Returns:
        Shape (n_cells, n_candidates); infinite where there are no atoms.
    """
    apart = atoms - centres[:, :, None]
    apart -= np.rint(apart)
    vectors = apart @ cells[:, None]
    squares = np.einsum("lkmi,lkmi->lkm", vectors, vectors)
    return np.sqrt((squares / sums**2).min(axis=2, initial=np.inf))
