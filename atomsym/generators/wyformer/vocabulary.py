"""The tokens of occupied orbits: element, site symmetry and enumeration; letters mean nothing across groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.generators.reachability import Sites
from atomsym.symmetry.wyckoff import wyckoff_positions
from atomsym.symmetry.wyckoff.group_features import group_features

STOP = 0
"""Class of the element head that ends a crystal; the others are atomic numbers."""
N_ELEMENTS = MAX_ATOMIC_NUMBER + 1
N_GROUPS = 230


@dataclass(frozen=True)
class Vocabulary:
    """How the Wyckoff positions of all groups are spoken of. Arrays have a row for each group, 0 for none of them.

    Attributes:
        site_symmetry: number of the oriented site symmetry of each position, shape (231, n_positions), -1 for none.
        enumeration: index among the positions of the group with that site symmetry, same shape, -1 for none.
        multiplicity: in the conventional cell, same shape, 0 for none.
        free: whether a position has free coordinates, same shape.
        group_features: what a group is like, shape (231, n_features); related groups share features.
    """

    site_symmetry: NDArray[np.int64]
    enumeration: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    free: NDArray[np.bool_]
    group_features: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        shape = self.site_symmetry.shape
        alike = all(getattr(self, name).shape == shape for name in ("enumeration", "multiplicity", "free"))
        if not alike or shape[0] != N_GROUPS + 1 or len(self.group_features) != shape[0]:
            raise InputError("the arrays of a vocabulary need one row for each of 231 groups and the same shape")
        for group in range(1, shape[0]):
            n = self.n_positions[group]
            pairs = list(zip(self.site_symmetry[group, :n].tolist(), self.enumeration[group, :n].tolist(), strict=True))
            if n == 0 or len(set(pairs)) < n or min(min(pair) for pair in pairs) < 0:
                raise InputError(f"positions of group {group} have no tokens of their own")

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

    def position(self, group: int, site: int, enumeration: int) -> int:
        """The position that a token means in a group.

        Raises:
            InputError: if the group has no such position.
        """
        found = np.flatnonzero((self.site_symmetry[group] == site) & (self.enumeration[group] == enumeration))
        if len(found) != 1:
            raise InputError(f"group {group} has no position with site symmetry {site} and enumeration {enumeration}")
        return int(found[0])

    def sites(self, group: int) -> Sites:
        """The positions of a group, as far as counting goes."""
        n = int(self.n_positions[group])
        return Sites(tuple(self.multiplicity[group, :n].tolist()), tuple(self.free[group, :n].tolist()))


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
    sites, numbers, multiplicity = np.full(shape, -1), np.full(shape, -1), np.zeros(shape, dtype=np.int64)
    free = np.zeros(shape, dtype=bool)
    for row, positions in enumerate(groups, start=1):
        seen: Counter[str] = Counter()
        for column, position in enumerate(positions):
            sites[row, column] = symbols.index(position.site_symmetry)
            numbers[row, column] = seen[position.site_symmetry]
            multiplicity[row, column], free[row, column] = position.multiplicity, not position.is_point
            seen[position.site_symmetry] += 1
    return Vocabulary(sites.astype(np.int64), numbers.astype(np.int64), multiplicity, free, group_features())
