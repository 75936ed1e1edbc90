"""Do the forces of a set belong to its energies? A look at pairs of similar structures, which needs no model.

For small steps the energy difference is the work of the mean force: E_b − E_a = −½ (F_a + F_b)·(x_b − x_a), exact for a
quadratic energy. The ratio of the two, over many pairs, is 1 if units and signs are right, 23 for energies in kcal/mol
beside forces in eV/Å, −1 for gradients in place of forces. It is evidence, not proof: steps are finite. Over the sets
that the package knows it lies between 0.6 and 1.05.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomsym.core import LabelledStructure

FloatArray = NDArray[np.float64]

_SAMPLE, _PAIRS = 60, 100  # structures of one kind that are compared, and the nearest pairs that are used
_ABSURD = 1e12  # eV, eV/Å
_LARGEST_STEP = 0.5  # Å, root mean square displacement


@dataclass(frozen=True)
class EnergyForceSlope:
    """Energy differences against work.

    Attributes:
        slope: root mean square of the energy differences over that of the work, with the sign of their correlation; 1
            if energies and forces fit together.
        correlation: of the two, 0 to 1 in size; below about 0.4 the steps are too long to tell.
        n_pairs: pairs of structures used.
    """

    slope: float
    correlation: float
    n_pairs: int

    @property
    def suspicious(self) -> bool:
        """Clear correlation, but a slope that is off by more than a factor of three, or of the wrong sign."""
        return self.n_pairs >= 10 and abs(self.correlation) > 0.4 and not 1 / 3 < self.slope < 3


def energy_force_slope(structures: Iterable[LabelledStructure]) -> EnergyForceSlope | None:
    """The slope over pairs of similar structures of the same atoms; None if there are no such pairs.

    Args:
        structures: those with finite energies and forces are used, up to some dozens of each kind.
    """
    work: list[float] = []
    difference: list[float] = []
    for members in _kinds(structures):
        for a, b in _nearest_pairs(members):
            moved, force = _displacement(a, b)
            if np.sqrt((moved**2).sum(axis=1).mean()) < _LARGEST_STEP and a.energy is not None and b.energy is not None:
                work.append(-0.5 * float((force * moved).sum()))
                difference.append(b.energy - a.energy)
    x, y = np.array(work), np.array(difference)
    if len(x) < 3 or not x.any() or not y.any():
        return None
    most = len(x) - len(x) // 10  # the largest tenth may be outliers
    keep = np.intersect1d(np.argsort(np.abs(x))[:most], np.argsort(np.abs(y))[:most])
    x, y = x[keep], y[keep]
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if xx <= 0 or yy <= 0:
        return None
    correlation = xy / np.sqrt(xx * yy)
    return EnergyForceSlope(float(np.sign(xy) * np.sqrt(yy / xx)), float(correlation), len(x))


def _kinds(structures: Iterable[LabelledStructure]) -> list[list[LabelledStructure]]:
    """Structures of the same atoms in the same order and the same cell, a sample of each kind."""
    found: dict[bytes, list[LabelledStructure]] = {}
    for structure in structures:
        if structure.forces is None or structure.energy is None or structure.n_atoms < 2:
            continue
        if not ((np.abs(structure.forces) < _ABSURD).all() and abs(structure.energy) < _ABSURD):
            continue
        cell = np.round(structure.cell[structure.pbc], 3) + 0.0
        key = structure.numbers.tobytes() + structure.pbc.tobytes() + cell.tobytes()
        members = found.setdefault(key, [])
        if len(members) < _SAMPLE and len(found) <= _SAMPLE:
            members.append(structure)
    return [members for members in found.values() if len(members) > 1]


def _nearest_pairs(members: Sequence[LabelledStructure]) -> list[tuple[LabelledStructure, LabelledStructure]]:
    pairs = [(i, j) for i in range(len(members)) for j in range(i + 1, len(members))]
    steps = [float((_displacement(members[i], members[j])[0] ** 2).sum()) for i, j in pairs]
    nearest = np.argsort(steps, kind="stable")[:_PAIRS]
    return [(members[pairs[k][0]], members[pairs[k][1]]) for k in nearest]


def _displacement(a: LabelledStructure, b: LabelledStructure) -> tuple[FloatArray, FloatArray]:
    """Displacement from a to b without common motion, and the sum of both forces in the frame of a, (n_atoms, 3)."""
    force_a, force_b = np.asarray(a.forces), np.asarray(b.forces)
    if a.pbc.any():
        lattice = np.where(a.pbc[:, None], a.cell, 0.0)
        moved = b.positions - a.positions
        moved = moved - moved[0]
        moved = moved - np.rint(moved @ np.linalg.pinv(lattice)) @ lattice
        return moved - moved.mean(axis=0), force_a + force_b
    start, end = a.positions - a.positions.mean(axis=0), b.positions - b.positions.mean(axis=0)
    left, _, right = np.linalg.svd(end.T @ start)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))  # a proper rotation (Kabsch)
    rotation = left @ right
    return end @ rotation - start, force_a + force_b @ rotation
