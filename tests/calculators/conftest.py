"""Structures and small models for tests of hosts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from atomsym.models import LennardJones, LennardJonesConfig, Potential


@pytest.fixture
def argon_crystal() -> Callable[..., Atoms]:
    """A rattled fcc crystal of argon: ``argon_crystal(repeat=2, seed=0, stdev=0.1)``."""

    def make(repeat: int = 2, seed: int = 0, stdev: float = 0.1) -> Atoms:
        atoms = bulk("Ar", a=5.3, cubic=True).repeat(repeat)
        atoms.rattle(stdev, seed=seed)
        return atoms

    return make


@pytest.fixture
def cluster() -> Atoms:
    """Seven argon atoms without a cell."""
    generator = np.random.default_rng(7)
    positions = 3.6 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    return Atoms("Ar7", positions=positions + generator.normal(0, 0.1, (7, 3)))


@pytest.fixture
def short_potential() -> Potential:
    """Argon with a cutoff of 5 Å, so that small cells and dimers are quick."""
    return LennardJones(LennardJonesConfig(elements=(18,), cutoff=5.0, epsilon=((0.0103,),), sigma=((3.4,),)))
