"""Energies, forces and stresses obey the physics they promise, and planted bugs break every one of these tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError, InputError, PropertyNotAvailableError, UnsupportedElementError
from atomsym.derivatives import evaluate
from atomsym.models import ARGON, COPPER, LennardJones, Morse
from atomsym.nn import edge_lengths
from atomsym.testing import tolerances

Forces = Callable[[Any, AtomGraph], Tensor]
TRICLINIC = np.array([[1.05, 0.1, 0.0], [-0.15, 0.97, 0.2], [0.05, 0.0, 1.1]])
LEFT_HANDED = np.diag([1.0, 1.0, -1.0]) @ TRICLINIC


def energy_of(potential: Any, graph: AtomGraph) -> float:
    return float(evaluate(potential, graph, ("energy",)).energy.sum())


def forces_of(potential: Any, graph: AtomGraph) -> Tensor:
    forces = evaluate(potential, graph, ("forces",)).forces
    assert forces is not None
    return forces


def stress_of(potential: Any, graph: AtomGraph) -> Tensor:
    stress = evaluate(potential, graph, ("stress",)).stress
    assert stress is not None
    return stress[0]


def slope(energy: Callable[[float], float], h: float) -> float:
    """Five-point first derivative at 0."""
    return (energy(-2 * h) - 8 * energy(-h) + 8 * energy(h) - energy(2 * h)) / (12 * h)


# F-1 … F-3 --------------------------------------------------------------------------------------------------------


def in_a_field(graph: AtomGraph) -> Tensor:
    """Mutant: the energy depends on where the atoms are, which way they point and how they are numbered."""
    pull = (torch.arange(graph.n_atoms) + 1.0) * (graph.positions @ torch.tensor([0.1, 0.2, 0.3], dtype=graph.dtype))
    return 1e-3 * pull.to(graph.dtype) + LennardJones(ARGON)(graph)["energies"]


def translation_error(potential: Any, structure: Any, cutoff: float) -> float:
    moved = structure.moved(structure.positions + np.array([3.7, -11.1, 0.123]))
    change = energy_of(potential, moved.graph(cutoff)) - energy_of(potential, structure.graph(cutoff))
    return abs(change) / len(structure.numbers)


def test_f01_energy_does_not_change_under_translation(subject: Any, make_cluster: Any, make_crystal: Any) -> None:
    for structure in (make_cluster(subject.numbers), make_crystal(subject.numbers)):
        assert translation_error(subject.potential, structure, subject.cutoff) < tolerances.TRANSLATION.float64
    assert translation_error(in_a_field, make_cluster((18,)), 8.5) > tolerances.TRANSLATION.float64


def rotation(seed: int) -> np.ndarray:
    """A random orthogonal matrix; odd seeds reflect."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * (np.linalg.det(q) * (-1) ** seed)


@pytest.mark.parametrize("seed", range(4))
def test_f02_energy_forces_and_stress_turn_with_the_structure(subject: Any, make_crystal: Any, seed: int) -> None:
    turn = rotation(seed)
    structure = make_crystal(subject.numbers)
    graphs = [s.graph(subject.cutoff) for s in (structure, structure.deformed(turn))]
    before, after = (evaluate(subject.potential, graph) for graph in graphs)
    matrix = torch.from_numpy(turn)
    assert before.forces is not None
    assert before.stress is not None
    assert float((after.energy - before.energy).abs()) / 4 < tolerances.ROTATION_ENERGY.float64
    assert float((after.forces - before.forces @ matrix).abs().max()) < tolerances.ROTATION_FORCES.float64
    turned = matrix.T @ before.stress[0] @ matrix
    assert after.stress is not None
    assert float((after.stress[0] - turned).abs().max()) < tolerances.STRESS.float64
    argon = make_crystal((18,))
    wrong = energy_of(in_a_field, argon.graph(8.5)) - energy_of(in_a_field, argon.deformed(turn).graph(8.5))
    assert abs(wrong) / 4 > tolerances.ROTATION_ENERGY.float64


