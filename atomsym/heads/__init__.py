"""Layer 3: heads, which read the features of a backbone."""

from atomsym.heads.hessian import (
    HessianBlocks,
    HessianHead,
    HessianHeadConfig,
    HessianPotential,
    HessianPotentialConfig,
)

__all__ = ["HessianBlocks", "HessianHead", "HessianHeadConfig", "HessianPotential", "HessianPotentialConfig"]
