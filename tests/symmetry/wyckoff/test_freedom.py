"""The free parameters of a crystal: exact maps, symmetry at every vector, and the chain rule against differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from atomsym.core import AtomGraph, InputError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models.morse import Morse, MorseConfig
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, wyckoff_positions
from atomsym.symmetry.wyckoff.freedom import Freedom, lattice_strains, symmetrised_cell
from atomsym.symmetry.wyckoff.primitive import primitive_basis, primitive_cell
from atomsym.testing.tolerances import ALGEBRA, FINITE_DIFFERENCE_FORCES

SYSTEMS = {2: 6, 15: 4, 74: 3, 142: 2, 194: 2, 230: 1}
"""Free lattice parameters by the last group of a crystal system (trigonal groups lie with the hexagonal ones)."""
GROUPS = (1, 2, 4, 5, 8, 14, 15, 19, 36, 43, 62, 70, 76, 88, 99, 122, 136, 148, 160, 166, 186, 194, 205, 216, 220, 227)
"""Of every crystal system and centring, polar and not."""
SOFT = Morse(
    MorseConfig(
        elements=(8, 14), cutoff=5.0, onset=2.0,
        depth=((0.3, 0.5), (0.5, 0.2)), alpha=((0.9, 0.8), (0.8, 0.7)), equilibrium=((2.9, 2.1), (2.1, 3.1)),
    )
)  # fmt: skip


def lattice(group: int, generator: np.random.Generator) -> np.ndarray:
    """A random cell of the crystal system, turned at random in space."""
    a, b, c = generator.uniform(4.5, 7.5, 3)
    if group <= 2:
        cell = np.array([[a, 0, 0], [0.7, b, 0], [-0.6, 0.9, c]])
    elif group <= 15:
        cell = np.array([[a, 0, 0], [0, b, 0], [-1.3, 0, c]])
    elif group <= 74:
        cell = np.diag([a, b, c])
    elif group <= 142:
        cell = np.diag([a, a, c])
    elif group <= 194:
        cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    else:
        cell = a * np.eye(3)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return cell @ turn


def crystal_in(group: int, seed: int = 0) -> SymmetricCrystal:
    """One orbit on each of up to three positions, with random parameters."""
    generator = np.random.default_rng(seed + group)
    positions = wyckoff_positions(group)
    letters = [positions[0].letter, positions[len(positions) // 2].letter, positions[-1].letter]
    chosen = [letter for n, letter in enumerate(letters) if letters.index(letter) == n]
    structure = Protostructure(group, tuple(zip((14, 8, 8), chosen, strict=False)))
    parameters = generator.uniform(0.05, 0.95, (len(structure.orbits), 3))
    return SymmetricCrystal(structure, lattice(group, generator), parameters)


@pytest.mark.parametrize("group", range(1, 231))
def test_strains_keep_the_crystal_system_and_nothing_else_does(group: int) -> None:
    cell = lattice(group, np.random.default_rng(group))
    strains = lattice_strains(group, cell)
    assert len(strains) == next(count for last, count in SYSTEMS.items() if group <= last)
    products = np.einsum("kij,lij->kl", strains, strains)
    np.testing.assert_allclose(products, np.eye(len(strains)), atol=ALGEBRA.float64)
    np.testing.assert_allclose(strains[0], np.eye(3) / 3**0.5, atol=ALGEBRA.float64)
    matrices = wyckoff_positions(group)[-1].matrices
    rotations = cell.T @ matrices @ np.linalg.inv(cell.T)
    for strain in strains:
        assert np.abs(rotations @ strain - strain @ rotations).max() < 1e-10


@pytest.mark.parametrize("group", GROUPS)
def test_every_vector_is_a_crystal_of_the_group(group: int) -> None:
    """Cell of its crystal system, positive volume, and a closed orbit: also far from the reference."""
    freedom = Freedom(crystal_in(group))
    vector = np.random.default_rng(1).normal(size=freedom.size) * 2
    crystal = freedom.crystal(vector)
    assert np.linalg.det(crystal.cell) * np.linalg.det(freedom.reference.cell) > 0
    metric = crystal.cell @ crystal.cell.T
    for matrix in wyckoff_positions(group)[-1].matrices:
        np.testing.assert_allclose(matrix.T @ metric @ matrix, metric, atol=1e-10 * metric.max())
    assert np.abs(crystal.parameters - freedom.reference.parameters).max() > 0 or freedom.n_coordinates == 0


@pytest.mark.parametrize("group", GROUPS)
def test_vector_and_crystal_are_inverse_of_each_other(group: int) -> None:
    freedom = Freedom(crystal_in(group))
    np.testing.assert_allclose(freedom.vector(freedom.reference), 0, atol=1e-9)
    vector = np.random.default_rng(2).normal(size=freedom.size)
    crystal = freedom.crystal(vector)
    np.testing.assert_allclose(freedom.vector(crystal), vector, atol=1e-9)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = SymmetricCrystal(crystal.protostructure, crystal.cell @ turn, crystal.parameters)
    np.testing.assert_allclose(freedom.vector(turned), vector, atol=1e-9)


def morse(crystal: SymmetricCrystal) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces and stress of a soft potential on the conventional cell."""
    graph = AtomGraph.from_arrays(crystal.positions, crystal.numbers, crystal.cell, [True] * 3, dtype=torch.float64)
    found = evaluate(SOFT, connect(graph, SOFT.cutoff))
    assert found.forces is not None
    assert found.stress is not None
    return float(found.energy), found.forces.numpy(), found.stress[0].numpy()


