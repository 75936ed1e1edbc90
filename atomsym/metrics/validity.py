"""Formal validity of crystals: are atoms apart, can charges balance?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomsym.metrics.crystals import Crystal, composition_of
from atomsym.metrics.distances import has_volume, shortest_distances
from atomsym.metrics.neutrality import is_charge_balanced

SHORTEST_DISTANCE = 0.5
"""Å; atoms closer than this make a structure invalid. Source: Xie et al., CDVAE, ICLR 2022."""

DISTANCE_FLOOR = 0.65
"""Times the sum of the covalent radii: the stricter rule, which the realisation of protostructures keeps."""

BENCHMARK_FLOOR = 0.5
"""Times 0.7 Å and the sum of Slater's atomic radii: the rule of LeMat-GenBench, arXiv 2512.04562."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Validity:
    """Of each crystal, arrays of shape (n,).

    Attributes:
        cell: whether it has a volume of at least 0.1 Å³ and finite positions.
        distances: whether the cell is one and no two atoms are within 0.5 Å.
        floor: whether no two atoms are within 0.65 times the sum of their covalent radii.
        benchmark: whether no two atoms are within half of 0.7 Å and the sum of their atomic radii. Unlike in the
            benchmark that this rule comes from, cells of one atom can pass, and atoms are compared with own images.
        charges: whether common oxidation states balance.
        shortest: shortest distance, Å, infinite beyond 3.5 Å.
    """

    cell: Flags
    distances: Flags
    floor: Flags
    benchmark: Flags
    charges: Flags
    shortest: NDArray[np.float64]


def validity(
    crystals: Sequence[Crystal], *, balanced: Callable[[Mapping[int, int]], bool] = is_charge_balanced
) -> Validity:
    """Check crystals; nothing that a crystal holds makes it fail.

    Args:
        crystals: what was generated.
        balanced: from the count of each atomic number to whether charges balance.
    """
    found = shortest_distances(crystals)
    cell = np.array([has_volume(crystal) for crystal in crystals], dtype=bool)
    return Validity(
        cell=cell,
        distances=cell & (found.shortest > SHORTEST_DISTANCE),
        floor=cell & (found.relative >= DISTANCE_FLOOR),
        benchmark=cell & (found.clearance >= BENCHMARK_FLOOR),
        charges=np.array([len(c.numbers) > 0 and balanced(composition_of(c)) for c in crystals], dtype=bool),
        shortest=found.shortest,
    )
