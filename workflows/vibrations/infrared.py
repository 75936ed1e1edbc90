"""Infrared intensities from the change of the dipole moment along normal modes, and the spectra that are drawn."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from atomsym.core import CalculationError
from atomsym.workflows.vibrations.modes import NormalModes

FloatArray = NDArray[np.float64]

INTENSITY = 974.880
"""km/mol of (dμ/dQ)² = 1 e²/amu: N_A / (12 ε0 c²), of constants in SI."""

ABSORPTION = 100 / math.log(10)
"""Decadic molar absorption coefficient in L/(mol cm) of 1 km/mol times a line shape in cm."""


def gives_dipole(atoms: Atoms) -> bool:
    """Whether the calculator computes the dipole moment of this molecule."""
    if atoms.pbc.any() or "dipole" not in getattr(atoms.calc, "implemented_properties", ()):
        return False
    try:
        return bool(np.isfinite(_dipole(atoms)).all())
    except PropertyNotImplementedError:
        return False


def infrared_intensities(atoms: Atoms, modes: NormalModes, moving: NDArray[np.int64], step: float) -> FloatArray:
    """Intensities in km/mol, shape (n_modes,), of central differences of the dipole moment along each mode.

    A = N_A / (12 ε0 c²) · |dμ/dQ|² with Q = √mass · displacement. Twice as many calculations as there are modes.

    Args:
        atoms: with a calculator that gives the dipole moment (e Å).
        modes: of the moving atoms.
        moving: their indices.
        step: largest displacement of an atom, Å.

    Raises:
        CalculationError: if a dipole moment is not finite.

    Source: Wilson, Decius, Cross, Molecular Vibrations (1955); units as in Gaussian and ASE.
    """
    displaced = atoms.copy()
    displaced.set_constraint()
    displaced.calc = atoms.calc
    found = np.zeros(len(modes))
    for k, direction in enumerate(modes.displacements):
        length = step / np.linalg.norm(direction, axis=1).max()
        pair = []
        for sign in (1.0, -1.0):
            displaced.positions[:] = atoms.positions
            displaced.positions[moving] += sign * length * direction
            pair.append(_dipole(displaced))
        slope = (pair[0] - pair[1]) / (2 * length) / math.sqrt(modes.reduced_masses[k])
        found[k] = INTENSITY * float(slope @ slope)
    if not np.isfinite(found).all():
        raise CalculationError(f"the dipole moment along mode {int(np.argmin(np.isfinite(found))) + 1} is not finite")
    return found


def lorentzians(grid: FloatArray, centres: FloatArray, areas: FloatArray, width: float) -> FloatArray:
    """Sum of Lorentz curves on a grid, shape (n_grid,).

    Args:
        grid: 1/cm.
        centres: shape (n,), 1/cm.
        areas: under each curve, shape (n,).
        width: full width at half maximum, 1/cm.
    """
    half = 0.5 * width
    curves = half / math.pi / ((grid[:, None] - centres[None]) ** 2 + half**2)
    return np.asarray(curves @ areas)


def _dipole(atoms: Atoms) -> FloatArray:
    return np.array(atoms.get_dipole_moment(), dtype=np.float64)
