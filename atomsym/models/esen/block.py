"""A block of eSEN: messages in the frames of edges, then a feed-forward layer, each added to its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.so2_convolution import gather_linear, n_order_factors, n_order_rows, sum_out_of_frames
from atomsym.models.esen.activations import DegreeGate, order_activation
from atomsym.models.esen.attention import Attention
from atomsym.models.esen.config import ESENConfig
from atomsym.models.esen.edges import Edges, edge_scalars, sum_over_blocks
from atomsym.nn import EquivariantLinear, GridGate, Perceptron, ResidualBlock, SO2Linear
from atomsym.symmetry import Irreps


class Messages(nn.Module):
    """Σ_j u_ij D_ijᵀ S₂(σ(S₁(R_ij ∘ D_ij [x_j, x_i]))) / sqrt(N), with S linear within orders.

    Args:
        config: of the model.

    Attributes:
        radial: network to one factor for each order, degree and channel of both atoms.
        first, second: S₁ and S₂.
        activation: σ.
        attention: weights of the messages in place of u / sqrt(N); None without.
    """

    def __init__(self, config: ESENConfig) -> None:
        super().__init__()
        degree, order, within = config.max_degree, config.orders, config.edge_channels
        self._n_rows, self._n_factors = n_order_rows(degree, order), n_order_factors(degree, order)
        ends = 2 * config.channels
        self.radial = Perceptron((edge_scalars(config), *config.radial_hidden, self._n_factors * ends))
        self.attention = (
            Attention(config.attention_heads, config.attention_channels) if config.attention_heads else None
        )
        self._of_attention = self.attention.n_scalars if self.attention else 0
        self.activation = order_activation(config.edge_activation, degree, order, within, self._of_attention)
        self.first = SO2Linear(
            degree,
            order,
            ends,
            self.activation.copies * within,
            n_scalars=self._of_attention + self.activation.n_scalars,
            mirror=config.parity,
        )
        self.second = SO2Linear(degree, order, within, config.channels, mirror=config.parity)

    def forward(self, features: Tensor, edges: Edges) -> Tensor:
        """Sums of the messages, shape of the features: (n_atoms, (L + 1)², channels)."""
        return sum_over_blocks(self._of_block, edges, features)

    def _of_block(self, features: Tensor, edges: Edges) -> Tensor:
        factors = self.radial(edges.scalars).unflatten(1, (self._n_factors, -1))
        first, topology = self.first, edges.topology
        mixed = gather_linear(features, edges.frames, factors, first.packed(), topology, first.description)
        rows, weights = self.activation(mixed), edges.weights
        if self.attention is not None:
            shares = self.attention(mixed[:, : self._of_attention], edges)
            by_head = rows.unflatten(1, (self._n_rows, shares.shape[1], -1)) * shares[:, None, :, None]
            rows, weights = by_head.flatten(1), torch.ones_like(weights)
        messages = self.second(rows).unflatten(1, (self._n_rows, -1))
        return sum_out_of_frames(messages, edges.frames, weights, topology)


class FeedForward(nn.Module):
    """Linear, non-linearity, linear, at each atom.

    Args:
        config: of the model.

    Attributes:
        up, down: the linear maps.
        activation: between them.
    """

    def __init__(self, config: ESENConfig) -> None:
        super().__init__()
        irreps, channels, within = (
            Irreps.spherical_harmonics(config.max_degree),
            config.channels,
            config.feed_forward_channels,
        )
        self.activation = (
            DegreeGate(config.max_degree, within) if config.feed_forward == "gate" else GridGate(config.max_degree)
        )
        self.up = EquivariantLinear(irreps, self.activation.irreps_in, channels, within)
        self.down = EquivariantLinear(irreps, irreps, within, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(n_atoms, (L + 1)², channels) → the same."""
        result: Tensor = self.down(self.activation(self.up(features)))
        return result


class Block(ResidualBlock):
    """The parts of this architecture in a residual block.

    Args:
        config: of the model.
    """

    def __init__(self, config: ESENConfig) -> None:
        super().__init__(config.max_degree, config.channels, Messages(config), FeedForward(config))
