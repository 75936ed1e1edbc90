"""Which of the crystals are likely to exist: energies with respect to the elements and to the others of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atomsym.generators.realisation import simple_crystals
from atomsym.workflows.evaluate_crystals.hull import Hull
from atomsym.workflows.generate.entry import Entry


@dataclass(frozen=True)
class Ranked:
    """A crystal with its place.

    Attributes:
        entry: the crystal.
        index: in the order of the draws.
        formation_energy: with respect to the best simple crystals of its elements, eV/atom; None if not known.
        above_hull: energy above the lower convex hull of the run's crystals and those of the elements, eV/atom.
    """

    entry: Entry
    index: int
    formation_energy: float | None = None
    above_hull: float | None = None


def element_entries(elements: Iterable[int], seed: int) -> list[Entry]:
    """Crystals of each element to be relaxed as references; the same seed gives the same ones."""
    return [
        Entry(made.crystal.protostructure, 0.0, contact=made.contact, crystal=made.crystal)
        for z in sorted(set(elements))
        for made in simple_crystals(z, seed=seed)
    ]


def rank(entries: Sequence[Entry], references: Sequence[Entry]) -> list[Ranked]:
    """The best first: by the energy above the hull, then crystals without energies by the likelihood of their draw.

    Crystals that failed are last.
    """
    formation, above = _energies(entries, references)
    ranked = [
        Ranked(entry, index, energy, hull)
        for index, (entry, energy, hull) in enumerate(zip(entries, formation, above, strict=True))
    ]
    return sorted(ranked, key=_place)


def _place(each: Ranked) -> tuple[bool, bool, float, float]:
    entry = each.entry
    hull = each.above_hull
    return entry.crystal is None or bool(entry.note), hull is None, hull or 0.0, -entry.log_likelihood


def _energies(entries: Sequence[Entry], references: Sequence[Entry]) -> tuple[list[float | None], list[float | None]]:
    """Formation energies and energies above the hull, None where they are not known."""
    elements: dict[int, float] = {}
    for each in references:
        energy = _known_energy(each)
        if energy is not None:
            z = each.protostructure.elements[0]
            elements[z] = min(energy, elements.get(z, np.inf))
    formation: list[float | None] = []
    for each in entries:
        energy, counts = _known_energy(each), each.protostructure.composition
        known = energy is not None and set(counts) <= set(elements)
        parts = sum(count * elements[z] for z, count in counts.items()) / each.protostructure.n_atoms if known else 0.0
        formation.append(energy - parts if energy is not None and known else None)
    compositions = [each.protostructure.composition for each in entries]
    phases = [(counts, energy) for counts, energy in zip(compositions, formation, strict=True) if energy is not None]
    if not phases:
        return formation, list(formation)
    hull = Hull(phases, formation=True)
    above = [
        None if energy is None else max(0.0, round(hull.distance(counts, energy), 9))  # of phases that are in it
        for counts, energy in zip(compositions, formation, strict=True)
    ]
    return formation, above


def _known_energy(entry: Entry) -> float | None:
    """eV/atom; None if there is none or the crystal failed."""
    usable = entry.energy is not None and np.isfinite(entry.energy) and not entry.note
    return entry.energy if usable else None