def differences(function: Callable[[np.ndarray], float], vector: np.ndarray, step: float = 1e-4) -> np.ndarray:
    steps = step * np.eye(len(vector))
    return np.array([(function(vector + d) - function(vector - d)) / (2 * step) for d in steps])


@pytest.mark.parametrize("group", [2, 5, 14, 43, 88, 160, 186, 205, 216])
def test_the_gradient_is_that_of_the_energy(group: int) -> None:
    """At a vector away from the reference, where the exponential is no longer its first two terms."""
    freedom = Freedom(crystal_in(group, seed=7))
    vector = 0.3 * np.random.default_rng(group).normal(size=freedom.size)
    _, forces, stress = morse(freedom.crystal(vector))
    gradient = freedom.gradient(vector, forces, stress)
    expected = differences(lambda x: morse(freedom.crystal(x))[0], vector)
    bound = FINITE_DIFFERENCE_FORCES.float64 * (1 + np.abs(expected).max())
    assert np.abs(expected[: freedom.n_lattice]).min() > 1e-3
    np.testing.assert_allclose(gradient, expected, atol=bound)
    held = freedom.gradient(vector, forces)
    assert not held[: freedom.n_lattice].any()
    np.testing.assert_allclose(held[freedom.n_lattice :], gradient[freedom.n_lattice :], atol=1e-12)


def test_the_first_derivative_of_the_exponential_alone_would_not_do() -> None:
    """Mutant: V ⟨σ, B⟩ holds only where strain and stress commute; in a triclinic cell away from the reference not."""
    freedom = Freedom(crystal_in(2, seed=7))
    vector = np.zeros(freedom.size)
    vector[: freedom.n_lattice] = [0.3, -1.5, 1.2, 1.0, -0.9, 0.8]
    crystal = freedom.crystal(vector)
    _, forces, stress = morse(crystal)
    volume = abs(np.linalg.det(crystal.cell))
    naive = volume * np.einsum("kij,ij->k", freedom._strains, stress)
    exact = freedom.gradient(vector, forces, stress)[: freedom.n_lattice]
    expected = differences(lambda x: morse(freedom.crystal(x))[0], vector)[: freedom.n_lattice]
    bound = FINITE_DIFFERENCE_FORCES.float64 * (1 + np.abs(expected).max())
    assert np.abs(exact - expected).max() < bound
    assert np.abs(naive - expected).max() > 100 * bound


