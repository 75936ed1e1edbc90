"""The Wyckoff transformer (Kazeev et al. 2025): crystals as a space group and a set of occupied orbits."""

from atomsym.generators.wyformer.config import WyFormerConfig
from atomsym.generators.wyformer.loss import Losses, masked_orbit_loss
from atomsym.generators.wyformer.network import Orbits, Query, WyFormer
from atomsym.generators.wyformer.sampling import OrbitList, orbits_of, sample_orbits
from atomsym.generators.wyformer.vocabulary import Vocabulary, standard_vocabulary

__all__ = [
    "Losses",
    "OrbitList",
    "Orbits",
    "Query",
    "Vocabulary",
    "WyFormer",
    "WyFormerConfig",
    "masked_orbit_loss",
    "orbits_of",
    "sample_orbits",
    "standard_vocabulary",
]
