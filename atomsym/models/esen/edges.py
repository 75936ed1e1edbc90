"""What all blocks read of the edges, made once for a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atomsym.core import EdgeTopology
from atomsym.kernels.so2_convolution import EdgeFrames, sum_out_of_frames
from atomsym.models.esen.config import ESENConfig
from atomsym.nn import Perceptron

EDGES_OF_BLOCK = 32_768
"""Larger graphs are worked on in blocks of about so many edges, whose intermediate results are made again for the
derivatives instead of kept: memory then grows by what all edges keep, some hundred bytes each, not thousands."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of a graph.

    Attributes:
        topology: who receives from whom.
        scalars: radial functions of the distance and numbers of both elements, shape (n_edges, edge_scalars(config)).
        envelope: of the messages, shape (n_edges,).
        frames: of the edges.
        weights: the envelope over the square root of ``average_neighbors``, shape (n_edges,).
    """

    topology: EdgeTopology
    scalars: Tensor
    envelope: Tensor
    frames: EdgeFrames
    weights: Tensor

    def blocks(self, size: int) -> list[Edges]:
        """The same edges in pieces that hold all edges of each of their receivers, of about ``size`` edges each."""
        offsets = self.topology.receiver_offsets
        wanted = torch.arange(size, self.topology.n_edges, size, device=offsets.device)
        ends = offsets[torch.searchsorted(offsets, wanted)].unique_consecutive().tolist()
        starts = [0, *(end for end in ends if end < self.topology.n_edges)]
        stops = [*starts[1:], self.topology.n_edges]
        sizes = [stop - start for start, stop in zip(starts, stops, strict=True)]
        # Not slices: the gradient of a split comes in one piece.
        parts = (x.split(sizes) for x in (self.scalars, self.envelope, self.frames.values, self.weights))
        return [
            Edges(_part(self.topology, start, stop), scalars, envelope, replace(self.frames, values=values), weights)
            for start, stop, scalars, envelope, values, weights in zip(starts, stops, *parts, strict=True)
        ]


def _part(topology: EdgeTopology, start: int, stop: int) -> EdgeTopology:
    """The edges from one number to another, among all nodes."""
    index = torch.stack((topology.receiver[start:stop], topology.sender[start:stop]))
    return EdgeTopology.from_edge_index(index, topology.n_nodes)


def sum_over_blocks(function: Callable[..., Tensor], edges: Edges, *arguments: Tensor) -> Tensor:
    """function(*arguments, edges), block by block if there are many edges.

    Not in compiled code and not under function transforms, where nothing can be made again.
    """
    whole = edges.topology.n_edges <= EDGES_OF_BLOCK
    if whole or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function(*arguments, edges)
    total: Tensor | None = None
    for block in edges.blocks(EDGES_OF_BLOCK):
        found: Tensor = checkpoint(
            function, *arguments, block, use_reentrant=False, preserve_rng_state=False, determinism_check="none"
        )
        total = found if total is None else total + found
    assert total is not None  # there are edges
    return total


def edge_scalars(config: ESENConfig) -> int:
    """Numbers that radial networks start from."""
    return config.n_radial + 2 * config.species_channels


class DegreeEmbedding(nn.Module):
    """x_i = Σ_j u(d_ij) D_ijᵀ R(d_ij, z_i, z_j) / sqrt(N), with R of order 0: the neighborhood as harmonics.

    Args:
        config: of the model.

    Attributes:
        radial: network to one number for each degree and channel.
    """

    def __init__(self, config: ESENConfig) -> None:
        super().__init__()
        self._channels = config.channels
        width = (config.max_degree + 1) * config.channels
        self.radial = Perceptron((edge_scalars(config), *config.radial_hidden, width))

    def forward(self, edges: Edges) -> Tensor:
        """Shape (n_atoms, (L + 1)², channels)."""
        return sum_over_blocks(self._of_block, edges)

    def _of_block(self, edges: Edges) -> Tensor:
        along = self.radial(edges.scalars).unflatten(1, (-1, self._channels))
        return sum_out_of_frames(along, edges.frames, edges.weights, edges.topology)
