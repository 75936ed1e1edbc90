"""Structures that occur twice, within a set or in two sets (a test set that was trained on measures nothing).

Two structures are the same if they have the same cell and their atoms, in the same order, lie within a tolerance of
each other up to a common translation and lattice vectors; molecules also if they are rotated, mirrored or permuted
copies. Rotated or permuted crystals are not recognised. Candidates are found from numbers that change no faster than
the atoms move, so that none is missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from atomsym.core import LabelledStructure

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-3
"""Å; far below what atoms move between stored frames, far above rounding in files."""


def find_duplicates(dataset: Sequence[LabelledStructure], *, tolerance: float = TOLERANCE) -> list[tuple[int, int]]:
    """Pairs i < j of structures of one set that are the same; of several copies each is paired with the first.

    Args:
        dataset: the structures.
        tolerance: largest displacement of an atom, Å.
    """
    exact: dict[bytes, int] = {}
    first: dict[int, int] = {}
    for index, structure in enumerate(dataset):  # exact copies need no search, however many there are
        earlier = exact.setdefault(_digest(structure), index)
        if earlier != index:
            first[index] = earlier
    rest = sorted(exact.values())
    unique = [dataset[index] for index in rest]
    for i, j in sorted(_matches(unique, unique, tolerance, same=True)):
        first.setdefault(rest[j], first.get(rest[i], rest[i]))
    return sorted((first.get(i, i), j) for j, i in first.items())


def overlap(
    train: Sequence[LabelledStructure], test: Sequence[LabelledStructure], *, tolerance: float = TOLERANCE
) -> list[tuple[int, int]]:
    """Pairs (index in train, index in test) of structures that are the same: leakage.

    Args:
        train: one set.
        test: another.
        tolerance: largest displacement of an atom, Å.
    """
    return sorted(_matches(train, test, tolerance, same=False))


def _matches(
    left: Sequence[LabelledStructure], right: Sequence[LabelledStructure], tolerance: float, same: bool
) -> Iterator[tuple[int, int]]:
    left_classes, right_classes = _classes(left), _classes(right)
    for kind, left_indices in left_classes.items():
        right_indices = right_classes.get(kind)
        if right_indices is None:
            continue
        a = np.array([_invariants(left[i]) for i in left_indices])
        b = a if same else np.array([_invariants(right[j]) for j in right_indices])
        for i, j in _near(a, b, 2 * tolerance):
            first, second = left_indices[i], right_indices[j]
            if (not same or first < second) and _is_same(left[first], right[second], tolerance):
                yield first, second


def _digest(structure: LabelledStructure) -> bytes:
    parts = (structure.numbers, structure.positions, structure.cell, structure.pbc)
    return hashlib.sha256(b"|".join(part.tobytes() for part in parts)).digest()


def _classes(dataset: Sequence[LabelledStructure]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for index, structure in enumerate(dataset):
        key = structure.pbc.tobytes() + np.sort(structure.numbers).astype(np.uint8).tobytes()
        found.setdefault(key, []).append(index)
    return found


def _near(a: FloatArray, b: FloatArray, width: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows that differ by no more than ``width`` in every column; a sweep along the most telling column."""
    axis = int(np.argmax(b.std(axis=0)))
    order = np.argsort(b[:, axis], kind="stable")
    sorted_b = b[order]
    low = np.searchsorted(sorted_b[:, axis], a[:, axis] - width, side="left")
    high = np.searchsorted(sorted_b[:, axis], a[:, axis] + width, side="right")
    for i in range(len(a)):
        close = (np.abs(sorted_b[low[i] : high[i]] - a[i]) <= width).all(axis=1)
        for j in order[low[i] : high[i]][close]:
            yield i, int(j)


def _invariants(structure: LabelledStructure) -> FloatArray:
    """Numbers that change by at most d when every atom moves by at most d, whatever the order of the atoms.

    Without periodicity the singular values of the centred positions over √n, plain and weighted by atomic number;
    with it those of the lattice vectors, and amplitudes of structure factors over their largest slope.
    """
    if not structure.pbc.any():
        weights = structure.numbers / structure.numbers.max()
        return np.concatenate(
            [_extents(structure.positions, np.ones(len(weights))), _extents(structure.positions, weights)]
        )
    lattice = np.where(structure.pbc[:, None], structure.cell, 0.0)
    reciprocal = np.linalg.pinv(lattice)
    slopes = 2 * np.pi * np.linalg.norm(reciprocal, axis=0) + 1e-12
    waves = np.exp(2j * np.pi * (structure.positions @ reciprocal))
    weights = structure.numbers / structure.numbers.sum()
    return np.concatenate([np.linalg.svd(lattice, compute_uv=False), np.abs(weights @ waves) / slopes])


def _extents(positions: FloatArray, weights: FloatArray) -> FloatArray:
    centred = positions - weights @ positions / weights.sum()
    values = np.linalg.svd(centred * np.sqrt(weights / weights.sum())[:, None], compute_uv=False)
    return np.pad(values, (0, 3 - len(values)))


def _is_same(a: LabelledStructure, b: LabelledStructure, tolerance: float) -> bool:
    if np.array_equal(a.numbers, b.numbers):
        lattice = np.where(a.pbc[:, None], a.cell, 0.0)
        if np.abs(lattice - np.where(b.pbc[:, None], b.cell, 0.0)).max() <= tolerance:
            moved = b.positions - a.positions
            moved = moved - moved[0]
            moved = moved - np.rint(moved @ np.linalg.pinv(lattice)) @ lattice
            if np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() <= tolerance:
                return True
    if a.pbc.any() or len(a.numbers) > 500:
        return False
    return all(
        np.abs(x - y).max(initial=0.0) <= 2 * tolerance for x, y in zip(_distances(a), _distances(b), strict=True)
    )


def _distances(structure: LabelledStructure) -> list[FloatArray]:
    """Sorted distances between all pairs of elements."""
    separations = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=2)
    kinds = np.unique(structure.numbers)
    return [
        np.sort(separations[np.ix_(structure.numbers == first, structure.numbers == second)], axis=None)
        for first in kinds
        for second in kinds[kinds >= first]
    ]
