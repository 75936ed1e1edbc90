"""Which orbits may still be added to an unfinished crystal so that it can be finished within its conditions.

Free positions take any number of orbits, points (positions without freedom) one each. Whether some sum of their
multiplicities can be reached is the coin problem: coins of free positions without limit, each point's coin once.
Points of equal multiplicity are exchangeable, so that only their number matters and answers can be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.generators.conditions import Conditions
from atomsym.symmetry.wyckoff import wyckoff_positions


@dataclass(frozen=True)
class Sites:
    """The Wyckoff positions of a space group, as far as counting goes.

    Attributes:
        multiplicities: of each position in the conventional cell.
        free: whether a position has free coordinates.
    """

    multiplicities: tuple[int, ...]
    free: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.multiplicities or len(self.multiplicities) != len(self.free):
            raise InputError("sites need one multiplicity and one freedom for each position")


@cache
def sites_of(space_group: int) -> Sites:
    """Of a space group, in the order of the table.

    Raises:
        InputError: if the number is not 1 to 230.
    """
    positions = wyckoff_positions(space_group)
    return Sites(tuple(p.multiplicity for p in positions), tuple(not p.is_point for p in positions))


@dataclass(frozen=True)
class Unfinished:
    """What has been put into a crystal so far.

    Attributes:
        counts: atoms by atomic number, pairs in increasing order.
        used: which points are occupied, by the index of the position.
        n_orbits: how many orbits there are.
    """

    counts: tuple[tuple[int, int], ...] = ()
    used: frozenset[int] = frozenset()
    n_orbits: int = 0

    @property
    def n_atoms(self) -> int:
        return sum(count for _, count in self.counts)

    def plus(self, element: int, position: int, sites: Sites) -> Unfinished:
        """With another orbit.

        Raises:
            InputError: if the position is a point that is occupied.
        """
        if position in self.used:
            raise InputError(f"position {position} has no free coordinate and is occupied already")
        counts = dict(self.counts)
        counts[element] = counts.get(element, 0) + sites.multiplicities[position]
        used = self.used if sites.free[position] else self.used | {position}
        return Unfinished(tuple(sorted(counts.items())), used, self.n_orbits + 1)


@lru_cache(maxsize=512)
def reachability_in(space_group: int, conditions: Conditions) -> Reachability:
    """What is reachable in a space group; answers of earlier calls are kept.

    Raises:
        InputError: if the number is not 1 to 230.
    """
    return Reachability(sites_of(space_group), conditions)


class Reachability:
    """Allowed next orbits in one space group under one set of conditions. Answers are kept.

    Args:
        sites: positions of the space group.
        conditions: what the finished crystal must meet.

    Example:
        >>> rock_salt = Sites((4, 4, 8, 24), (False, False, False, False))  # the points of Fm-3m
        >>> reach = Reachability(rock_salt, Conditions(composition={11: 1, 17: 1}))
        >>> reach.allowed(Unfinished())[[11, 17]].tolist()
        [[True, True, True, False], [True, True, True, False]]
    """

    def __init__(self, sites: Sites, conditions: Conditions) -> None:
        self.sites, self.conditions = sites, conditions
        pairs = list(zip(sites.multiplicities, sites.free, strict=True))
        self._coins = tuple(sorted({m for m, free in pairs if free}))
        self._classes = tuple(sorted({m for m, free in pairs if not free}))
        self._class_of = [None if free else self._classes.index(m) for m, free in pairs]
        self._sums = _unlimited_sums(self._coins, conditions.most_atoms)
        self._permitted = list(conditions.allowed)
        self._left = cache(self._points_left)
        self._row = cache(self._leads_on)
        self._finishable = cache(self._can_finish)
        self._joint = cache(self._can_place_all)
        self._pooled = cache(self._can_add)
        self._element_mask = cache(self._elements)
        self._position_mask = cache(self._positions)

    def possible(self) -> bool:
        """Whether any crystal of the group meets the conditions."""
        return bool(self.elements(Unfinished()).any())

    def may_stop(self, state: Unfinished) -> bool:
        """Whether the crystal meets the conditions as it is."""
        conditions, counts = self.conditions, dict(state.counts)
        if not counts or any(number not in counts for number in conditions.required):
            return False
        if conditions.n_atoms and state.n_atoms != conditions.n_atoms:
            return False
        if conditions.composition is None:
            return True
        units = {counts[number] / n for number, n in conditions.composition.items()}
        return len(units) == 1 and units.pop().is_integer()

    def elements(self, state: Unfinished) -> NDArray[np.bool_]:
        """Which element the next orbit may have. The array is kept: do not write to it.

        Returns:
            Shape (119,); entry 0 says whether the crystal may end as it is.
        """
        return self._element_mask(self._content(state), self.may_stop(state), *self._place(state))

    def positions(self, state: Unfinished, element: int) -> NDArray[np.bool_]:
        """Which positions the next orbit may have if it is of this element. The array is kept: do not write to it.

        Returns:
            Shape (n_positions,).
        """
        n_atoms, _, orbits = self._place(state)
        return self._position_mask(self._content(state), element, n_atoms, state.used, orbits)

    def missing(self, state: Unfinished) -> tuple[int, ...]:
        """The elements that must occur and do not yet, increasing."""
        there = {number for number, _ in state.counts}
        return tuple(number for number in self.conditions.required if number not in there)

    def allowed(self, state: Unfinished) -> NDArray[np.bool_]:
        """Whether an orbit of an element at a position leads on to a crystal that meets the conditions.

        Returns:
            Shape (119, n_positions); rows are atomic numbers, the first one is empty.
        """
        result = np.zeros((MAX_ATOMIC_NUMBER + 1, len(self.sites.free)), dtype=bool)
        for element in np.flatnonzero(self.elements(state)[1:]) + 1:
            result[element] = self.positions(state, int(element))
        return result

    def _content(self, state: Unfinished) -> tuple[int, ...]:
        """All that matters of the elements so far: the required ones that are missing, or atoms by the composition."""
        if self.conditions.composition is None:
            return self.missing(state)
        counts = dict(state.counts)
        return tuple(counts.get(number, 0) for number in self.conditions.composition)

    def _place(self, state: Unfinished) -> tuple[int, tuple[int, ...], int]:
        """Atoms, points left by class, and orbits with the next one, as far as they are limited."""
        return state.n_atoms, self._left(state.used), state.n_orbits + 1 if self.conditions.max_orbits else 0

    def _elements(
        self, content: tuple[int, ...], may_stop: bool, n_atoms: int, left: tuple[int, ...], orbits: int
    ) -> NDArray[np.bool_]:
        mask = np.zeros(MAX_ATOMIC_NUMBER + 1, dtype=bool)
        if self.conditions.composition is None:
            # other elements are alike: only the required ones that are still missing differ from them
            mask[self._permitted] = self._row((len(content),), n_atoms, left, orbits).any()
            if content:
                mask[list(content)] = self._row((len(content) - 1,), n_atoms, left, orbits).any()
        else:
            for element in self._permitted:
                mask[element] = self._row(self._after(content, element), n_atoms, left, orbits).any()
        mask[0] = may_stop
        mask.setflags(write=False)
        return mask

    def _positions(
        self, content: tuple[int, ...], element: int, n_atoms: int, used: frozenset[int], orbits: int
    ) -> NDArray[np.bool_]:
        row = self._row(self._after(content, element), n_atoms, self._left(used), orbits).copy()
        row[list(used)] = False
        if element not in self._permitted:
            row[:] = False
        row.setflags(write=False)
        return row

    def _after(self, content: tuple[int, ...], element: int) -> tuple[int, ...]:
        """What the rows depend on: how many required elements would be missing, or atoms and which one gets more."""
        if self.conditions.composition is None:
            return (len(content) - (element in content),)
        numbers = list(self.conditions.composition)
        return (*content, numbers.index(element)) if element in numbers else (*content, 0)

    def _leads_on(self, which: tuple[int, ...], n_atoms: int, left: tuple[int, ...], orbits: int) -> NDArray[np.bool_]:
        """For each position: whether the crystal can be finished after an orbit there."""
        row = np.zeros(len(self.sites.free), dtype=bool)
        for position, (multiplicity, own) in enumerate(zip(self.sites.multiplicities, self._class_of, strict=True)):
            remaining = left
            if own is not None:
                if not left[own]:
                    continue
                remaining = (*left[:own], left[own] - 1, *left[own + 1 :])
            if self.conditions.composition is None:
                state: tuple[int, ...] = (n_atoms + multiplicity, which[0])
            else:
                counts, chosen = list(which[:-1]), which[-1]
                counts[chosen] += multiplicity
                state = tuple(counts)
            row[position] = self._finishable(state, remaining, orbits)
        return row

    def _points_left(self, used: frozenset[int]) -> tuple[int, ...]:
        left = [0] * len(self._classes)
        for position, own in enumerate(self._class_of):
            if own is not None and position not in used:
                left[own] += 1
        return tuple(left)

    def _can_finish(self, state: tuple[int, ...], left: tuple[int, ...], orbits: int) -> bool:
        """``state``: atoms of each element of the composition, or (all atoms, required elements still missing)."""
        conditions = self.conditions
        more = conditions.max_orbits - orbits if conditions.max_orbits else conditions.most_atoms
        if more < 0:
            return False
        if conditions.composition is None:
            total, missing = state
            room = conditions.most_atoms - total
            if room < 0:
                return False
            sums = [conditions.n_atoms - total] if conditions.n_atoms else range(room + 1)
            return any(self._pooled(amount, missing, left, more) for amount in sums)
        needed = tuple(conditions.composition.values())
        unit = sum(needed)
        factors = [conditions.n_atoms // unit] if conditions.n_atoms else range(1, conditions.most_atoms // unit + 1)
        for factor in factors:
            rest = tuple(factor * n - have for n, have in zip(needed, state, strict=True))
            if min(rest) >= 0 and self._joint(tuple(sorted(rest, reverse=True)), left, more):
                return True
        return False

    def _can_place_all(self, rest: tuple[int, ...], left: tuple[int, ...], more: int) -> bool:
        """Whether so many atoms of each of several elements fill whole orbits, with at most ``more`` orbits."""
        rest = tuple(amount for amount in rest if amount)
        if not rest:
            return True
        amount, others = rest[0], rest[1:]
        for taken in product(*(range(n + 1) for n in left)):
            remainder = amount - sum(n * m for n, m in zip(taken, self._classes, strict=True))
            if remainder < 0 or self._sums[remainder] < 0:
                continue
            orbits = sum(taken) + self._sums[remainder]
            after = tuple(n - k for n, k in zip(left, taken, strict=True))
            if orbits <= more and self._joint(others, after, more - orbits):
                return True
        return False

    def _can_add(self, amount: int, orbits: int, left: tuple[int, ...], more: int) -> bool:
        """Whether exactly so many atoms fill at least ``orbits`` (for missing elements) and at most ``more`` orbits."""
        for taken in product(*(range(n + 1) for n in left)):
            remainder = amount - sum(n * m for n, m in zip(taken, self._classes, strict=True))
            if remainder >= 0:
                numbers = _numbers_of_coins(self._coins, remainder)
                if any(orbits <= n + sum(taken) <= more for n in numbers):
                    return True
        return False


@cache
def _unlimited_sums(coins: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Fewest coins that make each sum from 0 to the limit; -1 where none do."""
    fewest = [0] + [-1] * limit
    for total in range(1, limit + 1):
        before = [fewest[total - coin] for coin in coins if coin <= total and fewest[total - coin] >= 0]
        fewest[total] = 1 + min(before) if before else -1
    return tuple(fewest)


@cache
def _numbers_of_coins(coins: tuple[int, ...], total: int) -> frozenset[int]:
    """With how many coins a sum can be made."""
    if total == 0:
        return frozenset({0})
    return frozenset(n + 1 for coin in coins if coin <= total for n in _numbers_of_coins(coins, total - coin))
