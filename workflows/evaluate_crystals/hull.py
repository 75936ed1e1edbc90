"""Energies above the convex hull of given phases."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog

from atomsym.core import DataError, InputError
from atomsym.core.elements import atomic_number_of, format_elements
from atomsym.datasets.crystals import KNOWN_CRYSTALS, crystal_file
from atomsym.metrics import reduced_formula
from atomsym.workflows.formula import parse_formula

Composition = Mapping[int, int]

_FORMULAS = ("formula", "pretty_formula", "reduced_formula", "composition")
_ENERGIES = ("formation_energy_per_atom", "energy_per_atom")

LARGEST_ENERGY = 50.0
"""eV/atom; energies beyond it are those of collapsed cells and are not used."""


class Hull:
    """The convex hull of phases, asked composition by composition.

    The energy of the hull at a composition is the least energy of a mixture of phases that has it: a linear program
    over the phases made of the same elements, which is exact and needs no hull in many dimensions.

    Args:
        phases: composition and energy in eV/atom of each.
        formation: whether energies are those of formation, so that elements have zero.

    Raises:
        InputError: if there are no phases or an energy is not finite.
    """

    def __init__(self, phases: Iterable[tuple[Composition, float]], *, formation: bool) -> None:
        lowest: dict[tuple[tuple[int, int], ...], float] = {}
        for composition, energy in phases:
            if not math.isfinite(energy):
                raise InputError(f"the energy of a phase of {format_elements(composition)} is {energy}")
            formula = reduced_formula(composition)
            lowest[formula] = min(energy, lowest.get(formula, math.inf))
        if not lowest:
            raise InputError("a hull needs phases")
        if formation:
            for number in {z for formula in lowest for z, _ in formula}:
                element = ((number, 1),)
                lowest[element] = min(0.0, lowest.get(element, 0.0))
        self.n_phases, self.formation = len(lowest), formation
        self._systems: dict[frozenset[int], list[tuple[dict[int, int], float]]] = defaultdict(list)
        for formula, energy in lowest.items():
            self._systems[frozenset(z for z, _ in formula)].append((dict(formula), energy))

    def energy(self, composition: Composition) -> float:
        """Of the hull, eV/atom; NaN if no mixture of phases has the composition."""
        numbers = sorted(composition)
        phases = self._within(frozenset(numbers))
        fractions = np.array([[phase.get(z, 0) / sum(phase.values()) for z in numbers] for phase, _ in phases])
        wanted = np.array([composition[z] for z in numbers], dtype=np.float64) / sum(composition.values())
        if not phases or not (fractions.max(axis=0) > 0).all():
            return math.nan
        found = linprog([energy for _, energy in phases], A_eq=fractions.T, b_eq=wanted, method="highs")
        return float(found.fun) if found.status == 0 else math.nan

    def distance(self, composition: Composition, energy: float) -> float:
        """Energy above the hull, eV/atom; negative for a phase that is more stable than all mixtures; NaN if unknown.

        Args:
            composition: count by atomic number.
            energy: of the crystal, eV/atom, of the same kind as those of the phases.
        """
        if not abs(energy) <= LARGEST_ENERGY:
            return math.nan
        return energy - self.energy(composition)

    def _within(self, elements: frozenset[int]) -> list[tuple[dict[int, int], float]]:
        if 2 ** len(elements) > len(self._systems):
            systems: Iterable[frozenset[int]] = (system for system in self._systems if system <= elements)
        else:
            members = sorted(elements)
            subsets = (
                frozenset(z for place, z in enumerate(members) if bits >> place & 1)
                for bits in range(2 ** len(members))
            )
            systems = (system for system in subsets if system in self._systems)
        return [phase for system in systems for phase in self._systems[system]]


def read_hull(sources: Sequence[str]) -> Hull:
    """A hull from files of phases.

    Args:
        sources: tables (.csv, .csv.gz, or known sets of crystals) with a formula and ``formation_energy_per_atom`` or
            ``energy_per_atom``; or JSON with a list of pymatgen entries (``composition``, ``energy`` of all atoms and
            optionally ``correction``).

    Raises:
        DataError: if a file cannot be read, has no energies, or formation energies and total energies are mixed.
    """
    phases: list[tuple[Composition, float]] = []
    kinds = set()
    for source in sources:
        kind, found = _read_phases(crystal_file(source) if source in KNOWN_CRYSTALS else Path(source))
        phases += found
        kinds.add(kind)
    if len(kinds) != 1:
        raise DataError("the files of phases hold formation energies and total energies; give one kind")
    return Hull(phases, formation=kinds == {"formation_energy_per_atom"})


def _read_phases(path: Path) -> tuple[str, list[tuple[Composition, float]]]:
    try:
        if path.name.endswith((".json", ".json.gz")):
            data = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
            return "energy_per_atom", [_of_entry(entry) for entry in data]
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
            rows = csv.DictReader(stream)
            names = rows.fieldnames or ()
            formula = next((name for name in _FORMULAS if name in names), None)
            energy = next((name for name in _ENERGIES if name in names), None)
            if formula is None or energy is None:
                raise DataError(f"{path}: needs a formula ({', '.join(_FORMULAS)}) and one of {', '.join(_ENERGIES)}")
            return energy, [(parse_formula(row[formula]), float(row[energy])) for row in rows]
    except (OSError, EOFError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read phases from it: {error}") from error


def _of_entry(entry: Any) -> tuple[Composition, float]:
    counts = entry["composition"]
    composition = (
        parse_formula(counts)
        if isinstance(counts, str)
        else {atomic_number_of(symbol): round(count) for symbol, count in counts.items() if not symbol.startswith("@")}
    )
    total = float(entry["energy"]) + float(entry.get("correction", 0.0))
    return composition, total / sum(composition.values())
