"""The Wyckoff transformer (Kazeev et al. 2025): crystals as a space group and a set of occupied orbits."""

from atomsym.generators.wyformer.config import WyFormerConfig
from atomsym.generators.wyformer.loss import Entropies, orbit_entropies
from atomsym.generators.wyformer.model import WyFormer
from atomsym.generators.wyformer.network import OrbitNetwork
from atomsym.generators.wyformer.vocabulary import Vocabulary, standard_vocabulary

__all__ = [
    "Entropies",
    "OrbitNetwork",
    "Vocabulary",
    "WyFormer",
    "WyFormerConfig",
    "orbit_entropies",
    "standard_vocabulary",
]
