"""Moves of a molecule's atoms away from its minimum, and the rules by which geometries are refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units
from numpy.typing import NDArray

from atomsym.core.elements import COVALENT_RADII

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
Bond = tuple[int, int]

_RADII = np.array(COVALENT_RADII)
_RAD_PER_TIME = 2 * np.pi * units._c * 100 / units.s  # 1 cm⁻¹ as an angular frequency in ASE's unit of time
_HBAR = units._hbar * units.J * units.s
_LINEAR = 0.01  # a molecule this close to a line, relatively, has no rotation about it
_SOFTEST = 200.0
"""cm⁻¹; softer modes (hindered rotations) are displaced as if they had this one: a straight line is no rotation."""


def distances(positions: FloatArray) -> FloatArray:
    """All distances, shape (n, n), Å."""
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def radius_sums(numbers: NDArray[np.int64]) -> FloatArray:
    """Sums of covalent radii, shape (n, n), Å."""
    radii = _RADII[numbers]
    return radii[:, None] + radii[None]


def closest_contact(numbers: NDArray[np.int64], positions: FloatArray) -> float:
    """Smallest distance in parts of the sum of covalent radii; infinite for a single atom."""
    ratio = distances(positions) / radius_sums(numbers)
    np.fill_diagonal(ratio, np.inf)
    return float(ratio.min())


def keeps_bonds(numbers: NDArray[np.int64], positions: FloatArray, bonds: Sequence[Bond]) -> bool:
    """Whether a geometry still is the molecule: no bond is broken (1.3 of the radii) and none is new (1.15)."""
    ratio = distances(positions) / radius_sums(numbers)
    bonded = np.eye(len(numbers), dtype=bool)
    for i, j in bonds:
        bonded[i, j] = bonded[j, i] = True
    return bool((ratio[bonded] < 1.3).all() and (ratio[~bonded] > 1.15).all())


def side_of(n_atoms: int, bonds: Sequence[Bond], bond: Bond) -> Mask | None:
    """Atoms on the side of ``bond[1]`` if the bond is cut, shape (n_atoms,); None for a bond of a ring."""
    neighbors: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds:
        if {i, j} != set(bond):
            neighbors[i].append(j)
            neighbors[j].append(i)
    side = np.zeros(n_atoms, dtype=bool)
    waiting = [bond[1]]
    while waiting:
        atom = waiting.pop()
        if not side[atom]:
            side[atom] = True
            waiting += neighbors[atom]
    return None if side[bond[0]] else side


def stretched(positions: FloatArray, bond: Bond, side: Mask, factor: float) -> FloatArray:
    """The bond made longer by a factor; the atoms of its side move along."""
    moved = positions.copy()
    moved[side] += (factor - 1.0) * (positions[bond[1]] - positions[bond[0]])
    return moved


def bent(positions: FloatArray, bond: Bond, side: Mask, angle: float, generator: np.random.Generator) -> FloatArray:
    """A side turned about ``bond[0]`` by an angle (radians), around a random axis at right angles to the bond."""
    along = positions[bond[1]] - positions[bond[0]]
    axis = np.cross(along, generator.standard_normal(3))
    moved = positions.copy()
    moved[side] = (positions[side] - positions[bond[0]]) @ rotation(axis, angle).T + positions[bond[0]]
    return moved


def transferred(positions: FloatArray, hydrogen: int, acceptor: int, length: float, fraction: float) -> FloatArray:
    """A hydrogen on the straight way from where it is (0) to the length of a bond from the acceptor (1)."""
    moved = positions.copy()
    way = positions[hydrogen] - positions[acceptor]
    goal = positions[acceptor] + way * (length / np.linalg.norm(way))
    moved[hydrogen] = (1.0 - fraction) * positions[hydrogen] + fraction * goal
    return moved


def rotation(axis: FloatArray, angle: float) -> FloatArray:
    """Rotation matrix about an axis, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def random_rotation(generator: np.random.Generator) -> FloatArray:
    """A rotation matrix, uniform over all rotations (from a random unit quaternion)."""
    w, x, y, z = (q := generator.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def beside(
    numbers: tuple[NDArray[np.int64], NDArray[np.int64]],
    positions: tuple[FloatArray, FloatArray],
    contact: float,
    generator: np.random.Generator,
) -> FloatArray:
    """Two molecules as a dimer: random orientations and direction, moved together until they touch.

    Args:
        numbers, positions: of the two, positions about anything.
        contact: closest distance between them in parts of the sum of covalent radii.

    Returns:
        Positions of the first, then of the second, shape (n_1 + n_2, 3), Å.
    """
    first, second = ((part - part.mean(axis=0)) @ random_rotation(generator).T for part in positions)
    direction = generator.standard_normal(3)
    direction /= np.linalg.norm(direction)
    limits = contact * (_RADII[numbers[0]][:, None] + _RADII[numbers[1]][None])
    # along the direction, each pair of atoms comes to its limit at one distance: the largest of these is taken
    apart = first[:, None] - second[None]
    along = apart @ direction
    across = (apart**2).sum(axis=-1) - along**2
    touch = np.where(limits**2 > across, along + np.sqrt(np.maximum(limits**2 - across, 0.0)), -np.inf)
    return np.vstack([first, second + max(float(touch.max()), 0.0) * direction])


def normal_modes(
    numbers: NDArray[np.int64], masses: FloatArray, positions: FloatArray, hessian: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vibrations of a free molecule.

    Returns:
        Wave numbers, shape (n_modes,), cm⁻¹, imaginary ones by their size, none below 200; and displacements per unit
        of the mass-weighted coordinate, shape (n_modes, n_atoms, 3), amu^-1/2.
    """
    roots = np.sqrt(np.repeat(masses, 3))
    centred = positions - (masses[:, None] * positions).sum(axis=0) / masses.sum()
    rigid = [np.tile(axis, len(numbers)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).reshape(-1) for axis in np.eye(3)]
    left, values, _ = np.linalg.svd((np.array(rigid) * roots).T)
    inner = left[:, int((values > _LINEAR * values.max()).sum()) :]
    curvatures, modes = np.linalg.eigh(inner.T @ (hessian / np.outer(roots, roots)) @ inner)
    wave_numbers = np.sqrt(np.abs(curvatures)) / _RAD_PER_TIME
    shapes = (inner @ modes / roots[:, None]).T.reshape(-1, len(numbers), 3)
    return np.maximum(wave_numbers, _SOFTEST), shapes


def displaced(
    positions: FloatArray,
    modes: tuple[FloatArray, FloatArray],
    temperature: float,
    generator: np.random.Generator,
) -> FloatArray:
    """A draw from the quantum harmonic oscillators at a temperature (K), zero-point motion included.

    σ² = ħ/2ω · coth(ħω/2kT) for each mass-weighted normal coordinate.
    """
    frequencies = modes[0] * _RAD_PER_TIME
    width = np.sqrt(_HBAR / (2 * frequencies) / np.tanh(_HBAR * frequencies / (2 * units.kB * temperature)))
    amplitudes = width * generator.standard_normal(len(frequencies))
    return positions + np.einsum("m,mnx->nx", amplitudes, modes[1])