def test_f03_order_of_atoms_and_edges_does_not_matter(subject: Any, make_crystal: Any) -> None:
    structure = make_crystal(subject.numbers)
    order = np.array([2, 0, 3, 1])
    shuffled = replace(structure, positions=structure.positions[order], numbers=structure.numbers[order])
    before = evaluate(subject.potential, structure.graph(subject.cutoff))
    after = evaluate(subject.potential, shuffled.graph(subject.cutoff))
    assert before.forces is not None
    assert after.forces is not None
    assert float((after.energy - before.energy).abs()) / 4 < tolerances.PERMUTATION.float64
    assert float((after.forces - before.forces[order]).abs().max()) < tolerances.PERMUTATION.float64
    graph = structure.graph(subject.cutoff)
    mixed = torch.randperm(graph.n_edges, generator=torch.Generator().manual_seed(0))
    mixed = mixed[torch.argsort(graph.edge_index[0][mixed], stable=True)]
    reordered = graph.with_edges(graph.edge_index[:, mixed], graph.edge_shift[mixed], subject.cutoff)
    change = energy_of(subject.potential, reordered) - energy_of(subject.potential, graph)
    assert abs(change) / 4 < tolerances.PERMUTATION.float64
    argon = make_crystal((18,))
    reversed_argon = argon.moved(argon.positions[order])
    wrong = energy_of(in_a_field, argon.graph(8.5)) - energy_of(in_a_field, reversed_argon.graph(8.5))
    assert abs(wrong) / 4 > tolerances.PERMUTATION.float64


# F-4 … F-6 --------------------------------------------------------------------------------------------------------


def test_f04_atoms_moved_by_lattice_vectors_keep_the_energy(subject: Any, make_crystal: Any) -> None:
    structure = make_crystal(subject.numbers).deformed(TRICLINIC)
    shifts = np.array([[0, 0, 0], [5, -3, 1], [-2, 0, 4], [0, 1, 0]])
    moved = structure.moved(structure.positions + shifts @ structure.cell)
    change = energy_of(subject.potential, moved.graph(subject.cutoff)) - energy_of(
        subject.potential, structure.graph(subject.cutoff)
    )
    assert abs(change) / 4 < tolerances.IMAGE_SHIFT.float64
    argon = make_crystal((18,))
    moved = argon.moved(argon.positions + shifts @ argon.cell)
    wrong = energy_of(in_a_field, moved.graph(8.5)) - energy_of(in_a_field, argon.graph(8.5))
    assert abs(wrong) / 4 > tolerances.IMAGE_SHIFT.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_f04_atoms_unwrapped_by_a_thousand_cells_keep_the_energy(make_crystal: Any, dtype: torch.dtype) -> None:
    structure = make_crystal((18,))
    graph = structure.graph(8.5)
    cells = torch.tensor([[1000, 0, -1000], [0, 0, 0], [-7, 1000, 3], [999, 0, 0]])
    receiver, sender = graph.edge_index
    far = graph.with_positions(graph.positions + cells.double() @ graph.cell[0])
    far = far.with_edges(graph.edge_index, graph.edge_shift + (cells[receiver] - cells[sender]).int(), 8.5)
    potential = LennardJones(ARGON).to(dtype)
    near, unwrapped = (energy_of(potential, g.to(dtype=dtype)) for g in (graph, far))
    assert abs(unwrapped - near) / 4 < tolerances.IMAGE_SHIFT_FAR.of(dtype)
    forgotten = far.with_edges(graph.edge_index, graph.edge_shift, 8.5)  # planted bug: shifts of the wrapped atoms
    assert abs(energy_of(potential, forgotten.to(dtype=dtype)) - near) / 4 > tolerances.IMAGE_SHIFT_FAR.of(dtype)


