"""Two atoms on a line: where they stop to feel each other, and F-18, what they do when pressed together."""

from __future__ import annotations

import math

import numpy as np

from atomsym.core.elements import symbol_of
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError, NotFiniteError
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, Evaluator, Structure

SCAN = (0.3, 6.0)  # Å, F-18
BELOW_CONTACT = 0.6  # × the bond length: closer than this, atoms must repel
ALLOWED_HOLE = 1.0  # eV below the minimum
ALLOWED_RISE = 1e-6  # relative: an energy that rises with distance by more is attraction
FARTHEST_CUTOFF = 20.0  # Å
COARSE_STEP = 0.25  # Å
MOST_PAIRS = (36, 120)  # of elements, quick and thorough: all there are for eight and fifteen elements


def dimer(numbers: tuple[int, int], distance: float) -> Structure:
    """Two atoms along an oblique line (axes would hide mistakes in the components)."""
    direction = np.array([0.36, 0.48, 0.8])
    return Structure.of(np.array([np.zeros(3), distance * direction]), numbers)


def radial_force(evaluator: Evaluator, numbers: tuple[int, int], distance: float) -> tuple[float, float]:
    """Energy and −dE/dr of a dimer."""
    structure = dimer(numbers, distance)
    result = evaluator.evaluate(structure)
    axis = structure.positions[1] / distance
    return result.energy, float(result.forces[1] @ axis)


def find_cutoff(evaluator: Evaluator, numbers: tuple[int, int], farthest: float = FARTHEST_CUTOFF) -> float | None:
    """The distance in Å beyond which a dimer has constant energy and no force; None if it is not below ``farthest``."""
    far = [radial_force(evaluator, numbers, r) for r in (1.5 * farthest, 1.7 * farthest)]
    force_floor = max(abs(force) for _, force in far)
    energy_floor = abs(far[0][0] - far[1][0]) + 1e-13 * abs(far[0][0])

    def interacts(distance: float) -> bool:
        energy, force = radial_force(evaluator, numbers, distance)
        return abs(force) > force_floor or abs(energy - far[0][0]) > energy_floor

    grid = np.arange(farthest, 0.5, -COARSE_STEP)
    inside = next((r for r in grid if interacts(r)), None)
    if inside is None or inside == grid[0]:
        return None
    outside = inside + COARSE_STEP
    while outside - inside > 1e-12 * outside:
        middle = 0.5 * (inside + outside)
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if interacts(middle) else (inside, middle)
    return float(outside)


def check_dimers(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-18: energies from 0.3 to 6 Å are finite, repulsive below contact, and have no hole."""
    if not samples.pairs:
        raise NotApplicableError("no supported element is known")
    distances = np.linspace(*SCAN, 229 if settings.thorough else 115)
    measurements: list[Measurement] = []
    curves = {}
    pairs = _spread(samples.pairs, MOST_PAIRS[settings.thorough])
    for first, second, bond in pairs:
        name = f"{symbol_of(first)}–{symbol_of(second)}"
        energies = np.array([_energy_or_nan(evaluator, (first, second), r) for r in distances])
        curves[name] = {"energies": energies.tolist(), "bond": bond}
        measurements += _judge(name, distances, energies, bond)
    which = "All pairs" if len(pairs) == len(samples.pairs) else f"{len(pairs)} of {len(samples.pairs)} pairs"
    good = f"{which} of elements repel each other when pressed together, with finite energies and without a hole."
    return Finding(measurements, good, data={"distances": distances.tolist(), "curves": curves})


def _spread(pairs: tuple[tuple[int, int, float], ...], most: int) -> tuple[tuple[int, int, float], ...]:
    """At most so many, evenly from the list, so that models of the whole periodic table are looked at everywhere."""
    if len(pairs) <= most:
        return pairs
    return tuple(pairs[i] for i in np.linspace(0, len(pairs) - 1, most).round().astype(int))


def _energy_or_nan(evaluator: Evaluator, numbers: tuple[int, int], distance: float) -> float:
    try:
        return radial_force(evaluator, numbers, distance)[0]
    except NotFiniteError:
        return math.nan


def _judge(name: str, distances: Array, energies: Array, bond: float) -> list[Measurement]:
    infinite = int(np.count_nonzero(~np.isfinite(energies)))
    found = [Measurement(f"{name}: distances without a finite energy", infinite, 0, "")]
    close = distances < BELOW_CONTACT * bond
    if infinite or close.sum() < 2 or close.all():
        return found
    hole = float(energies[~close].min() - energies[close].min())
    rise = float(np.diff(energies[close]).max() / np.ptp(energies[~close]).clip(1e-12))
    return [
        *found,
        Measurement(f"{name}: depth of a hole at short distance", max(hole, 0.0), ALLOWED_HOLE, "eV"),
        Measurement(f"{name}: attraction below contact, relative", max(rise, 0.0), ALLOWED_RISE, ""),
    ]
