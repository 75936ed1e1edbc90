"""What all blocks read of the edges, made once for a graph."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from atomsym.core import EdgeTopology
from atomsym.kernels.so2_convolution import EdgeFrames, sum_out_of_frames
from atomsym.models.esen.config import ESENConfig
from atomsym.nn import Perceptron


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
        along = self.radial(edges.scalars).unflatten(1, (-1, self._channels))
        return sum_out_of_frames(along, edges.frames, edges.weights, edges.topology)
