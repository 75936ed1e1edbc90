"""The merged layer norm: all degrees of an atom's features divided by one length."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.merged_norm import merged_norm


class MergedLayerNorm(torch.nn.Module):
    """y_lm = w_l x_lm / sqrt(mean_l |x_l|² / (2l + 1) + ε), scalars less their mean over the channels and plus a bias.

    The length is that of all degrees together, each with the same weight, averaged over the channels. One length keeps
    how degrees compare; the ε keeps every derivative finite where features vanish.

    Args:
        max_degree: L; features have degrees 0 … L.
        channels: size of the channel axis.
        epsilon: ε, > 0.

    Attributes:
        weight: w, shape (channels, L + 1); ones at first.
        bias: of the scalars, shape (channels,); zeros at first.

    Source: merged layer normalisation of EquiformerV3 (2026, arXiv 2604.09130).

    Example:
        >>> norm, features = MergedLayerNorm(1, 2), torch.tensor([[[1.0, -1.0], [3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]])
        >>> [bool(torch.allclose(norm(c * features), features / 2**0.5, rtol=1e-3)) for c in (10, 1000)]
        [True, True]
    """

    def __init__(self, max_degree: int, channels: int, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.max_degree, self.epsilon = max_degree, epsilon
        self.weight = torch.nn.Parameter(torch.ones(channels, max_degree + 1))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        degrees = [degree for degree in range(max_degree + 1) for _ in range(2 * degree + 1)]
        self.register_buffer("_degrees", torch.tensor(degrees), persistent=False)
        self._shares = tuple(1 / ((2 * degree + 1) * (max_degree + 1)) for degree in degrees)

    def forward(self, features: Tensor) -> Tensor:
        """(n, (L + 1)², channels) → the same; differentiable any number of times."""
        normed = merged_norm(features, self._shares, self.epsilon)
        weight = self.weight.T.index_select(0, self.get_buffer("_degrees"))
        bias = torch.nn.functional.pad(self.bias.unsqueeze(0), (0, 0, 0, len(self._shares) - 1))
        return torch.addcmul(bias, normed, weight)

    def extra_repr(self) -> str:
        return f"l <= {self.max_degree}, {self.weight.shape[0]} channels, epsilon {self.epsilon:g}"
