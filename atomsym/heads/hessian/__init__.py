"""Predicted Hessians: second derivatives of the energy read from equivariant features, without differentiating."""

from atomsym.heads.hessian.blocks import HessianBlocks, without_translations
from atomsym.heads.hessian.config import HessianHeadConfig
from atomsym.heads.hessian.head import HessianHead
from atomsym.heads.hessian.potential import HessianPotential, HessianPotentialConfig

__all__ = [
    "HessianBlocks",
    "HessianHead",
    "HessianHeadConfig",
    "HessianPotential",
    "HessianPotentialConfig",
    "without_translations",
]
