"""geomeTRIC takes our Hessian in its units; without geomeTRIC the message says how to install it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError, MissingDependencyError
from atomsym.core.units import BOHR
from atomsym.workflows.hessian_source import hessian_of
from atomsym.workflows.optimizers.geometric_hessian import GeomeTRIC, _Engine
from atomsym.workflows.relax import RelaxSettings, run_relax
from atomsym.workflows.transition_states import TransitionStateSettings, run_ts

EMT_NAME = "ase.calculators.emt:EMT"


def water(amplitude: float = 0.05) -> Atoms:
    tblite = pytest.importorskip("tblite.ase")
    atoms = molecule("H2O")
    atoms.rattle(amplitude, seed=1)
    atoms.calc = tblite.TBLite(verbosity=0)
    return atoms


@pytest.fixture
def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=1)
    atoms.calc = EMT()
    return atoms


def needs_geometric() -> None:
    pytest.importorskip("geometric")


def test_without_geometric_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, ethanol: Atoms, tmp_path: Path
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "geometric" else real(name, *a))
    with pytest.raises(MissingDependencyError, match=r"pip install 'atomsym\[geometric\]'"):
        GeomeTRIC(ethanol)
    ase.io.write(tmp_path / "start.xyz", ethanol, format="extxyz")
    for run in (
        lambda: run_relax(RelaxSettings(str(tmp_path / "start.xyz"), EMT_NAME, optimizer="geometric"), tmp_path / "a"),
        lambda: run_ts(
            TransitionStateSettings(EMT_NAME, guess=str(tmp_path / "start.xyz"), optimizer="geometric"), tmp_path / "a"
        ),
    ):
        with pytest.raises(MissingDependencyError):
            run()
        assert not (tmp_path / "a").exists()


def test_units_of_gradient_and_hessian_fit_each_other(ethanol: Atoms) -> None:
    """The Hessian in hartree/bohr² is the derivative of the gradient that geomeTRIC gets, by coordinates in bohr."""
    needs_geometric()
    matrix = GeomeTRIC(ethanol)._hessian()
    engine, x = _Engine(ethanol), ethanol.positions.ravel() / BOHR
    for column in (0, 10):
        step = np.zeros_like(x)
        step[column] = 1e-3
        slope = (engine.calc(x + step, "")["gradient"] - engine.calc(x - step, "")["gradient"]) / 2e-3
        assert np.abs(slope - matrix[:, column]).max() < 1e-3 * np.abs(matrix).max()
        assert np.abs(slope - matrix[:, column] / BOHR).max() > 0.1 * np.abs(matrix).max()  # a wrong unit is seen


@pytest.mark.parametrize("every", [0, 1])
def test_a_molecule_comes_to_rest(every: int) -> None:
    needs_geometric()
    atoms = water()
    optimizer = GeomeTRIC(atoms, hessian_every=every, logfile=None)
    assert optimizer.run(fmax=0.01, steps=20)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.01
    assert optimizer.hessian_calls >= (1 if every == 0 else optimizer.nsteps + 1)


@pytest.mark.parametrize(("factor", "is_right"), [(1.0, True), (1 / BOHR**2, False)])
def test_the_first_step_is_newtons(factor: float, is_right: bool) -> None:
    """With the Hessian in the right units one step leaves little of small forces; with a wrong one it does not."""
    needs_geometric()
    atoms = water(0.02)
    before = np.linalg.norm(atoms.get_forces(), axis=1).max()
    GeomeTRIC(atoms, hessian=lambda atoms: factor * hessian_of(atoms).hessian, logfile=None).run(fmax=1e-6, steps=1)
    left = np.linalg.norm(atoms.get_forces(), axis=1).max() / before
    assert bool(left < 0.5) is is_right


@pytest.mark.parametrize("name", ["H2", "CO2"])
def test_molecules_on_a_line_are_no_exception(name: str) -> None:
    needs_geometric()
    atoms = molecule(name)
    atoms.positions[-1] *= 1.05
    atoms.calc = water().calc
    assert GeomeTRIC(atoms, logfile=None).run(fmax=0.01, steps=30)


def test_a_relaxation_takes_it(tmp_path: Path) -> None:
    needs_geometric()
    ase.io.write(tmp_path / "start.xyz", water(), format="extxyz")
    settings = RelaxSettings(str(tmp_path / "start.xyz"), "tblite.ase:TBLite", optimizer="geometric", max_steps=20)
    result = run_relax(settings, tmp_path / "run")
    assert result.converged
    assert result.end.energy < result.start.energy


def test_a_transition_state_is_found_with_it(tmp_path: Path) -> None:
    needs_geometric()
    pytest.importorskip("tblite")
    guess = Atoms("CNH", [[0, 0, 0], [1.2, 0, 0], [0.5, 1.1, 0]])
    ase.io.write(tmp_path / "guess.xyz", guess, format="extxyz")
    settings = TransitionStateSettings(
        "tblite.ase:TBLite",
        guess=str(tmp_path / "guess.xyz"),
        kwargs={"verbosity": 0},
        optimizer="geometric",
        hessian_every=0,
    )
    result = run_ts(settings, tmp_path / "run")
    assert result.verified, result.findings
    assert result.barrier == pytest.approx(3.175, abs=0.01)


def test_what_it_cannot_move_is_refused(ethanol: Atoms, tmp_path: Path) -> None:
    needs_geometric()
    held = ethanol.copy()
    held.set_constraint(FixAtoms([0]))
    cases: list[tuple[Any, dict[str, Any], type[AtomsymError], str]] = [
        (ethanol, {"order": 2}, ConfigError, "order must be 0 or 1"),
        (ethanol, {"hessian_every": -1}, ConfigError, "hessian_every"),
        (ethanol, {"trust_radius": 0.0}, ConfigError, "trust radius"),
        (held, {}, InputError, "holds atoms fixed"),
        (bulk("Cu"), {}, InputError, "molecules"),
        (Atoms("H"), {}, InputError, "one atom"),
    ]
    for atoms, options, error, words in cases:
        with pytest.raises(error, match=words):
            GeomeTRIC(atoms, **options)
    ase.io.write(tmp_path / "copper.traj", bulk("Cu"))
    with pytest.raises(InputError, match="molecules"):
        run_relax(RelaxSettings(str(tmp_path / "copper.traj"), EMT_NAME, optimizer="geometric"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="lowest mode"):
        TransitionStateSettings(EMT_NAME, guess="a.xyz", optimizer="geometric", mode=1)


def test_a_hessian_that_is_no_number_is_an_error(ethanol: Atoms) -> None:
    needs_geometric()
    broken = GeomeTRIC(ethanol, hessian=lambda atoms: np.full((27, 27), np.nan), logfile=None)
    with pytest.raises(CalculationError, match="not finite"):
        broken.run(fmax=0.01, steps=1)
    misshapen = GeomeTRIC(ethanol, hessian=lambda atoms: np.eye(5), logfile=None)
    with pytest.raises(CalculationError, match="geomeTRIC failed"):
        misshapen.run(fmax=0.01, steps=1)


def test_the_hessian_is_that_of_the_structure(ethanol: Atoms) -> None:
    needs_geometric()
    asked: list[np.ndarray] = []

    def hessian(atoms: Atoms) -> np.ndarray:
        asked.append(atoms.positions.copy())
        return hessian_of(atoms).hessian

    start = ethanol.positions.copy()
    GeomeTRIC(ethanol, hessian=hessian, logfile=None).run(fmax=0.01, steps=2)
    assert np.array_equal(asked[0], start)
