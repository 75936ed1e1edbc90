"""Layer 4: what a set of generated crystals is worth, as mathematics; files and hosts are dealt with above."""

from atomsym.metrics.atomic_radii import ATOMIC_RADII
from atomsym.metrics.crystals import Crystal, composition_of, volume_of
from atomsym.metrics.distances import ShortestDistances, shortest_distances
from atomsym.metrics.distributions import (
    chi_squared,
    effective_number,
    frequencies,
    jensen_shannon_divergence,
    share_outside,
    wasserstein_distance,
)
from atomsym.metrics.frechet import extrapolated_frechet_distance, frechet_distance
from atomsym.metrics.matching import Recovery, first_equivalents, has_match, recovery
from atomsym.metrics.neutrality import is_charge_balanced, reduced_formula
from atomsym.metrics.validity import Validity, validity

__all__ = [
    "ATOMIC_RADII",
    "Crystal",
    "Recovery",
    "ShortestDistances",
    "Validity",
    "chi_squared",
    "composition_of",
    "effective_number",
    "extrapolated_frechet_distance",
    "first_equivalents",
    "frechet_distance",
    "frequencies",
    "has_match",
    "is_charge_balanced",
    "jensen_shannon_divergence",
    "recovery",
    "reduced_formula",
    "share_outside",
    "shortest_distances",
    "validity",
    "volume_of",
    "wasserstein_distance",
]