def test_f01_f03_f05_f06_hold_in_float32(make_crystal: Any) -> None:
    single = torch.float32
    for name, potential in (("Ar", LennardJones(ARGON)), ("Cu", Morse(COPPER))):
        structure = make_crystal(({"Ar": 18, "Cu": 29}[name],))
        potential.to(single)
        graph = structure.graph(potential.cutoff, single)
        energy = energy_of(potential, graph) / 4
        moved = structure.moved(structure.positions + np.array([0.37, -1.1, 0.123])).graph(potential.cutoff, single)
        assert abs(energy_of(potential, moved) / 4 - energy) < tolerances.TRANSLATION.float32
        mixed = structure.moved(structure.positions[[3, 1, 0, 2]]).graph(potential.cutoff, single)
        assert abs(energy_of(potential, mixed) / 4 - energy) < tolerances.PERMUTATION.float32
        large = structure.repeated((3, 2, 2)).graph(potential.cutoff, single)
        assert abs(energy_of(potential, large) / 48 - energy) < tolerances.EXTENSIVITY.float32
        assert batching_error(potential, [graph, large, graph]) < tolerances.BATCHING.float32


def extensivity_error(potential: Any, structure: Any, cutoff: float, damage: Callable[[AtomGraph], AtomGraph]) -> float:
    """Energy per atom of a supercell, whose list is intact, against that of the cell, whose list is damaged."""
    supercell = structure.repeated((2, 1, 3))
    per_atom = energy_of(potential, supercell.graph(cutoff)) / len(supercell.numbers)
    return abs(energy_of(potential, damage(structure.graph(cutoff))) / len(structure.numbers) - per_atom)


def drop_an_image(graph: AtomGraph) -> AtomGraph:
    """Mutant: the nearest pair that crosses a periodic boundary is missing."""
    lengths = edge_lengths(graph.edge_vectors()) + 1e3 * (graph.edge_shift == 0).all(dim=1)
    keep = torch.arange(graph.n_edges) != lengths.argmin()
    return graph.with_edges(graph.edge_index[:, keep], graph.edge_shift[keep], graph.cutoff or 0.0)


def test_f05_a_supercell_has_the_energy_of_its_cells(subject: Any, make_crystal: Any) -> None:
    structure = make_crystal(subject.numbers).deformed(TRICLINIC)
    bound = tolerances.EXTENSIVITY.float64
    assert extensivity_error(subject.potential, structure, subject.cutoff, lambda graph: graph) < bound
    assert extensivity_error(subject.potential, structure, subject.cutoff, drop_an_image) > bound


def test_f05_distant_fragments_add_up(subject: Any, make_cluster: Any) -> None:
    first, second = make_cluster(subject.numbers, 5, seed=3), make_cluster(subject.numbers, 7, seed=4)
    both = replace(
        first,
        positions=np.concatenate([first.positions, second.positions + np.array([60, 0, 0])]),
        numbers=np.concatenate([first.numbers, second.numbers]),
    )
    parts = sum(energy_of(subject.potential, s.graph(subject.cutoff)) for s in (first, second))
    assert abs(energy_of(subject.potential, both.graph(subject.cutoff)) - parts) / 12 < tolerances.EXTENSIVITY.float64


def test_i06_a_cell_smaller_than_the_cutoff_equals_its_supercell(make_crystal: Any) -> None:
    for numbers, potential, lattice in ((18, LennardJones(ARGON), 5.26), (29, Morse(COPPER), 3.6)):
        conventional = make_crystal((numbers,), lattice=lattice, rattle=0.0)
        primitive = replace(
            conventional,
            positions=np.zeros((1, 3)),
            numbers=np.array([numbers]),
            cell=0.5 * lattice * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
        )
        one, four = (evaluate(potential, s.graph(potential.cutoff)) for s in (primitive, conventional))
        assert float((one.energy - four.energy / 4).abs()) < tolerances.EXTENSIVITY.float64
        assert one.stress is not None
        assert four.stress is not None
        assert float((one.stress - four.stress).abs().max()) < tolerances.STRESS.float64
        assert float(one.energy) == pytest.approx({18: -0.0802, 29: -3.51}[numbers], rel=0.02)


