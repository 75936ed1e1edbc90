"""The phases that generated crystals compete with, relaxed by the same calculator as these."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

from ase.calculators.calculator import BaseCalculator

from atomsym.core import DataError
from atomsym.core.elements import symbol_of
from atomsym.datasets.crystals import CrystalRecord
from atomsym.metrics import composition_of
from atomsym.symmetry.wyckoff.table import N_GROUPS
from atomsym.workflows.evaluate_crystals.hull import LARGEST_ENERGY, Hull
from atomsym.workflows.evaluate_generators.samples import Progress, entry_of
from atomsym.workflows.evaluate_generators.settings import EvaluateGeneratorsSettings
from atomsym.workflows.generate.entry import Entry
from atomsym.workflows.generate.ranking import element_entries
from atomsym.workflows.generate.relaxation import relax_entry
from atomsym.workflows.journal import LABELS, Journal

ENERGY = "formation_energy_per_atom"


@dataclass(frozen=True)
class Phase:
    """A relaxed phase.

    Attributes:
        source: identifier of the known crystal, or space group of the simple crystal of an element.
        composition: count by atomic number.
        energy: eV/atom.
    """

    source: str
    composition: dict[int, int]
    energy: float


def competing(crystals: Sequence[CrystalRecord], systems: Iterable[frozenset[int]], margin: float) -> list[int]:
    """Which known crystals may be on the hull of some chemical systems.

    Those of their elements whose known formation energy is at most ``margin`` above the hull of all formation energies.

    Args:
        crystals: with the property ``formation_energy_per_atom``; those without it are left out.
        systems: sets of elements.
        margin: eV/atom.

    Raises:
        DataError: if no crystal has a formation energy.
    """
    wanted: set[frozenset[int]] = set()
    for system in systems:
        members = sorted(system)
        wanted.update(frozenset(part) for size in range(1, len(members) + 1) for part in combinations(members, size))
    known = [index for index, crystal in enumerate(crystals) if abs(crystal.properties.get(ENERGY, 1e9)) < 1e3]
    if not known:
        raise DataError(f"no known crystal has a {ENERGY}: there are no phases for a hull")
    compositions = {index: composition_of(crystals[index]) for index in known}
    hull = Hull([(compositions[index], crystals[index].properties[ENERGY]) for index in known], formation=True)
    return [
        index
        for index in known
        if frozenset(compositions[index]) in wanted
        and hull.distance(compositions[index], crystals[index].properties[ENERGY]) <= margin
    ]


def relaxed_phases(
    crystals: Sequence[CrystalRecord],
    systems: Sequence[frozenset[int]],
    folder: Path,
    settings: EvaluateGeneratorsSettings,
    calculator: Callable[[], BaseCalculator],
    progress: Progress,
) -> list[Phase]:
    """Relax the competing phases of chemical systems and simple crystals of their elements; failures are left out.

    Args:
        crystals: known ones, always the same in the same order.
        systems: sets of elements.
        folder: that exists; what it has is not done again.
        settings: of the evaluation.
        calculator: called before the first relaxation.
        progress: is told the stage, what is done of it and of how much.

    Raises:
        DataError: as ``competing``; or if the folder has phases of other crystals.
    """
    evaluate, generation = calculator(), settings.generation()

    def relaxed(journal: Journal, index: int, before: Callable[[], Entry]) -> Entry:
        if index not in journal:
            journal.append(index, LABELS, relax_entry(before(), evaluate, generation).to_text().encode())
        return Entry.from_text(journal.content(index).decode())

    phases = []
    chosen = competing(crystals, systems, settings.margin)
    with Journal(folder / "phases.journal") as journal:
        for done, index in enumerate(chosen):
            progress("relaxing phases", done, len(chosen))
            entry = relaxed(journal, index, partial(entry_of, crystals[index]))
            composition = composition_of(crystals[index])
            if entry.crystal is not None and set(entry.protostructure.composition) != set(composition):
                raise DataError(f"{folder} holds phases of other crystals; choose another folder with --output")
            phases += _phase(crystals[index].identifier, composition, entry)
    simple = element_entries(frozenset().union(*systems), settings.seed)
    with Journal(folder / "elements.journal") as journal:
        for done, before in enumerate(simple):
            progress("relaxing elements", done, len(simple))
            z, group = before.protostructure.elements[0], before.protostructure.space_group
            entry = relaxed(journal, z * (N_GROUPS + 1) + group, partial(Entry.with_, before))
            phases += _phase(str(before.protostructure), {z: 1}, entry)
    return phases


def hull_of(phases: Sequence[Phase]) -> Hull:
    """Of energies of the calculator."""
    return Hull([(phase.composition, phase.energy) for phase in phases], formation=False)


def phases_as_csv(phases: Sequence[Phase]) -> str:
    """As ``atomsym evaluate-crystals --hull`` takes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "formula", "energy_per_atom"])
    for phase in phases:
        formula = "".join(f"{symbol_of(z)}{count}" for z, count in phase.composition.items())
        writer.writerow([phase.source, formula, f"{phase.energy:.6f}"])
    return text.getvalue()


def _phase(source: str, composition: dict[int, int], entry: Entry) -> list[Phase]:
    if entry.energy is None or entry.note or not abs(entry.energy) <= LARGEST_ENERGY:
        return []
    return [Phase(source, composition, entry.energy)]
