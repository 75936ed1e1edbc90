"""What engines say: units, signs and smoothness, and which structures they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from numpy.typing import NDArray

from atomsym.core import ConfigError, InputError, LabelledStructure
from atomsym.core.units import BOHR
from atomsym.workflows.label.electrons import unpaired_electrons
from atomsym.workflows.label.engine import LabelError
from atomsym.workflows.label.hessian import MAX_ASYMMETRY, STEP, central_hessian

FloatArray = NDArray[np.float64]


def structure_of(atoms: Atoms) -> LabelledStructure:
    return LabelledStructure(
        np.asarray(atoms.numbers, dtype=np.int64), np.array(atoms.positions), np.array(atoms.cell), np.array(atoms.pbc)
    )


@pytest.fixture
def ethanol() -> LabelledStructure:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return structure_of(atoms)


def xtb(name: str = "gfn2-xtb", **settings: Any) -> Any:
    pytest.importorskip("tblite")
    from atomsym.workflows.label.xtb import XtbEngine

    return XtbEngine(name, **settings)


@pytest.mark.parametrize("name", ["gfn2-xtb", "gfn1-xtb"])
def test_energies_forces_and_stress_agree_with_tblites_own_calculator(name: str, ethanol: LabelledStructure) -> None:
    engine = xtb(name)
    from tblite.ase import TBLite

    strained = bulk("C", cubic=True)
    strained.set_cell(strained.cell.array @ (np.eye(3) + 0.02 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True)
    strained.rattle(0.05, seed=0)
    for structure in (ethanol, structure_of(strained)):
        atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
        atoms.calc = TBLite(method=engine.method, accuracy=0.01, verbosity=0)
        found = engine.label(structure)
        # ASE has the constants of CODATA 2014, we those of 2018: a relative difference of 1e-8
        assert found.energy == pytest.approx(atoms.get_potential_energy(), rel=2e-8)
        assert found.forces == pytest.approx(atoms.get_forces(), abs=1e-4)
        if structure.pbc.all():
            assert found.stress == pytest.approx(atoms.get_stress(voigt=False), abs=1e-6)
            assert np.abs(found.stress).max() > 0.05
        else:
            assert found.stress is None


def second_difference(engine: Any, structure: LabelledStructure, direction: FloatArray, step: float) -> float:
    energies = [
        engine.label(replace(structure, positions=structure.positions + sign * step * direction)).energy
        for sign in (1, 0, -1)
    ]
    return (energies[0] - 2 * energies[1] + energies[2]) / step**2


def test_a_hessian_is_the_second_derivative_of_the_energy(ethanol: LabelledStructure) -> None:
    engine = xtb()
    hessian = engine.label(ethanol, hessian=True).hessian
    direction = np.random.default_rng(0).standard_normal(ethanol.positions.shape)
    direction /= np.linalg.norm(direction)
    expected = second_difference(engine, ethanol, direction, 0.02)
    found = float(direction.reshape(-1) @ hessian @ direction.reshape(-1))
    assert found == pytest.approx(expected, rel=2e-3)
    assert np.abs(hessian.reshape(27, 9, 3).sum(axis=1)).max() < 5e-3  # a translation costs nothing
    mutant, _ = central_hessian(  # forces in hartree/bohr passed off as eV/bohr: one conversion forgotten
        lambda x: engine.label(replace(ethanol, positions=x)).forces * BOHR, ethanol.positions
    )
    assert float(direction.reshape(-1) @ mutant @ direction.reshape(-1)) != pytest.approx(expected, rel=2e-3)


def test_the_step_lies_between_noise_and_truncation(ethanol: LabelledStructure) -> None:
    engine = xtb()
    session = engine.session(ethanol)
    steps = (STEP / 8, STEP / 2, STEP, 4 * STEP)
    found = [central_hessian(lambda x: session.evaluate(x)[1], ethanol.positions, step) for step in steps]
    error = [float(np.abs(hessian - found[1][0]).max()) for hessian, _ in found]
    assert error[2] < 5e-3  # of about 60 eV/Å²
    assert error[3] > 3 * error[2]  # truncation grows with the square of the step
    asymmetry = [value for _, value in found]
    assert asymmetry[2] < 2e-3
    assert asymmetry[3] > 3 * asymmetry[2]
    assert asymmetry[0] > asymmetry[2]  # noise of the self-consistency, which grows as the step falls


def test_a_hessian_of_noisy_forces_is_refused() -> None:
    noise = np.random.default_rng(0)
    with pytest.raises(LabelError, match="not symmetric"):
        central_hessian(lambda x: -x + noise.normal(0, 10 * MAX_ASYMMETRY * STEP, x.shape), np.zeros((2, 3)))
    with pytest.raises(LabelError, match="not finite"):
        central_hessian(lambda x: np.full_like(x, np.nan), np.zeros((1, 3)))
    with pytest.raises(ConfigError, match="step"):
        central_hessian(lambda x: -x, np.zeros((1, 3)), 0.0)


def test_labels_do_not_depend_on_what_was_labelled_before(ethanol: LabelledStructure) -> None:
    engine = xtb()
    first = engine.label(ethanol, hessian=True)
    engine.label(structure_of(molecule("C6H6")))
    again = engine.label(ethanol, hessian=True)
    assert first.energy == again.energy
    assert np.array_equal(first.forces, again.forces)
    assert np.array_equal(first.hessian, again.hessian)
    assert first.energy == engine.label(ethanol).energy


def test_open_shells_are_refused_unless_asked_for() -> None:
    methyl = structure_of(molecule("CH3"))
    with pytest.raises(LabelError, match="9 electrons, an odd number"):
        xtb().label(methyl)
    assert np.isfinite(xtb(open_shell=True).label(methyl).energy)


@pytest.mark.parametrize(("number", "unpaired"), [(1, 1), (6, 2), (7, 3), (8, 2), (9, 1), (10, 0), (16, 2), (24, 6)])
def test_isolated_atoms_are_in_their_ground_state(number: int, unpaired: int) -> None:
    atom = structure_of(Atoms([number], [(0, 0, 0)]))
    assert unpaired_electrons(atom, open_shell=False) == unpaired
    assert np.abs(xtb().label(atom).forces).max() < 1e-8
    with pytest.raises(LabelError, match="Xe is not known"):
        unpaired_electrons(structure_of(Atoms("Xe", [(0, 0, 0)])), open_shell=False)


def test_structures_that_are_none_are_refused() -> None:
    engine = xtb()
    with pytest.raises(LabelError, match="no parameters for Fr"):
        engine.label(structure_of(Atoms("FrF", [(0, 0, 0), (0, 0, 2.5)])))
    with pytest.raises(InputError):
        engine.label(structure_of(Atoms("H2", [(0, 0, 0), (0, 0, 0.01)])))
    with pytest.raises(LabelError, match="no atoms"):
        engine.label(structure_of(Atoms()))
    for wrong in ({"accuracy": 0.0}, {"temperature": -1.0}, {"step": float("nan")}):
        with pytest.raises(ConfigError):
            xtb(**wrong)
    with pytest.raises(ConfigError, match="no xTB method"):
        xtb("gfn0-xtb")


def test_a_calculation_that_does_not_converge_is_a_failure_and_leaves_no_trace(
    ethanol: LabelledStructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = xtb().session(ethanol)
    energy, _ = session.evaluate(ethanol.positions)
    with monkeypatch.context() as patch:
        patch.setattr(session._calculator, "singlepoint", lambda *_: (_ for _ in ()).throw(RuntimeError("SCF cycles")))
        with pytest.raises(LabelError, match="SCF cycles"):
            session.evaluate(ethanol.positions)
    assert session.evaluate(ethanol.positions)[0] == energy


@pytest.mark.parametrize("functional", ["hf", "pbe"])
def test_pyscf_forces_and_hessians_are_derivatives_of_its_energy(functional: str) -> None:
    pytest.importorskip("pyscf")
    from atomsym.workflows.label.dft import PyscfEngine

    engine = PyscfEngine(functional=functional, basis="sto-3g", grid=3)
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    structure = structure_of(atoms)
    found = engine.label(structure, hessian=True)
    assert found.hessian is not None
    assert found.energy == pytest.approx(-75.0 * 27.2114, rel=0.01)
    step = 2e-3
    for coordinate in (0, 5):
        moved = [np.array(structure.positions) for _ in range(2)]
        moved[0].flat[coordinate] += step
        moved[1].flat[coordinate] -= step
        up, down = (engine.label(replace(structure, positions=x)) for x in moved)
        assert found.forces.flat[coordinate] == pytest.approx((down.energy - up.energy) / (2 * step), abs=2e-4)
        row = (down.forces - up.forces).reshape(-1) / (2 * step)
        assert found.hessian[coordinate] == pytest.approx(row, abs=0.02)
    assert found.asymmetry is not None
    assert found.asymmetry < 1e-3
    with pytest.raises(LabelError, match="periodic"):
        engine.label(structure_of(bulk("C")))
    with pytest.warns(UserWarning, match="basis-set-exchange"), pytest.raises(LabelError, match="PySCF"):
        PyscfEngine(basis="no-such-basis").label(structure)
    with pytest.raises(ConfigError, match="grid"):
        PyscfEngine(grid=12)