def batching_error(potential: Any, graphs: list[AtomGraph]) -> float:
    """Largest deviation of energies, forces and stresses in the batch from those alone."""
    together = evaluate(potential, AtomGraph.batch(graphs), ("forces", "virial"))
    alone = [evaluate(potential, graph, ("forces", "virial")) for graph in graphs]
    return max(
        float((torch.cat([getattr(a, name) for a in alone]) - getattr(together, name)).abs().max())
        for name in ("energy", "energies", "forces", "virial")
    )


def normalised(graph: AtomGraph) -> Tensor:
    """Mutant: a batch statistic leaks from one system into another."""
    energies = LennardJones(ARGON)(graph)["energies"]
    return energies - 1e-3 * energies.mean()


def test_f06_a_system_is_the_same_alone_and_in_a_batch(subject: Any, make_cluster: Any, make_crystal: Any) -> None:
    counts = (5, 5, 5) if subject.name == "lennard-jones" else (2, 2, 2)  # 500 atoms, or 32
    for big in (make_cluster(subject.numbers, 9), make_crystal(subject.numbers).repeated(counts)):
        structures = [make_crystal(subject.numbers), make_cluster(subject.numbers, 1), big]
        graphs = [structure.graph(subject.cutoff) for structure in structures]
        assert batching_error(subject.potential, graphs) < tolerances.BATCHING.float64
    graphs = [s.graph(8.5) for s in (make_cluster((18,), 4), make_cluster((18,), 1), make_cluster((18,), 9))]
    assert batching_error(normalised, graphs) > tolerances.BATCHING.float64


def test_f06_inputs_are_not_changed_and_results_are_detached(subject: Any, make_crystal: Any) -> None:
    graph = make_crystal(subject.numbers).graph(subject.cutoff)
    copy = graph.to(dtype=torch.float64)
    copy = replace(graph, positions=graph.positions.clone(), cell=graph.cell.clone())
    result = evaluate(subject.potential, graph, ("energies", "forces", "stress", "virial"))
    assert torch.equal(graph.positions, copy.positions)
    assert torch.equal(graph.cell, copy.cell)
    assert not graph.positions.requires_grad
    assert graph.strain is None
    tensors = (result.energy, result.energies, result.forces, result.stress, result.virial)
    assert all(tensor is not None and not tensor.requires_grad for tensor in tensors)
    if isinstance(subject.potential, torch.nn.Module):
        assert all(parameter.grad is None for parameter in subject.potential.parameters())


# F-7 --------------------------------------------------------------------------------------------------------------


def force_error(potential: Any, structure: Any, cutoff: float, forces: Forces = forces_of) -> float:
    """Largest |F + dE/dx| / (1 + |F|) over at least 30 coordinates, or all; every energy has its own edges."""
    analytic = forces(potential, structure.graph(cutoff)).reshape(-1)
    size = len(analytic)
    coordinates = np.random.default_rng(0).permutation(size)[:30]
    worst = 0.0
    for coordinate in coordinates:

        def energy(h: float, coordinate: int = coordinate) -> float:
            positions = structure.positions.copy()
            positions.reshape(-1)[coordinate] += h
            return energy_of(potential, structure.moved(positions).graph(cutoff))

        force = float(analytic[coordinate])
        worst = max(worst, abs(force + slope(energy, 1e-3)) / (1 + abs(force)))
    return worst


