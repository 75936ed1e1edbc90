"""Layer 3: interatomic potentials, one file or folder per published architecture, found by name."""

from atomsym.models.potential import Potential, PotentialConfig, PotentialOutput
from atomsym.models.registry import architecture, architectures, register_architecture

__all__ = [
    "Potential",
    "PotentialConfig",
    "PotentialOutput",
    "architecture",
    "architectures",
    "register_architecture",
]
