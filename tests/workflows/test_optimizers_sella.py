"""Sella takes our Hessian; without Sella the message says how to install it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from atomsym.core import ConfigError, MissingDependencyError
from atomsym.workflows.hessian_source import hessian_of
from atomsym.workflows.optimizers.sella_hessian import sella_optimizer, whole_hessian


def test_held_atoms_have_rows_too() -> None:
    atoms = molecule("H2O", calculator=EMT())
    expected = hessian_of(atoms).hessian
    atoms.set_constraint(FixAtoms([0]))
    assert np.array_equal(whole_hessian(atoms), expected)
    assert len(atoms.constraints) == 1


def test_without_sella_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sella" else real(name, *a))
    with pytest.raises(MissingDependencyError, match=r"atomsym\[sella\]"):
        sella_optimizer(molecule("H2O", calculator=EMT()))
    with pytest.raises(ConfigError, match="order must be 0 or 1"):
        sella_optimizer(molecule("H2O", calculator=EMT()), order=2)


@pytest.mark.filterwarnings("ignore")  # Sella's and JAX's own
def test_sella_finds_the_saddle_point_of_hydrogen_cyanide() -> None:
    pytest.importorskip("sella")
    tblite = pytest.importorskip("tblite.ase")
    atoms = Atoms("CNH", [[0, 0, 0], [1.2, 0, 0], [0.5, 1.1, 0]])
    atoms.calc = tblite.TBLite(verbosity=0)
    assert sella_optimizer(atoms, internal=False, logfile=None).run(fmax=0.01, steps=50)
    assert atoms.get_potential_energy() == pytest.approx(-146.598, abs=1e-3)
