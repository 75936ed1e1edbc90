"""Relaxation in the free parameters: the same minima as free relaxation, exact symmetry, and failures that end well."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from atomsym.calculators.symmetric_relaxation import primitive_atoms, relax_symmetric
from atomsym.core import ConfigError
from atomsym.generators.realisation import realise
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse

STRUCTURES = {
    "Cu3Au": Protostructure(221, ((29, "c"), (79, "a"))),
    "CuAu": Protostructure(123, ((29, "a"), (79, "d"))),
    "hexagonal": Protostructure(194, ((29, "c"),)),
    "rutile-like": Protostructure(136, ((79, "a"), (29, "f"))),
    "orthorhombic": Protostructure(62, ((79, "c"), (29, "c"))),
    "monoclinic": Protostructure(12, ((79, "i"), (29, "a"))),
}


def start(name: str, seed: int = 0) -> SymmetricCrystal:
    return realise(STRUCTURES[name], generator=np.random.default_rng(seed)).crystal


@pytest.mark.parametrize("name", STRUCTURES)
def test_symmetry_is_kept_and_the_result_is_at_rest(name: str) -> None:
    found = relax_symmetric(start(name), EMT(), fmax=0.01, smax=1e-3, max_steps=400)
    assert found.converged, found.reason
    assert found.crystal.protostructure == STRUCTURES[name]
    atoms = primitive_atoms(found.crystal)
    atoms.calc = EMT()
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.01
    assert np.abs(atoms.get_stress()).max() <= 1e-3
    per_atom = atoms.get_potential_energy() / len(atoms)
    assert found.energy / found.crystal.n_atoms == pytest.approx(per_atom, abs=1e-10)
    again = analyse(found.crystal.cell, found.crystal.fractional_positions, found.crystal.numbers, symprec=1e-4)
    kept = again.protostructure.space_group == STRUCTURES[name].space_group
    assert kept or again.protostructure.n_atoms <= found.crystal.n_atoms  # a relaxed crystal may gain symmetry


@pytest.mark.parametrize("name", ["Cu3Au", "CuAu", "hexagonal"])
def test_the_minimum_is_that_of_a_free_relaxation(name: str) -> None:
    crystal = start(name)
    found = relax_symmetric(crystal, EMT(), fmax=1e-3, smax=1e-4)
    atoms = primitive_atoms(crystal)
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=500)
    energy = atoms.get_potential_energy() / len(atoms)
    assert found.energy / found.crystal.n_atoms == pytest.approx(energy, abs=1e-5)


def test_it_takes_fewer_evaluations_than_atoms_would() -> None:
    found = relax_symmetric(start("Cu3Au"), EMT(), fmax=0.01, smax=1e-3)
    assert found.steps <= 25  # one variable


class Broken(Calculator):
    """Fails, or gives no number, from some call on; a soft repulsive potential before."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, fails_at: int, how: str) -> None:
        super().__init__()
        self.n, self.fails_at, self.how = 0, fails_at, how

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        self.n += 1
        if self.n >= self.fails_at and self.how == "raises":
            raise RuntimeError("out of order")
        value = np.nan if self.n >= self.fails_at else 1.0
        volume = atoms.get_volume()
        sign = -1.0 if self.how == "collapses" else 1.0
        stress = -sign * value * np.array([1, 1, 1, 0, 0, 0.0])
        self.results = {"energy": -sign * value * volume, "forces": np.zeros((len(atoms), 3)), "stress": stress}


@pytest.mark.parametrize(
    ("how", "fails_at", "reason"),
    [("raises", 1, "out of order"), ("raises", 3, "out of order"), ("nan", 1, "not finite"), ("nan", 4, "not finite")],
)
def test_a_failing_calculator_ends_it_at_the_last_good_crystal(how: str, fails_at: int, reason: str) -> None:
    found = relax_symmetric(start("CuAu"), Broken(fails_at, how))
    assert not found.converged
    assert reason in found.reason
    assert np.isfinite(found.energy) == (fails_at > 1)


@pytest.mark.parametrize(
    ("how", "reason"), [("explodes", "volume changed"), ("collapses", "came as close|volume changed")]
)
def test_a_crystal_that_runs_away_is_stopped(how: str, reason: str) -> None:
    found = relax_symmetric(start("CuAu"), Broken(10**6, how), max_steps=2000)
    assert not found.converged
    assert re.search(reason, found.reason)


def test_limits_are_kept() -> None:
    crystal = start("orthorhombic")
    assert relax_symmetric(crystal, EMT(), max_steps=3).reason == "3 steps"
    assert relax_symmetric(crystal, EMT(), time_limit=1e-9).reason == "time limit"
    assert relax_symmetric(crystal, EMT(), should_stop=lambda: True).reason == "stopped"
    with pytest.raises(ConfigError, match="must be positive"):
        relax_symmetric(crystal, EMT(), fmax=0)
