"""How far the distribution of one set of crystals is from that of another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from atomsym.metrics import (
    chi_squared,
    extrapolated_frechet_distance,
    frechet_distance,
    frequencies,
    jensen_shannon_divergence,
    share_outside,
    wasserstein_distance,
)
from atomsym.metrics.embedding import TrainedEmbedding
from atomsym.workflows.evaluate_crystals.describe import CrystalSet

_LEAST_POINTS = 16


@dataclass(frozen=True)
class SetDistances:
    """Between a set and the reference.

    Attributes:
        elements: Jensen–Shannon divergence of the mean atomic fractions, bits.
        space_groups: of space groups, bits.
        sizes: of the number of atoms in the primitive cell, bits.
        arities: of the number of elements, bits.
        space_groups_chi_squared: Σ (p − q)² / q over the groups of the reference.
        space_groups_outside: share of crystals in groups that the reference does not have.
        density: Wasserstein distance of densities, g/cm³.
        frechet: Fréchet distance of the embedded protostructures; NaN without enough of them.
        frechet_extrapolated: the same for infinitely many crystals.
    """

    elements: float
    space_groups: float
    sizes: float
    arities: float
    space_groups_chi_squared: float
    space_groups_outside: float
    density: float
    frechet: float
    frechet_extrapolated: float


def set_distances(
    found: CrystalSet, reference: CrystalSet, embedding: TrainedEmbedding, *, generator: np.random.Generator
) -> SetDistances:
    """Compare two sets; crystals without a space group are left out of what needs one.

    Args:
        found, reference: the sets.
        embedding: for the Fréchet distance.
        generator: draws halves for its extrapolation.
    """
    groups = [dict(frequencies(s.groups[s.groups > 0].tolist() or [0])) for s in (found, reference)]
    points = [[p for p in s.protostructures if p is not None] for s in (found, reference)]
    frechet = extrapolated = float("nan")
    if min(map(len, points)) >= _LEAST_POINTS:
        embedded = [embedding.embed(p) for p in points]
        frechet = frechet_distance(*embedded)
        extrapolated = extrapolated_frechet_distance(*embedded, generator=generator)
    dense = min(len(found.densities), len(reference.densities)) > 0
    return SetDistances(
        elements=jensen_shannon_divergence(element_shares(found), element_shares(reference)),
        space_groups=jensen_shannon_divergence(*groups),
        sizes=jensen_shannon_divergence(frequencies(found.sizes.tolist()), frequencies(reference.sizes.tolist())),
        arities=jensen_shannon_divergence(arity_shares(found), arity_shares(reference)),
        space_groups_chi_squared=chi_squared(*groups),
        space_groups_outside=share_outside(*groups),
        density=wasserstein_distance(found.densities, reference.densities) if dense else float("nan"),
        frechet=frechet,
        frechet_extrapolated=extrapolated,
    )


def element_shares(crystals: CrystalSet) -> dict[int, float]:
    """Mean over the crystals of the atomic fraction of each element, by atomic number."""
    total: Counter[int] = Counter()
    formulas = [formula for formula in crystals.formulas if formula is not None]
    for formula in formulas:
        n_atoms = sum(count for _, count in formula)
        for number, count in formula:
            total[number] += count / n_atoms  # type: ignore[assignment]
    return {number: share / len(formulas) for number, share in sorted(total.items())}


def arity_shares(crystals: CrystalSet) -> dict[int, float]:
    """Share of crystals with each number of elements."""
    return frequencies(len(formula) for formula in crystals.formulas if formula is not None)
