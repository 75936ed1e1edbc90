"""Which of the crystals are likely to exist: energies with respect to the elements and to the others of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atomsym.core.elements import symbol_of
from atomsym.generators.realisation import realise
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.workflows.generate.entry import Entry

ELEMENT_PROTOTYPES = (
    (225, "a"),  # face-centred cubic
    (229, "a"),  # body-centred cubic
    (194, "c"),  # hexagonal close packing
    (227, "a"),  # diamond
    (221, "a"),  # simple cubic
    (166, "c"),  # arsenic
    (205, "c"),  # molecules of two atoms, as in α-N₂
)
"""Space group and letter of simple crystals of elements."""


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
    found = []
    for z in sorted(set(elements)):
        for group, letter in ELEMENT_PROTOTYPES:
            structure = Protostructure(group, ((z, letter),))
            made = realise(structure, generator=np.random.default_rng([seed, z, group]))
            found.append(Entry(structure, 0.0, contact=made.contact, crystal=made.crystal))
    return found


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
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    none: list[float | None] = [None] * len(entries)
    elements: dict[int, float] = {}
    for each in references:
        if each.energy is not None and not each.note:
            z = each.protostructure.elements[0]
            elements[z] = min(each.energy, elements.get(z, np.inf))
    known = [
        i
        for i, each in enumerate(entries)
        if _has_energy(each) and set(each.protostructure.composition) <= set(elements)
    ]
    if not known:
        return none, list(none)
    formation, above = list(none), list(none)
    phases = {i: PDEntry(Composition(_formula(entries[i])), _total(entries[i])) for i in known}
    simple = [PDEntry(Composition(symbol_of(z)), energy) for z, energy in elements.items()]
    diagram = PhaseDiagram([*phases.values(), *simple])
    for i in known:
        counts = entries[i].protostructure.composition
        n_atoms = sum(counts.values())
        parts = sum(count * elements[z] for z, count in counts.items())
        formation[i] = (_total(entries[i]) - parts) / n_atoms
        above[i] = float(diagram.get_e_above_hull(phases[i]))
    return formation, above


def _has_energy(entry: Entry) -> bool:
    return entry.energy is not None and np.isfinite(entry.energy) and not entry.note


def _total(entry: Entry) -> float:
    assert entry.energy is not None
    return entry.energy * entry.protostructure.n_atoms


def _formula(entry: Entry) -> dict[str, int]:
    return {symbol_of(z): count for z, count in entry.protostructure.composition.items()}
