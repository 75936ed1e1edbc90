"""Promises that every convolution over edges keeps, whatever couples nodes and edges inside.

Each function returns the largest deviation relative to the largest value; a test compares it with a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.symmetry import Irrep, Irreps

Represent = Callable[[Irrep], Tensor]
"""The matrix D of one fixed element of O(3) in an irrep, shape (dim, dim), with parity included."""


@dataclass(frozen=True)
class ConvolutionCase:
    """A convolution with everything needed to call it on random operands.

    Attributes:
        convolve: (node_features, edge_features, weights, topology) → node features.
        irreps_in, irreps_edge, irreps_out: how the operands and the result transform.
        weight_shape: shape of the weights of one edge.
        channels: number of channels of the node features.
        dtype: floating-point type of the operands.
    """

    convolve: Callable[[Tensor, Tensor, Tensor, EdgeTopology], Tensor]
    irreps_in: Irreps
    irreps_edge: Irreps
    irreps_out: Irreps
    weight_shape: tuple[int, ...]
    channels: int
    dtype: torch.dtype = torch.float64

    def operands(self, topology: EdgeTopology, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Normally distributed node features, edge features and weights."""
        shapes = (
            (topology.n_nodes, self.irreps_in.dim, self.channels),
            (topology.n_edges, self.irreps_edge.dim),
            (topology.n_edges, *self.weight_shape),
        )
        x, y, w = (torch.randn(shape, generator=generator, dtype=self.dtype) for shape in shapes)
        return x, y, w


def random_topology(n_nodes: int, n_edges: int, generator: torch.Generator) -> EdgeTopology:
    """Random edges sorted by receiver; repeated edges, self edges and nodes without edges occur."""
    edge_index = torch.randint(max(n_nodes, 1), (2, n_edges), generator=generator)
    return EdgeTopology.from_edge_index(edge_index[:, torch.argsort(edge_index[0], stable=True)], n_nodes)


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value (at least 1e-30)."""
    if found.shape != expected.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def transform(features: Tensor, irreps: Irreps, represent: Represent, axis: int) -> Tensor:
    """Apply an element of O(3) to the component axis."""
    blocks = [represent(irrep).to(features) for irrep in irreps]
    matrix = torch.block_diag(*blocks) if blocks else features.new_zeros(0, 0)
    return torch.tensordot(features.movedim(axis, -1), matrix, dims=([-1], [1])).movedim(-1, axis)


def rotation_deviation(
    case: ConvolutionCase, topology: EdgeTopology, represent: Represent, generator: torch.Generator
) -> float:
    """f(D x, D Y, w) against D f(x, Y, w)."""
    x, y, w = case.operands(topology, generator)
    turned = case.convolve(
        transform(x, case.irreps_in, represent, 1), transform(y, case.irreps_edge, represent, 1), w, topology
    )
    return deviation(turned, transform(case.convolve(x, y, w, topology), case.irreps_out, represent, 1))


def permutation_deviation(case: ConvolutionCase, topology: EdgeTopology, generator: torch.Generator) -> float:
    """Nodes renumbered and edges listed in another order: the result is renumbered, and nothing else."""
    x, y, w = case.operands(topology, generator)
    renumbered = torch.randperm(topology.n_nodes, generator=generator)  # new number of each node
    shuffle = torch.randperm(topology.n_edges, generator=generator)
    edge_index = renumbered[torch.stack([topology.receiver, topology.sender])][:, shuffle]
    order = torch.argsort(edge_index[0], stable=True)
    moved = EdgeTopology.from_edge_index(edge_index[:, order], topology.n_nodes)
    x_moved = torch.empty_like(x)
    x_moved[renumbered] = x
    out = case.convolve(x_moved, y[shuffle][order], w[shuffle][order], moved)
    return deviation(out[renumbered], case.convolve(x, y, w, topology))


def additivity_deviation(case: ConvolutionCase, topology: EdgeTopology, generator: torch.Generator) -> float:
    """The result is the sum of what each edge alone gives."""
    x, y, w = case.operands(topology, generator)
    total = torch.zeros_like(case.convolve(x, y, w, topology))
    for edge in range(topology.n_edges):
        one = slice(edge, edge + 1)
        index = torch.stack([topology.receiver[one], topology.sender[one]])
        alone = EdgeTopology.from_edge_index(index, topology.n_nodes)
        total = total + case.convolve(x, y[one], w[one], alone)
    return deviation(case.convolve(x, y, w, topology), total)
