"""Which relaxed crystals are the same: different protostructures may relax into one and the same minimum."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomsym.metrics import reduced_formula
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.evaluate_crystals.structure_matching import CrystalMatcher
from atomsym.workflows.generate.ranking import Ranked

ENERGY_WINDOW = 0.02
"""eV/atom; crystals whose energies differ more are not compared."""


@dataclass(frozen=True, eq=False)
class _Geometry:
    cell: NDArray[np.float64]
    fractional_positions: NDArray[np.float64]
    numbers: NDArray[np.int64]


def same_as(ranked: Sequence[Ranked]) -> list[int | None]:
    """For each crystal the place, from 0, of the first one before it that is the same; None if there is none.

    Crystals of one formula and nearly the same energy are compared by pymatgen's matcher of structures with its usual
    tolerances; those without energies are the same as no other.

    Args:
        ranked: in their order.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
    """
    found: list[int | None] = [None] * len(ranked)
    places = [place for place, each in enumerate(ranked) if each.formation_energy is not None]
    geometries = [_geometry(ranked[place]) for place in places]
    matcher = CrystalMatcher(geometries, geometries, EvaluationSettings())
    firsts: dict[object, list[int]] = defaultdict(list)  # by formula, crystals that are the same as none before
    for index, place in enumerate(places):
        known = firsts[reduced_formula(ranked[place].entry.protostructure.composition)]
        for other in known:
            if _near(ranked[places[other]], ranked[place]) and matcher.same(other, index):
                found[place] = places[other]
                break
        else:
            known.append(index)
    return found


def _near(first: Ranked, second: Ranked) -> bool:
    a, b = first.formation_energy, second.formation_energy
    return a is not None and b is not None and abs(a - b) <= ENERGY_WINDOW


def _geometry(each: Ranked) -> _Geometry:
    atoms = each.entry.atoms
    assert atoms is not None  # it has an energy
    return _Geometry(np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers.astype(np.int64))