def test_f07_forces_are_the_negative_gradient(subject: Any, make_cluster: Any, make_crystal: Any) -> None:
    structures = (
        make_cluster(subject.numbers, 12),
        make_crystal(subject.numbers).deformed(TRICLINIC),
    )
    for structure in structures:
        assert force_error(subject.potential, structure, subject.cutoff) < tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_f07_planted_bugs_in_forces_are_found(make_cluster: Any) -> None:
    def wrong_sign(potential: Any, graph: AtomGraph) -> Tensor:
        return -forces_of(potential, graph)

    def receivers_only(potential: Any, graph: AtomGraph) -> Tensor:
        cut = graph.with_positions(graph.positions.clone())
        half = torch.arange(graph.n_edges) % 7 != 0
        return forces_of(potential, cut.with_edges(graph.edge_index[:, half], graph.edge_shift[half], 8.5))

    for mutant in (wrong_sign, receivers_only):
        error = force_error(LennardJones(ARGON), make_cluster((18,), 12), 8.5, mutant)
        assert error > 100 * tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_f07_float32_forces_agree_with_float64(subject: Any, make_crystal: Any) -> None:
    structure = make_crystal(subject.numbers)
    exact = evaluate(subject.potential, structure.graph(subject.cutoff))
    if isinstance(subject.potential, torch.nn.Module):
        subject.potential.to(torch.float32)
    single = evaluate(subject.potential, structure.graph(subject.cutoff, torch.float32))
    assert single.energy.dtype == torch.float64
    assert single.energies.dtype == torch.float32
    for name in ("energies", "forces", "stress"):
        a, b = getattr(single, name).double(), getattr(exact, name)
        assert float((a - b).abs().max() / b.abs().max()) < tolerances.FINITE_DIFFERENCE_FORCES.float32


# F-8 --------------------------------------------------------------------------------------------------------------

STRAINS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def stress_error(potential: Any, structure: Any, cutoff: float, stress: Forces = stress_of) -> float:
    """Largest deviation of the stress from dE/dε / |V| over six symmetric strains, eV/Å³."""
    analytic = stress(potential, structure.graph(cutoff))
    volume = abs(np.linalg.det(structure.cell))
    worst = 0.0
    for a, b in STRAINS:

        def energy(h: float, a: int = a, b: int = b) -> float:
            strain = np.zeros((3, 3))
            strain[a, b] += h / 2
            strain[b, a] += h / 2
            return energy_of(potential, structure.deformed(np.eye(3) + strain).graph(cutoff))

        worst = max(worst, abs(float(analytic[a, b]) - slope(energy, 1e-4) / volume))
    return worst


@pytest.mark.parametrize("frame", [np.eye(3), TRICLINIC, LEFT_HANDED], ids=["cubic", "triclinic", "left-handed"])
def test_f08_stress_is_the_strain_derivative_per_volume(subject: Any, make_crystal: Any, frame: np.ndarray) -> None:
    structure = make_crystal(subject.numbers).deformed(frame)
    assert stress_error(subject.potential, structure, subject.cutoff) < tolerances.STRESS.float64
    stress = stress_of(subject.potential, structure.graph(subject.cutoff))
    assert torch.equal(stress, stress.T)


def test_f08_planted_bugs_in_the_stress_are_found(make_crystal: Any) -> None:
    mutants: list[Forces] = [
        lambda p, g: -stress_of(p, g),
        lambda p, g: stress_of(p, g) * torch.linalg.det(g.cell[0]).sign(),  # signed volume
        lambda p, g: stress_of(p, g).flip(0, 1),  # axes the wrong way round
        lambda p, g: stress_of(p, replace(g, edge_shift=torch.zeros_like(g.edge_shift))),  # images dropped
    ]
    structure = make_crystal((18,)).deformed(LEFT_HANDED)
    for mutant in mutants:
        assert stress_error(LennardJones(ARGON), structure, 8.5, mutant) > 10 * tolerances.STRESS.float64


def test_f08_an_expanded_crystal_is_under_tension_and_virial_is_minus_stress_times_volume(make_crystal: Any) -> None:
    for lattice, sign in ((5.6, 1), (4.9, -1)):
        graph = make_crystal((18,), lattice=lattice).graph(8.5)
        result = evaluate(LennardJones(ARGON), graph, ("stress", "virial"))
        assert result.stress is not None
        assert result.virial is not None
        assert float(result.stress[0].trace()) * sign > 0
        torch.testing.assert_close(result.virial, -result.stress * graph.volume, rtol=1e-14, atol=0)


