"""Layer 3: heads, which read the features of a backbone."""

from atomsym.heads.hessian import (
    HessianBlocks,
    HessianHead,
    HessianHeadConfig,
    HessianPotential,
    HessianPotentialConfig,
)
from atomsym.heads.intensive import IntensiveProperty, IntensivePropertyConfig, intensive_property, system_property

__all__ = [
    "HessianBlocks",
    "HessianHead",
    "HessianHeadConfig",
    "HessianPotential",
    "HessianPotentialConfig",
    "IntensiveProperty",
    "IntensivePropertyConfig",
    "intensive_property",
    "system_property",
]
