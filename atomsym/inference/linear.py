"""Equivariant linear maps forward and in reverse, on the raw kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.irreps_linear import IrrepsLinear
from atomsym.kernels.irreps_linear.native import mapped
from atomsym.nn import EquivariantLinear


class LinearMap:
    """y[n, o] = Σ_i x[n, i] W[i → o] for slots i of the irrep of o.

    Args:
        layer: of the model.
        factor: of the result.
        dtype: of the arithmetic.
    """

    def __init__(self, layer: EquivariantLinear, factor: float, dtype: torch.dtype) -> None:
        self._handle, self.dim_out = IrrepsLinear(layer.irreps_in, layer.irreps_out).handle, layer.irreps_out.dim
        self._weights = (factor * folded_weights(layer)).to(dtype).contiguous()

    def forward(self, features: Tensor) -> Tensor:
        """(n, dim_in, channels_in) → (n, dim_out, channels_out)."""
        return mapped(features, self._weights, self._handle, False)

    def reverse(self, gradient: Tensor) -> Tensor:
        """Gradient of the input from that of the result: (n, dim_out, channels_out) → (n, dim_in, channels_in)."""
        return mapped(gradient, self._weights, self._handle, True)


def folded_weights(layer: EquivariantLinear) -> Tensor:
    """Weights of a layer with their factors, in double precision, shape (blocks, channels_in, channels_out)."""
    scaled = [weight.detach().double() * weight.shape[0] ** -0.5 for weight in layer.weights]
    if not scaled:
        return torch.zeros(0, layer.channels_in, layer.channels_out, dtype=torch.float64)
    return torch.cat(scaled).unflatten(0, (-1, layer.channels_in))
