"""What is left of the coordinates once translations and rotations, which do not change the energy, are taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LINEAR = 1e-3
"""Å: a rotation about an axis from which no atom is farther than about this is not one (linear molecules)."""


def rigid_motions(positions: FloatArray, *, periodic: bool) -> FloatArray:
    """Displacements of all atoms under translations and, unless periodic, infinitesimal rotations.

    Args:
        positions: shape (n, 3), Å.
        periodic: whether any direction is; then a rotation changes the energy.

    Returns:
        Shape (3n, 3) or (3n, 6): columns e_k repeated, then e_k × (r − centre) in Å; neither orthogonal nor normalised.
    """
    n = len(positions)
    translations = np.tile(np.eye(3), (n, 1))
    if periodic:
        return translations
    arms = positions - positions.mean(axis=0)
    rotations = np.stack([np.cross(axis, arms).ravel() for axis in np.eye(3)], axis=1)
    return np.hstack([translations, rotations])


def internal_space(positions: FloatArray, held: NDArray[np.bool_], *, periodic: bool) -> FloatArray:
    """An orthonormal basis of those displacements of the free atoms that are orthogonal to every rigid motion.

    Of the rigid motions only those count that leave each held atom where it is: none with three held atoms off a line,
    rotations about the axis through two of them, and so on.

    Args:
        positions: shape (n, 3), Å.
        held: which atoms do not move, shape (n,).
        periodic: whether any direction is.

    Returns:
        Shape (3f, m) for f free atoms; m = 3f − 6 for a free molecule, 3f − 5 if it is linear.

    Example:
        >>> bent = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> internal_space(bent, np.zeros(3, dtype=bool), periodic=False).shape
        (9, 3)
    """
    rows_held = np.repeat(held, 3)
    motions = rigid_motions(positions, periodic=periodic)
    if held.any():
        motions = motions @ _null_space(motions[rows_held])
    left, lengths, _ = np.linalg.svd(motions[~rows_held], full_matrices=True)
    return left[:, int((lengths > LINEAR).sum()) :]


def _null_space(matrix: FloatArray) -> FloatArray:
    """Orthonormal combinations of the columns that vanish, shape (columns, nullity)."""
    _, lengths, right = np.linalg.svd(matrix, full_matrices=True)
    return right[int((lengths > LINEAR).sum()) :].T
