"""Who is bonded to whom, from distances, and what a reaction changes in it."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

TOLERANCE = 0.4
"""Å beyond the sum of the covalent radii (Cordero et al., Dalton Trans. 2008, 2832) up to which atoms count as bonded:
the rule of the Cambridge Structural Database. A factor instead would miss H–H."""

Bonds = frozenset[tuple[int, int]]


def bonds_of(atoms: Atoms, tolerance: float = TOLERANCE) -> Bonds:
    """Pairs (i, j), i < j, that are near enough to be bonded.

    Example:
        >>> from ase.build import molecule
        >>> sorted(bonds_of(molecule("H2O")))
        [(0, 1), (0, 2)]
    """
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < radii[:, None] + radii[None, :] + tolerance
    return frozenset((int(i), int(j)) for i, j in np.argwhere(np.triu(near, k=1)))


def changes(before: Atoms, after: Atoms) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bonds that are broken and those that are formed, in words such as ``C0–H2 (1.07 → 2.17 Å)``."""
    old, new = bonds_of(before), bonds_of(after)

    def words(pairs: Bonds) -> tuple[str, ...]:
        return tuple(
            f"{before.symbols[i]}{i}–{before.symbols[j]}{j} "
            f"({before.get_distance(i, j):.2f} → {after.get_distance(i, j):.2f} Å)"
            for i, j in sorted(pairs)
        )

    return words(old - new), words(new - old)
