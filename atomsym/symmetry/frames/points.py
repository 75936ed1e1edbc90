"""The vectors that frames are made of: translation-invariant, whatever images of the atoms a structure lists."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.graph import AtomGraph


@dataclass(frozen=True, eq=False)
class FramePoints:
    """Vectors that turn with a system.

    Attributes:
        vectors: shape (n_points, 3), float64, Å.
        system: of each point, shape (n_points,), int64.
        owner: points with the same owner may form a pair, shape (n_points,), int64, non-decreasing.
        n_systems: number of systems, those without points included.
    """

    vectors: Tensor
    system: Tensor
    owner: Tensor
    n_systems: int


def frame_points(graph: AtomGraph, cutoff: float) -> FramePoints:
    """The points of all systems of a graph.

    A system without periodic directions has its atoms, from their centroid; all of them share an owner. A periodic one
    has no centroid: which image of an atom is listed is arbitrary. Its points are the edges, u(d) r with
    u(d) = (1 − (d / cutoff)²)², owned by their receivers. They depend neither on the origin, nor on the images, nor on
    the choice of the cell, a supercell has the same ones several times, and they fade out smoothly where the graph
    loses an edge. Strained graphs have strained points.

    Args:
        graph: one system or a batch, with edges up to ``cutoff`` at least.
        cutoff: Å, of the points of periodic systems.

    Returns:
        Points in float64, differentiable in positions, cell and strain.
    """
    periodic = graph.pbc.any(dim=1)
    vectors, system, owner = _centred(graph, ~periodic)
    if bool(periodic.any()):
        edges, edge_system, receiver = _faded(graph, periodic, cutoff)
        vectors = torch.cat([vectors, edges])
        system = torch.cat([system, edge_system])
        owner = torch.cat([owner, graph.n_systems + receiver])
    return FramePoints(vectors, system, owner, graph.n_systems)


def _centred(graph: AtomGraph, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions from the centroids of the chosen systems."""
    atoms = chosen[graph.system_index].nonzero().squeeze(1)
    system = graph.system_index[atoms]
    positions = graph.positions.index_select(0, atoms).to(torch.float64)
    total = positions.new_zeros(graph.n_systems, 3).index_add(0, system, positions)
    centroid = total / graph.atoms_per_system.clamp(min=1).unsqueeze(1)
    vectors = positions - centroid.index_select(0, system)
    if graph.strain is not None:
        strain = graph.strain.to(torch.float64).index_select(0, system)
        vectors = vectors + torch.einsum("na,nab->nb", vectors, strain)
    return vectors, system, system


def _faded(graph: AtomGraph, chosen: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted edge vectors of the chosen systems, those shorter than the cutoff."""
    vectors = graph.edge_vectors().to(torch.float64)
    system = graph.system_index[graph.edge_index[0]]
    inside = chosen[system] & (vectors.detach().square().sum(1) < cutoff**2)
    edges = inside.nonzero().squeeze(1)
    kept = vectors.index_select(0, edges)
    fading = (1 - kept.square().sum(1, keepdim=True) / cutoff**2).square()
    return fading * kept, system[edges], graph.edge_index[0][edges]
