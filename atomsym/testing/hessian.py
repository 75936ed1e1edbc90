"""F-10: analytic Hessians are symmetric, obey the sum rule, agree with the forces, and have zero modes at a minimum."""

from __future__ import annotations

import math

import numpy as np

from atomsym.core.units import ACCELERATION
from atomsym.testing import tolerances
from atomsym.testing.derivatives import force_jacobian
from atomsym.testing.masses import MASSES
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import BASIC, Array, Evaluator, Structure
from atomsym.testing.symmetry import largest

LIGHT_SPEED = 2.99792458e-5  # cm/fs
MINIMUM_FORCE = 1e-6  # eV/Å
LARGEST_STEP = 0.1  # Å


def check_hessian(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-10 for calculators with an analytic Hessian."""
    if "hessian" not in evaluator.properties:
        raise NotApplicableError("the calculator gives no analytic Hessian")
    structure = samples.cluster if samples.cluster is not None else samples.bulk
    if structure is None:
        raise NotApplicableError("there is no small test structure")
    hessian = _hessian(evaluator, structure)
    scale = max(largest(hessian), 1e-300)
    numerical = -force_jacobian(evaluator, structure, 1e-2 if settings.single_precision else 1e-3)
    asymmetry, deviation = largest(hessian - hessian.T) / scale, largest(hessian - numerical) / scale
    symmetric = settings.bound(tolerances.HESSIAN_SYMMETRY)
    summed = settings.bound(tolerances.ACOUSTIC_SUM)
    numeric = settings.bound(tolerances.HESSIAN_FINITE_DIFFERENCE)
    measurements = [
        Measurement("relative asymmetry of the Hessian", asymmetry, symmetric, ""),
        Measurement("violation of the sum rule", sum_rule_error(hessian), summed, "eV/Å²"),
        Measurement("relative deviation from the derivative of the forces", deviation, numeric, ""),
    ]
    data: dict[str, object] = {}
    if not structure.pbc.any() and not settings.single_precision:
        found = _zero_modes(evaluator, structure)
        if found is not None:
            zero, frequencies = found
            bound = settings.bound(tolerances.ZERO_MODES)
            measurements.append(Measurement("largest zero-mode frequency at a minimum", zero, bound, "1/cm"))
            data = {"frequencies": frequencies}
    return Finding(
        measurements, "The Hessian is symmetric, sums to zero and is the derivative of the forces.", data=data
    )


def _hessian(evaluator: Evaluator, structure: Structure) -> Array:
    hessian = evaluator.evaluate(structure, (*BASIC, "hessian")).hessian
    if hessian is None:
        raise NotApplicableError("the calculator announces a Hessian but gives none for this structure")
    return hessian


def sum_rule_error(hessian: Array) -> float:
    """Largest sum over atoms of a row of 3 × 3 blocks; zero by translation invariance."""
    n = len(hessian) // 3
    return largest(hessian.reshape(3 * n, n, 3).sum(axis=1))


def _zero_modes(evaluator: Evaluator, structure: Structure) -> tuple[float, list[float]] | None:
    """Largest of the 6 (linear: 5) lowest absolute frequencies at a minimum; None if no minimum is found."""
    relaxed = newton_minimum(evaluator, structure)
    if relaxed is None:
        return None
    masses = np.repeat([MASSES[z] for z in relaxed.numbers], 3)
    dynamical = _hessian(evaluator, relaxed) / np.sqrt(np.outer(masses, masses))
    eigenvalues = np.linalg.eigvalsh(0.5 * (dynamical + dynamical.T))
    frequencies = np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues) * ACCELERATION) / (2 * math.pi * LIGHT_SPEED)
    centred = relaxed.positions - relaxed.positions.mean(axis=0)
    zero_modes = (
        3 + int(np.linalg.matrix_rank(centred, tol=1e-4) > 0) * 2 + int(np.linalg.matrix_rank(centred, tol=1e-4) > 1)
    )
    lowest = np.sort(np.abs(frequencies))[:zero_modes]
    return float(lowest.max()), frequencies.tolist()


def newton_minimum(evaluator: Evaluator, structure: Structure, steps: int = 200) -> Structure | None:
    """A minimum with all forces below 1e-6 eV/Å, by Newton steps along |curvature|; None if it is not reached."""
    current = structure
    for _ in range(steps):
        result = evaluator.evaluate(current, (*BASIC, "hessian"))
        if result.hessian is None or not np.isfinite(result.forces).all():
            return None
        if largest(result.forces) < 1e-3 * MINIMUM_FORCE:
            return current
        values, vectors = np.linalg.eigh(0.5 * (result.hessian + result.hessian.T))
        stiff = np.abs(values) > 1e-6 * np.abs(values).max()
        along = vectors.T @ result.forces.ravel()
        move = vectors @ np.where(stiff, along / np.where(stiff, np.abs(values), 1.0), 0.0)
        move *= min(1.0, LARGEST_STEP / max(largest(move), 1e-300))
        if largest(move) < 1e-13:
            break
        current = current.moved(current.positions + move.reshape(-1, 3))
    return current if largest(evaluator.evaluate(current).forces) < MINIMUM_FORCE else None
