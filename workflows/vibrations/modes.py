"""Normal modes of a Hessian: mass-weighted, with the motions that cost no energy projected out (Eckart conditions)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.core.units import ACCELERATION
from atomsym.workflows.hessian_source import HessianResult

FloatArray = NDArray[np.float64]
Shape = Literal["atom", "linear", "nonlinear", "periodic", "held"]

WAVENUMBER = math.sqrt(ACCELERATION) / (2 * math.pi * 2.99792458e-5)
"""1/cm of an oscillator of 1 eV/Å² and 1 amu: 521.47."""

LINEAR = 5e-3
"""A molecule is linear if the radius of gyration about its axis is smaller than this part of that across it: CO2 bent
by less than one degree."""


@dataclass(frozen=True)
class NormalModes:
    """Vibrations of the atoms that move, by rising wavenumber.

    Attributes:
        wavenumbers: shape (n_modes,), 1/cm; an imaginary one is negative.
        displacements: of the moving atoms, Cartesian, each mode of unit norm, shape (n_modes, m, 3).
        reduced_masses: shape (n_modes,), amu, for displacements of unit norm.
        force_constants: along those displacements, shape (n_modes,), eV/Å².
        shape: why these motions were projected out: of an atom, a linear or another molecule, in periodic images, or
            none because some atoms are held.
        n_translations, n_rotations: how many motions were projected out.
        residual_wavenumbers: of the motions projected out, 1/cm: zero at a stationary point of an exact Hessian.
    """

    wavenumbers: FloatArray
    displacements: FloatArray
    reduced_masses: FloatArray
    force_constants: FloatArray
    shape: Shape
    n_translations: int
    n_rotations: int
    residual_wavenumbers: FloatArray

    @property
    def n_imaginary(self) -> int:
        return int((self.wavenumbers < 0).sum())

    def __len__(self) -> int:
        return len(self.wavenumbers)


def normal_modes(atoms: Atoms, hessian: HessianResult) -> NormalModes:
    """Solve H x = ω² M x in the space orthogonal to free translations and rotations.

    The mass-weighted Hessian D = M^-1/2 H M^-1/2 is restricted to an orthonormal basis of that space, so the motions
    that are projected out do not appear as small numbers but not at all.

    Args:
        atoms: positions, masses, cell and pbc; at a stationary point the result is exact.
        hessian: of its moving atoms.

    Raises:
        InputError: if an atom has no mass.

    Source: Wilson, Decius, Cross, Molecular Vibrations (1955); Ochterski, Vibrational Analysis in Gaussian (1999).
    """
    moving = hessian.indices
    masses = np.repeat(_masses(atoms)[moving], 3)
    weighted = mass_weighted(hessian.hessian, masses)
    shape, free = free_motions(atoms, moving)
    basis = _complement(free)
    values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    cartesian = (basis @ vectors / np.sqrt(masses)[:, None]).T
    lengths = np.linalg.norm(cartesian, axis=1)
    displacements = _with_sign(cartesian / lengths[:, None])
    reduced = 1.0 / lengths**2
    translations = min(free.shape[1], 3)
    return NormalModes(
        wavenumbers=wavenumbers(values),
        displacements=displacements.reshape(len(values), len(moving), 3),
        reduced_masses=reduced,
        force_constants=values * reduced,
        shape=shape,
        n_translations=translations,
        n_rotations=free.shape[1] - translations,
        residual_wavenumbers=wavenumbers(np.asarray(np.linalg.eigvalsh(free.T @ weighted @ free), dtype=np.float64)),
    )


def wavenumbers(eigenvalues: FloatArray) -> FloatArray:
    """1/cm of eigenvalues of a mass-weighted Hessian in eV/Å²/amu: sign(λ) √|λ| · 521.47."""
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * WAVENUMBER, dtype=np.float64)


def mass_weighted(hessian: FloatArray, masses: FloatArray) -> FloatArray:
    """M^-1/2 H M^-1/2 for masses of coordinates, shape (3m,), amu."""
    return np.asarray(hessian / np.sqrt(np.outer(masses, masses)), dtype=np.float64)


def free_motions(atoms: Atoms, moving: NDArray[np.int64]) -> tuple[Shape, FloatArray]:
    """The shape of a system, and its translations and rotations in mass-weighted coordinates.

    Returns:
        The orthonormal columns have the shape (3m, k): k is 0 if atoms are held, 3 in periodic systems (4 if periodic
        along one line), 3 for an atom, 5 for a linear and 6 for any other molecule.
    """
    n_periodic = int(np.asarray(atoms.pbc).sum())
    if len(moving) < len(atoms):
        return "held", np.zeros((3 * len(moving), 0))
    masses, positions = _masses(atoms), atoms.positions
    shape = _molecular_shape(masses, positions) if n_periodic == 0 else "periodic"
    arm = positions - np.average(positions, axis=0, weights=masses)
    fields = [np.broadcast_to(axis, arm.shape) for axis in np.eye(3)]
    axes = _rotation_axes(shape, masses, arm)
    if n_periodic == 1 and len(atoms) > 1:  # a chain may turn about its own axis
        axes = [np.asarray(atoms.cell[int(np.argmax(atoms.pbc))])]
    fields += [np.cross(axis, arm) for axis in axes]
    columns = np.stack([(np.sqrt(masses)[:, None] * field).ravel() for field in fields], axis=1)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-12)
    basis, triangle = np.linalg.qr(columns)
    return shape, basis[:, np.abs(np.diag(triangle)) > LINEAR]


def _rotation_axes(shape: Shape, masses: FloatArray, arm: FloatArray) -> list[FloatArray]:
    """Principal axes about which a rotation moves atoms; rotations about them are orthogonal to each other."""
    if shape not in ("linear", "nonlinear"):
        return []
    axes = np.linalg.eigh(_inertia(masses, arm))[1].T
    return list(axes[1:] if shape == "linear" else axes)


def _molecular_shape(masses: FloatArray, positions: FloatArray) -> Shape:
    if len(positions) == 1:
        return "atom"
    moments = np.linalg.eigvalsh(_inertia(masses, positions - np.average(positions, axis=0, weights=masses)))
    return "linear" if math.sqrt(max(moments[0], 0.0) / moments[-1]) < LINEAR else "nonlinear"


def _inertia(masses: FloatArray, arm: FloatArray) -> FloatArray:
    """Tensor of inertia about the origin, shape (3, 3), amu Å²."""
    second = np.einsum("i,ia,ib->ab", masses, arm, arm)
    return np.asarray(np.trace(second) * np.eye(3) - second)


def _complement(columns: FloatArray) -> FloatArray:
    """Orthonormal basis of what is orthogonal to orthonormal columns."""
    full, _ = np.linalg.qr(columns, mode="complete")
    return np.asarray(full[:, columns.shape[1] :])


def _with_sign(vectors: FloatArray) -> FloatArray:
    """The largest component of each row is made positive: the same mode always looks the same."""
    largest = np.argmax(np.abs(vectors).round(8), axis=1)
    return vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]


def _masses(atoms: Atoms) -> FloatArray:
    masses = np.asarray(atoms.get_masses(), dtype=np.float64)
    if not (np.isfinite(masses) & (masses > 0)).all():
        bad = int(np.argmin(np.isfinite(masses) & (masses > 0)))
        raise InputError(f"atom {bad} ({atoms.symbols[bad]}) has the mass {masses[bad]:g}; masses must be positive")
    return masses
