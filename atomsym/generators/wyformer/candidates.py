"""Crystals while a Wyckoff transformer makes them, as arrays."""

from __future__ import annotations

from math import lgamma
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.generators.reachability import Reachability, Unfinished
from atomsym.symmetry.wyckoff.table import LETTERS

Rows = NDArray[np.int64]


class Candidates(NamedTuple):
    """n crystals of equally many orbits.

    Attributes:
        pool: index of the pool of each, increasing, shape (n,).
        groups: space groups, shape (n,).
        elements, positions: of the orbits, shape (n, n_orbits).
        state: the same as far as conditions look at it.
        logs: logarithms of their weights, shape (n,).
        log_likelihoods: of the draws so far, without regard to what is allowed, shape (n,).
    """

    pool: NDArray[np.int64]
    groups: NDArray[np.int64]
    elements: NDArray[np.int64]
    positions: NDArray[np.int64]
    state: Unfinished
    logs: NDArray[np.float64]
    log_likelihoods: NDArray[np.float64]

    @classmethod
    def empty(cls, pool: NDArray[np.int64], groups: NDArray[np.int64], reach: Reachability) -> Candidates:
        """Crystals without orbits."""
        none = np.zeros((len(groups), 0), dtype=np.int64)
        return cls(pool, groups, none, none, reach.start(groups), np.zeros(len(groups)), np.zeros(len(groups)))

    def select(self, rows: Rows | NDArray[np.bool_]) -> Candidates:
        """Some of them, once or several times each."""
        pool, groups, elements, positions = (each[rows] for each in self[:4])
        return Candidates(
            pool, groups, elements, positions, self.state.select(rows), self.logs[rows], self.log_likelihoods[rows]
        )

    def different(self) -> tuple[Rows, Rows]:
        """Rows of one of each of the different crystals, and which of them each one is; the order of orbits is none."""
        codes = np.sort(self.elements * len(LETTERS) + self.positions, axis=1)
        keys = np.ascontiguousarray(np.column_stack((self.groups, codes)).astype(np.int16))
        whole = keys.view(np.dtype((np.void, keys.dtype.itemsize * keys.shape[1]))).reshape(-1)
        _, first, member = np.unique(whole, return_index=True, return_inverse=True)
        return first, np.asarray(member.reshape(-1), dtype=np.int64)

    def tensors(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Groups, elements and positions of some of them."""
        groups, elements, positions = (torch.from_numpy(each[rows]) for each in self[1:4])
        return groups, elements, positions

    def with_orbits(self, elements: NDArray[np.int64], positions: NDArray[np.int64], reach: Reachability) -> Candidates:
        """With another orbit each."""
        return self._replace(
            elements=np.column_stack((self.elements, elements)),
            positions=np.column_stack((self.positions, positions)),
            state=reach.plus(self.state, elements, positions),
        )

    def element_masks(self, rows: Rows, reach: Reachability) -> NDArray[np.bool_]:
        """Which elements may be next, or the end, shape (n_rows, 119): where required ones are missing, one of them."""
        state = self.state.select(rows)
        masks, missing = reach.elements(state), reach.missing(state)
        first = np.flatnonzero(missing.any(axis=1))
        if len(first):
            kept = masks[np.ix_(first, reach.required)] & missing[first]
            masks[first] = False
            masks[np.ix_(first, reach.required)] = kept
        return masks

    def open_positions(self, reach: Reachability) -> NDArray[np.bool_]:
        """Which positions could take an orbit if there were no conditions, shape (n, 27)."""
        places = np.arange(reach.sites.multiplicity.shape[1])
        is_free = (self.state.used[:, None] >> places) & 1 == 0
        return np.asarray(reach.sites.is_position[self.groups] & is_free)

    def log_orders(self, required: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithm of all orders of the orbits over those that finished crystals can be drawn in, shape (n,).

        Args:
            required: elements that must occur, of which one orbit each comes first.
        """
        n, m = self.elements.shape[1], len(required)
        alike = (self.elements[:, :, None] == required).sum(axis=1)
        return np.asarray(lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1) - np.log(alike).sum(axis=1))
