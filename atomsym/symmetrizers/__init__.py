"""Layer 3: symmetrizers, which make any potential invariant by averaging it over frames."""

from atomsym.symmetrizers.average import (
    Augmentation,
    GroupAverage,
    GroupAverageConfig,
    Quadrature,
    QuadratureConfig,
)
from atomsym.symmetrizers.canonicalization import Canonicalization, CanonicalizationConfig
from atomsym.symmetrizers.copies import RotatedCopies, rotated_copies
from atomsym.symmetrizers.potential import SymmetrizedConfig, SymmetrizedPotential
from atomsym.symmetrizers.principal import Deterministic, Full, Stochastic, StochasticConfig
from atomsym.symmetrizers.settings import symmetrized_settings
from atomsym.symmetrizers.symmetrizer import (
    Symmetrizer,
    SymmetrizerConfig,
    register_symmetrizer,
    symmetrizer,
    symmetrizers,
)
from atomsym.symmetrizers.tensors import symmetrized_tensors
from atomsym.symmetrizers.vector_network import VectorNetwork
from atomsym.symmetrizers.weighted import Weighted, WeightedConfig

__all__ = [
    "Augmentation",
    "Canonicalization",
    "CanonicalizationConfig",
    "Deterministic",
    "Full",
    "GroupAverage",
    "GroupAverageConfig",
    "Quadrature",
    "QuadratureConfig",
    "RotatedCopies",
    "Stochastic",
    "StochasticConfig",
    "SymmetrizedConfig",
    "SymmetrizedPotential",
    "Symmetrizer",
    "SymmetrizerConfig",
    "VectorNetwork",
    "Weighted",
    "WeightedConfig",
    "register_symmetrizer",
    "rotated_copies",
    "symmetrized_settings",
    "symmetrized_tensors",
    "symmetrizer",
    "symmetrizers",
]