@pytest.mark.parametrize(("group", "axes"), [(1, 3), (4, 1), (8, 2), (36, 1), (43, 1), (99, 1), (160, 1), (62, 0)])
def test_shifts_along_polar_axes_are_left_out(group: int, axes: int) -> None:
    freedom = Freedom(crystal_in(group))
    assert freedom.n_coordinates == freedom.reference.protostructure.degrees_of_freedom - axes
    vector = np.random.default_rng(5).normal(size=freedom.size)
    vector[: freedom.n_lattice] = 0
    shifts = (freedom._matrices @ (freedom.crystal(vector).parameters - freedom.reference.parameters)[freedom._orbit][
        ..., None
    ])[..., 0]  # fmt: skip
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1e-10)


def test_a_step_in_the_coordinates_moves_the_atoms_as_far() -> None:
    freedom = Freedom(crystal_in(14))
    vector = np.zeros(freedom.size)
    vector[freedom.n_lattice :] = np.random.default_rng(6).normal(size=freedom.n_coordinates) * 0.01
    moved = freedom.crystal(vector).fractional_positions - freedom.reference.fractional_positions
    moved = (moved + 0.5) % 1 - 0.5
    assert np.linalg.norm(moved @ freedom.reference.cell) == pytest.approx(np.linalg.norm(vector), rel=1e-9)


def test_cells_of_another_system_are_refused_and_near_ones_made_exact() -> None:
    structure = Protostructure(225, ((11, "a"), (17, "b")))
    with pytest.raises(InputError, match="not one of space group 225"):
        Freedom(SymmetricCrystal(structure, np.diag([5.0, 5.0, 5.1]), np.zeros((2, 3))))
    near = np.diag([5.0, 5.0, 5.0001])
    exact = symmetrised_cell(225, near)
    np.testing.assert_allclose(exact, np.eye(3) * exact[0, 0], atol=1e-12)
    assert abs(exact[0, 0] - 5.00003) < 1e-5


def test_wrong_shapes_and_values_are_refused() -> None:
    freedom = Freedom(crystal_in(136))
    zero, forces = np.zeros(freedom.size), np.zeros((freedom.reference.n_atoms, 3))
    with pytest.raises(InputError, match="the vector must be finite"):
        freedom.crystal(np.zeros(freedom.size + 1))
    with pytest.raises(InputError, match="the vector must be finite"):
        freedom.crystal(np.full(freedom.size, np.nan))
    with pytest.raises(InputError, match="forces must be finite"):
        freedom.gradient(zero, forces[1:])
    with pytest.raises(InputError, match="stress must be finite"):
        freedom.gradient(zero, forces, np.zeros(6))
    with pytest.raises(InputError, match="the reference is"):
        freedom.vector(crystal_in(62))


@pytest.mark.parametrize("group", GROUPS)
def test_the_primitive_cell_repeats_to_the_conventional_one(group: int) -> None:
    crystal = crystal_in(group)
    primitive = primitive_cell(crystal.protostructure)
    assert primitive.n_cells == pytest.approx(1 / np.linalg.det(primitive_basis(group)))
    fractional = crystal.fractional_positions @ np.linalg.inv(primitive.basis)
    offsets = fractional - fractional[primitive.atoms][primitive.images]
    np.testing.assert_allclose(offsets, np.rint(offsets), atol=1e-9)
    np.testing.assert_array_equal(crystal.numbers, crystal.numbers[primitive.atoms][primitive.images])
    assert (np.bincount(primitive.images) == primitive.n_cells).all()


def test_all_groups_have_a_primitive_cell() -> None:
    """58 groups with the symbol A, C or I, 7 with R and 16 with F."""
    counts = np.array([round(1 / np.linalg.det(primitive_basis(group))) for group in range(1, 231)])
    assert (counts > 0).all()
    assert [int((counts == n).sum()) for n in (2, 3, 4)] == [58, 7, 16]
