"""Non-linearities of messages in the frames of their edges: they commute with turns about the edge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.so2_convolution import (
    GateShape,
    components_by_order,
    degrees_by_order,
    n_order_rows,
    order_components,
    row_gate,
)
from atomsym.models.esen.config import Activation
from atomsym.nn import GridGate
from atomsym.nn.perceptron import ACTIVATIONS
from atomsym.symmetry import Irrep, Irreps


class OrderGate(nn.Module):
    """Scalars through SiLU, degree l > 0 times SiLU of a scalar of its own, channel by channel.

    Args:
        max_degree, max_order: L and the largest order.
        channels: of input and output.
        skipped: scalars before its own, which belong to others.

    Attributes:
        copies: how many times the channels of the output go in.
        n_scalars: further scalars that go in.
    """

    copies = 1

    def __init__(self, max_degree: int, max_order: int, channels: int, skipped: int) -> None:
        super().__init__()
        self._shape = GateShape(degrees_by_order(max_degree, max_order), channels, skipped)
        self.n_scalars = max_degree * channels

    def forward(self, rows: Tensor) -> Tensor:
        """Apply it.

        Args:
            rows: shape (n, skipped + n_scalars + n_rows · copies · channels): scalars, then rows by order.

        Returns:
            Shape (n, n_rows · channels).
        """
        return row_gate(rows, self._shape, ACTIVATIONS["silu"][1])


class DegreeGate(nn.Module):
    """The same for features of atoms: components of degree l > 0 times SiLU of a scalar of their own.

    Args:
        max_degree: L.
        channels: of input and output.

    Attributes:
        irreps_in: what goes in: a gate for each degree l > 0, then degrees 0 … L.
    """

    def __init__(self, max_degree: int, channels: int) -> None:
        super().__init__()
        irreps = Irreps.spherical_harmonics(max_degree)
        self.irreps_in = Irreps((Irrep(0, 1),) * max_degree + tuple(irreps))
        degrees = tuple(irrep.degree for irrep in irreps for _ in range(irrep.dim))
        self._shape = GateShape(degrees, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(n, irreps_in.dim, channels) → (n, (L + 1)², channels)."""
        gated = row_gate(features.flatten(1), self._shape, ACTIVATIONS["silu"][1])
        return gated.unflatten(1, (len(self._shape.degrees), -1))


class OrderGrid(nn.Module):
    """``GridGate`` of two signals in the frame, both cut to the orders that are kept, and its result cut likewise.

    Args:
        max_degree, max_order, channels, skipped: as of ``OrderGate``.

    Attributes:
        copies, n_scalars: as of ``OrderGate``.
    """

    copies = 2

    def __init__(self, max_degree: int, max_order: int, channels: int, skipped: int) -> None:
        super().__init__()
        self._max_degree, self._max_order, self._channels, self._skipped = max_degree, max_order, channels, skipped
        self.n_scalars = 3 * channels
        self.gate = GridGate(max_degree)

    def forward(self, rows: Tensor) -> Tensor:
        """As ``OrderGate.forward``."""
        start = self._skipped + self.n_scalars
        scalars = rows[:, self._skipped : start].unflatten(1, (3, self._channels))
        by_row = rows[:, start:].unflatten(1, (n_order_rows(self._max_degree, self._max_order), -1))
        sizes = [(2 if m else 1) * (self._max_degree - m + 1) for m in range(self._max_order + 1)]
        parts = [part.unflatten(1, (2 if m else 1, -1)) for m, part in enumerate(by_row.split(sizes, 1))]
        signals = order_components(parts, self._max_degree).chunk(2, dim=2)
        product = self.gate(torch.cat((scalars, *signals), 1))
        kept = components_by_order(product, self._max_degree, self._max_order)
        return torch.cat([part.flatten(1) for part in kept], 1)


def order_activation(
    name: Activation, max_degree: int, max_order: int, channels: int, skipped: int = 0
) -> OrderGate | OrderGrid:
    """The non-linearity of this name."""
    return (OrderGate if name == "gate" else OrderGrid)(max_degree, max_order, channels, skipped)
