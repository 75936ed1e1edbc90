"""Whether what a crystal still lacks can be made of whole orbits.

Free positions take any number of orbits, points one each: coins without limit, and coins that are there once. All
answers are exact; tables are made once for positions of the same sizes and are read for many crystals at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from atomsym.generators.sites import Sizes

NEVER = 1 << 20
"""More orbits than there can be."""


def fewest_orbits(sizes: Sizes, most: int, at_least: int) -> NDArray[np.int32]:
    """With how few orbits an exact number of atoms can be added, if it must be at least so many orbits.

    Args:
        sizes: of the orbits.
        most: the largest number of atoms.
        at_least: answers are for 0, 1, ..., ``at_least`` orbits.

    Returns:
        Shape (at_least + 1, n_left, most + 1), by orbits needed, points left and atoms; ``NEVER`` or more where there
        is no way.
    """
    exact = _of_exact_points(sizes, most)
    within = np.asarray((sizes.digits[:, None] >= sizes.digits[None]).all(axis=2))
    found = [np.stack([exact[row].min(axis=0) for row in within])]
    for _ in range(at_least):
        found.append(_with_one_more(found[-1], sizes))
    return np.stack(found)


def _of_exact_points(sizes: Sizes, most: int) -> NDArray[np.int32]:
    """Fewest orbits that add an exact number of atoms on exactly these points; shape (n_left, most + 1)."""
    coins = np.full(most + 1, NEVER, dtype=np.int32)
    coins[0] = 0
    for total in range(1, most + 1):
        before = [coins[total - coin] for coin in sizes.free if coin <= total]
        coins[total] = min(min(before, default=NEVER) + 1, NEVER)
    found = np.full((sizes.n_left, most + 1), NEVER, dtype=np.int32)
    atoms = sizes.digits @ np.array([m for m, _ in sizes.points], dtype=np.int64)
    for row, (taken, number) in enumerate(zip(atoms.tolist(), sizes.digits.sum(axis=1).tolist(), strict=True)):
        if taken <= most:
            found[row, taken:] = coins[: most + 1 - taken] + number
    return found


def _with_one_more(before: NDArray[np.int32], sizes: Sizes) -> NDArray[np.int32]:
    """An orbit and then what is needed ``before``."""
    found = np.full_like(before, NEVER)
    for m in sizes.free:
        found[:, m:] = np.minimum(found[:, m:], before[:, : max(before.shape[1] - m, 0)] + 1)
    for column, ((m, _), stride) in enumerate(zip(sizes.points, sizes.strides, strict=True)):
        rows = np.flatnonzero(sizes.digits[:, column])
        found[rows, m:] = np.minimum(found[rows, m:], before[rows - stride, : max(before.shape[1] - m, 0)] + 1)
    return found


class JointCompletion:
    """Whether the atoms that a composition still lacks fill whole orbits, of which the elements share the points.

    Sets of ways in which points can be left are integers, one bit each. Answers are kept.

    Args:
        sizes: of the orbits.
        unit: atoms of each element in a formula unit.
        factors: numbers of formula units that the crystal may have, increasing.
        most: the largest number of atoms.
    """

    def __init__(self, sizes: Sizes, unit: Sequence[int], factors: Sequence[int], most: int) -> None:
        self._unit, self._factors = tuple(unit), tuple(factors)
        self._everything = (1 << sizes.n_left) - 1
        digits, exact = sizes.digits, _of_exact_points(sizes, most)
        limits = np.array([number for _, number in sizes.points], dtype=np.int64)
        # from which ways of being left as many points can be given back
        fits = [np.flatnonzero((digits + own <= limits).all(axis=1)).tolist() for own in digits]
        self._fits = [sum(1 << way for way in ways) for ways in fits]
        self._ways = [
            [(taken, int(exact[taken, amount])) for taken in np.flatnonzero(exact[:, amount] < NEVER).tolist()]
            for amount in range(most + 1)
        ]
        self._can_place = cache(self._placed)
        self.after = cache(self._after)

    def _after(self, counts: tuple[int, ...], more: int) -> int:
        """From which ways of being left the crystal can be finished.

        Args:
            counts: atoms of each element so far.
            more: orbits that may be added at most; negative: any number.
        """
        found = 0
        for factor in self._factors:
            rest = [factor * n - have for n, have in zip(self._unit, counts, strict=True)]
            if min(rest) >= 0:
                found |= self._can_place(tuple(sorted((each for each in rest if each), reverse=True)), more)
                if found == self._everything:
                    break
        return found

    def _placed(self, rest: tuple[int, ...], more: int) -> int:
        if not rest:
            return self._everything
        found = 0
        for taken, orbits in self._ways[rest[0]]:
            if more < 0:
                others = self._can_place(rest[1:], more)
            elif orbits <= more:
                others = self._can_place(rest[1:], more - orbits)
            else:
                continue
            found |= (others & self._fits[taken]) << taken
        return found
