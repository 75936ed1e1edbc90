"""Which orbits may still be added to unfinished crystals so that they can be finished within their conditions.

The answers are exact: what is allowed leads on to a crystal that meets the conditions, and everything that leads on is
allowed. They are given for many crystals at once.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.generators.completion import NEVER, JointCompletion, fewest_orbits
from atomsym.generators.conditions import Conditions
from atomsym.generators.sites import SiteTables, Sizes, group_tables

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Unfinished(NamedTuple):
    """What has been put into n crystals so far. All arrays are int64.

    Attributes:
        kinds: row of each crystal in the tables of sites: its space group; shape (n,).
        counts: atoms of the elements that must occur, shape (n, n_required).
        n_atoms: all atoms, shape (n,).
        used: which points are occupied, one bit each by the index of the position, shape (n,).
        left: which points are left, see ``Sizes``, shape (n,).
        n_orbits: how many orbits there are, shape (n,).
    """

    kinds: Ints
    counts: Ints
    n_atoms: Ints
    used: Ints
    left: Ints
    n_orbits: Ints

    def select(self, rows: Ints | Flags) -> Unfinished:
        """Some of the crystals."""
        return Unfinished(*(each[rows] for each in self))

    def put(self, rows: Ints, others: Unfinished) -> None:
        """Replace some of the crystals."""
        for own, other in zip(self, others, strict=True):
            own[rows] = other


@lru_cache(maxsize=32)
def reachability(conditions: Conditions) -> Reachability:
    """What is reachable in the space groups, by their numbers; answers of earlier calls are kept."""
    return Reachability(group_tables(), conditions)


class Reachability:
    """Allowed next orbits under one set of conditions. What has been found out is kept.

    Args:
        sites: positions of each kind of crystal.
        conditions: what the finished crystals must meet.

    Example:
        >>> salt = Reachability(group_tables(), Conditions(composition={11: 1, 17: 1}, max_atoms=8))
        >>> empty = salt.start(np.array([225, 221]))
        >>> np.flatnonzero(salt.positions(empty, np.array([11, 11]))[0])  # 4a or 4b of Fm-3m
        array([0, 1])
    """

    def __init__(self, sites: SiteTables, conditions: Conditions) -> None:
        self.sites, self.conditions = sites, conditions
        self.required = np.array(conditions.required, dtype=np.int64)
        self._permitted = np.zeros(MAX_ATOMIC_NUMBER + 1, dtype=bool)
        self._permitted[list(conditions.allowed)] = True
        self._column = np.full(MAX_ATOMIC_NUMBER + 1, -1, dtype=np.int64)
        self._column[self.required] = np.arange(len(self.required))
        self._ways: _Totals | _Compositions = (
            _Totals(sites, conditions) if conditions.composition is None else _Compositions(sites, conditions)
        )

    def start(self, kinds: Ints) -> Unfinished:
        """Empty crystals of these kinds, shape (n,)."""
        kinds = np.array(kinds, dtype=np.int64)
        n = len(kinds)
        zeros = [np.zeros(n, dtype=np.int64) for _ in range(3)]
        counts = np.zeros((n, len(self.required)), dtype=np.int64)
        return Unfinished(kinds, counts, zeros[0], zeros[1], self._all_left[kinds], zeros[2])

    def plus(self, state: Unfinished, elements: Ints, positions: Ints) -> Unfinished:
        """With another orbit each.

        Raises:
            InputError: if one of the positions is a point that is occupied.
        """
        sites, where = self.sites, (state.kinds, positions)
        is_point, atoms = sites.is_point[where], sites.multiplicity[where]
        bit = np.where(is_point, 1 << positions, 0)
        if np.any(state.used & bit):
            raise InputError("a position has no free coordinate and is occupied already")
        counts, column = state.counts.copy(), self._column[elements]
        rows = np.flatnonzero(column >= 0)
        counts[rows, column[rows]] += atoms[rows]
        left = state.left - sites.stride[where]
        return Unfinished(state.kinds, counts, state.n_atoms + atoms, state.used | bit, left, state.n_orbits + 1)

    def holding(self, empty: Unfinished, crystals: Ints, elements: Ints, positions: Ints) -> Unfinished:
        """Empty crystals with orbits that they can have.

        Args:
            empty: n crystals.
            crystals: index of the crystal of each orbit, shape (n_orbits,).
            elements, positions: of the orbits, same shape.
        """
        sites, kinds = self.sites, empty.kinds[crystals]
        atoms, is_point = sites.multiplicity[kinds, positions], sites.is_point[kinds, positions]
        state = Unfinished(*(each.copy() for each in empty))
        column = self._column[elements]
        known = column >= 0
        np.add.at(state.counts, (crystals[known], column[known]), atoms[known])
        np.add.at(state.n_atoms, crystals, atoms)
        np.bitwise_or.at(state.used, crystals, np.where(is_point, 1 << positions, 0))
        np.subtract.at(state.left, crystals, sites.stride[kinds, positions])
        np.add.at(state.n_orbits, crystals, 1)
        return state

    def possible(self, kinds: Ints) -> Flags:
        """Of which kinds there is any crystal that meets the conditions, shape (n,)."""
        return np.asarray(self.elements(self.start(kinds)).any(axis=1))

    def missing(self, state: Unfinished) -> Flags:
        """Which of the required elements are not there yet, shape (n, n_required)."""
        return state.counts == 0

    def may_stop(self, state: Unfinished) -> Flags:
        """Which crystals meet the conditions as they are, shape (n,)."""
        conditions = self.conditions
        found = (state.n_atoms > 0) & (state.counts > 0).all(axis=1) & (state.n_atoms <= conditions.most_atoms)
        if conditions.max_orbits:
            found &= state.n_orbits <= conditions.max_orbits
        if conditions.n_atoms:
            found &= state.n_atoms == conditions.n_atoms
        if conditions.composition is not None:
            unit = np.array(list(conditions.composition.values()), dtype=np.int64)
            factors = state.counts[:, :1] // unit[:1]
            found &= (state.counts == factors * unit).all(axis=1)
        return found

    def elements(self, state: Unfinished) -> Flags:
        """Which elements the next orbit may have.

        Returns:
            Shape (n, 119); entry 0 says whether the crystal may end as it is.
        """
        mask = np.zeros((len(state.kinds), MAX_ATOMIC_NUMBER + 1), dtype=bool)
        if self.conditions.composition is None:
            # other elements are alike: only the required ones that are still missing differ from them
            leads_on = self._leads_on(state, np.zeros_like(state.kinds))
            mask[:] = self._permitted & np.asarray(leads_on.any(axis=1))[:, None]
        for element in self.required.tolist():
            mask[:, element] = self.positions(state, np.full_like(state.kinds, element)).any(axis=1)
        mask[:, 0] = self.may_stop(state)
        return mask

    def positions(self, state: Unfinished, elements: Ints) -> Flags:
        """Which positions the next orbits may have if they are of these elements, shape (n, most_positions)."""
        return self._leads_on(state, elements) & self._permitted[elements][:, None]

    def allowed(self, state: Unfinished) -> Flags:
        """Which orbits lead on to crystals that meet the conditions, by element and position.

        Returns:
            Shape (n, 119, most_positions); what there is of element 0 is empty.
        """
        shape = (len(state.kinds), MAX_ATOMIC_NUMBER + 1, self.sites.multiplicity.shape[1])
        found = np.zeros(shape, dtype=bool)
        if self.conditions.composition is None:
            found[:] = self._leads_on(state, np.zeros_like(state.kinds))[:, None] & self._permitted[:, None]
        for element in self.required.tolist():
            found[:, element] = self.positions(state, np.full_like(state.kinds, element))
        return found

    def _leads_on(self, state: Unfinished, elements: Ints) -> Flags:
        sites, kinds = self.sites, state.kinds
        free = (state.used[:, None] >> np.arange(sites.multiplicity.shape[1])) & 1 == 0
        is_open = sites.is_position[kinds] & free
        atoms = state.n_atoms[:, None] + sites.multiplicity[kinds]
        is_open &= atoms <= self.conditions.most_atoms
        left = np.where(is_open, state.left[:, None] - sites.stride[kinds], 0)
        more = np.full(len(kinds), -1)
        if self.conditions.max_orbits:
            more = self.conditions.max_orbits - state.n_orbits - 1
            is_open &= more[:, None] >= 0
        return is_open & self._ways.finishable(state, self._column[elements], np.where(is_open, atoms, 0), left, more)

    @cached_property
    def _all_left(self) -> Ints:
        return np.array([sizes.n_left - 1 for sizes in self.sites.sizes], dtype=np.int64)


class _Totals:
    """Crystals of any composition: by all atoms, and by how many of the required elements are missing."""

    def __init__(self, sites: SiteTables, conditions: Conditions) -> None:
        self._sizes, self._conditions = sites.sizes, conditions
        self._table = np.zeros(0, dtype=np.int32)
        self._starts: dict[Sizes, int] = {}
        self._start = np.full(len(sites.sizes), -1, dtype=np.int64)
        self._n_left = np.array([sizes.n_left for sizes in sites.sizes], dtype=np.int64)

    def finishable(self, state: Unfinished, column: Ints, atoms: Ints, left: Ints, more: Ints) -> Flags:
        """Whether crystals can be finished after an orbit.

        Args:
            state: the crystals without it.
            column: which required element the orbit has, -1 for another one; shape (n,).
            atoms, left: with the orbit at each position; shape (n, n_positions).
            more: orbits that may follow, negative if any number; shape (n,).

        Returns:
            Shape (n, n_positions).
        """
        self._prepare(state.kinds)
        missing = (state.counts == 0).sum(axis=1)
        known = np.flatnonzero(column >= 0)
        missing[known] -= state.counts[known, column[known]] == 0
        row = missing[:, None] * self._n_left[state.kinds][:, None] + left
        fewest = self._table[self._start[state.kinds][:, None] + row * self._width + atoms]
        return np.asarray(fewest <= np.where(more < 0, NEVER - 1, more)[:, None])

    @property
    def _width(self) -> int:
        return self._conditions.most_atoms + 1

    def _prepare(self, kinds: Ints) -> None:
        new = np.unique(kinds[self._start[kinds] < 0]).tolist()
        parts, length = [self._table], len(self._table)
        for kind in new:
            sizes = self._sizes[kind]
            if sizes not in self._starts:
                self._starts[sizes] = length
                parts.append(self._made(sizes).ravel())
                length += len(parts[-1])
            self._start[kind] = self._starts[sizes]
        if len(parts) > 1:
            self._table = np.concatenate(parts)

    def _made(self, sizes: Sizes) -> NDArray[np.int32]:
        """Fewest orbits that follow, by required elements that are missing, points left and atoms that are there."""
        exact = fewest_orbits(sizes, self._conditions.most_atoms, len(self._conditions.required))
        found = exact if self._conditions.n_atoms else np.minimum.accumulate(exact, axis=2)
        return found[:, :, ::-1]


class _Compositions:
    """Crystals of one composition: by the atoms of each element."""

    def __init__(self, sites: SiteTables, conditions: Conditions) -> None:
        composition = conditions.composition or {}
        self._sites, self._unit = sites, tuple(composition.values())
        unit, most = sum(self._unit), conditions.most_atoms
        factors = [conditions.n_atoms // unit] if conditions.n_atoms else range(1, most // unit + 1)
        self._factors, self._most = tuple(factors), most
        different = list(dict.fromkeys(sites.sizes))
        self._size_of = np.array([different.index(sizes) for sizes in sites.sizes], dtype=np.int64)
        self._steps = [sites.steps[sites.sizes.index(sizes)] for sizes in different]
        self._sizes = different
        self._completions: dict[int, JointCompletion] = {}
        self._entries: dict[bytes, int] = {}
        steps = max(map(len, sites.steps))
        self._bits = np.zeros((256, len(self._unit), steps), dtype=np.int64)

    def finishable(self, state: Unfinished, column: Ints, atoms: Ints, left: Ints, more: Ints) -> Flags:
        """See ``_Totals``."""
        entries = self._entries_of(np.column_stack((self._size_of[state.kinds], more, state.counts)))
        bits = self._bits[entries[:, None], column[:, None], self._sites.size_index[state.kinds]]
        return np.asarray((bits >> left) & 1 == 1)

    def _entries_of(self, keys: Ints) -> Ints:
        width, data = 4 * keys.shape[1], keys.astype(np.int32).tobytes()
        words = [data[start : start + width] for start in range(0, len(data), width)]
        found: list[int | None] = list(map(self._entries.get, words))
        for row in [row for row, entry in enumerate(found) if entry is None]:
            known = self._entries.get(words[row])
            found[row] = self._new_entry(words[row], tuple(keys[row].tolist())) if known is None else known
        return np.array(found, dtype=np.int64)

    def _new_entry(self, word: bytes, key: tuple[int, ...]) -> int:
        """From which ways of being left a crystal can be finished after an orbit of each element and multiplicity."""
        which, more, *counts = key
        entry = len(self._entries)
        if entry == len(self._bits):
            self._bits = np.concatenate((self._bits, np.zeros_like(self._bits)))
        completion = self._completion(which)
        alike: dict[tuple[int, int], list[int]] = {}  # elements of which equally much is there and wanted
        for column, each in enumerate(zip(self._unit, counts, strict=True)):
            alike.setdefault(each, []).append(column)
        for index, step in enumerate(self._steps[which]):
            for first, *others in alike.values():
                after = (*counts[:first], counts[first] + step, *counts[first + 1 :])
                self._bits[entry, [first, *others], index] = completion.after(after, more)
        self._entries[word] = entry
        return entry

    def _completion(self, which: int) -> JointCompletion:
        if which not in self._completions:
            sizes = self._sizes[which]
            self._completions[which] = JointCompletion(sizes, self._unit, self._factors, self._most)
        return self._completions[which]
