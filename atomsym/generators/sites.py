"""The Wyckoff positions of space groups, as far as counting atoms goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import wyckoff_positions
from atomsym.symmetry.wyckoff.table import N_GROUPS


@dataclass(frozen=True)
class Sizes:
    """How many atoms orbits can have. Points (positions without freedom) of one multiplicity are alike.

    What is left of the points is one number, the mixed-radix number whose digits are how many points of each class are
    not occupied; it is ``n_left - 1`` in an empty crystal.

    Attributes:
        free: multiplicities of the free positions, which take any number of orbits; increasing, each once.
        points: multiplicity of each class of points, and how many there are, which take one orbit each.
    """

    free: tuple[int, ...]
    points: tuple[tuple[int, int], ...]

    @property
    def n_left(self) -> int:
        """In how many ways points can be left."""
        return prod(number + 1 for _, number in self.points)

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """What a point of each class counts in that number."""
        return tuple(prod(number + 1 for _, number in self.points[:index]) for index in range(len(self.points)))

    @cached_property
    def digits(self) -> NDArray[np.int64]:
        """How many points of each class are left, shape (n_left, n_classes)."""
        radices = [number + 1 for _, number in self.points]
        columns = [np.arange(self.n_left) // s % radix for s, radix in zip(self.strides, radices, strict=True)]
        return np.stack(columns, axis=1) if columns else np.zeros((1, 0), dtype=np.int64)


@dataclass(frozen=True)
class Sites:
    """The Wyckoff positions of a space group.

    Attributes:
        multiplicities: of each position in the conventional cell.
        free: whether a position has free coordinates.

    Raises:
        InputError: if there are none, or not as many of one as of the other.
    """

    multiplicities: tuple[int, ...]
    free: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.multiplicities or len(self.multiplicities) != len(self.free):
            raise InputError("sites need one multiplicity and one freedom for each position")

    @cached_property
    def sizes(self) -> Sizes:
        pairs = list(zip(self.multiplicities, self.free, strict=True))
        points = Counter(m for m, free in pairs if not free)
        return Sizes(tuple(sorted({m for m, free in pairs if free})), tuple(sorted(points.items())))


@cache
def sites_of(space_group: int) -> Sites:
    """Of a space group, in the order of the table.

    Raises:
        InputError: if the number is not 1 to 230.
    """
    positions = wyckoff_positions(space_group)
    return Sites(tuple(p.multiplicity for p in positions), tuple(not p.is_point for p in positions))


class SiteTables:
    """Several ``Sites`` as arrays with a row for each.

    Args:
        sites: of each kind of crystal.

    Attributes:
        sizes: of each kind.
        multiplicity: of each position, 0 where there is none, shape (n_kinds, most_positions), int64.
        is_position, is_point: same shape, bool.
        stride: what an orbit there takes from the number of points left, 0 at free positions; same shape.
        size_index: index of the multiplicity among the different ones of the kind; same shape.
        steps: the different multiplicities of each kind, increasing.
    """

    def __init__(self, sites: Sequence[Sites]) -> None:
        self.sizes = tuple(each.sizes for each in sites)
        self.steps = tuple(tuple(sorted(set(each.multiplicities))) for each in sites)
        shape = (len(sites), max(len(each.free) for each in sites))
        self.multiplicity = np.zeros(shape, dtype=np.int64)
        self.is_point = np.zeros(shape, dtype=bool)
        self.stride = np.zeros(shape, dtype=np.int64)
        self.size_index = np.zeros(shape, dtype=np.int64)
        for row, (each, sizes, steps) in enumerate(zip(sites, self.sizes, self.steps, strict=True)):
            own = dict(zip((m for m, _ in sizes.points), sizes.strides, strict=True))
            for column, (m, free) in enumerate(zip(each.multiplicities, each.free, strict=True)):
                self.multiplicity[row, column], self.is_point[row, column] = m, not free
                self.stride[row, column] = 0 if free else own[m]
                self.size_index[row, column] = steps.index(m)
        self.is_position = self.multiplicity > 0


@cache
def group_tables() -> SiteTables:
    """Of all space groups; row 0 stands for none and is that of group 1."""
    return SiteTables([sites_of(max(group, 1)) for group in range(N_GROUPS + 1)])
