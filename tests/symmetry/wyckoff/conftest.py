"""Crystals of every space group for the tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal


def cell_of(group: int) -> np.ndarray:
    """A cell of the crystal system, no more symmetric than that."""
    a, b, c = 7.1, 8.3, 9.7
    if group <= 2:
        return np.array([[a, 0, 0], [-1.1, b, 0], [0.7, 1.9, c]])
    if group <= 15:
        return np.array([[a, 0, 0], [0, b, 0], [-2.1, 0, c]])
    if group <= 74:
        return np.diag([a, b, c])
    if group <= 142:
        return np.diag([a, a, c])
    if group <= 194:
        return np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    return np.diag([a, a, a])


@pytest.fixture(scope="session")
def crystal_of() -> Callable[[Protostructure, int], SymmetricCrystal]:
    """Makes a crystal of a protostructure at random places, from a seed."""

    def make(structure: Protostructure, seed: int) -> SymmetricCrystal:
        parameters = np.random.default_rng(seed).uniform(0.05, 0.95, (len(structure.orbits), 3))
        return SymmetricCrystal(structure, cell_of(structure.space_group), parameters)

    return make
