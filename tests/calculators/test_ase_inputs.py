"""I-1 to I-10: every odd input ends in a typed error that both atomsym and ASE know, or in the right number."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators import calculator as ase_errors

from atomsym.calculators.ase import AtomsymCalculator, to_graph
from atomsym.calculators.evaluator import Evaluator
from atomsym.core import CalculationError, ConfigError, InputError, OutOfMemoryError, UnsupportedElementError
from atomsym.models import LennardJones, LennardJonesConfig, Potential
from atomsym.testing.tolerances import EXTENSIVITY

MakeCrystal = Callable[..., Atoms]


def refused(atoms: Atoms, message: str, kind: type[Exception] = InputError) -> None:
    """Both a new calculator and one that has results refuse the structure, and keep nothing of it."""
    used = AtomsymCalculator("argon")
    used.get_forces(bulk("Ar", a=5.3))
    for calculator in (AtomsymCalculator("argon"), used):
        for name in ("energy", "forces", "hessian"):
            with pytest.raises(kind, match=message) as caught:
                calculator.get_property(name, atoms)
            assert isinstance(caught.value, ase_errors.InputError)
            assert calculator.results == {}
            assert calculator.atoms is None


# Values that are no structure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_i01_positions_and_cells_that_are_not_finite(argon_crystal: MakeCrystal, value: float) -> None:
    atoms = argon_crystal(1)
    atoms.positions[2, 1] = value
    refused(atoms, r"atoms\[2\] have y = (nan|-?inf)")
    atoms = argon_crystal(1)
    atoms.cell[1, 2] = value
    refused(atoms, r"cell\[1\] have z")


def test_i01_weights_that_are_not_finite(short_potential: Potential, argon_crystal: MakeCrystal) -> None:
    with torch.no_grad():
        short_potential.sigma.fill_(torch.nan)
    calculator = AtomsymCalculator(short_potential)
    with pytest.raises(CalculationError, match="nan") as caught:
        calculator.get_potential_energy(argon_crystal(1))
    assert isinstance(caught.value, ase_errors.CalculationFailed)
    assert calculator.results == {}


@pytest.mark.parametrize("distance", [0.0, 0.05])
@pytest.mark.parametrize("pbc", [False, True])
def test_i02_overlapping_atoms(distance: float, pbc: bool) -> None:
    atoms = Atoms("Ar3", positions=[[1, 1, 1], [4.9, 1, 1], [1, 1, 1 + distance]], cell=[9, 9, 9], pbc=pbc)
    refused(atoms, r"atoms\[0\] and atoms\[2\]")
    allowed = AtomsymCalculator("argon", allow_overlap=True)
    assert np.isfinite(allowed.get_potential_energy(atoms))
    assert np.isfinite(allowed.get_forces(atoms)).all()


def test_i02_an_atom_on_an_image_of_another() -> None:
    refused(Atoms("Ar2", positions=[[0, 0, 0.02], [0, 0, 8.99]], cell=[9, 9, 9], pbc=True), "Å apart")
    refused(Atoms("Ar", cell=[9, 9, 0.05], pbc=True), "its image")


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (10, UnsupportedElementError, r"atoms\[1\] is Ne \(Z=10\); the model knows Ar"),
        (0, InputError, r"atoms\[1\].*(0|X)"),
        (119, InputError, r"atoms\[1\].*119"),
        (-1, InputError, r"atoms\[1\].*-1"),
    ],
)
def test_i03_elements_that_the_model_does_not_know(number: int, kind: type[Exception], message: str) -> None:
    atoms = Atoms("Ar3", positions=np.diag([4.0, 4, 4]))
    atoms.arrays["numbers"][1] = number
    refused(atoms, message, kind)


# Few atoms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pbc", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_i04_no_atoms(pbc: bool, dtype: str) -> None:
    calculator, atoms = AtomsymCalculator("argon", dtype=dtype), Atoms(cell=[5, 5, 5], pbc=pbc)
    assert calculator.get_potential_energy(atoms) == 0.0
    assert calculator.get_forces(atoms).shape == (0, 3)
    assert calculator.get_potential_energies(atoms).shape == (0,)
    assert calculator.get_hessian(atoms).shape == (0, 0)
    if pbc:
        assert calculator.get_stress(atoms).tolist() == [0.0] * 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_i05_one_atom_alone(dtype: str) -> None:
    calculator = AtomsymCalculator("argon", dtype=dtype)
    for atoms in (Atoms("Ar"), Atoms("Ar", cell=[30, 30, 30], pbc=True)):
        assert calculator.get_potential_energy(atoms) == 0.0
        assert calculator.get_forces(atoms).tolist() == [[0.0, 0.0, 0.0]]
        assert calculator.get_hessian(atoms).tolist() == np.zeros((3, 3)).tolist()
    assert calculator.get_stress(atoms).tolist() == [0.0] * 6


# Cells ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cutoff", [6.0, 12.0, 18.0])
def test_i06_cells_smaller_than_the_cutoff(cutoff: float) -> None:
    config = LennardJonesConfig(elements=(18,), cutoff=cutoff, epsilon=((0.0103,),), sigma=((3.4,),))
    calculator, one = AtomsymCalculator(LennardJones(config)), bulk("Ar", a=5.3)
    many = one * (3, 3, 3)
    expected = calculator.get_potential_energy(many) / 27, calculator.get_stress(many)
    assert calculator.get_potential_energy(one) == pytest.approx(expected[0], abs=EXTENSIVITY.float64)
    assert np.abs(calculator.get_stress(one) - expected[1]).max() < EXTENSIVITY.float64
    assert np.abs(calculator.get_forces(one)).max() < 1e-12


def images_by_hand(atoms: Atoms, repeats: int) -> float:
    """Energy per cell from a large finite crystal: half the bonds of the atoms in its central cell."""
    vectors = [np.arange(-repeats, repeats + 1) if periodic else [0] for periodic in atoms.pbc]
    shifts = np.array(np.meshgrid(*vectors)).reshape(3, -1).T @ atoms.cell.array
    order = np.argsort(np.linalg.norm(shifts, axis=1), kind="stable")  # the central cell first
    sites = (shifts[order][:, None, :] + atoms.positions).reshape(-1, 3)
    calculator = AtomsymCalculator("argon")
    return float(calculator.get_potential_energies(Atoms(f"Ar{len(sites)}", positions=sites))[: len(atoms)].sum())


CELLS = {
    "TTF": ([[5.0, 0, 0], [1.0, 5.2, 0], [0, 0, 20.0]], (1, 1, 0)),
    "TFF": ([[5.0, 0, 0], [0, 30, 0], [0, 0, 20.0]], (1, 0, 0)),
    "FTF": ([[9.0, 0, 0], [0, 5.2, 0], [0, 0, 20.0]], (0, 1, 0)),
    "zero vectors where not periodic": ([[0, 0, 0], [0, 5.2, 0.3], [0, 0, 0]], (0, 1, 0)),
    "rotated": ([[3.0, 4.0, 0], [-4.0, 3.0, 0], [0.5, 0, 5.5]], (1, 1, 1)),
    "left-handed": ([[0, 5.2, 0], [5.0, 0, 0], [0, 0, 5.4]], (1, 1, 1)),
    "needle": ([[5.0, 0, 0], [6 * np.cos(0.3), 6 * np.sin(0.3), 0], [0, 0, 5.5]], (1, 1, 1)),
}


@pytest.mark.parametrize("case", CELLS)
def test_i07_any_cell_and_any_periodicity(case: str) -> None:
    cell, pbc = CELLS[case]
    atoms = Atoms("Ar", positions=[[0.3, -7.0, 100.0]], cell=cell, pbc=pbc)
    assert AtomsymCalculator("argon").get_potential_energy(atoms) == pytest.approx(images_by_hand(atoms, 6), abs=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_i07_periodic_without_a_lattice_vector(axis: int) -> None:
    cell = np.diag([5.0, 5.0, 5.0])
    cell[axis] = 0
    refused(Atoms("Ar", cell=cell, pbc=True), rf"pbc\[{axis}\].*zero vector")
    refused(Atoms("Ar", pbc=True), r"pbc\[0\].*zero vector")


def test_i07_dependent_lattice_vectors() -> None:
    refused(Atoms("Ar", cell=[[5, 0, 0], [10, 0, 0], [0, 0, 5]], pbc=True), "dependent")


def test_i07_a_gigantic_cell_is_quick() -> None:
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [1e6 - 3.8, 0, 0]], cell=[1e6, 1e6, 1e6], pbc=True)
    calculator = AtomsymCalculator("argon")
    start = time.process_time()
    near = Atoms("Ar2", positions=[[0, 0, 0], [3.8, 0, 0]])
    assert calculator.get_potential_energy(atoms) == pytest.approx(calculator.get_potential_energy(near), abs=1e-9)
    assert time.process_time() - start < 10  # a search that walks through empty space would take forever


# Memory ---------------------------------------------------------------------------------------------------------------


def test_i08_edges_that_would_not_fit_are_an_error_at_once() -> None:
    config = LennardJonesConfig(elements=(18,), cutoff=4000.0, epsilon=((0.01,),), sigma=((3.4,),))
    with pytest.raises(OutOfMemoryError, match="enough for") as caught:
        AtomsymCalculator(LennardJones(config)).get_potential_energy(bulk("Ar", a=5.3))
    assert isinstance(caught.value, ase_errors.CalculationFailed)


def test_i08_derivatives_that_would_not_fit_are_an_error_at_once(
    argon_crystal: MakeCrystal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atomsym.calculators.evaluator._MEASURED_FROM", 100)
    monkeypatch.setattr("atomsym.calculators.evaluator.free_memory", lambda device: 100_000)
    calculator = AtomsymCalculator("argon")
    with pytest.raises(OutOfMemoryError, match=r"about \d+ such atoms would fit"):
        calculator.get_forces(argon_crystal())
    assert np.isfinite(calculator.get_forces(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 4]]))).all()


@pytest.mark.parametrize("error", [MemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory: y")])
def test_i08_running_out_of_memory_is_a_typed_error(
    argon_crystal: MakeCrystal, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def exhausted(*_: Any) -> None:
        raise error

    calculator = AtomsymCalculator("argon")
    monkeypatch.setattr(Evaluator, "evaluate", exhausted)
    with pytest.raises(OutOfMemoryError, match="out of memory"):
        calculator.get_forces(argon_crystal(1))
    monkeypatch.undo()
    assert np.isfinite(calculator.get_forces(argon_crystal(1))).all()


def test_other_exceptions_of_a_model_pass_unchanged(
    argon_crystal: MakeCrystal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of the model")

    monkeypatch.setattr(Evaluator, "evaluate", broken)
    with pytest.raises(RuntimeError, match="a fault of the model") as caught:
        AtomsymCalculator("argon").get_forces(argon_crystal(1))
    assert type(caught.value) is RuntimeError


@pytest.mark.slow
def test_i08_a_hundred_thousand_atoms(short_potential: Potential) -> None:
    atoms = bulk("Ar", a=5.3, cubic=True) * (29, 29, 30)
    energy = AtomsymCalculator(short_potential).get_potential_energy(atoms)
    expected = AtomsymCalculator(short_potential).get_potential_energy(bulk("Ar", a=5.3)) * len(atoms)
    assert energy == pytest.approx(expected, abs=EXTENSIVITY.float64 * len(atoms))


# Arrays and ambient state ---------------------------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float32": lambda x: x.astype(np.float32),
    "integers": lambda x: x.astype(np.int64),
    "column by column": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "big-endian": lambda x: x.astype(">f8"),
}


@pytest.mark.parametrize("layout", [*LAYOUTS, "read-only"])
def test_i09_any_memory_layout_gives_the_same(layout: str) -> None:
    atoms = Atoms("Ar4", positions=[[0, 0, 0], [4, 0, 0], [0, 4, 0], [1, 2, 5]], cell=[9, 9, 9], pbc=True)
    expected = AtomsymCalculator("argon").get_forces(atoms)
    changed = atoms.copy()
    if layout == "read-only":
        changed.arrays["positions"].flags.writeable = False
        changed.arrays["numbers"].flags.writeable = False
    else:
        changed.arrays["positions"] = LAYOUTS[layout](atoms.positions)
    calculator = AtomsymCalculator("argon")
    assert np.array_equal(calculator.get_forces(changed), expected)
    assert np.array_equal(to_graph(changed).positions.numpy(), atoms.positions)


@pytest.fixture
def ambient_state() -> Any:
    before = torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])


@pytest.mark.parametrize("ambient", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_i09_the_ambient_dtype_does_not_matter_and_is_not_changed(
    ambient: torch.dtype, dtype: str, argon_crystal: MakeCrystal, ambient_state: None
) -> None:
    atoms = argon_crystal(1)
    before = AtomsymCalculator("argon", dtype=dtype)
    expected = before.get_forces(atoms), before.get_stress(atoms), before.get_hessian(atoms)
    torch.set_default_dtype(ambient)
    torch.set_grad_enabled(False)
    calculator = AtomsymCalculator("argon", dtype=dtype)
    found = calculator.get_forces(atoms), calculator.get_stress(atoms), calculator.get_hessian(atoms)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    atoms.positions[0] = np.nan
    with pytest.raises(InputError):
        calculator.get_forces(atoms)
    assert torch.get_default_dtype() == ambient
    assert not torch.is_grad_enabled()


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"model": "argn"}, InputError, "did you mean 'argon'"),
        ({"model": ""}, InputError, "no model and no file"),
        ({"dtype": "float16"}, ConfigError, "'float64', 'float32' and 'auto'"),
        ({"dtype": torch.int64}, ConfigError, "'float64', 'float32' and 'auto'"),
        ({"device": "gpu"}, InputError, "cannot be used here"),
        ({"device": "cuda:99"}, InputError, "cannot be used here"),
        ({"skin": -0.1}, InputError, "skin must be"),
        ({"skin": float("nan")}, InputError, "skin must be"),
        ({"skin": "big"}, InputError, "skin must be"),
        ({"divice": "cpu"}, ConfigError, "unknown setting 'divice'; did you mean 'device'"),
        ({"precision": "high"}, ConfigError, "unknown setting 'precision'"),
    ],
)
def test_wrong_settings_are_typed_errors(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        AtomsymCalculator(**{"model": "argon", **arguments})
    assert isinstance(caught.value, ase_errors.InputError)


def test_an_unknown_backend_is_an_error(argon_crystal: MakeCrystal) -> None:
    with pytest.raises(ase_errors.CalculatorSetupError, match="magic"):
        AtomsymCalculator("argon", backend="magic").get_potential_energy(argon_crystal(1))
