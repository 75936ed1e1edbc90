"""Primitive cells of centred groups: the same crystal with a half, a third or a quarter of the atoms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from atomsym.symmetry.wyckoff.protostructure import Protostructure
from atomsym.symmetry.wyckoff.table import wyckoff_positions

_BASES: dict[frozenset[tuple[int, ...]], tuple[tuple[int, ...], ...]] = {
    frozenset({(0, 0, 0)}): ((6, 0, 0), (0, 6, 0), (0, 0, 6)),
    frozenset({(0, 0, 0), (3, 3, 3)}): ((-3, 3, 3), (3, -3, 3), (3, 3, -3)),
    frozenset({(0, 0, 0), (0, 3, 3), (3, 0, 3), (3, 3, 0)}): ((0, 3, 3), (3, 0, 3), (3, 3, 0)),
    frozenset({(0, 0, 0), (0, 3, 3)}): ((6, 0, 0), (0, 3, -3), (0, 3, 3)),
    frozenset({(0, 0, 0), (3, 3, 0)}): ((3, -3, 0), (3, 3, 0), (0, 0, 6)),
    frozenset({(0, 0, 0), (4, 2, 2), (2, 4, 4)}): ((4, 2, 2), (-2, 2, 2), (-2, -4, 2)),
}
"""By the centring translations, both in sixths of the conventional cell: P, I, F, A, C and R (obverse)."""


@dataclass(frozen=True, eq=False)
class PrimitiveCell:
    """How the primitive cell of a protostructure lies in its conventional cell.

    Attributes:
        basis: primitive vectors in units of the conventional ones: the primitive cell is ``basis @ cell``, shape
            (3, 3).
        atoms: the atoms of the conventional cell that stand for all others, shape (n_primitive,).
        images: for each atom of the conventional cell which of those it repeats, shape (n_atoms,).

    Example:
        >>> salt = primitive_cell(Protostructure(225, ((11, "a"), (17, "b"))))
        >>> salt.atoms.tolist(), salt.images.tolist(), salt.n_cells
        ([0, 4], [0, 0, 0, 0, 1, 1, 1, 1], 4)
    """

    basis: NDArray[np.float64]
    atoms: NDArray[np.int64]
    images: NDArray[np.int64]

    @property
    def n_cells(self) -> int:
        """Primitive cells in a conventional one."""
        return len(self.images) // len(self.atoms)


def primitive_basis(space_group: int) -> NDArray[np.float64]:
    """Primitive vectors in rows, in units of the conventional ones, shape (3, 3).

    Raises:
        InputError: if there is no such group.
    """
    return _basis(space_group).copy()


def primitive_cell(protostructure: Protostructure) -> PrimitiveCell:
    """The primitive cell of all crystals of a protostructure."""
    basis = _basis(protostructure.space_group)
    atoms: list[int] = []
    images: list[int] = []
    seen: dict[tuple[int, ...], int] = {}
    start = 0
    for orbit, position in enumerate(protostructure.positions):
        offsets = np.rint(position.translations @ np.linalg.inv(basis) * 24).astype(np.int64) % 24
        for matrix, offset in zip(position.matrices, offsets, strict=True):
            key = (orbit, *matrix.ravel().tolist(), *offset.tolist())
            if key not in seen:
                seen[key] = len(atoms)
                atoms.append(start)
            images.append(seen[key])
            start += 1
    return PrimitiveCell(basis.copy(), np.array(atoms), np.array(images))


@cache
def _basis(space_group: int) -> NDArray[np.float64]:
    general = wyckoff_positions(space_group)[-1]
    pure = (general.matrices == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    centring = frozenset(tuple(row) for row in np.rint(general.translations[pure] * 6).astype(int).tolist())
    return np.array(_BASES[centring], dtype=np.float64) / 6
