"""Shortest interatomic distances of crystals, periodic images included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from atomsym.core.elements import COVALENT_RADII
from atomsym.kernels.neighbors import neighbor_list
from atomsym.metrics.atomic_radii import ATOMIC_RADII
from atomsym.metrics.crystals import Crystal, volume_of

REACH = 3.5
"""Å; farther than the rules of ``validity`` look, which is 3.4 Å."""

LEAST_VOLUME = 0.1
"""Å³; cells with less hold no crystal, and their distances are not looked for."""

MOST_ATOMS_PER_VOLUME = 100.0
"""Å⁻³; denser cells are taken as collapsed."""

LEAST_VECTOR = 0.3
"""Å; a lattice vector below it brings images so close that nothing else needs to be known."""

_EDGES = 1_000_000
_MARGIN = 0.7  # Å, of the rule of LeMat-GenBench


@dataclass(frozen=True)
class ShortestDistances:
    """Of each crystal.

    Attributes:
        shortest: between any two atoms, Å; infinite beyond ``REACH``, 0 for cells that hold no crystal; shape (n,).
        relative: smallest ratio of a distance to the sum of the two covalent radii, of pairs within ``REACH``; same.
        clearance: smallest ratio of a distance to 0.7 Å and the sum of the two atomic radii, likewise; 0 if a pair
            within ``REACH`` has an element without such a radius.
    """

    shortest: NDArray[np.float64]
    relative: NDArray[np.float64]
    clearance: NDArray[np.float64]


def shortest_distances(crystals: Sequence[Crystal]) -> ShortestDistances:
    """Find the shortest distances of many crystals, batch by batch.

    Args:
        crystals: any cells; those that ``has_volume`` refuses get zeros. Where a lattice vector of the reduced cell is
            shorter than ``LEAST_VECTOR``, its length stands for the shortest distance.

    Raises:
        OutOfMemoryError: see ``neighbor_list``.
    """
    shortest, relative, clearance = np.zeros((3, len(crystals)))
    cells: dict[int, NDArray[np.float64]] = {}
    for index, crystal in enumerate(crystals):
        if has_volume(crystal):
            cell = reduced_cell(crystal.cell)
            vector = float(np.linalg.norm(cell, axis=1).min())
            if vector < LEAST_VECTOR:
                numbers = np.asarray(crystal.numbers).tolist()
                shortest[index] = vector
                relative[index] = vector / (2 * max(COVALENT_RADII[number] for number in numbers))
                clearance[index] = vector / (_MARGIN + 2 * max(ATOMIC_RADII[number] for number in numbers))
            else:
                cells[index] = cell
    for batch in _batches(crystals, list(cells)):
        found = _of_batch([crystals[index] for index in batch], np.stack([cells[index] for index in batch]))
        shortest[batch], relative[batch], clearance[batch] = found
    return ShortestDistances(shortest, relative, clearance)


def reduced_cell(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Short vectors of the same lattice: from each the nearest multiples of the shorter ones are taken away.

    Args:
        cell: rows, shape (3, 3), of non-zero volume.
    """
    rows = np.array(cell, dtype=np.float64)
    for _ in range(200):
        rows = rows[np.argsort(np.linalg.norm(rows, axis=1))]
        before = rows.copy()
        for i, j in ((0, 1), (0, 2), (1, 2)):
            rows[j] -= np.rint(rows[j] @ rows[i] / (rows[i] @ rows[i])) * rows[i]
        if np.array_equal(rows, before):
            break
    return rows


def has_volume(crystal: Crystal) -> bool:
    """Whether the cell is finite, holds atoms at finite positions and is not collapsed."""
    positions, volume = np.asarray(crystal.fractional_positions), volume_of(crystal)
    finite = len(positions) > 0 and bool(np.isfinite(positions).all())
    return finite and volume >= LEAST_VOLUME and len(positions) <= MOST_ATOMS_PER_VOLUME * volume


def _batches(crystals: Sequence[Crystal], chosen: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    edges = 0.0
    for index in chosen:
        crystal = crystals[index]
        n_atoms = len(crystal.numbers)
        edges += n_atoms**2 / volume_of(crystal) * 4 / 3 * np.pi * REACH**3
        batch.append(index)
        if edges > _EDGES:
            yield batch
            batch, edges = [], 0.0
    if batch:
        yield batch


def _of_batch(
    crystals: Sequence[Crystal], cells: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    sizes = [len(crystal.numbers) for crystal in crystals]
    system = np.repeat(np.arange(len(crystals)), sizes)
    places = [(np.asarray(c.fractional_positions) % 1.0) @ np.asarray(c.cell, dtype=np.float64) for c in crystals]
    positions = torch.from_numpy(np.concatenate(places))
    edges = neighbor_list(
        positions, REACH, torch.from_numpy(cells), torch.ones(len(crystals), 3, dtype=torch.bool),
        torch.from_numpy(system),
    )  # fmt: skip
    receiver, sender = edges.edge_index.numpy()
    shifts = np.einsum("na,nab->nb", edges.edge_shift.numpy().astype(np.float64), cells[system[receiver]])
    lengths = np.linalg.norm(positions.numpy()[sender] + shifts - positions.numpy()[receiver], axis=1)
    numbers = np.concatenate([np.asarray(crystal.numbers) for crystal in crystals])
    covalent, atomic = np.array(COVALENT_RADII)[numbers], np.array(ATOMIC_RADII)[numbers]
    shortest, relative, clearance = np.full((3, len(crystals)), np.inf)
    np.minimum.at(shortest, system[receiver], lengths)
    np.minimum.at(relative, system[receiver], lengths / (covalent[sender] + covalent[receiver]))
    np.minimum.at(clearance, system[receiver], lengths / (_MARGIN + atomic[sender] + atomic[receiver]))
    return shortest, relative, clearance
