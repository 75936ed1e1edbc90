"""Test structures derived from one perfect crystal or molecule, so that every calculator gets a full set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atomsym.core import InputError
from atomsym.testing.settings import Samples
from atomsym.testing.structure import Array, Structure

RATTLE = 0.04  # × nearest distance, standard deviation
SHEAR = np.array([[1.03, 0.08, -0.05], [0.02, 0.96, 0.07], [0.04, -0.03, 1.02]])
CLUSTER_ATOMS = 10
BULK_ATOMS = 16
DYNAMICS_ATOMS = 100
DENSE_ATOMS = 120


def nearest_distance(structure: Structure) -> float:
    """Shortest distance between two atoms or images, Å."""
    shifts = [np.zeros(3)]
    if structure.pbc.any():
        steps = [(-1, 0, 1) if periodic else (0,) for periodic in structure.pbc]
        shifts = [np.array([i, j, k]) @ structure.cell for i in steps[0] for j in steps[1] for k in steps[2]]
    apart = structure.positions[None, :, None] - structure.positions[:, None, None] + np.array(shifts)
    distances = np.linalg.norm(apart, axis=-1)
    real = distances[distances > 1e-6]
    if real.size == 0:
        raise InputError("the structure has a single atom and no periodic image; it has no distance")
    return float(real.min())


def rattled(structure: Structure, amplitude: float, rng: np.random.Generator) -> Structure:
    """Every coordinate moved by a normal random number of this standard deviation, at most twice that."""
    noise = np.clip(rng.normal(size=structure.positions.shape), -2.0, 2.0)
    return structure.moved(structure.positions + amplitude * noise)


def enlarged(crystal: Structure, atoms: int) -> Structure:
    """The supercell with at least ``atoms`` atoms whose shape is nearest to a cube."""
    counts = [1, 1, 1]
    while crystal.n_atoms * int(np.prod(counts)) < atoms:
        lengths = np.where(crystal.pbc, counts * np.linalg.norm(crystal.cell, axis=1), np.inf)
        counts[int(np.argmin(lengths))] += 1
    return crystal.repeated((counts[0], counts[1], counts[2]))


def sphere(crystal: Structure, atoms: int, rng: np.random.Generator | None = None) -> Structure:
    """About ``atoms`` atoms of a crystal around one of them, the central one first, without a cell."""
    block = enlarged(crystal, 8 * atoms)
    middle = block.positions.mean(axis=0)
    first = int(np.argmin(np.linalg.norm(block.positions - middle, axis=1)))
    order = np.argsort(np.linalg.norm(block.positions - block.positions[first], axis=1), kind="stable")[:atoms]
    positions = block.positions[order] - block.positions[first]
    return Structure.of(positions, block.numbers[order])


def skewed(structure: Structure) -> Structure:
    """A triclinic deformation with one lattice vector reversed: the same kind of crystal in a left-handed cell."""
    deformed = structure.transformed(SHEAR)
    cell = deformed.cell.copy()
    cell[2] *= -1.0
    if np.linalg.det(cell) > 0:
        cell[0] *= -1.0
    return Structure(deformed.positions, deformed.numbers, cell, deformed.pbc)


def symmetric_shapes(centre: int, ligand: int, distance: float) -> tuple[tuple[str, Structure], ...]:
    """Shapes whose principal axes are degenerate, the linear one first; oblique to the axes."""
    axes = np.array([[0.36, 0.48, 0.8], [0.8, -0.6, 0.0], [0.48, 0.64, -0.6]])
    corners: dict[str, Array] = {
        "linear": np.array([[1.0, 0, 0], [-1.0, 0, 0]]),
        "square planar": np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]]),
        "tetrahedral": np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0),
        "octahedral": np.concatenate([np.eye(3), -np.eye(3)]),
    }
    shapes = []
    for name, directions in corners.items():
        positions = np.concatenate([np.zeros((1, 3)), distance * directions]) @ axes
        shapes.append((name, Structure.of(positions, [centre] + [ligand] * len(directions))))
    return tuple(shapes)


def samples_from_crystal(
    crystal: Structure, bonds: Sequence[tuple[int, int, float]], rng: np.random.Generator
) -> Samples:
    """The full set from a perfect crystal.

    Args:
        crystal: periodic in three directions, near equilibrium.
        bonds: element pairs with their usual distance, Å.
        rng: for rattling.
    """
    near = nearest_distance(crystal)
    small = enlarged(crystal, BULK_ATOMS)
    numbers = sorted(set(crystal.numbers.tolist()))
    dense = sphere(crystal, DENSE_ATOMS)
    return Samples(
        cluster=rattled(sphere(crystal, CLUSTER_ATOMS), RATTLE * near, rng),
        bulk=rattled(small, RATTLE * near, rng),
        skewed=rattled(skewed(small), RATTLE * near, rng),
        crystal=crystal if crystal.n_atoms > 1 else crystal.repeated((2, 1, 1)),
        dynamics=enlarged(crystal, DYNAMICS_ATOMS),
        dense=rattled(dense, RATTLE * near, rng),
        shapes=symmetric_shapes(numbers[-1], numbers[0], near),
        pairs=tuple(bonds),
    )


def samples_from_molecules(
    molecules: Structure, bonds: Sequence[tuple[int, int, float]], rng: np.random.Generator
) -> Samples:
    """The finite part of the set, for calculators of molecules without periodic boundaries."""
    near = nearest_distance(molecules)
    numbers = sorted(set(molecules.numbers.tolist()))
    return Samples(
        cluster=rattled(molecules, RATTLE * near, rng),
        dynamics=molecules,
        shapes=symmetric_shapes(numbers[-1], numbers[0], near),
        pairs=tuple(bonds),
    )
