"""F-11: energy, forces and their derivatives have no jump where a neighbor enters.

A neighbor moves along t through the cutoff at t = 0. On each side a polynomial goes through values at t = ±k s,
k = 1 … 9, and gives the one-sided limits of E, F, dF/dt and d²F/dt² at t = 0. The smallest difference of the limits
over several s is the jump, relative to the largest value that the quantity has between the bond length and the cutoff.
In single precision only E and F are judged, and the rounding noise of the limits is their stated uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from atomsym.core.elements import symbol_of
from atomsym.testing import tolerances
from atomsym.testing.dimers import dimer, find_cutoff, radial_force
from atomsym.testing.geometry import nearest_distance
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.precision import energy_noise, force_noise
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, Evaluator, Structure

STEPS = (0.015, 0.008, 0.004, 0.002, 0.001)  # Å
STEPS_SINGLE = (0.015, 0.005)  # the noise of a limit, unlike that of a derivative, does not grow for small steps
POINTS, DEGREE, DEGREE_SINGLE = 9, 6, 3
NOISE_BESIDE = 0.5  # Å outside the cutoff, where rounding noise is measured
NOISE_FACTOR = 3.0  # largest of many components against their root mean square
WINDOW_OF_CROSSING = 0.3  # Å around the cutoff without another atom
WINDOW = 0.05  # Å on each side, for the plot
NAMES = ("energy", "force", "Hessian", "third derivative")
LARGEST_PAIR_COUNT = 3


@dataclass(frozen=True)
class Curve:
    """A dimer between its bond length and the cutoff: the scale of each quantity there."""

    numbers: tuple[int, int]
    cutoff: float
    scales: tuple[float, float, float, float]


def check_cutoff(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-11 for a dimer of each element pair and for an atom beside a cluster."""
    if not samples.pairs:
        raise NotApplicableError("no supported element is known")
    curves = []
    for first, second, _ in samples.pairs[:LARGEST_PAIR_COUNT]:
        cutoff = settings.cutoff or find_cutoff(evaluator, (first, second)) or evaluator.cutoff
        if cutoff is not None:
            curves.append(_curve(evaluator, (first, second), cutoff))
    if not curves:
        raise NotApplicableError("no cutoff was found below 20 Å; give it with --cutoff")
    measurements = []
    for curve in curves:
        name = f"{symbol_of(curve.numbers[0])}–{symbol_of(curve.numbers[1])} dimer at {curve.cutoff:.4g} Å"

        def along(t: float, curve: Curve = curve) -> Structure:
            return dimer(curve.numbers, curve.cutoff + t)

        measurements += _judge(name, along, curve, evaluator, settings)
    if samples.cluster is not None:
        path = crossing_path(samples.cluster, curves[0], settings.generator(11))
        if path is not None:
            measurements += _judge("atom beside a cluster", path, curves[0], evaluator, settings)
    good = f"Nothing jumps where a neighbor crosses the cutoff at {curves[0].cutoff:.4g} Å."
    return Finding(measurements, good, _diagnose(measurements, curves[0].cutoff), _plot_data(evaluator, curves[0]))


