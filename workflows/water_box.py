"""A box of liquid water to start from: molecules of a simple point-charge water, mixed by Monte Carlo moves."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DENSITY = 0.997  # g/cm³ at 25 °C and 1 bar
BOND, ANGLE = 0.98, 105.0  # Å, degrees: as in the liquid
CHARGES = np.array([-0.8476, 0.4238, 0.4238])  # e
SIGMA, EPSILON = 3.166, 0.650 * units.kJ / units.mol  # Å, eV, of the oxygen atoms
TEMPERATURE = 300.0  # K
COULOMB = units.Hartree * units.Bohr  # eV Å / e²


def water_box(n_molecules: int = 64, sweeps: int = 250, seed: int = 0) -> Atoms:
    """Water at 0.997 g/cm³ in a cubic box, near its structure at 300 K; the same for the same arguments.

    Molecules start on a cubic lattice in random orientations and make ``sweeps`` trial moves each with the energies of
    SPC/E water (Coulomb's law with a reaction field within half the box). That takes a second or two and makes
    hydrogen bonds; the fine structure is left to the potential that runs it.

    Args:
        n_molecules: in the box; 64 make one of 12.43 Å.
        sweeps: trial moves per molecule.
        seed: of the orientations and the moves.

    Source: charges and radii of SPC/E water, H. J. C. Berendsen, J. R. Grigera, T. P. Straatsma, J. Phys. Chem. 91,
        6269 (1987), on a geometry nearer to that of the liquid.

    Example:
        >>> str(water_box(8, sweeps=0).symbols)
        'OH2OH2OH2OH2OH2OH2OH2OH2'
    """
    generator = np.random.default_rng(seed)
    length = (n_molecules * (15.999 + 2 * 1.008) / (DENSITY * units.mol) * 1e24) ** (1 / 3)
    sites = math.ceil(round(n_molecules ** (1 / 3), 9))
    grid = np.stack(np.meshgrid(*[np.arange(sites)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_molecules]
    centres = (grid + 0.5) * (length / sites)
    molecules = np.stack([centre + _monomer() @ _rotation(generator, math.pi).T for centre in centres])
    _mix(molecules, length, sweeps, generator)
    return Atoms("OHH" * n_molecules, positions=molecules.reshape(-1, 3), cell=[length] * 3, pbc=True)


def _monomer() -> FloatArray:
    half = math.radians(ANGLE / 2)
    arms = [[math.sin(half), math.cos(half), 0.0], [-math.sin(half), math.cos(half), 0.0]]
    return BOND * np.array([[0.0, 0.0, 0.0], *arms])


def _rotation(generator: np.random.Generator, largest: float) -> FloatArray:
    """About a random axis by a random angle up to ``largest``."""
    axis = generator.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = largest * generator.uniform(-1, 1)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _mix(molecules: FloatArray, length: float, sweeps: int, generator: np.random.Generator) -> None:
    """Metropolis moves at 300 K, in place; ``molecules`` has the shape (n_molecules, 3 atoms, 3)."""
    thermal, n = units.kB * TEMPERATURE, len(molecules)
    for _ in range(sweeps * n):
        chosen = int(generator.integers(n))
        old = molecules[chosen].copy()
        new = (old - old[0]) @ _rotation(generator, 0.4).T + old[0] + generator.uniform(-0.15, 0.15, 3)
        others = np.delete(molecules, chosen, axis=0)
        before, after = _energies(np.stack([old, new]), others, length)
        accepted = after <= before or generator.random() < math.exp((before - after) / thermal)
        molecules[chosen] = new if accepted else old


def _energies(trials: FloatArray, others: FloatArray, length: float) -> tuple[float, float]:
    """Of a molecule in two places, shape (2, 3, 3), with all others, eV.

    1/r + r²/(2 c³) − 3/(2 c) is Coulomb's law with a conducting surrounding beyond c, half the box: it ends smoothly.
    """
    vectors = trials[:, :, None, None, :] - others
    vectors -= length * np.rint(vectors / length)
    cutoff = 0.5 * length
    distances = np.sqrt(np.einsum("...x,...x->...", vectors, vectors))  # (2, 3, n_others, 3)
    distances = np.minimum(distances, cutoff)
    coulomb = 1 / distances + distances**2 / (2 * cutoff**3) - 1.5 / cutoff
    sixth = (SIGMA / distances[:, 0, :, 0]) ** 6
    repulsion = np.where(distances[:, 0, :, 0] < cutoff, sixth**2 - sixth, 0.0).sum(axis=-1)
    total = COULOMB * np.einsum("taox,a,x->t", coulomb, CHARGES, CHARGES)
    total = total + 4 * EPSILON * repulsion
    return float(total[0]), float(total[1])
