"""The numbers that ASE gets: right against independent references, in ASE's units, signs and orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.constraints import FixAtoms
from ase.vibrations import Vibrations

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator, as_vibrations_data, from_graph, to_graph
from atomsym.core import AtomGraph, AtomsymError, InputError, PropertyNotAvailableError
from atomsym.core.units import BOLTZMANN
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.testing.tolerances import (
    ACOUSTIC_SUM,
    BACKEND_PARITY,
    BATCHING,
    EXTENSIVITY,
    FINITE_DIFFERENCE_FORCES,
    HESSIAN_FINITE_DIFFERENCE,
    IMAGE_SHIFT,
    IMAGE_SHIFT_FAR,
    ROTATION_FORCES,
    STRESS,
    TRANSLATION,
)

MakeCrystal = Callable[..., Atoms]


def energy_of(atoms: Atoms, model: Any = "argon", **settings: Any) -> float:
    return AtomsymCalculator(model, **settings).get_potential_energy(atoms)


def forces_of(atoms: Atoms, model: Any = "argon", **settings: Any) -> np.ndarray:
    return AtomsymCalculator(model, **settings).get_forces(atoms)


# Values ---------------------------------------------------------------------------------------------------------------


def test_a_cluster_agrees_with_ases_own_lennard_jones(cluster: Atoms) -> None:
    """All pairs are nearer than the onset of the switch, where both are the plain potential."""
    assert cluster.get_all_distances().max() < load_model("argon").config.onset
    reference = AseLennardJones(sigma=3.405, epsilon=119.8 * BOLTZMANN, rc=1e3)
    calculator = AtomsymCalculator("argon")
    for name in ("energy", "free_energy", "energies", "forces"):
        found, expected = calculator.get_property(name, cluster), reference.get_property(name, cluster)
        assert np.abs(found - expected).max() < 1e-13


@pytest.mark.parametrize("distance", [3.2, 5.0, 6.9, 8.4, 8.6])
def test_a_dimer_has_the_energy_of_the_formula(distance: float) -> None:
    sixth = (3.405 / distance) ** 6
    plain = 4 * 119.8 * BOLTZMANN * (sixth**2 - sixth)
    energy = energy_of(Atoms("Ar2", positions=[[1, 2, 3], [1, 2, 3 + distance]]))
    if distance < 6.8:
        assert energy == pytest.approx(plain, rel=1e-12)
    else:
        assert plain < energy <= 0.0  # switched off between 6.8 and 8.5 Å
        assert (energy == 0.0) == (distance > 8.5)


def test_forces_and_stress_agree_with_finite_differences(argon_crystal: MakeCrystal) -> None:
    atoms = argon_crystal(1)
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.03, 0], [0, 0.97, 0.05], [0.01, 0, 1.0]], scale_atoms=True)
    atoms.calc = AtomsymCalculator("argon")
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert np.abs(forces - calculate_numerical_forces(atoms, eps=1e-4)).max() < FINITE_DIFFERENCE_FORCES.float64
    assert np.abs(stress - calculate_numerical_stress(atoms, eps=1e-5)).max() < STRESS.float64
    assert len(set(np.abs(stress).round(7))) == 6  # all six differ, so that their order is tested


@pytest.mark.parametrize(("scale", "sign"), [(1.03, 1), (0.97, -1)])
def test_stress_is_positive_under_tension_also_in_a_left_handed_cell(scale: float, sign: int) -> None:
    atoms = bulk("Cu", a=3.6)
    mirrored = Atoms("Cu", cell=atoms.cell.array[[1, 0, 2]], pbc=True)
    assert np.linalg.det(atoms.cell.array) * np.linalg.det(mirrored.cell.array) < 0
    stresses = []
    for crystal in (atoms, mirrored):
        crystal.set_cell(crystal.cell.array * scale)
        stresses.append(AtomsymCalculator("copper-morse").get_stress(crystal))
    assert (sign * stresses[0][:3] > 0).all()
    assert np.abs(stresses[0] - stresses[1]).max() < STRESS.float64


def test_copper_has_its_lattice_constant() -> None:
    pressures = {a: -AtomsymCalculator("copper-morse").get_stress(bulk("Cu", a=a))[0] for a in (3.55, 3.67)}
    assert pressures[3.55] > 0 > pressures[3.67]


def test_energies_add_up(argon_crystal: MakeCrystal) -> None:
    calculator, atoms = AtomsymCalculator("argon"), argon_crystal()
    assert calculator.get_potential_energies(atoms).shape == (len(atoms),)
    assert calculator.get_potential_energies(atoms).sum() == pytest.approx(calculator.get_potential_energy(), abs=1e-12)
    assert calculator.get_potential_energy(atoms, force_consistent=True) == calculator.get_potential_energy(atoms)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_double_precision_arrays_of_asess_shapes(dtype: str, argon_crystal: MakeCrystal) -> None:
    atoms = argon_crystal(1)
    calculator = AtomsymCalculator("argon", dtype=dtype)
    calculator.calculate(atoms, ["energy", "forces", "stress"])
    assert type(calculator.results["energy"]) is float
    shapes = {"energies": (4,), "forces": (4, 3), "stress": (6,)}
    for name, shape in shapes.items():
        assert calculator.results[name].shape == shape
        assert calculator.results[name].dtype == np.float64


# Hessians -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_crystal(argon_crystal: MakeCrystal) -> Atoms:
    return argon_crystal(1, stdev=0.05)


def test_the_hessian_agrees_with_finite_differences(small_crystal: Atoms) -> None:
    calculator, h = AtomsymCalculator("argon"), 1e-3
    found = calculator.get_hessian(small_crystal)
    expected = np.zeros((12, 12))
    for row in range(12):
        for sign in (1, -1):
            moved = small_crystal.copy()
            moved.positions.reshape(-1)[row] += sign * h
            expected[row] -= sign * forces_of(moved).reshape(-1) / (2 * h)
    assert found.shape == (12, 12)
    assert np.abs(found - expected).max() < 30 * HESSIAN_FINITE_DIFFERENCE.float64 * np.abs(found).max()  # two points
    assert np.array_equal(found, found.T)
    assert np.abs(found.reshape(12, 4, 3).sum(axis=1)).max() < ACOUSTIC_SUM.float64


@pytest.mark.parametrize("method", ["auto", "vmap", "rows", "finite-difference"])
def test_hessian_methods_and_parts_agree(small_crystal: Atoms, method: Any) -> None:
    calculator = AtomsymCalculator("argon")
    full = calculator.get_property("hessian", small_crystal)
    part = calculator.get_hessian(small_crystal, method=method, indices=[2, -4])
    rows = [6, 7, 8, 0, 1, 2]
    bound = HESSIAN_FINITE_DIFFERENCE.float64 * np.abs(full).max()
    assert np.abs(part - full[np.ix_(rows, rows)]).max() < bound


def test_a_single_precision_calculator_has_double_precision_hessians(small_crystal: Atoms) -> None:
    single, double = (AtomsymCalculator("argon", dtype=dtype) for dtype in ("float32", "float64"))
    difference = np.abs(single.get_hessian(small_crystal) - double.get_hessian(small_crystal))
    assert difference.max() < 1e-6 * np.abs(double.get_hessian()).max()  # its weights are rounded, its sums are not
    assert single.get_forces(small_crystal).tolist() != double.get_forces(small_crystal).tolist()


def test_hessians_follow_the_structure(small_crystal: Atoms) -> None:
    calculator = AtomsymCalculator("argon")
    first = calculator.get_hessian(small_crystal)
    small_crystal.positions[0, 0] += 0.1
    assert not np.array_equal(calculator.get_hessian(small_crystal), first)
    calculator.get_forces(small_crystal)
    small_crystal.positions[0, 0] -= 0.1
    second = calculator.get_hessian(small_crystal)
    assert np.abs(second - first).max() < 1e-12
    second[:] = 0
    assert np.abs(calculator.get_hessian() - first).max() < 1e-12


@pytest.mark.parametrize("wrong", [{"indices": [4]}, {"indices": [0, 0]}, {"indices": [-5]}, {"method": "magic"}])
def test_wrong_hessian_arguments_are_input_errors(small_crystal: Atoms, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        AtomsymCalculator("argon").get_hessian(small_crystal, **wrong)


def test_vibrations_agree_with_ases_finite_differences(cluster: Atoms, tmp_path: Any) -> None:
    atoms = cluster[:4]
    atoms.set_constraint(FixAtoms([1]))
    atoms.calc = AtomsymCalculator("argon")
    hessian = atoms.calc.get_hessian(atoms)
    data = as_vibrations_data(atoms, hessian)
    assert data.get_indices().tolist() == [0, 2, 3]
    vibrations = Vibrations(atoms, indices=[0, 2, 3], name=tmp_path / "vib", delta=1e-3, nfree=4)
    vibrations.run()
    reference = vibrations.get_vibrations().get_hessian_2d()
    assert np.abs(data.get_hessian_2d() - reference).max() < HESSIAN_FINITE_DIFFERENCE.float64 * np.abs(hessian).max()
    part = atoms.calc.get_hessian(atoms, indices=[3, 0])
    assert np.array_equal(as_vibrations_data(atoms, part, indices=[3, 0]).get_hessian_2d(), part)
    with pytest.raises(InputError, match="must be square with 9 or 12 rows"):
        as_vibrations_data(atoms, hessian[:6, :6])


# Which properties -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, False, False)])
def test_stress_needs_three_periodic_directions(argon_crystal: MakeCrystal, pbc: tuple[bool, ...]) -> None:
    atoms = argon_crystal(1)
    calculator = AtomsymCalculator("argon")
    calculator.get_stress(atoms)
    atoms.pbc = pbc
    with pytest.raises(PropertyNotImplementedError, match="periodic only in") as caught:
        calculator.get_stress(atoms)
    assert isinstance(caught.value, PropertyNotAvailableError)
    assert np.isfinite(calculator.get_forces(atoms)).all()
    assert "stress" not in calculator.results


@pytest.mark.parametrize("name", ["dipole", "magmom", "stresses", "charges", "nonsense"])
def test_other_properties_are_not_implemented(name: str, argon_crystal: MakeCrystal) -> None:
    calculator, atoms = AtomsymCalculator("argon"), argon_crystal(1)
    assert name not in calculator.implemented_properties
    for ask in (lambda: calculator.get_property(name, atoms), lambda: calculator.calculate(atoms, [name])):
        with pytest.raises(PropertyNotImplementedError, match=f"does not compute '?{name}"):
            ask()


def test_every_implemented_property_is_computed(argon_crystal: MakeCrystal) -> None:
    calculator, atoms = AtomsymCalculator("argon"), argon_crystal(1)
    for name in calculator.implemented_properties:
        assert np.isfinite(calculator.get_property(name, atoms)).all()


def test_only_what_is_wanted_is_computed(argon_crystal: MakeCrystal, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def recorded(potential: Any, graph: AtomGraph, properties: tuple[str, ...]) -> Any:
        asked.append(properties)
        return evaluate(potential, graph, properties)

    monkeypatch.setattr("atomsym.calculators.evaluator.evaluate", recorded)
    atoms = argon_crystal(1)
    atoms.calc = AtomsymCalculator("argon")
    for _ in range(3):  # Monte Carlo: energies alone
        atoms.rattle(0.01)
        atoms.get_potential_energy()
        atoms.get_potential_energies()
    assert asked == [("energy",)] * 3
    asked.clear()
    for _ in range(3):  # dynamics: the first step shows what the next will want
        atoms.rattle(0.01)
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()
    assert asked == [("energy",), ("forces",), ("stress",), *[("forces", "stress")] * 2]


def test_cached_results_are_given_without_a_calculation(argon_crystal: MakeCrystal) -> None:
    calculator, atoms = AtomsymCalculator("argon"), argon_crystal(1)
    assert calculator.get_property("forces", atoms, allow_calculation=False) is None
    energy = calculator.get_property("energy", atoms)
    assert calculator.get_property("energy", atoms, allow_calculation=False) == energy
    assert not calculator.calculation_required(atoms, ["energy"])
    assert calculator.calculation_required(atoms, ["forces"])
    with pytest.raises(AtomsymError, match="no structure"):
        AtomsymCalculator("argon").get_forces()


# Invariances through the host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_f01_f04_translations_and_image_shifts(argon_crystal: MakeCrystal, dtype: torch.dtype) -> None:
    atoms, generator = argon_crystal(), np.random.default_rng(5)
    n, expected = len(atoms), energy_of(atoms, dtype=dtype)
    moved = atoms.copy()
    moved.positions += generator.uniform(-50, 50, 3)
    assert abs(energy_of(moved, dtype=dtype) - expected) / n < TRANSLATION.of(dtype)
    unwrapped = atoms.copy()
    unwrapped.positions += generator.integers(-5, 6, (n, 3)) @ atoms.cell.array
    assert abs(energy_of(unwrapped, dtype=dtype) - expected) / n < IMAGE_SHIFT.of(dtype)
    far = atoms.copy()
    far.positions += generator.integers(-1000, 1001, (n, 3)) @ atoms.cell.array
    assert abs(energy_of(far, dtype=dtype) - expected) / n < IMAGE_SHIFT_FAR.of(dtype)


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)])
def test_single_precision_loses_no_digits_far_from_the_origin(argon_crystal: MakeCrystal, pbc: tuple[int, ...]) -> None:
    atoms = argon_crystal()
    atoms.pbc = pbc
    near = forces_of(atoms)
    atoms.positions += [1e5, -2e5, 3e5]
    assert np.abs(forces_of(atoms, dtype="float32") - near).max() < ROTATION_FORCES.float32 * np.abs(near).max()


def test_f05_supercells_are_extensive(argon_crystal: MakeCrystal) -> None:
    cell = argon_crystal(1)
    assert energy_of(cell * (2, 1, 3)) / 24 == pytest.approx(energy_of(cell) / 4, abs=EXTENSIVITY.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_f06_alone_or_in_a_batch(argon_crystal: MakeCrystal, cluster: Atoms, dtype: torch.dtype) -> None:
    structures = [
        argon_crystal(1),
        Atoms("Ar"),
        cluster,
        argon_crystal(5, seed=3),
        Atoms("Ar", cell=[3, 3, 3], pbc=True),
    ]
    before = [one.copy() for one in structures]
    potential = load_model("argon", dtype=dtype)
    graph = connect(to_graph(structures, dtype), potential.cutoff)
    batched = evaluate(potential, graph, ("energy", "forces"))
    stops = np.cumsum([len(one) for one in structures])
    for number, (one, stop) in enumerate(zip(structures, stops, strict=True)):
        calculator = AtomsymCalculator("argon", dtype=dtype)
        bound = BATCHING.of(dtype)
        assert abs(calculator.get_potential_energy(one) - float(batched.energy[number])) < bound * len(one)
        forces = batched.forces[stop - len(one) : stop].numpy()
        assert np.abs(calculator.get_forces(one) - forces).max() < max(bound, ROTATION_FORCES.of(dtype) / 10)
    assert not batched.forces.requires_grad
    assert all(one == other for one, other in zip(structures, before, strict=True))


def test_a_skin_changes_nothing_but_the_number_of_searches(argon_crystal: MakeCrystal) -> None:
    with_skin, without = AtomsymCalculator("argon", skin=1.0), AtomsymCalculator("argon")
    atoms, generator = argon_crystal(2), np.random.default_rng(2)
    velocity = generator.normal(0, 0.04, (len(atoms), 3))
    for step in range(30):
        atoms.positions += velocity
        if step % 4 == 0:
            atoms.wrap()
        if step % 10 == 9:
            atoms.set_cell(atoms.cell.array * 1.002, scale_atoms=True)
        if step == 20:
            atoms = atoms[np.argsort(generator.random(len(atoms)))]
            velocity = generator.normal(0, 0.04, (len(atoms), 3))
        for name in ("energy", "forces", "stress"):
            found, expected = with_skin.get_property(name, atoms), without.get_property(name, atoms)
            assert np.abs(found - expected).max() < 1e-12 * max(1.0, np.abs(expected).max())  # order of the sums
    searches = with_skin._ready()._list
    assert searches is not None
    assert 1 < searches.n_searches < 25


# Conversion -----------------------------------------------------------------------------------------------------------


def test_structures_come_back_from_graphs_unchanged(argon_crystal: MakeCrystal, cluster: Atoms) -> None:
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    structures = [argon_crystal(1), molecule("CH3CH2OH"), slab, Atoms(), cluster]
    structures[0].positions += 100  # not wrapped
    again = from_graph(to_graph(structures))
    assert isinstance(again, list)
    assert again == structures
    assert from_graph(to_graph(slab)) == slab
    assert to_graph(slab, torch.float32).dtype == torch.float32


def test_a_model_may_be_given_as_an_object_and_stays_as_it_is(
    short_potential: Potential, argon_crystal: MakeCrystal
) -> None:
    short_potential.train()
    weights = {name: (tensor.data_ptr(), tensor.dtype) for name, tensor in short_potential.state_dict().items()}
    same = AtomsymCalculator(short_potential)
    other = AtomsymCalculator(short_potential, dtype="float32")
    atoms = argon_crystal(1)
    assert same.get_potential_energy(atoms) == pytest.approx(other.get_potential_energy(atoms), rel=1e-5)
    assert same.potential.sigma.data_ptr() == short_potential.sigma.data_ptr()  # shared
    assert other.potential.sigma.dtype == torch.float32
    assert short_potential.training
    assert all(p.requires_grad for p in short_potential.parameters())
    found = {name: (tensor.data_ptr(), tensor.dtype) for name, tensor in short_potential.state_dict().items()}
    assert found == weights


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gpu_gives_the_results_of_the_cpu(argon_crystal: MakeCrystal, dtype: str) -> None:
    atoms = argon_crystal()
    calculators = [AtomsymCalculator("argon", device=device, dtype=dtype) for device in ("cpu", "auto")]
    assert calculators[1].provenance["device"] == "cuda:0"
    for name in ("energy", "energies", "forces", "stress", "hessian"):
        expected, found = (calculator.get_property(name, atoms) for calculator in calculators)
        bound = BACKEND_PARITY.float64 if name == "hessian" else BACKEND_PARITY.of(getattr(torch, dtype))
        assert np.abs(found - expected).max() < bound * np.abs(expected).max()
