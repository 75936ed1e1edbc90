"""A non-linearity of features of any degree: two signals on the sphere multiplied point by point, exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.kernels.gaunt_product import GauntProduct
from atomsym.kernels.gaunt_product.description import from_grid, to_grid
from atomsym.nn.perceptron import activation
from atomsym.symmetry import Irrep, Irreps

_SCALAR = Irrep(0, 1)


class GridGate(torch.nn.Module):
    """y = f(g) · (a ⊙ b), scalars also + f(s) t; a and b read as functions on the sphere and multiplied there.

    Features that meet another of their own kind gain a body order, which a gate of scalars does not give. The product
    is bilinear, so a grid that is exact for three factors of degree L makes it equivariant to rounding error; the
    elementwise functions on grids of other networks are not.

    Args:
        max_degree: L.

    Attributes:
        irreps_in: what goes in: the scalars g, s and t, then a and b, of degrees 0 … L each.
        irreps_out: degrees 0 … L of parity (−1)^l.

    Source: the SwiGLU-S² activation of EquiformerV3 (2026, arXiv 2604.09130), here on a Gauss–Legendre grid, with SiLU.

    Example:
        >>> gate = GridGate(1)
        >>> str(gate.irreps_in), gate(torch.zeros(2, 11, 8)).shape
        ('0e+0e+0e+0e+1o+0e+1o', torch.Size([2, 4, 8]))
    """

    def __init__(self, max_degree: int) -> None:
        super().__init__()
        self.irreps_out = Irreps.spherical_harmonics(max_degree)
        self.irreps_in = Irreps((_SCALAR,) * 3 + tuple(self.irreps_out) * 2)
        product = GauntProduct((self.irreps_out, self.irreps_out), self.irreps_out)
        # What ``gaunt_product`` does, with its tables at hand: compiled code can read them but not make them. They are
        # no buffers, since casting those would round them.
        self._sample = to_grid(self.irreps_out, product.grid_degree, "scalar")
        self._project = from_grid(self.irreps_out, product.grid_degree, "scalar")
        self._function = activation("silu")
        # About unit variance for components of unit variance: the power of a product of two such signals, spread over
        # the degrees up to 2 L.
        self._factor = math.sqrt(4 * math.pi) * (2 * max_degree + 1) / (max_degree + 1) ** 2

    def forward(self, features: Tensor) -> Tensor:
        """(n, irreps_in.dim, channels) → (n, irreps_out.dim, channels)."""
        gate, inner, outer = features[:, 0:1], features[:, 1:2], features[:, 2:3]
        first, second = features[:, 3:].unflatten(1, (2, -1)).unbind(1)
        sample = self._sample.to(features)
        product = (self._project.to(features) * self._factor) @ ((sample @ first) * (sample @ second))
        product = product * self._function(gate)
        scalars = product[:, :1] + self._function(inner) * outer
        return torch.cat((scalars, product[:, 1:]), 1)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}"
