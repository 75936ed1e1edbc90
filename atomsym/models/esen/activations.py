"""Non-linearities of messages in the frames of their edges: they commute with turns about the edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atomsym.kernels.so2_convolution import components_by_order, order_components
from atomsym.models.esen.config import Activation
from atomsym.nn import GridGate, activation


class OrderGate(nn.Module):
    """Scalars through SiLU, degree l > 0 times SiLU of a scalar of its own, channel by channel.

    Args:
        max_degree: L.
        channels: of input and output.

    Attributes:
        copies: how many times the channels of the output go in.
        n_scalars: further scalars that go in.
    """

    copies = 1

    def __init__(self, max_degree: int, channels: int) -> None:
        super().__init__()
        self._channels, self.n_scalars = channels, max_degree * channels
        self._function = activation("silu")

    def forward(self, parts: Sequence[Tensor], scalars: Tensor) -> tuple[Tensor, ...]:
        """Apply it.

        Args:
            parts: for each order m, shape (n, n_signs, L − m + 1, copies · channels).
            scalars: shape (n, n_scalars).

        Returns:
            As ``parts``, with channels.
        """
        gates = self._function(scalars).unflatten(1, (1, -1, self._channels)) if self.n_scalars else None
        first = self._function(parts[0][:, :, :1])
        if gates is None:
            return (first,)
        first = torch.cat((first, parts[0][:, :, 1:] * gates), 2)
        return first, *(part * gates[:, :, order:] for order, part in enumerate(parts[1:]))


class OrderGrid(nn.Module):
    """``GridGate`` of two signals in the frame, both cut to the orders that are kept, and its result cut likewise.

    Args:
        max_degree: L.
        channels: of the output.

    Attributes:
        copies, n_scalars: as of ``OrderGate``.
    """

    copies = 2

    def __init__(self, max_degree: int, channels: int) -> None:
        super().__init__()
        self._max_degree, self._channels, self.n_scalars = max_degree, channels, 3 * channels
        self.gate = GridGate(max_degree)

    def forward(self, parts: Sequence[Tensor], scalars: Tensor) -> tuple[Tensor, ...]:
        """As ``OrderGate.forward``."""
        signals = order_components(parts, self._max_degree).chunk(2, dim=2)
        product = self.gate(torch.cat((scalars.unflatten(1, (3, self._channels)), *signals), 1))
        return components_by_order(product, self._max_degree, len(parts) - 1)


def order_activation(name: Activation, max_degree: int, channels: int) -> OrderGate | OrderGrid:
    """The non-linearity of this name."""
    return (OrderGate if name == "gate" else OrderGrid)(max_degree, channels)
