"""Linear maps with biases, and the normalization of what they map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.core import AtomGraph
from atomsym.kernels.matrix_product import matrix_product
from atomsym.kernels.segments import segment_mean

_EPSILON = 1e-5  # added to the variance, so that equal numbers are no division by zero


class Linear(nn.Module):
    """y = x W + b.

    Attributes:
        weight: shape (n_in, n_out), drawn as Glorot and Bengio (2010).
        bias: shape (n_out,), from 0 on; None without.

    Example:
        >>> Linear(3, 2)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_in, n_out)))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to the last axis: (n, n_in) → (n, n_out)."""
        product = matrix_product(x, self.weight)
        return product if self.bias is None else product + self.bias


class LayerNorm(nn.Module):
    """Features with mean 0 and variance 1 over the channels of each atom, times a trained factor plus a trained bias.

    Attributes:
        weight, bias: shape (channels,).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it: (n_atoms, channels) → the same shape."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return self.weight * centred / (variance + _EPSILON).sqrt() + self.bias


class SystemNorm(nn.Module):
    """Features with variance 1 over the atoms of a system, after a trained fraction of their mean was taken away.

    Atoms then know of each other at any distance: the energy of a system is not the sum of those of its parts.

    Attributes:
        weight, bias: of the result, shape (channels,).
        mean_scale: the fraction, shape (channels,).

    Source: GraphNorm, Cai et al., ICML 2021. The published FAENet applies it to a batch as if it were one system.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean_scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, graph: AtomGraph) -> Tensor:
        """Apply it: (n_atoms, channels) → the same shape."""
        system = graph.system_index
        centred = x - self.mean_scale * segment_mean(x, system, graph.n_systems)[system]
        variance = segment_mean(centred.square(), system, graph.n_systems)[system]
        return self.weight * centred / (variance + _EPSILON).sqrt() + self.bias
