"""F-7 forces, F-8 stress and F-9 Jacobian symmetry: what is returned is the derivative of what is returned.

All derivatives are five-point central differences, f'(x) ≈ [8 (f(h) − f(−h)) − (f(2h) − f(−2h))] / 12h, and the
smallest error over several steps h counts: truncation makes large steps wrong, rounding small ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from atomsym.testing import tolerances
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.precision import energy_noise
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, DoublePrecisionEvaluator, Evaluator, Structure
from atomsym.testing.symmetry import require_some

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
FORCE_STEPS = (1e-3, 2e-4)  # Å; the second one steps over a kink that the first one hits
FORCE_STEPS_SINGLE = (1e-1, 5e-2, 2e-2, 1e-2)
PLOT_STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
STRAIN_STEPS = (1e-4, 1e-5)
STRAIN_STEPS_SINGLE = (3e-2, 1e-2, 3e-3)
JACOBIAN_STEPS = (1e-1, 1e-2, 1e-3, 1e-4)


def five_point(function: Callable[[float], Array], step: float) -> Array:
    """Derivative at zero; error O(step⁴)."""
    inner = function(step) - function(-step)
    outer = function(2 * step) - function(-2 * step)
    return (8.0 * inner - outer) / (12.0 * step)


def check_forces(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-7: forces against differences of the energy, at least 30 random coordinates."""
    inner = getattr(evaluator, "inner", evaluator)
    if settings.single_precision and isinstance(inner, DoublePrecisionEvaluator):
        return _against_double_precision(evaluator, inner.in_float64(), samples, settings)
    rng = settings.generator(7)
    structures = require_some(samples)
    count = -(-(90 if settings.thorough else 30) // len(structures))
    steps = FORCE_STEPS_SINGLE if settings.single_precision else FORCE_STEPS
    bound = settings.bound(tolerances.FINITE_DIFFERENCE_FORCES)
    measurements, kinks = [], 0
    for name, structure in structures:
        forces = evaluator.evaluate(structure).forces
        errors = []
        for _ in range(max(count, 10)):
            atom, axis = int(rng.integers(structure.n_atoms)), int(rng.integers(3))
            tried = []
            for step in steps:
                tried.append(_force_error(evaluator, structure, forces, (atom, axis), step))
                if tried[-1] <= bound:
                    break
            kinks += len(tried) > 1 and tried[-1] <= bound
            errors.append(min(tried))
        measurements.append(Measurement(f"relative force error in the {name}", max(errors), bound, ""))
    data = {"steps": list(PLOT_STEPS), "errors": _sweep(evaluator, structures[0][1], rng), "bound": bound}
    if settings.single_precision:
        _refuse_if_too_coarse(evaluator, structures, measurements, steps)
    good = "Forces are minus the derivative of the energy."
    if kinks and not settings.single_precision:
        good += f" {kinks} coordinates needed a smaller step: the energy has a kink near them."
    return Finding(measurements, good, _diagnose_forces(evaluator, structures[0][1], measurements), data)


def _force_error(
    evaluator: Evaluator, structure: Structure, forces: Array, coordinate: tuple[int, int], step: float
) -> float:
    force = float(forces[coordinate])
    return abs(force + energy_slope(evaluator, structure, coordinate, step)) / (1.0 + abs(force))


def energy_slope(evaluator: Evaluator, structure: Structure, coordinate: tuple[int, int], step: float) -> float:
    """dE/dx of one coordinate (atom, axis), eV/Å."""
    return float(five_point(lambda by: np.array(evaluator.evaluate(structure.displaced(*coordinate, by)).energy), step))


def _sweep(evaluator: Evaluator, structure: Structure, rng: np.random.Generator) -> list[float]:
    """Largest error of three coordinates at each step of the plot."""
    forces = evaluator.evaluate(structure).forces
    coordinates = [(int(rng.integers(structure.n_atoms)), int(rng.integers(3))) for _ in range(3)]
    return [max(_force_error(evaluator, structure, forces, c, step) for c in coordinates) for step in PLOT_STEPS]


def _against_double_precision(evaluator: Evaluator, twin: Evaluator, samples: Samples, settings: Settings) -> Finding:
    bound = settings.bound(tolerances.FINITE_DIFFERENCE_FORCES)
    measurements = []
    for name, structure in require_some(samples):
        exact, forces = twin.evaluate(structure).forces, evaluator.evaluate(structure).forces
        error = float(np.max(np.abs(forces - exact) / (1.0 + np.abs(exact))))
        measurements.append(Measurement(f"relative force error in the {name}", error, bound, ""))
    return Finding(measurements, "Forces agree with those of the same model in double precision.")


def _refuse_if_too_coarse(
    evaluator: Evaluator,
    structures: list[tuple[str, Structure]],
    measurements: list[Measurement],
    steps: tuple[float, ...],
) -> None:
    """In single precision, rounding of energies may hide what the bound asks for; then nothing can be said."""
    for (_, structure), measurement in zip(structures, measurements, strict=True):
        floor = 5.0 * energy_noise(evaluator, structure) / max(steps)
        if not measurement.passed and measurement.value <= floor:
            raise NotApplicableError(
                f"rounding of single-precision energies alone gives errors of {floor:.1g}; "
                "run the model in float64 to judge its forces"
            )


def _diagnose_forces(evaluator: Evaluator, structure: Structure, measurements: list[Measurement]) -> str:
    """Name a simple cause: a wrong sign or a wrong factor."""
    if all(m.passed for m in measurements):
        return ""
    forces = evaluator.evaluate(structure).forces
    coordinates = [(atom, axis) for atom in range(min(structure.n_atoms, 3)) for axis in range(3)]
    true = -np.array([energy_slope(evaluator, structure, coordinate, 1e-3) for coordinate in coordinates])
    given = np.array([forces[c] for c in coordinates])
    factor = float(given @ true / max(float(true @ true), 1e-300))
    consistent = np.linalg.norm(given - factor * true) <= 1e-4 * np.linalg.norm(given)
    if not consistent:
        return ""
    if abs(factor + 1.0) < 1e-4:
        return "The forces have the wrong sign: they are plus the derivative of the energy."
    if abs(factor - 1.0) > 1e-4:
        return f"The forces are {factor:.4g} times minus the derivative of the energy."
    return ""


def check_stress(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-8: stress against differences of the energy under six strains, also in a left-handed triclinic cell."""
    if "stress" not in evaluator.properties:
        raise NotApplicableError("the calculator gives no stress")
    periodic = [(n, s) for n, s in samples.small() if s.periodic]
    if not periodic:
        raise NotApplicableError("there is no structure that is periodic in three directions")
    steps = STRAIN_STEPS_SINGLE if settings.single_precision else STRAIN_STEPS
    bound = settings.bound(tolerances.STRESS)
    measurements, pairs = [], []
    for name, structure in periodic:
        stress = evaluator.evaluate(structure, ("energy", "forces", "stress")).stress
        if stress is None:
            raise NotApplicableError(f"the calculator gives no stress for the {name}")
        given = np.array([stress[i, j] for i, j in VOIGT])
        estimates = np.array([strain_derivatives(evaluator, structure, step) for step in steps])
        nearest = estimates[np.abs(estimates - given).argmin(axis=0), np.arange(6)]
        pairs.append((given, nearest))
        measurements.append(
            Measurement(f"stress error of the {name}", float(np.abs(given - nearest).max()), bound, "eV/Å³")
        )
        measurements.append(
            Measurement(
                f"asymmetry of the stress of the {name}", float(np.abs(stress - stress.T).max()), bound, "eV/Å³"
            )
        )
    data = {
        "given": [p[0].tolist() for p in pairs],
        "numerical": [p[1].tolist() for p in pairs],
        "names": [n for n, _ in periodic],
    }
    good = "Stress is the strain derivative of the energy per volume, with the right sign and order of components."
    return Finding(measurements, good, _diagnose_stress(*pairs[0], periodic[0][1].volume, bound), data)


def strain_derivatives(evaluator: Evaluator, structure: Structure, step: float) -> Array:
    """(1/V) dE/dε for the six Voigt components, shape (6,), eV/Å³."""
    components = []
    for i, j in VOIGT:
        direction = np.zeros((3, 3))
        direction[i, j] += 0.5
        direction[j, i] += 0.5

        def energy(by: float, direction: Array = direction) -> Array:
            return np.array(evaluator.evaluate(structure.transformed(np.eye(3) + by * direction)).energy)

        components.append(float(five_point(energy, step)) / structure.volume)
    return np.array(components)


def _diagnose_stress(given: Array, true: Array, volume: float, bound: float) -> str:
    """Name a simple cause of a wrong stress."""
    guesses = {
        "The stress has the wrong sign: it must be positive under tension.": -true,
        "The shear components are in another order than xx yy zz yz xz xy.": true[[0, 1, 2, 5, 4, 3]],
        "The stress is not divided by the volume.": true * volume,
        "The shear components are twice too large.": true * np.array([1, 1, 1, 2, 2, 2]),
        "The shear components are half too small.": true * np.array([1, 1, 1, 0.5, 0.5, 0.5]),
        "The stress seems to be in GPa, not in eV/Å³.": true * 160.21766208,
    }
    scale = max(float(np.abs(true).max()), bound)
    if np.abs(given - true).max() <= bound:
        return ""
    for sentence, guess in guesses.items():
        if np.abs(given - guess).max() <= 1e-3 * max(scale, float(np.abs(guess).max())):
            return sentence
    return ""


def check_jacobian(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-9: the Jacobian of the forces is symmetric, as it is for the forces of any energy."""
    name, structure = require_some(samples)[0]
    structure = _few_atoms(structure, 8) if not structure.pbc.any() else structure
    steps = JACOBIAN_STEPS[:-1] if settings.single_precision else JACOBIAN_STEPS
    errors = []
    for step in steps:
        jacobian = force_jacobian(evaluator, structure, step)
        symmetric = max(float(np.linalg.norm(jacobian + jacobian.T)), 1e-300)
        errors.append(float(np.linalg.norm(jacobian - jacobian.T)) / symmetric)
    bound = settings.bound(tolerances.JACOBIAN_SYMMETRY)
    measurements = [Measurement(f"asymmetry of the force Jacobian of the {name}", min(errors), bound, "")]
    good = "The Jacobian of the forces is symmetric: the forces conserve energy."
    bad = f"The forces are not the gradient of any energy: their Jacobian is asymmetric by {min(errors):.1e}."
    return Finding(measurements, good, bad, {"steps": list(steps), "errors": errors, "bound": bound})


def _few_atoms(structure: Structure, count: int) -> Structure:
    """The atoms nearest to the centre, to keep the number of evaluations down."""
    distance = np.linalg.norm(structure.positions - structure.positions.mean(axis=0), axis=1)
    return structure.permuted(np.argsort(distance, kind="stable")[:count])


def force_jacobian(evaluator: Evaluator, structure: Structure, step: float) -> Array:
    """∂F_i/∂x_j by five-point differences, shape (3n, 3n), eV/Å²."""
    columns = []
    for atom in range(structure.n_atoms):
        for axis in range(3):

            def forces(by: float, atom: int = atom, axis: int = axis) -> Array:
                return evaluator.evaluate(structure.displaced(atom, axis, by)).forces.ravel().copy()

            columns.append(five_point(forces, step))
    return np.array(columns).T
