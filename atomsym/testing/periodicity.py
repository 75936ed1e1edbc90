"""F-4 periodic images and F-5 extensivity: any image of an atom will do, and N copies have N times the energy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from atomsym.testing import tolerances
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, Evaluator, Structure
from atomsym.testing.symmetry import largest

FRAGMENT_DISTANCE = 40.0  # Å between the fragments of F-5


def check_images(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-4: an atom replaced by its image a few cells away; all coordinates negative; unwrapped by 1000 cells."""
    rng = settings.generator(4)
    near, far = settings.bound(tolerances.IMAGE_SHIFT), settings.bound(tolerances.IMAGE_SHIFT_FAR)
    measurements = []
    for name, structure in _periodic(samples):
        shifts_of: dict[str, tuple[list[Array], float]] = {
            "one atom moved by 1 … 5 lattice vectors": (_single_shifts(structure, rng), near),
            "all coordinates negative": ([np.broadcast_to(_below_zero(structure), (structure.n_atoms, 3))], near),
            "atoms unwrapped by 1000 cells": ([rng.integers(-1000, 1001, (structure.n_atoms, 3)).astype(np.float64)], far),
        }
        reference = evaluator.evaluate(structure)
        for what, (shifts, bound) in shifts_of.items():
            energy_error = force_error = 0.0
            for shift in shifts:
                moved = evaluator.evaluate(structure.moved(structure.positions + shift @ structure.cell))
                energy_error = max(energy_error, abs(moved.energy - reference.energy) / structure.n_atoms)
                force_error = max(force_error, largest(moved.forces - reference.forces))
            measurements += [
                Measurement(f"{name}, {what}: energy change", energy_error, bound, "eV/atom"),
                Measurement(f"{name}, {what}: force change", force_error, 10 * bound, "eV/Å"),
            ]
    return Finding(measurements, "It makes no difference which periodic image of an atom is given.")


def _single_shifts(structure: Structure, rng: np.random.Generator) -> list[Array]:
    shifts = []
    for count in (1, 2, 3, 4, 5):
        for sign in (1, -1):
            shift = np.zeros((structure.n_atoms, 3))
            direction = rng.integers(-1, 2, 3) * structure.pbc
            if not direction.any():
                direction = structure.pbc.astype(np.int64)
            shift[rng.integers(structure.n_atoms)] = sign * count * direction
            shifts.append(shift)
    return shifts


def _below_zero(structure: Structure) -> Array:
    """Integer translation that makes every fractional coordinate negative."""
    fractional = np.linalg.solve(structure.cell.T, structure.positions.T).T
    return -np.ceil(fractional.max(axis=0) + 1.0)


def _periodic(samples: Samples) -> list[tuple[str, Structure]]:
    periodic = [(name, structure) for name, structure in samples.small() if structure.periodic]
    if not periodic:
        raise NotApplicableError("the calculator has no periodic test structure")
    return periodic


def check_extensivity(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-5: k × l × m supercells, and two fragments far apart."""
    bound = settings.bound(tolerances.EXTENSIVITY)
    measurements = []
    counts_of = {"bulk": ((2, 1, 1), (1, 2, 3)), "skewed": ((1, 1, 2),)}
    for kind, counts_list in counts_of.items():
        cell = samples.bulk if kind == "bulk" else samples.skewed
        if cell is None or not cell.periodic:
            continue
        single = evaluator.evaluate(cell)
        for counts in counts_list:
            copies = int(np.prod(counts))
            large = evaluator.evaluate(cell.repeated(counts))
            energy_error = abs(large.energy / copies - single.energy) / cell.n_atoms
            label = "×".join(str(count) for count in counts) + f" supercell of the {kind} crystal"
            force_error = largest(large.forces - np.tile(single.forces, (copies, 1)))
            measurements += [
                Measurement(f"{label}: energy change", energy_error, bound, "eV/atom"),
                Measurement(f"{label}: force change", force_error, settings.bound(tolerances.ROTATION_FORCES), "eV/Å"),
            ]
    measurements += _fragments(evaluator, samples, bound)
    if not measurements:
        raise NotApplicableError("the calculator has neither a periodic nor a finite test structure")
    return Finding(
        measurements, "Supercells and distant fragments have exactly the sum of the energies of their parts."
    )


def _fragments(evaluator: Evaluator, samples: Samples, bound: float) -> list[Measurement]:
    one = samples.cluster
    if one is None:
        return []
    distance = max(FRAGMENT_DISTANCE, 1.5 * (evaluator.cutoff or 0.0))
    size = float(np.ptp(one.positions, axis=0).max())
    other = replace(one.copy(), positions=one.positions[:, [1, 2, 0]])
    apart = other.moved(other.positions + np.array([distance + 2 * size, 0.0, 0.0]))
    both = evaluator.evaluate(one.joined(apart)).energy
    parts = evaluator.evaluate(one).energy + evaluator.evaluate(apart).energy
    name = f"two fragments {distance:.0f} Å apart: deviation from the sum"
    return [Measurement(name, abs(both - parts) / (2 * one.n_atoms), bound, "eV/atom")]
