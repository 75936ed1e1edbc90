"""Structures a given calculator supports: from a file, from chosen elements, or found by trying."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.data import covalent_radii

from atomsym.core import ConfigError, validate_structure
from atomsym.core.elements import atomic_number_of, symbol_of
from atomsym.core.units import BOLTZMANN
from atomsym.testing.dimers import dimer
from atomsym.testing.geometry import nearest_distance, samples_from_crystal, samples_from_molecules
from atomsym.testing.settings import Samples
from atomsym.testing.structure import Evaluator, Structure
from atomsym.testing.symmetry import random_rotation
from atomsym.workflows.check.ase_evaluator import structure_of
from atomsym.workflows.structures import load_structure

logger = logging.getLogger(__name__)

DEFAULT_ELEMENTS = (
    ("Cu",),
    ("Ar",),
    ("Si",),
    ("H", "O"),
    ("C", "H"),
    ("H", "N"),
    ("C",),
    ("Al",),
    ("Fe",),
    ("Na", "Cl"),
)
MOLECULES = {("H", "O"): "H2O", ("C", "H"): "CH4", ("H", "N"): "NH3", ("C", "H", "O"): "CH3OH", ("C", "O"): "CO2"}
MOLECULE_SPACING = 1.6  # Å between molecules, beyond their size
DIAMOND = {6, 14, 32}
NOBLE = {2, 10, 18, 36, 54, 86}
LARGEST_PAIRS = 10
HOT = 0.39  # k T / cohesive energy of a start that melts
TEMPERATURES = (300.0, 1200.0)  # K, limits of the start


def samples_for(
    evaluator: Evaluator, file: Path | None = None, elements: Sequence[str] | None = None, seed: int = 0
) -> Samples:
    """The set of test structures.

    Args:
        evaluator: the calculator, asked whether it supports an element and where its crystal has lowest energy.
        file: a structure that ASE reads; it replaces the automatic crystal or molecule.
        elements: symbols to use; default what the evaluator declares, or the first of a list that works. Pairs of
            atoms are then those of all elements that it declares.
        seed: for rattling.

    Raises:
        ConfigError: if no element works, or the file cannot be read.
        InputError: if a symbol is not an element.
    """
    rng = np.random.default_rng([seed, 99])
    if file is not None:
        structure = _read(file)
        _require_evaluable(evaluator, structure, file)
        near = nearest_distance(structure)
        numbers = sorted(set(structure.numbers.tolist()))
        make = samples_from_crystal if structure.pbc.any() else samples_from_molecules
        return make(structure, _bonds(numbers, near), rng)
    numbers = sorted({atomic_number_of(symbol) for symbol in elements}) if elements else choose_elements(evaluator)
    symbols = tuple(sorted(symbol_of(z) for z in numbers))
    problem = _problem(evaluator, numbers)
    if problem is not None:
        raise ConfigError(f"{evaluator.name} does not evaluate {', '.join(symbols)} ({problem}); give other --elements")
    if symbols in MOLECULES:
        samples = _molecular_samples(evaluator, MOLECULES[symbols], numbers, rng)
    else:
        crystal = fitted(evaluator, simple_crystal(numbers))
        samples = samples_from_crystal(crystal, _bonds(numbers, nearest_distance(crystal)), rng)
    if elements or evaluator.elements is None:
        return samples
    return replace(samples, pairs=samples.pairs + _other_pairs(numbers, evaluator.elements))


def _require_evaluable(evaluator: Evaluator, structure: Structure, file: Path) -> None:
    """A structure that cannot be evaluated says nothing about the calculator: refuse it before any check."""
    if structure.n_atoms == 0:
        raise ConfigError(f"{file}: the structure has no atoms")
    try:
        validate_structure(structure.positions, structure.numbers, structure.cell, structure.pbc)
        energy = evaluator.evaluate(structure).energy
    except Exception as error:
        raise ConfigError(f"{file}: {evaluator.name} does not evaluate this structure ({error})") from error
    if not np.isfinite(energy):
        raise ConfigError(f"{file}: {evaluator.name} gives the energy {energy} for this structure")


def _read(file: Path) -> Structure:
    try:
        return structure_of(load_structure(str(file)))
    except Exception as error:
        raise ConfigError(f"the structure file {file} cannot be read: {type(error).__name__}: {error}") from error


def choose_elements(evaluator: Evaluator) -> list[int]:
    """Elements to test with: all of a small declared set, else the first default that the calculator evaluates.

    Raises:
        ConfigError: if the calculator evaluates none of the defaults.
    """
    declared = evaluator.elements
    if declared is not None and len(declared) <= 3:
        return sorted(declared)
    last = "no default element is among those it declares"
    for symbols in DEFAULT_ELEMENTS:
        numbers = sorted(atomic_number_of(symbol) for symbol in symbols)
        if declared is not None and not set(numbers) <= set(declared):
            continue
        problem = _problem(evaluator, numbers)
        if problem is None:
            return numbers
        last = f"for {symbols[0]}: {problem}"
    raise ConfigError(f"{evaluator.name} evaluates no default test structure ({last}); give --elements or --structure")


def _problem(evaluator: Evaluator, numbers: Sequence[int]) -> str | None:
    """Why a dimer of these elements cannot be evaluated; None if it can."""
    first, last = numbers[0], numbers[-1]
    try:
        result = evaluator.evaluate(dimer((first, last), 1.1 * float(covalent_radii[first] + covalent_radii[last])))
    except Exception as error:
        logger.debug("dimer of %s refused", numbers, exc_info=True)
        return f"{type(error).__name__}: {error}"
    return None if np.isfinite(result.energy) else "the energy is not finite"


def simple_crystal(numbers: Sequence[int]) -> Structure:
    """Diamond, or a face-centred cubic cell occupied by the elements in turn, with distances from covalent radii."""
    corners = 0.5 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0.0]])
    radius = float(np.mean([covalent_radii[z] * (1.75 if z in NOBLE else 1.0) for z in numbers]))
    if set(numbers) <= DIAMOND:
        positions, edge = np.concatenate([corners, corners + 0.25]), 8 * radius / np.sqrt(3.0)
    else:
        positions, edge = corners, 2 * np.sqrt(2.0) * radius
    occupied = [numbers[i % len(numbers)] for i in range(len(positions))]
    return Structure.of(edge * positions, occupied, edge * np.eye(3))


def fitted(evaluator: Evaluator, crystal: Structure) -> Structure:
    """The crystal scaled to its lowest energy, near its guessed size if there is a minimum; else as it is."""

    def energy(scale: float) -> float:
        return evaluator.evaluate(crystal.transformed(scale * np.eye(3))).energy

    scales = np.geomspace(0.3, 1.8, 61)
    energies = np.array([energy(scale) for scale in scales])
    inner = np.arange(1, len(scales) - 1)
    # The well must be deeper than rounding, or a flat tail would count as one.
    lower = (energies[inner] < energies[inner - 1]) & (energies[inner] < energies[inner + 1])
    minima = inner[lower & (energies[-1] - energies[inner] > 1e-6 * abs(energies[-1]) + 1e-9)]
    usual = [i for i in minima if 0.7 < scales[i] < 1.4]
    candidates = usual or list(minima)
    if not candidates:
        return crystal
    best = min(candidates, key=lambda i: energies[i])
    low, high = scales[best - 1], scales[best + 1]
    for _ in range(25):
        a, b = low + 0.382 * (high - low), high - 0.382 * (high - low)
        low, high = (low, b) if energy(a) < energy(b) else (a, high)
    return crystal.transformed(0.5 * (low + high) * np.eye(3))


def _bonds(numbers: Sequence[int], near: float) -> list[tuple[int, int, float]]:
    """Element pairs with typical distances: covalent radii, scaled so that the closest pair has ``near``."""
    radii = {z: float(covalent_radii[z]) for z in numbers}
    pairs = list(combinations_with_replacement(sorted(numbers), 2))[:LARGEST_PAIRS]
    scale = near / float(np.mean([radii[a] + radii[b] for a, b in pairs]))
    return [(a, b, scale * (radii[a] + radii[b])) for a, b in pairs]


def _other_pairs(numbers: Sequence[int], declared: Sequence[int]) -> tuple[tuple[int, int, float], ...]:
    """Pairs of declared elements that are not all among ``numbers``, at the sums of their covalent radii."""
    pairs = combinations_with_replacement(sorted(declared), 2)
    return tuple((a, b, float(covalent_radii[a] + covalent_radii[b])) for a, b in pairs if not {a, b} <= set(numbers))


def _molecular_samples(evaluator: Evaluator, name: str, numbers: Sequence[int], rng: np.random.Generator) -> Samples:
    """One kind of molecule: two of them as the cluster, and a periodic box of eight where that can be evaluated."""
    single = structure_of(molecule(name))
    spacing = float(np.ptp(single.positions, axis=0).max()) + MOLECULE_SPACING
    places = spacing * np.array([(i, j, k) for i in range(2) for j in range(2) for k in range(2)], dtype=np.float64)
    positions = np.concatenate([single.positions @ random_rotation(rng).T + place for place in places])
    box = Structure.of(positions, np.tile(single.numbers, 8), 2 * spacing * np.eye(3))
    pair = Structure.of(box.positions[: 2 * single.n_atoms], box.numbers[: 2 * single.n_atoms])
    bonds = [(a, b, float(covalent_radii[a] + covalent_radii[b])) for a, b in combinations_with_replacement(numbers, 2)]
    try:
        evaluator.evaluate(box)
    except Exception:
        logger.debug("no periodic box of %s", name, exc_info=True)
        return samples_from_molecules(pair, bonds, rng)
    made = samples_from_crystal(box, bonds, rng)
    return Samples(
        cluster=samples_from_molecules(pair, bonds, rng).cluster, bulk=made.bulk, skewed=made.skewed,
        crystal=None, dynamics=box, dense=made.dense, shapes=made.shapes, pairs=made.pairs,
    )  # fmt: skip


def start_temperature(evaluator: Evaluator, samples: Samples) -> float:
    """A hot start for dynamics, K: enough to melt weak crystals, at most 1200 K for strong ones."""
    structure = samples.dynamics
    if structure is None:
        return TEMPERATURES[0]
    if not structure.pbc.any() or 1 in structure.numbers:
        return 2 * TEMPERATURES[0]
    try:
        atoms = sum(
            evaluator.evaluate(Structure.of(np.zeros((1, 3)), [int(z)])).energy * int((structure.numbers == z).sum())
            for z in set(structure.numbers.tolist())
        )
        cohesive = (atoms - evaluator.evaluate(structure).energy) / structure.n_atoms
    except Exception:
        logger.debug("no energy of single atoms", exc_info=True)
        return 2 * TEMPERATURES[0]
    return float(np.clip(HOT * cohesive / BOLTZMANN, *TEMPERATURES))
