"""Radial distribution functions of all pairs of elements, computed by MDTraj."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from atomsym.core import InputError, MissingDependencyError
from atomsym.core.elements import SYMBOLS
from atomsym.workflows.md.analysis import Curve

SHORTEST_RANGE = 5.0  # Å; smaller cells are repeated to reach it
MOST_PAIRS = 1_000_000  # of these many a random choice is taken
MOST_DISTANCES = 10_000_000  # at a time
NM = 0.1  # of one Å


def radial_distributions(
    frames: Sequence[Atoms], *, max_distance: float | None = None, bin_width: float = 0.05
) -> dict[str, Curve]:
    """g(r) of each pair of elements, averaged over frames whose cells may differ.

    g(r) = ⟨pairs in the shell⟩ / (number of pairs · 4π r² dr · ⟨1/V⟩).

    Args:
        frames: of one system, periodic in three directions.
        max_distance: largest r, Å, at most half the smallest height of a cell, which is the default. Cells whose half
            height is below 5 Å are repeated first.
        bin_width: Å.

    Returns:
        For each pair, named as "O-O", "O-H", "H-H" (heavier first): r (bin centres, Å) and g (dimensionless).

    Raises:
        MissingDependencyError: if MDTraj is not installed.
        InputError: if there is no frame, a frame is not periodic in three directions, or ``max_distance`` is too large.

    Source: R. T. McGibbon et al., Biophys. J. 109, 1528 (2015), ``mdtraj.compute_rdf``.
    """
    mdtraj = _mdtraj()
    if not frames or not all(frame.pbc.all() for frame in frames):
        raise InputError("a radial distribution function needs at least one frame, periodic in three directions")
    shortest = np.min([_heights(frame.cell) for frame in frames], axis=0)
    repeats = np.ceil(np.maximum(2 * SHORTEST_RANGE / shortest, 1) - 1e-9).astype(int)
    reachable = 0.5 * float((repeats * shortest).min()) * (1 - 1e-6)
    reach = reachable if max_distance is None else max_distance
    if reach > reachable:
        raise InputError(f"g(r) reaches to half the cell, {reachable:.2f} Å; found max_distance {reach} Å")
    n_bins = max(int(reach / bin_width), 1)
    numbers = (frames[0] * tuple(repeats)).numbers
    found = {}
    for first, second in _element_pairs(numbers):
        pairs = _pairs(numbers, first, second)
        if len(pairs):
            found[f"{SYMBOLS[first]}-{SYMBOLS[second]}"] = _average(
                mdtraj, frames, repeats, pairs, n_bins, n_bins * bin_width
            )
    return found


def _average(
    mdtraj: Any, frames: Sequence[Atoms], repeats: NDArray[np.int64], pairs: NDArray[np.int64], n_bins: int, end: float
) -> Curve:
    """Average over groups of frames; each counts by its ⟨1/V⟩, as within a group."""
    total, weights = np.zeros(n_bins), 0.0
    r = np.zeros(n_bins)
    size = max(MOST_DISTANCES // len(pairs), 1)
    for start in range(0, len(frames), size):
        trajectory = _as_trajectory(mdtraj, frames[start : start + size], repeats)
        r, g = mdtraj.compute_rdf(trajectory, pairs, r_range=(0.0, NM * end), n_bins=n_bins)
        weight = float((1 / trajectory.unitcell_volumes).sum())
        total += weight * g
        weights += weight
    return Curve(r / NM, total / weights)


def _as_trajectory(mdtraj: Any, frames: Sequence[Atoms], repeats: NDArray[np.int64]) -> Any:
    """Wrapped positions and cells, turned so that the first lattice vector is along x: MDTraj keeps no other."""
    positions, lengths, angles = [], [], []
    for frame in frames:
        repeated = frame * tuple(repeats)
        reduced = _reduced(repeated.cell)
        fractions = np.linalg.solve(reduced.T, repeated.positions.T).T
        standard = Cell(reduced).standard_form()[0]
        positions.append((fractions - np.floor(fractions)) @ standard.array)
        lengths.append(standard.lengths())
        angles.append(standard.angles())
    return mdtraj.Trajectory(
        NM * np.array(positions), topology=None, unitcell_lengths=NM * np.array(lengths), unitcell_angles=angles
    )


def _reduced(cell: Cell) -> NDArray[np.float64]:
    """The shortest lattice vectors of the same lattice: nearest images are searched among the neighboring cells."""
    array = np.asarray(cell.array)
    products = array @ array.T
    if np.allclose(products, np.diag(np.diag(products)), rtol=0, atol=1e-9 * products.max()):
        return array
    return np.asarray(minkowski_reduce(array)[0])


def _heights(cell: Cell) -> NDArray[np.float64]:
    """Distances of opposite faces, Å."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(_reduced(cell)), axis=0))


def _element_pairs(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    return combinations_with_replacement(sorted(set(numbers.tolist()), reverse=True), 2)


def _pairs(numbers: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
    """All pairs of atoms of two elements, or a random choice of many; shape (n_pairs, 2)."""
    of_first, of_second = np.flatnonzero(numbers == first), np.flatnonzero(numbers == second)
    possible = len(of_first) * len(of_second)
    if possible > 2 * MOST_PAIRS:
        generator = np.random.default_rng(0)
        chosen = np.stack([generator.choice(of_first, MOST_PAIRS), generator.choice(of_second, MOST_PAIRS)], axis=1)
        return np.asarray(chosen[chosen[:, 0] != chosen[:, 1]])
    i, j = (grid.ravel() for grid in np.meshgrid(of_first, of_second, indexing="ij"))
    keep = i < j if first == second else np.ones(len(i), dtype=bool)
    return np.stack([i[keep], j[keep]], axis=1)


def _mdtraj() -> Any:
    try:
        import mdtraj
    except ImportError as error:
        raise MissingDependencyError.for_package("mdtraj", "md", "a radial distribution function") from error
    return mdtraj
