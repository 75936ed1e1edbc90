"""``atomsym relax --free-parameters``: exact symmetry in the standard cell, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from atomsym.core import AtomsymError, ConfigError
from atomsym.symmetry.wyckoff import analyse
from atomsym.workflows.relax import RelaxSettings, resume_relax, run_relax


def settings_of(atoms: Atoms, folder: Path, **chosen: Any) -> RelaxSettings:
    ase.io.write(folder / "start.traj", atoms)
    return RelaxSettings(str(folder / "start.traj"), "ase.calculators.emt:EMT", free_parameters=True, **chosen)


def ordered_alloy(a: float = 3.9, c: float = 3.7) -> Atoms:
    """CuAu in its primitive tetragonal cell."""
    cell = [[a / 2**0.5, 0, 0], [0, a / 2**0.5, 0], [0, 0, c]]
    return Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)


@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs", "fire"])
def test_cell_and_atoms_relax_and_keep_the_group(tmp_path: Path, optimizer: str) -> None:
    settings = settings_of(ordered_alloy(), tmp_path, cell=True, optimizer=optimizer)
    result = run_relax(settings, tmp_path / "run")
    assert result.converged
    assert result.end.energy < result.start.energy
    final = ase.io.read(result.structure)
    found = analyse(final.cell.array, final.get_scaled_positions(), final.numbers, symprec=1e-6)
    assert found.protostructure.space_group == 123
    frames = ase.io.read(tmp_path / "run" / "trajectory.extxyz", ":")
    for frame in frames:
        lengths, angles = frame.cell.lengths(), frame.cell.angles()
        assert lengths[0] == pytest.approx(lengths[1], abs=1e-7)
        assert angles == pytest.approx([90, 90, 90], abs=1e-6)


def test_the_conventional_cell_comes_out(tmp_path: Path) -> None:
    result = run_relax(settings_of(bulk("Cu", a=3.8), tmp_path, cell=True), tmp_path / "run")
    assert result.n_atoms == 4
    assert result.converged
    assert ase.io.read(result.structure).cell.lengths() == pytest.approx([3.59] * 3, abs=0.01)


def test_a_held_cell_stays(tmp_path: Path) -> None:
    result = run_relax(settings_of(bulk("Cu", a=3.8), tmp_path), tmp_path / "run")
    assert ase.io.read(result.structure).cell.lengths() == pytest.approx([3.8] * 3, abs=1e-9)


def test_an_interrupted_relaxation_goes_on(tmp_path: Path) -> None:
    settings = settings_of(ordered_alloy(), tmp_path, cell=True)
    whole = run_relax(settings, tmp_path / "whole")
    assert whole.steps > 2
    run_relax(dataclasses.replace(settings, max_steps=2), tmp_path / "run")
    resumed = resume_relax(tmp_path / "run", max_steps=500)
    assert resumed.converged
    assert resumed.end.energy == pytest.approx(whole.end.energy, abs=1e-3)
    assert resumed.start.energy == whole.start.energy


@pytest.mark.parametrize("what", ["molecule", "held", "magnetic", "charged"])
def test_what_has_no_free_parameters_is_refused(tmp_path: Path, what: str) -> None:
    atoms = molecule("H2O") if what == "molecule" else bulk("Cu")
    if what == "held":
        atoms.set_constraint(FixAtoms([0]))
    if what == "magnetic":
        atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    if what == "charged":
        atoms.info["charge"] = 1
    with pytest.raises(AtomsymError, match="--free-parameters"):
        run_relax(settings_of(atoms, tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take one of them"):
        settings_of(bulk("Cu"), tmp_path, fix_symmetry=True)
    with pytest.raises(ConfigError, match="moves atoms only"):
        settings_of(bulk("Cu"), tmp_path, optimizer="newton")
