"""Band structure, density of states and thermal properties of force constants, by phonopy."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray

from atomsym.core import CalculationError
from atomsym.workflows.phonons.result import IMAGINARY, Bands, DensityOfStates, ThermalProperties

if TYPE_CHECKING:
    from phonopy import Phonopy

FloatArray = NDArray[np.float64]


def band_structure(phonon: Phonopy, primitive: Atoms, points: int) -> Bands:
    """Frequencies along the standard path of the primitive cell's lattice (Setyawan and Curtarolo 2010, by ASE).

    Args:
        phonon: with force constants.
        primitive: its primitive cell.
        points: on each piece.

    Raises:
        CalculationError: if ASE knows no path for the lattice.
    """
    try:
        standard = primitive.cell.bandpath(npoints=0)
    except (RuntimeError, ValueError) as error:
        raise CalculationError(f"there is no standard path for this lattice: {error}") from error
    where = standard.special_points
    pieces, ends = [], []
    for section in parse_path_string(standard.path):
        for start, end in pairwise(section):
            pieces.append(np.linspace(where[start], where[end], points))
            ends.append((start, end))
    phonon.run_band_structure(pieces, path_connections=[False] * len(pieces))
    found = phonon.band_structure
    return Bands(
        distances=[np.array(piece) for piece in found.distances],
        frequencies=[np.array(piece) for piece in found.frequencies],
        ends=ends,
        path=str(standard.path),
    )


def density_of_states(
    phonon: Phonopy, primitive: Atoms, mesh: float
) -> tuple[DensityOfStates, float, FloatArray, float]:
    """Density of states on a mesh, by the tetrahedron method, and the softest mode there.

    Args:
        phonon: with force constants.
        primitive: its primitive cell.
        mesh: length that sets its density, Å.

    Returns:
        The density; the lowest frequency, THz, and its wave vector; and the share of imaginary modes.
    """
    elements = sorted(set(primitive.symbols))
    several = len(elements) > 1
    phonon.run_mesh(mesh, with_eigenvectors=several, is_mesh_symmetry=not several, is_gamma_center=True)
    found = phonon.mesh
    frequencies, weights = np.array(found.frequencies), np.array(found.weights)
    softest = np.unravel_index(np.argmin(frequencies), frequencies.shape)[0]
    share = float(((frequencies < IMAGINARY).sum(axis=1) * weights).sum() / (weights.sum() * frequencies.shape[1]))
    phonon.run_total_dos()
    total = phonon.total_dos
    grid = np.array(total.frequency_points)
    parts: dict[str, FloatArray] = {}
    if several:
        phonon.run_projected_dos(freq_min=float(grid[0]), freq_max=float(grid[-1]), freq_pitch=float(grid[1] - grid[0]))
        projected = phonon.projected_dos
        values, points = np.array(projected.projected_dos), np.array(projected.frequency_points)
        symbols = np.array(primitive.get_chemical_symbols())
        parts = {name: np.interp(grid, points, values[symbols == name].sum(axis=0)) for name in elements}
    numbers = tuple(int(n) for n in phonon.mesh_numbers)
    density = DensityOfStates(grid, np.array(total.dos), parts, numbers)  # type: ignore[arg-type]
    return density, float(frequencies.min()), np.array(found.qpoints)[softest], share


def thermal_properties(phonon: Phonopy, highest: float, step: float) -> ThermalProperties:
    """Harmonic thermal properties of the modes of the mesh, from 0 K in steps to the highest temperature, K."""
    temperatures = np.arange(0.0, highest + 0.5 * step, step)
    # acoustic modes at Γ are zero within rounding, and their entropy would be as large as rounding is small
    phonon.run_thermal_properties(temperatures=temperatures, cutoff_frequency=-IMAGINARY)
    found = phonon.thermal_properties
    return ThermalProperties(
        temperatures=np.array(found.temperatures),
        free_energy=np.array(found.free_energy),
        entropy=np.array(found.entropy),
        heat_capacity=np.array(found.heat_capacity),
    )
