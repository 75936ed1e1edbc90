"""Equivariant linear layers: channels are mixed within equal irreps."""

from atomsym.kernels.irreps_linear.description import IrrepsLinear
from atomsym.kernels.irreps_linear.front import irreps_linear

__all__ = ["IrrepsLinear", "irreps_linear"]
