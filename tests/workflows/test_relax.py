"""Relaxation: converged means everything that is free, symmetry is kept, and an interrupted one goes on."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLengths
from typer.testing import CliRunner

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError, MissingDependencyError
from atomsym.workflows.cli import app
from atomsym.workflows.relax import RelaxSettings, resume_relax, run_relax
from atomsym.workflows.relax.relaxation import _Relaxation
from atomsym.workflows.relax.report import write_report
from atomsym.workflows.run_files import read_trajectory

EMT_NAME = "ase.calculators.emt:EMT"


@pytest.fixture
def rattled(tmp_path: Path) -> RelaxSettings:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    atoms.rattle(0.05, seed=0)
    return settings_of(atoms, tmp_path)


def settings_of(atoms: Atoms, folder: Path, model: str = "copper-morse", **chosen: Any) -> RelaxSettings:
    ase.io.write(folder / "start.traj", atoms)
    return RelaxSettings(str(folder / "start.traj"), model, **chosen)


@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs", "fire"])
def test_atoms_come_to_rest_in_a_kept_cell(rattled: RelaxSettings, tmp_path: Path, optimizer: str) -> None:
    result = run_relax(dataclasses.replace(rattled, optimizer=optimizer), tmp_path / "run")
    assert result.converged
    assert result.criterion == "largest force ≤ 0.01 eV/Å"
    assert result.end.energy < result.start.energy
    final = ase.io.read(result.structure)
    assert np.allclose(final.cell, ase.io.read(rattled.system).cell)
    final.calc = AtomsymCalculator("copper-morse")
    assert np.linalg.norm(final.get_forces(), axis=1).max() <= 0.01 + 1e-6


@pytest.mark.parametrize("pressure", [0.0, 10.0])
def test_a_free_cell_comes_to_the_pressure(rattled: RelaxSettings, tmp_path: Path, pressure: float) -> None:
    result = run_relax(dataclasses.replace(rattled, cell=True, pressure=pressure), tmp_path / "run")
    assert result.converged
    assert "stress within 0.01 GPa" in result.criterion
    final = ase.io.read(result.structure)
    final.calc = AtomsymCalculator("copper-morse")
    expected = -pressure * np.array([1, 1, 1, 0, 0, 0])
    assert final.get_stress() / units.GPa == pytest.approx(expected, abs=0.0101)
    assert result.end.enthalpy == pytest.approx(
        result.end.energy + pressure * units.GPa * (result.end.volume or 0), abs=1e-9
    )
    assert str(result.space_group_before) == "P1 (1)"
    assert str(result.space_group_after) == "Fm-3m (225)"


def test_forces_alone_do_not_count_as_converged_with_a_free_cell(tmp_path: Path) -> None:
    """All forces vanish by symmetry at the start; only the cell is wrong."""
    stretched = bulk("Cu", a=3.9)
    settings = settings_of(stretched, tmp_path, cell=True, max_steps=1)
    result = run_relax(settings, tmp_path / "run")
    assert result.start.max_force < 1e-10
    assert not result.converged
    assert run_relax(dataclasses.replace(settings, cell=False), tmp_path / "kept").converged


def test_symmetry_is_kept_where_it_would_be_lost(tmp_path: Path) -> None:
    crystal = bulk("Cu", "hcp", a=2.6, c=4.4)
    crystal.rattle(0.002, seed=1)
    fixed = run_relax(settings_of(crystal, tmp_path, cell=True, fix_symmetry=True, symprec=0.02), tmp_path / "fixed")
    assert fixed.converged
    assert str(fixed.space_group_before) == str(fixed.space_group_after) == "P6_3/mmc (194)"
    start, end = (frame.cell.cellpar() for frame in (read_trajectory(tmp_path / "fixed")[i] for i in (0, -1)))
    assert abs(end[0] - start[0]) > 1e-3
    assert end[3:] == pytest.approx([90, 90, 120], abs=1e-6)


def test_an_interrupted_relaxation_goes_on(rattled: RelaxSettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(rattled, cell=True, fmax=1e-4, smax=1e-4)
    calls = iter(range(100))
    first = run_relax(settings, tmp_path / "run", should_stop=lambda: next(calls) == 3)
    assert (first.converged, first.steps) == (False, 4)
    (tmp_path / "start.traj").unlink()
    second = resume_relax(tmp_path / "run")
    assert second.converged
    assert second.start == first.start
    steps = [frame.info["step"] for frame in read_trajectory(tmp_path / "run")]
    assert steps == list(range(second.steps + 1))
    energies = [frame.get_potential_energy() for frame in read_trajectory(tmp_path / "run")]
    assert energies[-1] == pytest.approx(second.end.energy)
    again = resume_relax(tmp_path / "run")
    assert again.steps == second.steps


@pytest.mark.parametrize("optimizer", ["rfo", "newton"])
def test_optimizers_with_a_hessian_go_on_exactly(rattled: RelaxSettings, tmp_path: Path, optimizer: str) -> None:
    settings = dataclasses.replace(rattled, optimizer=optimizer, fmax=1e-7)
    whole = run_relax(settings, tmp_path / "whole")
    assert whole.converged
    assert whole.steps < run_relax(dataclasses.replace(rattled, fmax=1e-7), tmp_path / "lbfgs").steps
    calls = iter(range(100))
    run_relax(settings, tmp_path / "run", should_stop=lambda: next(calls) == 1)
    assert resume_relax(tmp_path / "run").end == whole.end
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "run")]
    assert logs[0] == logs[1]


def test_arguments_reach_the_calculator_and_are_kept_on_resuming(tmp_path: Path) -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [4.0, 0, 0]])
    name = "ase.calculators.lj:LennardJones"
    settings = settings_of(atoms, tmp_path, name, kwargs={"sigma": 3.4, "epsilon": 0.01, "rc": 30.0}, fmax=1e-6)
    calls = iter(range(100))
    assert not run_relax(settings, tmp_path / "run", should_stop=lambda: next(calls) == 2).converged
    result = resume_relax(tmp_path / "run")
    assert result.converged
    assert ase.io.read(result.structure).get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-3)


def test_arguments_reach_a_model_of_this_package(tmp_path: Path) -> None:
    """A Hessian head moves the atoms otherwise than the derivative would, to the same minimum."""
    water = molecule("H2O")
    water.rattle(0.05, seed=0)
    chosen: dict[str, Any] = {"optimizer": "rfo", "fmax": 1e-3}
    exact = run_relax(settings_of(water, tmp_path, "organic", **chosen), tmp_path / "exact")
    head = settings_of(water, tmp_path, "organic", kwargs={"hessian": "predicted", "dtype": "float32"}, **chosen)
    predicted = run_relax(head, tmp_path / "predicted")
    assert predicted.converged
    assert predicted.end.energy == pytest.approx(exact.end.energy, abs=1e-4)
    paths = [read_trajectory(tmp_path / name)[1].positions for name in ("exact", "predicted")]
    assert 1e-5 < np.abs(paths[0] - paths[1]).max() < 0.1
    begun = json.loads((tmp_path / "predicted" / "settings.json").read_text())
    assert (begun["kwargs"], begun["dtype"]) == (head.kwargs, "float64")


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        (EMT_NAME, "sigma=3", "--kwargs must be JSON"),
        ("copper-morse", "[1]", "--kwargs must be a JSON object"),
        ("copper-morse", '{"no_such_argument": 1}', "no_such_argument"),
        ("ase.build:bulk", '{"no_such_argument": 1}', "could not be made with the arguments"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(
    rattled: RelaxSettings, tmp_path: Path, model: str, text: str, message: str
) -> None:
    arguments = ["relax", rattled.system, "--model", model, "--kwargs", text, "-o", str(tmp_path / "run")]
    answer = CliRunner(env={"COLUMNS": "300"}).invoke(app, arguments)
    assert isinstance(answer.exception, ConfigError)
    assert message in str(answer.exception)
    assert not (tmp_path / "run").exists()


def test_symmetry_is_kept_on_resuming(tmp_path: Path) -> None:
    settings = settings_of(bulk("Cu", "hcp", a=2.6, c=4.4), tmp_path, cell=True, fix_symmetry=True, max_steps=2)
    assert not run_relax(settings, tmp_path / "run").converged
    result = resume_relax(tmp_path / "run", max_steps=100)
    assert result.converged
    assert str(result.space_group_after) == "P6_3/mmc (194)"


def test_held_atoms_stay_and_do_not_count(tmp_path: Path) -> None:
    slab = bulk("Cu", cubic=True) * (2, 1, 1)
    slab.positions[0, 0] += 0.3
    slab.set_constraint(FixAtoms([0]))
    result = run_relax(settings_of(slab, tmp_path, EMT_NAME), tmp_path / "run")
    assert result.converged
    assert ase.io.read(result.structure).positions[0] == pytest.approx(slab.positions[0], abs=1e-7)


def test_a_molecule_relaxes_without_a_cell(tmp_path: Path) -> None:
    water = molecule("H2O")
    water.positions[1] += 0.1
    result = run_relax(settings_of(water, tmp_path, EMT_NAME, fmax=0.05), tmp_path / "run")
    assert result.converged
    assert (result.end.volume, result.end.max_stress, result.space_group_after) == (None, None, None)


def test_results_are_written(rattled: RelaxSettings, tmp_path: Path) -> None:
    result = run_relax(dataclasses.replace(rattled, cell=True), tmp_path / "run")
    assert write_report(rattled, result).read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "run/result.json").read_text())
    assert written["converged"] is True
    assert written["end"]["max_stress"] <= 0.01
    assert written["space_group_after"] == {"number": 225, "symbol": "Fm-3m"}
    with pytest.raises(InputError, match="resume it with"):
        run_relax(rattled, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmax": 0.0}, "fmax must be positive"),
        ({"smax": float("nan")}, "smax must be positive and finite"),
        ({"max_steps": 0}, "max_steps must be positive"),
        ({"optimizer": "sd"}, "optimizer must be one of lbfgs, bfgs, fire, rfo, newton"),
        ({"optimizer": "rfo", "cell": True}, "rfo moves atoms only"),
        ({"pressure": 1.0}, "add --cell"),
        ({"cell": True, "pressure": float("inf")}, "pressure must be finite"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
    ],
)
def test_settings_out_of_range_are_refused(rattled: RelaxSettings, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(rattled, **change)


def test_structures_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixAtoms([0]))
    bonded = molecule("H2O")
    bonded.set_constraint(FixBondLengths([[0, 1]]))
    ion = bulk("Cu", cubic=True)
    ion.info["charge"] = 2
    cases: list[tuple[Atoms, dict[str, Any], str]] = [
        (molecule("H2O"), {"model": EMT_NAME, "cell": True}, "periodic in three directions"),
        (molecule("H2O"), {"model": EMT_NAME, "fix_symmetry": True}, "periodic in three directions"),
        (held, {"cell": True}, "holds some fixed"),
        (held, {"fix_symmetry": True}, "cannot be combined with atoms that are held fixed"),
        (bonded, {"model": EMT_NAME}, "FixBondLengths"),
        (bulk("Au"), {}, "Au"),
        (ion, {}, "charge = 2"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 0.01]]), {}, "0.01 Å apart"),
        (Atoms("Cu", [[np.nan, 0, 0]]), {}, "nan"),
    ]
    for atoms, chosen, message in cases:
        with pytest.raises(AtomsymError, match=message):
            run_relax(settings_of(atoms, tmp_path, **chosen), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_symmetry_without_spglib_says_how_to_install_it(
    rattled: RelaxSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "spglib" else real(name, *a))
    with pytest.raises(MissingDependencyError, match=r"atomsym\[crystal\]"):
        run_relax(dataclasses.replace(rattled, fix_symmetry=True), tmp_path / "run")
    assert run_relax(rattled, tmp_path / "run").space_group_after is None


def test_answers_that_are_not_finite_end_in_an_error(
    rattled: RelaxSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = EMT.calculate

    def broken(self: EMT, *arguments: Any, **named: Any) -> None:
        right(self, *arguments, **named)
        self.results["forces"] = np.full_like(self.results["forces"], np.nan)

    monkeypatch.setattr(EMT, "calculate", broken)
    with pytest.raises(CalculationError, match="not finite"):
        run_relax(dataclasses.replace(rattled, model=EMT_NAME), tmp_path / "run")


def test_a_step_that_breaks_the_symmetry_is_explained(
    rattled: RelaxSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wild(self: Any, **_: Any) -> None:
        raise RuntimeError("FixSymmetry adjust_cell does not work properly")

    monkeypatch.setattr("ase.optimize.LBFGS.step", wild)
    with pytest.raises(CalculationError, match="without --fix-symmetry first"):
        run_relax(dataclasses.replace(rattled, cell=True, fix_symmetry=True), tmp_path / "run")


def test_a_damaged_folder_is_named(rattled: RelaxSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no relaxation"):
        resume_relax(tmp_path)
    run_relax(dataclasses.replace(rattled, max_steps=1), tmp_path / "run")
    (tmp_path / "run/start.json").write_text("{")
    with pytest.raises(InputError, match=r"start\.json: not the start"):
        resume_relax(tmp_path / "run")
    (tmp_path / "run/restart.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="not a usable restart file"):
        resume_relax(tmp_path / "run")
    (tmp_path / "run/settings.json").write_text("[]")
    with pytest.raises(ConfigError, match="not the settings of a relaxation"):
        resume_relax(tmp_path / "run")


def test_the_convergence_check_looks_at_the_stress(rattled: RelaxSettings, tmp_path: Path) -> None:
    relaxation = _Relaxation(dataclasses.replace(rattled, cell=True), tmp_path, bulk("Cu", a=3.7))
    point = relaxation.point()
    assert point.max_force < 1e-10
    assert not relaxation.is_converged(point)
    assert relaxation.is_converged(dataclasses.replace(point, max_stress=0.001))
