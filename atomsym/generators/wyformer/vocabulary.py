"""The tokens of occupied orbits: element, site symmetry and enumeration; letters mean nothing across groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.symmetry.wyckoff import wyckoff_positions
from atomsym.symmetry.wyckoff.group_features import group_features
from atomsym.symmetry.wyckoff.table import N_GROUPS

STOP = 0
"""Class of the element head that ends a crystal; the others are atomic numbers."""
N_ELEMENTS = MAX_ATOMIC_NUMBER + 1


@dataclass(frozen=True)
class Vocabulary:
    """How the Wyckoff positions of all groups are spoken of. Arrays have a row for each group, 0 for none of them.

    Attributes:
        site_symmetry: number of the oriented site symmetry of each position, shape (231, n_positions), -1 for none.
        enumeration: index among the positions of the group with that site symmetry, same shape, -1 for none.
        multiplicity: in the conventional cell, same shape, 0 for none.
        freedom: number of free coordinates, same shape, 0 for none.
        group_features: what a group is like, shape (231, n_features); related groups share features.
    """

    site_symmetry: NDArray[np.int64]
    enumeration: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    freedom: NDArray[np.int64]
    group_features: NDArray[np.float32] = field(repr=False)

    @cached_property
    def n_positions(self) -> NDArray[np.int64]:
        """Of each group, shape (231,)."""
        return np.asarray((self.multiplicity > 0).sum(axis=1))

    @cached_property
    def n_sites(self) -> int:
        """Number of different oriented site symmetries."""
        return int(self.site_symmetry.max()) + 1

    @cached_property
    def n_enumerations(self) -> int:
        """Largest number of positions of a group with the same site symmetry."""
        return int(self.enumeration.max()) + 1

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """The position that a token means in a group, shape (231, n_sites, n_enumerations), -1 for none."""
        found = np.full((N_GROUPS + 1, self.n_sites, self.n_enumerations), -1, dtype=np.int64)
        group, place = np.nonzero(self.multiplicity)
        found[group, self.site_symmetry[group, place], self.enumeration[group, place]] = place
        return found


@cache
def standard_vocabulary() -> Vocabulary:
    """That of the 230 space groups; positions of the same site symmetry are enumerated in the order of the tables.

    Example:
        >>> words = standard_vocabulary()
        >>> words.n_sites, words.n_enumerations, int(words.n_positions.sum())
        (78, 8, 1731)
    """
    groups = [wyckoff_positions(group) for group in range(1, N_GROUPS + 1)]
    symbols = sorted({position.site_symmetry for group in groups for position in group})
    shape = (N_GROUPS + 1, max(map(len, groups)))
    sites, numbers = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    multiplicity, freedom = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, positions in enumerate(groups, start=1):
        seen: Counter[str] = Counter()
        for column, position in enumerate(positions):
            sites[row, column] = symbols.index(position.site_symmetry)
            numbers[row, column] = seen[position.site_symmetry]
            multiplicity[row, column], freedom[row, column] = position.multiplicity, position.degrees_of_freedom
            seen[position.site_symmetry] += 1
    return Vocabulary(sites, numbers, multiplicity, freedom, group_features())
