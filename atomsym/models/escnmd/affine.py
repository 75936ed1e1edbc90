"""Affine maps of rows by order, in the frames of edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.so2_convolution import OrderLinear, order_linear


class AffineSO2(nn.Module):
    """``nn.SO2Linear`` without mirror, plus a bias of what turns about the edge leave alone: order 0 and the scalars.

    Args:
        max_degree, max_order, channels_in, channels_out, n_scalars: as of ``SO2Linear``.

    Attributes:
        weights: of all orders, one matrix after the other (see ``OrderLinear``), drawn with unit variance: in one
            piece, since that is what kernels read.
        bias: shape (n_scalars + (L + 1) · channels_out,); zeros at first.
        description: sizes and where rows lie.
    """

    def __init__(
        self, max_degree: int, max_order: int, channels_in: int, channels_out: int, n_scalars: int = 0
    ) -> None:
        super().__init__()
        self.description = OrderLinear(max_degree, max_order, channels_in, channels_out, n_scalars, mirror=False)
        self.weights = nn.Parameter(torch.randn(self.description.n_weights))
        self.bias = nn.Parameter(torch.zeros(n_scalars + (max_degree + 1) * channels_out))

    def with_bias(self, rows: Tensor) -> Tensor:
        """Add the bias to what the linear map gave, shape (n, description.out_width)."""
        return rows + nn.functional.pad(self.bias, (0, rows.shape[1] - self.bias.shape[0]))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, description.in_width) → (n, description.out_width): the further scalars, then rows by order."""
        return self.with_bias(order_linear(rows, self.weights, self.description))
