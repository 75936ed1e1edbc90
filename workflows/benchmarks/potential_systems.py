"""Structures that the benchmark of potentials is run on: a molecule, a liquid and two metals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

ELEMENTS = (1, 6, 7, 8, 29)
"""Of all systems together: those that the models of the benchmark know."""

_CC, _CH = 1.39, 1.09  # Å, aromatic bonds


def mol27() -> Atoms:
    """C12H12N2O: an aminopyridine and a phenyl ring, joined by -O-CH2-, about as 3-benzyloxypyridin-2-amine.

    It is not periodic but has a box, since symmetrix divides by a volume.
    """
    directions = np.array([[np.cos(a), np.sin(a), 0.0] for a in np.radians(60 * np.arange(6))])
    symbols, places = list("NCCCCC"), list(_CC * directions)  # the pyridine ring, nitrogen first
    for corner in (3, 4, 5):
        symbols.append("H")
        places.append((_CC + _CH) * directions[corner])
    amine = (_CC + 1.37) * directions[1]
    side = np.cross([0.0, 0.0, 1.0], directions[1])
    symbols += ["N", "H", "H"]
    places += [amine, *(amine + 0.5 * directions[1] + sign * 0.86 * side for sign in (1, -1))]
    out, across = directions[2], np.cross([0.0, 0.0, 1.0], directions[2])
    oxygen = (_CC + 1.37) * out
    carbon = oxygen + 1.43 * (0.5 * out + 0.866 * across)
    symbols += ["O", "C", "H", "H"]
    places += [
        oxygen,
        carbon,
        *(carbon - 0.36 * out + 0.35 * across + sign * 0.9 * np.array([0, 0, 1.0]) for sign in (1, -1)),
    ]
    centre = carbon + (1.51 + _CC) * out
    second = 0.6 * across + np.array([0.0, 0.0, 0.8])  # the phenyl ring is turned about its axis
    for corner in range(6):
        angle = np.pi + np.radians(60 * corner)
        direction = np.cos(angle) * out + np.sin(angle) * second
        symbols.append("C")
        places.append(centre + _CC * direction)
        if corner:
            symbols.append("H")
            places.append(centre + (_CC + _CH) * direction)
    atoms = Atoms(symbols, np.array(places))
    atoms.center(vacuum=20.0)
    return atoms


def water192() -> Atoms:
    """64 water molecules in random orientations on a jittered lattice, at the density of the liquid."""
    per_side, box, draw = 4, 12.42, np.random.default_rng(0)
    template = molecule("H2O")
    shape: NDArray[np.float64] = template.positions - template.get_center_of_mass()
    symbols, places = [], []
    for site in np.ndindex(per_side, per_side, per_side):
        turned = Rotation.random(random_state=draw).apply(shape)
        places.append(turned + (np.array(site) + 0.5) * box / per_side + draw.normal(scale=0.1, size=3))
        symbols += template.get_chemical_symbols()
    return Atoms(symbols, np.concatenate(places), cell=[box] * 3, pbc=True)


def copper(repeats: int) -> Atoms:
    """Face-centred copper with displaced atoms, 4 repeats³ of them."""
    atoms = bulk("Cu", "fcc", a=3.615, cubic=True) * (repeats, repeats, repeats)
    atoms.rattle(0.05, seed=0)
    return atoms


SYSTEMS: dict[str, Callable[[], Atoms]] = {
    "mol27": mol27,
    "water192": water192,
    "cu108": lambda: copper(3),
    "cu864": lambda: copper(6),
}
"""By the names that rows carry."""
