"""Linear maps of features in the frames of edges that commute with turns about the edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atomsym.core.errors import ConfigError
from atomsym.kernels.matrix_product import matrix_product


class SO2Linear(torch.nn.Module):
    """Mix degrees and channels within each order m; orders do not mix.

    y[+m] = x[+m] W_m − x[−m] V_m,  y[−m] = x[−m] W_m + x[+m] V_m,  over all degrees l ≥ m and channels together, each
    divided by the square root of its fan-in. With the inversion (``mirror``) V_m is zero for features of natural
    parity (−1)^l: a reflection through the edge exchanges nothing but the sign of x[−m].

    Between frames, ``rotate_out_of_frames(linear(rotate_into_frames(x)))`` with all orders is a product of x with the
    harmonics of the edge that has every coupling, each with a full matrix between the channels.

    Args:
        max_degree: L of input and output.
        max_order: largest order that is there.
        channels_in, channels_out: sizes of the channel axes.
        n_scalars: further numbers that turns about the edge leave alone, from the components of order 0.
        mirror: whether the features know what the inversion does to them.

    Attributes:
        weights: one an order, drawn with unit variance. With k = L − m + 1: shape (k · channels_in, k · channels_out)
            for m > 0, twice as wide without mirror (W_m, then V_m), and n_scalars wider for m = 0.

    Raises:
        ConfigError: if the order is negative or larger than the degree.

    Source: Passaro and Zitnick 2023 (eSCN), eSEN (Fu et al. 2025), without biases.

    Example:
        >>> linear = SO2Linear(2, 1, 4, 8, n_scalars=5)
        >>> parts, scalars = linear((torch.zeros(7, 1, 3, 4), torch.zeros(7, 2, 2, 4)))
        >>> [tuple(part.shape) for part in parts], tuple(scalars.shape)
        ([(7, 1, 3, 8), (7, 2, 2, 8)], (7, 5))
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
        self.max_degree, self.max_order, self.mirror = max_degree, max_order, mirror
        self.channels_in, self.channels_out, self.n_scalars = channels_in, channels_out, n_scalars
        shapes = [((max_degree + 1) * channels_in, (max_degree + 1) * channels_out + n_scalars)]
        for order in range(1, max_order + 1):
            degrees = max_degree - order + 1
            shapes.append((degrees * channels_in, degrees * channels_out * (1 if mirror else 2)))
        self.weights = torch.nn.ParameterList(torch.randn(*shape) for shape in shapes)

    def forward(self, parts: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Apply it.

        Args:
            parts: for each order m, shape (n, 1 if m == 0 else 2, L − m + 1, channels_in).

        Returns:
            The same with channels_out, and the further scalars, shape (n, n_scalars).
        """
        width = (self.max_degree + 1) * self.channels_out
        scale = self.weights[0].shape[0] ** -0.5
        mixed = matrix_product(parts[0].flatten(1), self.weights[0] * scale)
        results = [mixed[:, :width].unflatten(1, (1, -1, self.channels_out))]
        for part, weight in zip(parts[1:], list(self.weights)[1:], strict=True):
            fan_in = weight.shape[0] * (1 if self.mirror else 2)
            product = matrix_product(part.flatten(2), weight * fan_in**-0.5)
            if not self.mirror:
                kept, turned = product.chunk(2, dim=2)
                product = kept + torch.stack((-turned[:, 1], turned[:, 0]), 1)
            results.append(product.unflatten(2, (-1, self.channels_out)))
        return tuple(results), mixed[:, width:]

    def extra_repr(self) -> str:
        kind = "" if self.mirror else ", without mirror"
        return (
            f"l <= {self.max_degree}, m <= {self.max_order}, channels {self.channels_in} -> {self.channels_out}, "
            f"{self.n_scalars} scalars{kind}"
        )
