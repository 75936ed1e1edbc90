"""The Hessian of any calculator: its own or of its forces, of the atoms that move, and stated as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError, PropertyNotAvailableError
from atomsym.testing import tolerances
from atomsym.workflows.hessian_source import forces_of, hessian_of
from atomsym.workflows.stopping import StoppedError


@pytest.fixture
def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = AtomsymCalculator("copper-morse")
    return atoms


def test_own_hessian_is_taken_and_differences_agree_with_it(copper: Atoms) -> None:
    analytic, numerical = hessian_of(copper), hessian_of(copper, source="finite-difference", step=1e-3)
    assert (analytic.method, analytic.step, analytic.evaluations) == ("analytic", None, 0)
    assert (numerical.method, numerical.step, numerical.evaluations) == ("finite-difference", 1e-3, 24)
    assert analytic.asymmetry <= tolerances.HESSIAN_SYMMETRY.float64
    assert 0 < numerical.asymmetry < 1e-5
    for found in (analytic, numerical):
        assert np.array_equal(found.hessian, found.hessian.T)
    scale = np.abs(analytic.hessian).max()
    # central differences: an error of h² = 1e-6 Å² times the ratio of the fourth to the second derivative
    assert np.abs(analytic.hessian - numerical.hessian).max() < 1e-5 * scale
    assert "±0.001 Å" in str(numerical)


@pytest.mark.parametrize("source", ["analytic", "finite-difference"])
def test_held_atoms_are_left_out(copper: Atoms, source: Any) -> None:
    whole = hessian_of(copper, source=source).hessian
    copper.set_constraint(FixAtoms([0, 2]))
    part = hessian_of(copper, source=source)
    rows = [3, 4, 5, 9, 10, 11]
    assert part.indices.tolist() == [1, 3]
    assert part.hessian == pytest.approx(whole[np.ix_(rows, rows)], abs=1e-9)


def test_indices_keep_their_order(copper: Atoms) -> None:
    whole = hessian_of(copper).hessian
    part = hessian_of(copper, indices=[-1, 0])
    rows = [9, 10, 11, 0, 1, 2]
    assert part.indices.tolist() == [3, 0]
    assert part.hessian == pytest.approx(whole[np.ix_(rows, rows)], abs=1e-9)


def test_a_head_is_asked_by_name_only() -> None:
    atoms = molecule("H2O")
    atoms.calc = AtomsymCalculator("organic")
    found = hessian_of(atoms, source="predicted")
    assert (found.method, found.step, found.evaluations) == ("predicted", None, 0)
    assert str(found).startswith("predicted, asymmetry")
    whole = atoms.calc.get_hessian(atoms, method="predicted")
    assert np.abs(found.hessian - whole).max() < tolerances.BACKEND_PARITY.float64 * np.abs(whole).max()
    assert hessian_of(atoms).method == "analytic"
    assert np.abs(hessian_of(atoms).hessian - whole).max() > 1e-2
    atoms.set_constraint(FixAtoms([0]))
    part = hessian_of(atoms, source="predicted")
    assert part.indices.tolist() == [1, 2]
    assert np.abs(part.hessian - whole[3:, 3:]).max() < tolerances.BACKEND_PARITY.float64 * np.abs(whole).max()
    for other in (AtomsymCalculator("copper-morse"), EMT()):
        atoms.calc = other
        with pytest.raises(PropertyNotAvailableError, match="predicts no Hessians: that takes a model of this package"):
            hessian_of(atoms, source="predicted")


def test_the_structure_is_left_as_it_was() -> None:
    atoms = molecule("N2", calculator=EMT())
    before = atoms.positions.copy()
    hessian_of(atoms)
    assert np.array_equal(atoms.positions, before)
    assert isinstance(atoms.calc, EMT)


def test_progress_counts_coordinates() -> None:
    seen: list[tuple[int, int]] = []
    hessian_of(molecule("N2", calculator=EMT()), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(k, 6) for k in range(1, 7)]


class Odd(EMT):
    """EMT with a Hessian as other packages give it: of another shape, or announced but not there."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        n = len(atoms)
        if self.answer == "none":
            raise PropertyNotImplementedError("hessian")
        if self.answer == "broken":
            raise RuntimeError("out of luck")
        if self.answer == "nan":
            return np.full((3 * n, 3 * n), np.nan)
        return np.ones(5) if self.answer == "misshapen" else np.eye(3 * n).reshape(3 * n, n, 3)


def test_other_shapes_are_understood_and_a_missing_hessian_is_replaced() -> None:
    assert np.array_equal(hessian_of(molecule("N2", calculator=Odd("4d"))).hessian, np.eye(6))
    assert hessian_of(molecule("N2", calculator=Odd("none"))).method == "finite-difference"
    with pytest.raises(PropertyNotAvailableError):
        hessian_of(molecule("N2", calculator=Odd("none")), source="analytic")


