"""Linear maps of features in the frames of edges that commute with turns about the edge."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import ConfigError
from atomsym.kernels.so2_convolution import OrderLinear, order_linear


class SO2Linear(torch.nn.Module):
    """Mix degrees and channels within each order m; orders do not mix.

    y[+m] = x[+m] W_m − x[−m] V_m,  y[−m] = x[−m] W_m + x[+m] V_m,  over all degrees l ≥ m and channels together, each
    divided by the square root of its fan-in. With the inversion (``mirror``) V_m is zero for features of natural
    parity (−1)^l: a reflection through the edge exchanges nothing but the sign of x[−m].

    Between frames, with all orders, it is a product of features with the harmonics of the edge that has every
    coupling, each with a full matrix between the channels.

    Args:
        max_degree: L of input and output.
        max_order: largest order that is there.
        channels_in, channels_out: sizes of the channel axes.
        n_scalars: further numbers that turns about the edge leave alone, from the components of order 0.
        mirror: whether the features know what the inversion does to them.

    Attributes:
        weights: one an order, drawn with unit variance. With k = L − m + 1: shape (k · channels_in, k · channels_out)
            for m > 0, twice as wide without mirror (W_m, then V_m), and for m = 0 with n_scalars columns before.
        description: sizes and where rows lie.

    Raises:
        ConfigError: if the order is negative or larger than the degree.

    Source: Passaro and Zitnick 2023 (eSCN), eSEN (Fu et al. 2025), without biases.

    Example:
        >>> linear = SO2Linear(2, 1, 4, 8, n_scalars=5)
        >>> linear(torch.zeros(7, 3 * 4 + 2 * 2 * 4)).shape[1] == 5 + 3 * 8 + 2 * 2 * 8
        True
    """

    def __init__(
        self,
        max_degree: int,
        max_order: int,
        channels_in: int,
        channels_out: int,
        *,
        n_scalars: int = 0,
        mirror: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= max_order <= max_degree:
            raise ConfigError(f"max_order must be 0 to max_degree; found {max_order} and {max_degree}")
        self.description = OrderLinear(max_degree, max_order, channels_in, channels_out, n_scalars, mirror)
        self.weights = torch.nn.ParameterList(torch.randn(*shape) for shape in self.description.shapes)

    def forward(self, rows: Tensor) -> Tensor:
        """Apply it.

        Args:
            rows: shape (n, description.in_width): rows by order, channels last.

        Returns:
            Shape (n, description.out_width): the further scalars, then rows by order.
        """
        return order_linear(rows, self.packed(), self.description)

    def packed(self) -> Tensor:
        """All weights, one matrix after the other, shape (description.n_weights,)."""
        return torch.cat([weight.flatten() for weight in self.weights])

    def extra_repr(self) -> str:
        sizes = self.description
        kind = "" if sizes.mirror else ", without mirror"
        return (
            f"l <= {sizes.max_degree}, m <= {sizes.max_order}, channels {sizes.channels_in} -> {sizes.channels_out}, "
            f"{sizes.n_scalars} scalars{kind}"
        )