def _curve(evaluator: Evaluator, numbers: tuple[int, int], cutoff: float) -> Curve:
    """Scales from a dimer, the distance of lowest energy being the inner end."""
    distances = np.linspace(0.25 * cutoff, cutoff, 91)[:-1]
    energies, forces = np.array([radial_force(evaluator, numbers, r) for r in distances]).T
    far = radial_force(evaluator, numbers, 1.5 * cutoff)[0]
    lowest = min(int(np.argmin(energies)), len(distances) // 2)
    first = np.gradient(forces, distances)
    second = np.gradient(first, distances)
    quantities = (energies - far, forces, first, second)
    scales = [max(float(np.abs(values[lowest:]).max()), 1e-12) for values in quantities]
    return Curve(numbers, cutoff, (scales[0], scales[1], scales[2], scales[3]))


def _values(evaluator: Evaluator, structure: Structure) -> Array:
    """Energy first, then all force components."""
    result = evaluator.evaluate(structure)
    return np.concatenate([[result.energy], result.forces.ravel()])


def _jumps(function: Callable[[float], Array], settings: Settings) -> Array:
    """Jumps of E, F, dF/dt, d²F/dt² at t = 0, shape (4,), smallest over the steps."""
    found = []
    for step in STEPS_SINGLE if settings.single_precision else STEPS:
        degree = DEGREE_SINGLE if settings.single_precision else DEGREE
        outside, inside = (one_sided_limits(function, sign * step, degree) for sign in (1.0, -1.0))
        difference = np.abs(outside - inside)
        found.append([difference[0, 0], *difference[:, 1:].max(axis=1)])
    return np.array(found).min(axis=0)


def one_sided_limits(function: Callable[[float], Array], step: float, degree: int = DEGREE) -> Array:
    """Value, first and second derivative at t → 0 from the side of ``step``, shape (3, n)."""
    k = np.arange(1, POINTS + 1, dtype=np.float64)
    values = np.array([function(i * step) for i in k])
    coefficients = np.linalg.pinv(np.vander(k, degree + 1, increasing=True)) @ values
    return np.array([coefficients[0], coefficients[1] / step, 2.0 * coefficients[2] / step**2])


def crossing_path(cluster: Structure, curve: Curve, rng: np.random.Generator) -> Callable[[float], Structure] | None:
    """An extra atom that crosses the cutoff sphere of one cluster atom only; t is their distance − cutoff."""
    window = WINDOW_OF_CROSSING
    closest = 0.9 * nearest_distance(cluster)
    centres = np.flatnonzero(cluster.numbers == curve.numbers[0])
    if len(centres) == 0:
        return None
    for _ in range(5000):
        centre = cluster.positions[rng.choice(centres)]
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        place = centre + curve.cutoff * direction
        distances = np.sort(np.linalg.norm(cluster.positions - place, axis=1))
        near = np.count_nonzero(np.abs(distances - curve.cutoff) < window)
        if near == 1 and closest < distances[0] < curve.cutoff - window:
            break
    else:
        return None

    def path(t: float, centre: Array = centre, direction: Array = direction) -> Structure:
        probe = Structure.of((centre + (curve.cutoff + t) * direction)[None], [curve.numbers[1]])
        return cluster.joined(probe)

    return path


def _judge(
    name: str, path: Callable[[float], Structure], curve: Curve, evaluator: Evaluator, settings: Settings
) -> list[Measurement]:
    single = settings.single_precision
    jumps = _jumps(lambda t: _values(evaluator, path(t)), settings)
    noise = rounding_of_limits(evaluator, path(NOISE_BESIDE)) if single else (0.0,) * 4
    found = []
    for level in range(2 if single else 4):
        tolerance = tolerances.CUTOFF_THIRD_DERIVATIVE if level == 3 else tolerances.CUTOFF_JUMP
        value, uncertainty = float(jumps[level]) / curve.scales[level], noise[level] / curve.scales[level]
        advisory = level == 3 and "hessian" not in evaluator.properties
        label = f"{name}: relative {NAMES[level]} jump"
        found.append(
            Measurement(label, value, settings.bound(tolerance), "", advisory=advisory, uncertainty=uncertainty)
        )
    return found


def rounding_of_limits(evaluator: Evaluator, structure: Structure) -> tuple[float, float]:
    """How far rounding alone moves the difference of the one-sided limits of E (eV) and F (eV/Å)."""
    k = np.arange(1, POINTS + 1, dtype=np.float64)
    weights = np.linalg.pinv(np.vander(k, DEGREE_SINGLE + 1, increasing=True))[0]
    factor = NOISE_FACTOR * float(np.linalg.norm(weights)) * np.sqrt(2.0)
    forces = np.abs(evaluator.evaluate(structure).forces).max()
    return factor * energy_noise(evaluator, structure), float(factor * forces * force_noise(evaluator, structure))


def _diagnose(measurements: list[Measurement], cutoff: float) -> str:
    """Name every derivative that jumps, from the energy upwards."""
    jumps = []
    for name in NAMES:
        sizes = [m.value for m in measurements if f"relative {name} jump" in m.name and not m.passed]
        if sizes:
            jumps.append(f"{name} (by {max(sizes):.0e} of its largest value)")
    if not jumps:
        return ""
    listed = jumps[0] if len(jumps) == 1 else ", ".join(jumps[:-1]) + " and " + jumps[-1]
    return f"Where a neighbor crosses {cutoff:.4g} Å, these jump: {listed}."


def _plot_data(evaluator: Evaluator, curve: Curve) -> dict[str, object]:
    offsets = np.linspace(-WINDOW, WINDOW, 101)
    values = np.array([radial_force(evaluator, curve.numbers, curve.cutoff + t) for t in offsets])
    far = radial_force(evaluator, curve.numbers, 1.5 * curve.cutoff)[0]
    return {
        "cutoff": curve.cutoff,
        "offsets": offsets.tolist(),
        "energy": (values[:, 0] - far).tolist(),
        "force": values[:, 1].tolist(),
        "scales": list(curve.scales),
    }