@pytest.mark.parametrize("answer", ["broken", "nan", "misshapen"])
def test_a_hessian_that_cannot_be_used_is_an_error(answer: str) -> None:
    with pytest.raises(CalculationError):
        hessian_of(molecule("N2", calculator=Odd(answer)))


class NoForces(Calculator):
    implemented_properties = ("energy",)


def test_wrong_input_is_named() -> None:
    atoms = molecule("N2", calculator=EMT())
    cases: list[tuple[dict[str, Any], type[AtomsymError], str]] = [
        ({"source": "guess"}, ConfigError, "guess"),
        ({"step": 0.0}, ConfigError, "step"),
        ({"step": float("nan")}, ConfigError, "step"),
        ({"indices": [2]}, InputError, "no atom 2"),
        ({"indices": [0, -2]}, InputError, "twice"),
        ({"indices": [0.5]}, InputError, "integers"),
        ({"indices": []}, InputError, "no atom may move"),
        ({"source": "analytic"}, PropertyNotAvailableError, "EMT"),
    ]
    for arguments, error, words in cases:
        with pytest.raises(error, match=words):
            hessian_of(atoms, **arguments)
    with pytest.raises(InputError, match="no calculator"):
        hessian_of(molecule("N2"))
    with pytest.raises(InputError, match="nothing to differentiate"):
        hessian_of(Atoms(calculator=EMT()))
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="holds it fixed"):
        hessian_of(atoms, indices=[0])
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="FixBondLength"):
        hessian_of(atoms)
    with pytest.raises(PropertyNotAvailableError, match="NoForces"):
        forces_of(molecule("N2", calculator=NoForces()))


def test_an_element_the_calculator_does_not_know_is_one_message() -> None:
    with pytest.raises(CalculationError, match=r"EMT could not compute forces of U.*U"):
        hessian_of(Atoms("UO", [[0, 0, 0], [0, 0, 1.8]], calculator=EMT()))


class Counting(EMT):
    """EMT that counts and, if asked, breaks."""

    calculations = 0
    breaks_at = 10**9

    def calculate(self, *arguments: Any, **options: Any) -> None:
        self.calculations += 1
        if self.calculations == self.breaks_at:
            raise RuntimeError("out of luck")
        super().calculate(*arguments, **options)


def interrupted(atoms: Atoms, file: Path, breaks_at: int) -> None:
    atoms.calc = Counting()
    atoms.calc.breaks_at = breaks_at
    with pytest.raises(CalculationError, match="out of luck"):
        hessian_of(atoms, kept=file)


def test_an_interrupted_hessian_goes_on_without_a_displacement_twice(tmp_path: Path) -> None:
    atoms, file = molecule("H2O"), tmp_path / "kept"
    interrupted(atoms, file, 12)  # within the sixth of nine coordinates
    with file.open("ab") as stream:
        stream.write(b"entr half a row")  # killed while it wrote
    atoms.calc = Counting()
    seen: list[int] = []
    found = hessian_of(atoms, kept=file, progress=lambda done, of: seen.append(done))
    assert (atoms.calc.calculations, seen) == (8, [6, 7, 8, 9])
    assert np.array_equal(found.hessian, hessian_of(molecule("H2O", calculator=EMT())).hessian)
    atoms.calc = Counting()
    assert np.array_equal(hessian_of(atoms, kept=file).hessian, found.hessian)
    assert atoms.calc.calculations == 0


@pytest.mark.parametrize("change", ["positions", "step", "indices"])
def test_differences_of_something_else_are_not_taken(tmp_path: Path, change: str) -> None:
    atoms, file = molecule("H2O"), tmp_path / "kept"
    interrupted(atoms, file, 12)
    atoms.calc = EMT()
    options: dict[str, Any] = {}
    if change == "positions":
        atoms.positions[0, 0] += 0.01
    else:
        options = {"step": 0.01} if change == "step" else {"indices": [2, 1, 0]}
    found = hessian_of(atoms, kept=file, **options)
    assert np.array_equal(found.hessian, hessian_of(atoms, **options).hessian)


def test_progress_may_stop_the_work_and_loses_nothing(tmp_path: Path) -> None:
    atoms = molecule("N2", calculator=Counting())

    def stop(done: int, of: int) -> None:
        raise StoppedError("displacements")

    for calculations in (2, 4):  # each call finishes one more coordinate
        with pytest.raises(StoppedError):
            hessian_of(atoms, kept=tmp_path / "kept", progress=stop)
        assert atoms.calc.calculations == calculations
