"""From protostructures to crystals: random geometries without overlaps, or those of known crystals."""

from atomsym.generators.realisation.degenerate import is_degenerate
from atomsym.generators.realisation.distances import closest_contact
from atomsym.generators.realisation.elements import simple_crystals
from atomsym.generators.realisation.prototypes import PrototypeLibrary, default_trials, realisations
from atomsym.generators.realisation.realise import DISTANCE_FLOOR, Realised, realise
from atomsym.generators.realisation.volume import ATOMIC_VOLUMES, expected_volume

__all__ = [
    "ATOMIC_VOLUMES",
    "DISTANCE_FLOOR",
    "PrototypeLibrary",
    "Realised",
    "closest_contact",
    "default_trials",
    "expected_volume",
    "is_degenerate",
    "realisations",
    "realise",
    "simple_crystals",
]
