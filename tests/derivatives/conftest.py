"""Structures and potentials that the derivative tests share. Edges come from brute force: slow and obviously right."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.models import (
    ARGON,
    COPPER,
    ZBL,
    LennardJones,
    LennardJonesConfig,
    Morse,
    Sum,
    ZBLConfig,
    lorentz_berthelot,
)
from atomsym.nn import edge_lengths, polynomial_envelope

Array = NDArray[np.float64]


def embedded_atom(graph: AtomGraph) -> Tensor:
    """A many-body energy as a plain function: minus the root of a density, plus a repulsion."""
    distance = edge_lengths(graph.edge_vectors())
    weight = polynomial_envelope(distance, 7.0)
    zeros = torch.zeros(graph.n_atoms, dtype=graph.dtype, device=graph.device)
    density = zeros.index_add(0, graph.edge_index[0], weight * torch.exp(-distance / 2))
    return zeros.index_add(0, graph.edge_index[0], 3 * weight * torch.exp(-2 * distance)) - (density + 0.1).sqrt()


def mixture() -> LennardJones:
    epsilon, sigma = lorentz_berthelot((0.003, 0.0103), (2.8, 3.4))
    return LennardJones(LennardJonesConfig((10, 18), 8.0, epsilon, sigma))


@dataclass
class Subject:
    """An energy function under test, with the elements it is tried on and its cutoff."""

    name: str
    potential: Any
    numbers: tuple[int, ...]
    cutoff: float


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "lennard-jones": lambda: Subject("lennard-jones", LennardJones(ARGON), (18,), 8.5),
    "mixture": lambda: Subject("mixture", mixture(), (10, 18), 8.0),
    "morse": lambda: Subject("morse", Morse(COPPER), (29,), 10.0),
    "zbl": lambda: Subject("zbl", ZBL(ZBLConfig(cutoff=6.0, onset=2.0)), (1, 18, 92), 6.0),
    "sum": lambda: Subject("sum", Sum.of(LennardJones(ARGON), ZBL(ZBLConfig(elements=(18,), cutoff=4.0))), (18,), 8.5),
    "embedded-atom": lambda: Subject("embedded-atom", embedded_atom, (18,), 7.0),
}


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]()


@dataclass
class Structure:
    """Arrays of one system, so that a test can move them and connect them anew."""

    positions: Array
    numbers: NDArray[np.int64]
    cell: Array
    pbc: bool | tuple[bool, bool, bool] = False

    def graph(self, cutoff: float, dtype: torch.dtype = torch.float64) -> AtomGraph:
        """The graph with all edges up to the cutoff, sorted by receiver."""
        edge_index, edge_shift = brute_force(self.positions, self.cell, np.broadcast_to(self.pbc, 3), cutoff)
        graph = AtomGraph.from_arrays(self.positions, self.numbers, self.cell, self.pbc, dtype=dtype)
        return graph.with_edges(torch.from_numpy(edge_index), torch.from_numpy(edge_shift), cutoff)

    def moved(self, positions: Array) -> Structure:
        return Structure(positions, self.numbers, self.cell, self.pbc)

    def deformed(self, matrix: Array) -> Structure:
        return Structure(self.positions @ matrix, self.numbers, self.cell @ matrix, self.pbc)

    def repeated(self, counts: tuple[int, int, int]) -> Structure:
        shifts = np.array(list(itertools.product(*map(range, counts)))) @ self.cell
        positions = (self.positions[None] + shifts[:, None]).reshape(-1, 3)
        return Structure(positions, np.tile(self.numbers, len(shifts)), np.array(counts)[:, None] * self.cell, self.pbc)


def brute_force(positions: Array, cell: Array, pbc: Any, cutoff: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """All pairs closer than the cutoff over all images that could matter."""
    inverse = np.linalg.pinv(cell)
    fractional = positions @ inverse
    span = np.ptp(fractional, axis=0) if len(positions) else np.zeros(3)
    reach = [int(np.ceil(cutoff * np.linalg.norm(inverse[:, a]) + span[a])) if pbc[a] else 0 for a in range(3)]
    shifts = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    found = []
    for some in np.array_split(shifts, max(1, len(shifts) * len(positions) ** 2 // 200_000)):
        vectors = positions[None, None] + (some @ cell)[:, None, None] - positions[None, :, None]
        near = np.einsum("sija,sija->sij", vectors, vectors) < cutoff**2
        near[(some == 0).all(axis=1)] &= ~np.eye(len(positions), dtype=bool)
        image, receiver, sender = np.nonzero(near)
        found.append(np.column_stack([receiver, sender, some[image]]))
    table = np.concatenate(found).astype(np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return np.ascontiguousarray(table[:, :2].T), np.ascontiguousarray(table[:, 2:].astype(np.int32))


def cluster(numbers: tuple[int, ...], n_atoms: int = 13, seed: int = 0, spacing: float = 3.2) -> Structure:
    """A random cluster without atoms on top of each other."""
    rng = np.random.default_rng(seed)
    sites: list[Array] = []
    while len(sites) < n_atoms:
        candidate = rng.normal(size=3) * 0.7 * spacing * n_atoms ** (1 / 3)
        if all(np.linalg.norm(candidate - other) > spacing for other in sites):
            sites.append(candidate)
    return Structure(np.array(sites).reshape(-1, 3), rng.choice(numbers, size=n_atoms), np.zeros((3, 3)))


def crystal(numbers: tuple[int, ...], *, lattice: float = 5.26, rattle: float = 0.1, seed: int = 1) -> Structure:
    """The conventional fcc cell of four atoms, rattled."""
    rng = np.random.default_rng(seed)
    sites = lattice * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(sites + rattle * rng.normal(size=(4, 3)), rng.choice(numbers, size=4), lattice * np.eye(3), True)


@pytest.fixture
def make_cluster() -> Callable[..., Structure]:
    return cluster


@pytest.fixture
def make_crystal() -> Callable[..., Structure]:
    return crystal


@pytest.fixture
def make_subject() -> Callable[[str], Subject]:
    return lambda name: SUBJECTS[name]()
