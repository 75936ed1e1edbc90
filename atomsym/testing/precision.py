"""Which precision a calculator works in, from the noise of its results."""

from __future__ import annotations

import numpy as np
import torch

from atomsym.testing.structure import Array, Evaluator, Structure
from atomsym.testing.symmetry import largest

PROBE_STEP = 1e-7  # Å: the forces of a smooth model are linear over a few such steps to 1e-12
NOISE_OF_SINGLE = 1e-9  # relative; double precision gives 1e-14, single precision 1e-7


def detect_precision(evaluator: Evaluator, structure: Structure) -> tuple[torch.dtype, str]:
    """Float32 or float64, and how it was found out.

    Forces that single precision represents exactly, or that scatter around a straight line over displacements of
    1e-7 Å, come from single precision.
    """
    forces = evaluator.evaluate(structure).forces
    rounded = forces.astype(np.float32).astype(np.float64)
    if np.count_nonzero(forces) >= 3 and np.array_equal(forces, rounded):
        return torch.float32, "all forces are single-precision numbers"
    noise = force_noise(evaluator, structure)
    if noise > NOISE_OF_SINGLE:
        return torch.float32, f"forces carry relative noise of {noise:.0e}"
    return torch.float64, f"forces carry relative noise of {noise:.0e}"


def force_noise(evaluator: Evaluator, structure: Structure) -> float:
    """Scatter of the forces around a straight line along tiny displacements, relative to the largest force."""
    forces = np.array([result for _, result in _probe(evaluator, structure)])
    return _scatter(forces) / max(largest(forces), 1e-300)


def energy_noise(evaluator: Evaluator, structure: Structure) -> float:
    """Scatter of the energy around a straight line along tiny displacements, eV."""
    return _scatter(np.array([[energy] for energy, _ in _probe(evaluator, structure)]))


def _probe(evaluator: Evaluator, structure: Structure) -> list[tuple[float, Array]]:
    direction = np.random.default_rng(0).normal(size=structure.positions.shape)
    found = []
    for k in range(-4, 5):
        result = evaluator.evaluate(structure.moved(structure.positions + k * PROBE_STEP * direction))
        found.append((result.energy, result.forces.copy()))
    return found


def _scatter(values: Array) -> float:
    """Root mean square distance from a straight line, the largest over columns."""
    samples = values.reshape(len(values), -1)
    design = np.vander(np.arange(len(values), dtype=np.float64), 2)
    residual = samples - design @ np.linalg.lstsq(design, samples, rcond=None)[0]
    return float(np.sqrt((residual**2).sum(axis=0) / (len(values) - 2)).max())
