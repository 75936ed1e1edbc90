"""Derivatives through the frames, batches, crystals and direct forces of symmetrized potentials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from unconstrained import CUTOFF, crystal, molecule, moved, periodic, slab, symmetrized

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.symmetry.frames import Frames, random_elements
from atomsym.testing import tolerances

SMOOTH: list[dict[str, Any]] = [
    {"method": "full"},
    {"method": "weighted", "group": "SE3"},
    {"method": "weighted", "threshold": 0.0},
    {"method": "canonicalization", "projection": "polar"},
    {"method": "canonicalization", "projection": "gram-schmidt", "group": "SE3"},
    {"method": "full", "group": "SE2"},
    {"method": "weighted", "group": "E2"},
    {"method": "quadrature", "degree": 2},
]
STRUCTURES = [molecule, crystal, slab]


def identify(value: Any) -> str:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else value.__name__


def total(potential: Potential, graph: AtomGraph) -> Tensor:
    return evaluate(potential, graph, ("energy",)).energy


def force_error(potential: Potential, graph: AtomGraph, seed: int = 0) -> float:
    """Largest difference between -dE/dx and central differences along some directions, eV/Å."""
    forces = evaluate(potential, graph, ("forces",)).forces
    assert forces is not None
    worst, step = 0.0, 2e-5
    for k in range(3):
        generator = torch.Generator().manual_seed(10 * seed + k)
        along = torch.randn(graph.positions.shape, generator=generator, dtype=torch.float64)
        energies = [
            float(total(potential, graph.with_positions(graph.positions + n * step * along)).sum())
            for n in (-2, -1, 1, 2)
        ]
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        worst = max(worst, abs(slope + float((forces * along).sum())) / (1 + float(forces.abs().max())))
    return worst


@pytest.mark.parametrize("structure", STRUCTURES, ids=identify)
@pytest.mark.parametrize("settings", SMOOTH, ids=identify)
def test_f7_forces_are_those_of_the_averaged_energy(settings: dict[str, Any], structure: Any) -> None:
    assert force_error(symmetrized(**settings), structure()) < tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_f7_frames_held_fixed_would_give_other_forces() -> None:
    """The planted bug: without the derivative of the frames the forces are wrong."""
    for method in ("full", "weighted", "canonicalization"):
        potential = symmetrized(method)
        frames = potential.symmetrizer.frames

        def fixed(graph: AtomGraph, frames: Any = frames) -> Frames:
            found = frames(graph)
            return Frames(found.rotations.detach(), found.weights.detach(), found.system)

        potential.symmetrizer.frames = fixed  # type: ignore[method-assign]
        assert force_error(potential, molecule()) > 1e-3


@pytest.mark.parametrize("settings", SMOOTH[:5], ids=identify)
def test_f2_forces_turn_with_the_molecule_and_exert_no_torque(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings), molecule()
    forces = evaluate(potential, graph, ("forces",)).forces
    assert forces is not None
    (operation,) = random_elements(1, settings.get("group", "E3"), generator=torch.Generator().manual_seed(5))
    turned = evaluate(potential, moved(graph, operation), ("forces",)).forces
    assert turned is not None
    assert float((turned - forces @ operation.T).abs().max()) < tolerances.ROTATION_FORCES.float64
    assert float(torch.linalg.cross(graph.positions, forces).sum(0).abs().max()) < tolerances.ROTATION_FORCES.float64
    assert float(forces.sum(0).abs().max()) < tolerances.ROTATION_FORCES.float64


@pytest.mark.parametrize("settings", SMOOTH[:5], ids=identify)
def test_f8_stress_is_the_derivative_by_strain(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings), crystal()
    stress = evaluate(potential, graph, ("stress",)).stress
    assert stress is not None
    step = 2e-5
    for a, b in ((0, 0), (0, 1), (1, 2), (2, 2)):
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[a, b] += 0.5 * step
        strain[b, a] += 0.5 * step
        energies = []
        for n in (-2, -1, 1, 2):
            deformation = torch.eye(3, dtype=torch.float64) + n * strain
            deformed = replace(graph, positions=graph.positions @ deformation, cell=graph.cell @ deformation)
            energies.append(float(total(potential, deformed).sum()))
        difference = energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]
        slope = difference / (12 * step) / float(graph.volume)
        assert abs(slope - float(stress[0, a, b])) < tolerances.STRESS.float64


@pytest.mark.parametrize("settings", [SMOOTH[0], SMOOTH[1], SMOOTH[3]], ids=identify)
def test_f10_hessians(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings), molecule(5)
    matrix = hessian(potential, graph)
    assert float((matrix - matrix.T).abs().max()) < tolerances.HESSIAN_SYMMETRY.float64 * float(matrix.abs().max())
    step = 1e-4
    for column in (0, 7):
        along = torch.zeros(15, dtype=torch.float64)
        along[column] = step
        forces = []
        for n in (-2, -1, 1, 2):
            found = evaluate(potential, graph.with_positions(graph.positions + n * along.reshape(5, 3)), ("forces",))
            assert found.forces is not None
            forces.append(found.forces.flatten())
        expected = -(forces[0] - 8 * forces[1] + 8 * forces[2] - forces[3]) / (12 * step)
        error = float((matrix[column] - expected).abs().max() / matrix.abs().max())
        assert error < tolerances.HESSIAN_FINITE_DIFFERENCE.float64


@pytest.mark.parametrize("settings", SMOOTH, ids=identify)
def test_f6_a_batch_gives_what_its_systems_give_alone(settings: dict[str, Any]) -> None:
    potential = symmetrized(**settings)
    atom = connect(AtomGraph.from_arrays([[5.0, 0, 0]], [8]), CUTOFF)
    linear = connect(AtomGraph.from_arrays([[0, 0, 0], [1.1, 0.2, 0], [-1.1, -0.2, 0]], [8, 1, 6]), CUTOFF)
    graphs = [molecule(), crystal(), atom, slab(), linear, molecule(8, seed=2)]
    together = evaluate(potential, AtomGraph.batch(graphs), ("energy", "forces"))
    alone = [evaluate(potential, graph, ("energy", "forces")) for graph in graphs]
    expected = torch.cat([found.energy for found in alone])
    assert float((together.energy - expected).abs().max()) < tolerances.BATCHING.float64
    forces = torch.cat([found.forces for found in alone if found.forces is not None])
    assert together.forces is not None
    assert float((together.forces - forces).abs().max()) < tolerances.ROTATION_FORCES.float64


@pytest.mark.parametrize("settings", SMOOTH, ids=identify)
def test_f3_f4_crystals_know_neither_order_nor_images_nor_origin(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings), crystal()
    cell, expected = graph.cell[0], float(total(potential, graph))
    shifts = torch.tensor([[1.0, 0, -2], [0, 3, 0], [0, 0, 0]], dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    basis = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, -1, 1]], dtype=torch.float64) @ cell
    others = [
        periodic(graph.positions + shifts @ cell, graph.numbers, cell),
        periodic(graph.positions + 0.77, graph.numbers, cell),
        periodic(graph.positions[order], graph.numbers[order], cell),
        periodic(graph.positions, graph.numbers, basis),
    ]
    for other in others:
        assert abs(float(total(potential, other)) - expected) < tolerances.IMAGE_SHIFT.float64


@pytest.mark.parametrize("settings", SMOOTH, ids=identify)
def test_f5_energies_of_supercells_are_multiples(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings), crystal()
    cell = graph.cell[0]
    positions = torch.cat([graph.positions, graph.positions + cell[1]])
    doubled = periodic(positions, graph.numbers.repeat(2), cell * torch.tensor([[1.0], [2.0], [1.0]]))
    difference = float(total(potential, doubled) - 2 * total(potential, graph))
    assert abs(difference) < tolerances.EXTENSIVITY.float64 * doubled.n_atoms


def test_f5_only_fixed_rotations_let_the_energies_of_far_molecules_add_up() -> None:
    """Frames of whole systems see both molecules: the price of few frames, and said in the documents."""
    one, other = molecule(5), molecule(6, seed=1)
    apart = AtomGraph.without_edges(
        torch.cat([one.positions, other.positions + 40.0]), torch.cat([one.numbers, other.numbers])
    )
    both = connect(apart, CUTOFF)
    for settings in ({"method": "quadrature", "degree": 2}, {"method": "group", "name": "O"}):
        potential = symmetrized(**settings)
        difference = float(total(potential, both) - total(potential, one) - total(potential, other))
        assert abs(difference) < tolerances.EXTENSIVITY.float64 * both.n_atoms
    potential = symmetrized("weighted")
    assert abs(float(total(potential, both) - total(potential, one) - total(potential, other))) > 1e-3


@pytest.mark.parametrize("settings", [*SMOOTH[:5], {"method": "weighted", "samples": 6}], ids=identify)
def test_direct_forces_turn_with_the_system(settings: dict[str, Any]) -> None:
    potential, graph = symmetrized(**settings, direct_forces=True), molecule()
    assert potential.direct_outputs == ("forces",)
    assert symmetrized(**settings).direct_outputs == ()
    found = evaluate(potential, graph, ("energy",)).outputs["forces"]
    assert float(found.abs().max()) > 0.1
    group = settings.get("group", "E3")
    for operation in random_elements(3, group, generator=torch.Generator().manual_seed(7)):
        turned = evaluate(potential, moved(graph, operation), ("energy",)).outputs["forces"]
        error = float((turned - found @ operation.T).abs().max() / found.abs().max())
        assert error < tolerances.EQUIVARIANCE.float64


@pytest.mark.parametrize("settings", [*SMOOTH[:4], *SMOOTH[5:]], ids=identify)
def test_single_precision_is_close_to_double(settings: dict[str, Any]) -> None:
    """But for Gram–Schmidt of untrained vectors, which are nearly parallel in the crystal."""
    single, double = symmetrized(**settings, dtype=torch.float32), symmetrized(**settings)
    for structure in STRUCTURES:
        graph = structure()
        expected = evaluate(double, graph, ("energy", "forces"))
        found = evaluate(single, graph.to(dtype=torch.float32), ("energy", "forces"))
        assert found.forces is not None
        assert expected.forces is not None
        assert found.forces.dtype == torch.float32
        bound = 10 * tolerances.ROTATION_ENERGY.float32 * graph.n_atoms
        assert abs(float(found.energy - expected.energy)) < bound
        assert float((found.forces.double() - expected.forces).abs().max()) < 10 * tolerances.ROTATION_FORCES.float32


def test_a_graph_with_a_longer_list_gives_the_same() -> None:
    for structure in STRUCTURES:
        graph = structure()
        longer = connect(AtomGraph.without_edges(graph.positions, graph.numbers, graph.cell[0], graph.pbc[0]), 6.0)
        for settings in SMOOTH:
            potential = symmetrized(**settings)
            assert abs(float(total(potential, longer) - total(potential, graph))) < tolerances.IMAGE_SHIFT.float64