def test_f08_a_system_without_volume_has_no_stress_but_a_virial(make_cluster: Any, make_crystal: Any) -> None:
    cluster = make_cluster((18,)).graph(8.5)
    with pytest.raises(InputError, match=r"system 0 has no volume.*virial"):
        evaluate(LennardJones(ARGON), cluster)
    with pytest.raises(InputError, match="system 1 has no volume"):
        evaluate(LennardJones(ARGON), AtomGraph.batch([make_crystal((18,)).graph(8.5), cluster]))
    assert evaluate(LennardJones(ARGON), cluster, ("virial",)).virial is not None


# F-9 --------------------------------------------------------------------------------------------------------------


def jacobian_asymmetry(potential: Any, structure: Any, cutoff: float, forces: Forces = forces_of) -> float:
    """|J - Jᵀ| / |J + Jᵀ| of the force Jacobian by central differences; the minimum over step lengths."""

    def along(degree: int, h: float) -> Tensor:
        positions = structure.positions.copy()
        positions.reshape(-1)[degree] += h
        return forces(potential, structure.moved(positions).graph(cutoff)).reshape(-1)

    best = np.inf
    for h in (1e-2, 1e-3, 1e-4):
        size = structure.positions.size
        jacobian = torch.stack([(along(d, h) - along(d, -h)) / (2 * h) for d in range(size)])
        best = min(best, float((jacobian - jacobian.T).norm() / (jacobian + jacobian.T).norm()))
    return best


def test_f09_forces_are_a_gradient_field(subject: Any, make_cluster: Any) -> None:
    structure = make_cluster(subject.numbers, 5)
    assert jacobian_asymmetry(subject.potential, structure, subject.cutoff) < tolerances.JACOBIAN_SYMMETRY.float64


def test_f09_a_small_curl_is_found(make_cluster: Any) -> None:
    def with_curl(potential: Any, graph: AtomGraph) -> Tensor:
        axis = torch.tensor([0.0, 0.0, 1e-6], dtype=graph.dtype).expand_as(graph.positions)
        return forces_of(potential, graph) + torch.linalg.cross(axis, graph.positions)

    error = jacobian_asymmetry(LennardJones(ARGON), make_cluster((18,), 5), 8.5, with_curl)
    assert error > tolerances.JACOBIAN_SYMMETRY.float64


# Edge cases and errors --------------------------------------------------------------------------------------------


def test_i04_no_atoms_give_energy_zero_and_empty_forces(make_crystal: Any) -> None:
    empty = AtomGraph.from_arrays(np.zeros((0, 3)), np.zeros(0, dtype=int), 5 * np.eye(3), True)
    empty = empty.with_edges(empty.edge_index, empty.edge_shift, 8.5)
    result = evaluate(LennardJones(ARGON), empty)
    assert result.energy.tolist() == [0.0]
    assert result.forces is not None
    assert result.stress is not None
    assert result.forces.shape == (0, 3)
    assert result.stress.abs().max() == 0
    crystal = make_crystal((18,)).graph(8.5)
    batched = evaluate(LennardJones(ARGON), AtomGraph.batch([empty, crystal, empty]))
    alone = evaluate(LennardJones(ARGON), crystal)
    assert torch.equal(batched.energy, torch.cat([result.energy, alone.energy, result.energy]))


def test_i05_an_isolated_atom_has_zero_energy_forces_and_stress(subject: Any, make_cluster: Any) -> None:
    atom = replace(make_cluster(subject.numbers, 1), cell=30 * np.eye(3), pbc=True)
    result = evaluate(subject.potential, atom.graph(subject.cutoff))
    assert result.forces is not None
    assert result.stress is not None
    assert float(result.forces.abs().max()) == 0
    assert float(result.stress.abs().max()) == 0
    assert bool(result.energy.isfinite())


