"""What divides the messages by a learned number of neighbors, and the repulsion of nuclei: small terms of the distance.

Both cost little beside the messages; their slopes come from autograd on the distances alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.inference.mace.layer import EdgeData
from atomsym.kernels.segments.differentiable import raw_segment_sum
from atomsym.models.mace import MACE
from atomsym.nn import Perceptron


@dataclass(frozen=True, eq=False)
class Density:
    """A_i = S_i / (1 + Σ_j n(d_ij)) for one layer.

    Attributes:
        divisor: 1 + Σ_j n(d_ij), shape (n_atoms, 1, 1).
        slope: dn/dd of each edge, shape (n_edges,).
    """

    divisor: Tensor
    slope: Tensor

    @classmethod
    def of(cls, model: MACE, network: Perceptron, graph: AtomGraph, edges: EdgeData) -> Density:
        """The density of a layer with this network of the basis."""
        with torch.enable_grad():
            distance = edges.distance.detach().requires_grad_()
            basis, cutoff = model.radial_basis(distance, *_numbers(graph))
            near = torch.tanh(network(basis).square()).squeeze(-1)
            if model.config.cutoff_on_weights:
                near = near * cutoff
            (slope,) = torch.autograd.grad(near.sum(), distance)
        total = raw_segment_sum(near.detach(), edges.topology.receiver, graph.n_atoms)
        return cls((1 + total)[:, None, None], slope)

    def reverse(self, gradient: Tensor, divided: Tensor, edges: EdgeData) -> Tensor:
        """Gradient of S from that of A = S / divisor; that of the distances is added to ``edges``."""
        scaled = gradient / self.divisor
        of_divisor = -(scaled * divided).sum((1, 2))
        edges.distance_gradient.add_(of_divisor[edges.topology.receiver] * self.slope)
        return scaled


def add_repulsion(model: MACE, graph: AtomGraph, edges: EdgeData, energies: Tensor) -> Tensor:
    """Energies with the repulsion; its slope is added to ``edges``. Only edges within its reach are looked at."""
    numbers = _numbers(graph)
    radii = model.radial_basis.radii(edges.distance)
    near = (edges.distance < radii[numbers[0]] + radii[numbers[1]]).nonzero().flatten()
    if near.numel() == 0:
        return energies
    with torch.enable_grad():
        distance = edges.distance[near].detach().requires_grad_()
        pairs = model.repulsion(distance, numbers[0][near], numbers[1][near])
        (slope,) = torch.autograd.grad(pairs.sum(), distance)
    edges.distance_gradient.index_add_(0, near, slope * model.config.scale)
    return energies + raw_segment_sum(pairs.detach(), edges.topology.receiver[near], graph.n_atoms)


def _numbers(graph: AtomGraph) -> tuple[Tensor, Tensor]:
    return graph.numbers[graph.topology.receiver], graph.numbers[graph.topology.sender]
