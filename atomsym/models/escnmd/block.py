"""A block of eSCN-MD: messages in the frames of edges, then a feed-forward layer, each added to its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.silu import silu
from atomsym.kernels.so2_convolution import gather_linear, n_order_factors, n_order_rows, sum_out_of_frames
from atomsym.models.escnmd.affine import AffineSO2
from atomsym.models.escnmd.config import ESCNMDConfig
from atomsym.models.escnmd.gates import degree_gate, order_gate
from atomsym.models.escnmd.networks import RadialNetwork
from atomsym.models.esen.edges import Edges, sum_over_blocks
from atomsym.nn import EquivariantLinear, ResidualBlock
from atomsym.symmetry import Irrep, Irreps

EPSILON = 1e-5  # of the norms of features


def ends_of(edges: Edges, species: Tensor) -> tuple[Tensor, Tensor]:
    """Species of senders and receivers; those of the atoms have the shape (n_atoms,)."""
    return species.index_select(0, edges.topology.sender), species.index_select(0, edges.topology.receiver)


class DegreeEmbedding(nn.Module):
    """x_i = Σ_j u(d_ij) D_ijᵀ R(d_ij, z_i, z_j) / sqrt(N), with R of order 0.

    Args:
        config: of the model.

    Attributes:
        radial: network to one number for each degree and channel.
    """

    def __init__(self, config: ESCNMDConfig) -> None:
        super().__init__()
        self._channels, self._factor = config.channels, config.average_neighbors**-0.5
        width = (config.max_degree + 1) * config.channels
        self.radial = RadialNetwork(config.n_radial, config.edge_channels, width)

    def forward(self, edges: Edges, ends: tuple[Tensor, Tensor], species: Tensor) -> Tensor:
        """Shape (n_atoms, (L + 1)², channels); arguments as of ``Messages.forward``."""
        return sum_over_blocks(self._of_block, edges, *ends, species) * self._factor

    def _of_block(self, senders: Tensor, receivers: Tensor, species: Tensor, edges: Edges) -> Tensor:
        along = self.radial(edges.scalars, (senders, receivers), ends_of(edges, species))
        return sum_out_of_frames(along.unflatten(1, (-1, self._channels)), edges.frames, edges.weights, edges.topology)


class Messages(nn.Module):
    """Σ_j u_ij D_ijᵀ S₂(σ(S₁(R_ij ∘ D_ij [x_j, x_i]))), with S affine within orders and σ the logistic gate.

    Args:
        config: of the model.

    Attributes:
        radial: network to one factor for each order, degree and channel of both atoms.
        first, second: S₁ and S₂.
    """

    def __init__(self, config: ESCNMDConfig) -> None:
        super().__init__()
        self._degree, self._order, self._within = config.max_degree, config.orders, config.hidden_channels
        degree, order = self._degree, self._order
        self._n_rows, self._n_factors = n_order_rows(degree, order), n_order_factors(degree, order)
        ends = 2 * config.channels
        self.radial = RadialNetwork(config.n_radial, config.edge_channels, self._n_factors * ends)
        self.first = AffineSO2(degree, order, ends, self._within, degree * self._within)
        self.second = AffineSO2(degree, order, self._within, config.channels)

    def forward(self, features: Tensor, edges: Edges, ends: tuple[Tensor, Tensor], species: Tensor) -> Tensor:
        """Sums of the messages.

        Args:
            features: shape (n_atoms, (L + 1)², channels).
            edges: of the graph; their scalars are the radial basis.
            ends: numbers of each element as sender and as receiver, shape (n_species, edge_channels) each.
            species: of the atoms, shape (n_atoms,).

        Returns:
            Shape of the features.
        """
        return sum_over_blocks(self._of_block, edges, features, *ends, species)

    def _of_block(self, features: Tensor, senders: Tensor, receivers: Tensor, species: Tensor, edges: Edges) -> Tensor:
        factors = self.radial(edges.scalars, (senders, receivers), ends_of(edges, species))
        first, topology = self.first, edges.topology
        mixed = gather_linear(
            features,
            edges.frames,
            factors.unflatten(1, (self._n_factors, -1)),
            first.weights,
            topology,
            first.description,
        )
        gated = order_gate(first.with_bias(mixed), self._degree, self._order, self._within)
        messages = self.second(gated).unflatten(1, (self._n_rows, -1))
        return sum_out_of_frames(messages, edges.frames, edges.weights, topology)


class FeedForward(nn.Module):
    """Affine, logistic gate, affine, at each atom; the gates are SiLU of scalars before the logistic function.

    Args:
        config: of the model.

    Attributes:
        up, down: the linear maps.
        up_bias: of the gates and the scalars, shape (hidden_channels, L + 1).
        down_bias: of the scalars, shape (channels,).
    """

    def __init__(self, config: ESCNMDConfig) -> None:
        super().__init__()
        self._degree = config.max_degree
        irreps, within = config.features, config.hidden_channels
        gates = Irreps((Irrep(0, 1),) * self._degree + tuple(irreps))
        self.up = EquivariantLinear(irreps, gates, config.channels, within)
        self.down = EquivariantLinear(irreps, irreps, within, config.channels)
        self.up_bias = nn.Parameter(torch.zeros(within, self._degree + 1))
        self.down_bias = nn.Parameter(torch.zeros(config.channels))

    def forward(self, features: Tensor) -> Tensor:
        """(n_atoms, (L + 1)², channels) → the same."""
        raised = self.up(features)
        scalars, others = raised.split([self._degree + 1, raised.shape[1] - self._degree - 1], 1)
        scalars = scalars + self.up_bias.T
        gates, own = scalars.split([self._degree, 1], 1)
        lowered = self.down(degree_gate(torch.cat((silu(gates), own, others), 1), self._degree))
        return lowered + nn.functional.pad(self.down_bias.unsqueeze(0), (0, 0, 0, lowered.shape[1] - 1))


class Block(ResidualBlock):
    """The parts of this architecture in a residual block.

    Args:
        config: of the model.
    """

    messages: Messages
    feed_forward: FeedForward

    def __init__(self, config: ESCNMDConfig) -> None:
        super().__init__(config.max_degree, config.channels, Messages(config), FeedForward(config), EPSILON)