def test_edges_beyond_the_cutoff_change_nothing(subject: Any, make_crystal: Any) -> None:
    structure = make_crystal(subject.numbers)
    exact, skin = (evaluate(subject.potential, structure.graph(c)) for c in (subject.cutoff, subject.cutoff + 1.5))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(skin, name), getattr(exact, name), rtol=1e-12, atol=1e-14)


def test_create_graph_trains_forces(make_crystal: Any) -> None:
    potential = LennardJones(ARGON)
    graph = make_crystal((18,)).graph(8.5)
    result = evaluate(potential, graph, ("forces", "stress"), create_graph=True)
    assert result.forces is not None
    assert result.stress is not None
    (result.forces.square().sum() + result.stress.square().sum() + result.energy.sum()).backward()
    assert potential.epsilon.grad is not None

    def loss(epsilon: float) -> float:
        with torch.no_grad():
            potential.epsilon.fill_(epsilon)
        r = evaluate(potential, graph, ("forces", "stress"))
        assert r.forces is not None
        assert r.stress is not None
        return float(r.forces.square().sum() + r.stress.square().sum() + r.energy.sum())

    start = ARGON.epsilon[0][0]
    assert float(potential.epsilon.grad) == pytest.approx(slope(lambda h: loss(start + h), 1e-4), rel=1e-7)


def test_create_graph_keeps_positions_of_the_caller_attached(make_cluster: Any) -> None:
    graph = make_cluster((18,), 4).graph(8.5)
    positions = graph.positions.requires_grad_()
    result = evaluate(LennardJones(ARGON), graph.with_positions(positions), ("forces",), create_graph=True)
    assert result.forces is not None
    assert torch.autograd.grad(result.forces.square().sum(), positions)[0].abs().max() > 0


def test_direct_outputs_come_along_detached(make_cluster: Any) -> None:
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def energies(graph: AtomGraph) -> dict[str, Tensor]:
        return {"energies": LennardJones(ARGON)(graph)["energies"], "dipole": (graph.positions * weight).sum(0)}

    result = evaluate(energies, make_cluster((18,), 4).graph(8.5), ("forces",))
    assert set(result.outputs) == {"dipole"}
    assert not result.outputs["dipole"].requires_grad


def test_faults_end_in_typed_errors(make_cluster: Any) -> None:
    structure = make_cluster((18,), 4)
    graph = structure.graph(8.5)
    potential = LennardJones(ARGON)
    with pytest.raises(PropertyNotAvailableError, match="polarizability: evaluate gives energy"):
        evaluate(potential, graph, ("polarizability",))
    with pytest.raises(InputError, match=r"connected up to 5 Å, but LennardJones needs edges up to 8.5 Å"):
        evaluate(potential, structure.graph(5.0), ("forces",))
    with pytest.raises(InputError, match="has no edges yet"):
        evaluate(potential, AtomGraph.from_arrays([[0, 0, 0]], [18]), ("forces",))
    with pytest.raises(InputError, match="zero strain"):
        evaluate(potential, graph.with_positions(graph.positions, torch.zeros(1, 3, 3)), ("forces",))
    with pytest.raises(UnsupportedElementError, match=r"atoms\[0\] is Ar \(Z=18\); the model knows Cu"):
        evaluate(Morse(COPPER), structure.graph(10.0), ("forces",))
    with pytest.raises(CalculationError, match=r"shape \(4,\); the model gave torch.float64 \(1,\)"):
        evaluate(lambda g: potential(g)["energies"].sum().reshape(1), graph, ("forces",))
    with pytest.raises(CalculationError, match="do not depend on the positions"):
        evaluate(lambda g: potential(g)["energies"].detach(), graph, ("forces",))
    with pytest.raises(CalculationError, match=r"energies of atoms\[0\] = nan"):
        evaluate(lambda g: potential(g)["energies"] * float("nan"), graph, ("forces",))
