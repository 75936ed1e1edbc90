"""Infrared intensities from the change of the dipole moment along normal modes, and the spectra that are drawn."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import CalculationError, PropertyNotAvailableError
from atomsym.workflows.hessian_source import dipole_of
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
        dipole_of(atoms)
    except (PropertyNotAvailableError, CalculationError):
        return False
    return True


def infrared_intensities(modes: NormalModes, slopes: FloatArray) -> FloatArray:
    """Intensities in km/mol, shape (n_modes,).

    A = N_A / (12 ε0 c²) · |dμ/dQ|² with Q = √mass · displacement.

    Args:
        modes: normal modes.
        slopes: derivatives of the dipole moment along their displacements of unit norm, shape (n_modes, 3), e.

    Source: Wilson, Decius, Cross, Molecular Vibrations (1955); units as in Gaussian and ASE.
    """
    return np.asarray(INTENSITY * (slopes**2).sum(axis=1) / modes.reduced_masses)


def along_modes(modes: NormalModes, derivatives: FloatArray) -> FloatArray:
    """Derivatives along modes, shape (n_modes, 3), of those by Cartesian positions of the same atoms, (3m, 3)."""
    return np.asarray(modes.displacements.reshape(len(modes), len(derivatives)) @ derivatives)


def dipole_slopes(atoms: Atoms, modes: NormalModes, moving: NDArray[np.int64], step: float) -> FloatArray:
    """Derivatives of the dipole moment along modes, shape (n_modes, 3), e, by central differences along each.

    Two calculations a mode: for Hessians without displaced structures that could give them.

    Args:
        atoms: with a calculator that gives the dipole moment (e Å).
        modes: of the moving atoms.
        moving: their indices.
        step: largest displacement of an atom, Å.

    Raises:
        CalculationError: if a dipole moment is not finite.
    """
    displaced = atoms.copy()
    displaced.set_constraint()
    displaced.calc = atoms.calc
    found = np.zeros((len(modes), 3))
    for k, direction in enumerate(modes.displacements):
        length = step / np.linalg.norm(direction, axis=1).max()
        pair = []
        for sign in (1.0, -1.0):
            displaced.positions[:] = atoms.positions
            displaced.positions[moving] += sign * length * direction
            pair.append(dipole_of(displaced))
        found[k] = (pair[0] - pair[1]) / (2 * length)
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
