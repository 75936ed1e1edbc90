"""A block of eSEN: messages in the frames of edges, then a feed-forward layer, each added to its input."""

from __future__ import annotations

from torch import Tensor, nn

from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import rotate_into_frames, rotate_out_of_frames
from atomsym.models.esen.activations import order_activation
from atomsym.models.esen.attention import Attention
from atomsym.models.esen.config import ESENConfig
from atomsym.models.esen.edges import Edges, edge_scalars
from atomsym.nn import EquivariantLinear, Gate, GridGate, MergedLayerNorm, Perceptron, SO2Linear
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
        degree, order = config.max_degree, config.orders
        self._channels = 2 * config.channels
        self._sizes = [degree - m + 1 for m in range(order + 1)]
        self.radial = Perceptron((edge_scalars(config), *config.radial_hidden, sum(self._sizes) * self._channels))
        self.activation = order_activation(config.edge_activation, degree, config.edge_channels)
        self.attention = (
            Attention(config.attention_heads, config.attention_channels) if config.attention_heads else None
        )
        n_scalars = self.activation.n_scalars + (self.attention.n_scalars if self.attention else 0)
        within = config.edge_channels
        self.first = SO2Linear(
            degree,
            order,
            self._channels,
            self.activation.copies * within,
            n_scalars=n_scalars,
            mirror=config.parity,
        )
        self.second = SO2Linear(degree, order, within, config.channels, mirror=config.parity)

    def forward(self, features: Tensor, edges: Edges) -> Tensor:
        """Sums of the messages, shape of the features: (n_atoms, (L + 1)², channels)."""
        topology = edges.topology
        # One lookup for both atoms: the gradient of a lookup is several times faster if it comes in one piece.
        both = features.index_select(0, edges.ends).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)
        factors = self.radial(edges.scalars).unflatten(1, (1, -1, self._channels)).split(self._sizes, 2)
        turned = rotate_into_frames(both, edges.frames)
        mixed, scalars = self.first([part * factor for part, factor in zip(turned, factors, strict=True)])
        parts = self.activation(mixed, scalars[:, : self.activation.n_scalars])
        outward = edges.outward
        if self.attention is not None:
            weights = self.attention(scalars[:, self.activation.n_scalars :], edges)
            outward = edges.frames
            shares = weights.repeat_interleave(parts[0].shape[3] // weights.shape[1], 1)[:, None, None]
            parts = tuple(part * shares for part in parts)
        messages = rotate_out_of_frames(self.second(parts)[0], outward)
        return segment_sum(messages, topology.receiver, topology.n_nodes)


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
        self.activation = Gate(irreps) if config.feed_forward == "gate" else GridGate(config.max_degree)
        self.up = EquivariantLinear(irreps, self.activation.irreps_in, channels, within)
        self.down = EquivariantLinear(irreps, irreps, within, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(n_atoms, (L + 1)², channels) → the same."""
        result: Tensor = self.down(self.activation(self.up(features)))
        return result


class Block(nn.Module):
    """x + Messages(norm(x)), then x + FeedForward(norm(x)).

    Args:
        config: of the model.

    Attributes:
        message_norm, messages, feed_forward_norm, feed_forward: the parts.
    """

    def __init__(self, config: ESENConfig) -> None:
        super().__init__()
        self.message_norm = MergedLayerNorm(config.max_degree, config.channels)
        self.messages = Messages(config)
        self.feed_forward_norm = MergedLayerNorm(config.max_degree, config.channels)
        self.feed_forward = FeedForward(config)

    def forward(self, features: Tensor, edges: Edges) -> Tensor:
        """(n_atoms, (L + 1)², channels) → the same."""
        features = features + self.messages(self.message_norm(features), edges)
        return features + self.feed_forward(self.feed_forward_norm(features))
