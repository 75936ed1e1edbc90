"""A block of message passing whose parts are added to their normed input."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from atomsym.nn.merged_layer_norm import MergedLayerNorm


class ResidualBlock(nn.Module):
    """x + messages(norm(x), …), then x + feed_forward(norm(x)), with norms of all degrees together.

    Args:
        max_degree, channels: of the features.
        messages: from features and what else ``forward`` is given to their sums at the atoms.
        feed_forward: of the features of each atom.
        epsilon: of the norms.

    Attributes:
        message_norm, messages, feed_forward_norm, feed_forward: the parts.

    Source: residual blocks with a norm before each part, as in eSEN (Fu et al. 2025, arXiv 2502.12147).
    """

    def __init__(
        self, max_degree: int, channels: int, messages: nn.Module, feed_forward: nn.Module, epsilon: float = 1e-3
    ) -> None:
        super().__init__()
        self.message_norm = MergedLayerNorm(max_degree, channels, epsilon)
        self.messages = messages
        self.feed_forward_norm = MergedLayerNorm(max_degree, channels, epsilon)
        self.feed_forward = feed_forward

    def forward(self, features: Tensor, *surroundings: Any) -> Tensor:
        """(n_atoms, (L + 1)², channels) → the same; the rest goes to the messages."""
        features = features + self.messages(self.message_norm(features), *surroundings)
        raised: Tensor = features + self.feed_forward(self.feed_forward_norm(features))
        return raised
